"""Samples as files: what is returned is what was written, and holds what the model makes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import TINY

from vidiff.errors import UsageError
from vidiff.inference.sample import sample_to
from vidiff.models.cyclegan import CycleGAN
from vidiff.models.dcgan import DCGAN


def test_the_files_are_returned_and_hold_the_clips(tmp_path, capsys):
    model = DCGAN(**TINY).eval()
    formats = ("npy", "png", "gif", "mp4")
    written = sample_to(model, tmp_path / "s", num_clips=3, seed=4, formats=formats, batch_size=2, ema=False)
    media = sorted(p for p in (tmp_path / "s").iterdir() if p.suffix != ".json")
    assert sorted(written) == media and len(written) == 8
    clips = torch.from_numpy(np.load(tmp_path / "s" / "clips.npy"))
    assert (clips.int() - model.sample(3, seed=4, ema=False).int()).abs().max() <= 1  # another batch size
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "wrong, said",
    [
        (dict(formats=("avi",)), "formats: avi cannot be written; accepted are mp4, gif, png, npy"),
        (dict(formats=()), "accepted are mp4, gif, png, npy"),
        (dict(fps=0.0), "fps must be above 0"),
        (dict(num_clips=0), "num_clips must be at least 1"),
        (dict(batch_size=0), "batch_size must be at least 1"),
        (dict(num_frames=7), "exactly 4 frames"),
        (dict(labels=[1]), "takes no labels"),
        (dict(stage=1), "does not grow in stages"),
        (dict(parts=True), "background and a foreground"),
    ],
)
def test_what_cannot_be_made_leaves_nothing(tmp_path, wrong, said):
    with pytest.raises(UsageError, match=said):
        sample_to(DCGAN(**TINY).eval(), tmp_path / "s", **wrong)
    assert not list(tmp_path.iterdir())


def test_a_translation_makes_no_samples(tmp_path):
    with pytest.raises(UsageError, match="CycleGAN makes no clips from noise"):
        sample_to(CycleGAN(num_frames=4, resolution=16, width=4), tmp_path / "s")
