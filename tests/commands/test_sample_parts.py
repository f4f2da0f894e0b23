"""`vidiff sample --parts` and `--stage`: what the files hold is what the model made."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from helpers import TINY, Clips, quiet_trainer

from vidiff.cli import main
from vidiff.inference.checkpoint import load_model
from vidiff.models.dcgan import DCGAN
from vidiff.models.pggan import PGGAN
from vidiff.models.videogan import VideoGAN


def saved(path: Path, model) -> Path:
    trainer = quiet_trainer(max_steps=2)
    trainer.fit(model, Clips(num_classes=model.spec.num_classes))
    trainer.save_checkpoint(path)
    return path


def frames(path: Path, form: str) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format=form) for frame in container.decode(video=0)])


def test_parts_of_each_clip(tmp_path):
    path = saved(tmp_path / "v.ckpt", VideoGAN(num_classes=2, **TINY))
    flags = "--num_clips 3 --batch_size 2 --seed 5 --labels 0 1 --parts --output".split() + [str(tmp_path / "s")]
    assert main(["sample", "--ckpt", str(path), *flags]) == 0
    kinds = ("-background.mp4", "-cutout.mov", "-foreground.mp4", "-mask.mp4", ".mp4")
    names = {p.name for p in (tmp_path / "s").iterdir() if p.suffix != ".json"}
    assert names == {f"0000{i}{k}" for i in range(3) for k in kinds}
    parts = load_model(path).parts(3, seed=5, labels=[0, 1])
    for i in range(3):
        cutout = frames(tmp_path / "s" / f"0000{i}-cutout.mov", "rgba").astype(int)
        expected = parts["cutout"][i].permute(1, 2, 3, 0).numpy()
        assert np.abs(cutout - expected).max() <= 1  # float32 rounding of another batch size
        shown = frames(tmp_path / "s" / f"0000{i}-background.mp4", "rgb24").astype(int)
        assert np.abs(shown - shown[:1]).max() <= 6  # it stands still, up to H.264


def test_parts_by_id_and_length():
    model = VideoGAN(temporal="lstm", **TINY).eval()
    whole, later = model.parts(4, seed=1), model.parts([2, 3], seed=1)
    assert all((whole[k][2:].int() - later[k].int()).abs().max() <= 1 for k in whole)
    assert model.parts([0], num_frames=9)["mask"].shape[2] == 9
    with pytest.raises(ValueError, match="exactly 4 frames"):
        VideoGAN(**TINY).parts(1, num_frames=9)
    modes = VideoGAN(**TINY).train()
    state = torch.get_rng_state()
    modes.parts(1, ema=False)
    assert modes.generator.training and torch.equal(state, torch.get_rng_state())


def test_stages_of_a_growing_network(tmp_path, capsys):
    path = saved(tmp_path / "p.ckpt", PGGAN(fade_clips=2, stable_clips=1, **TINY))
    flags = ["--num_clips", "2", "--formats", "npy", "--output", str(tmp_path / "s")]
    assert main(["sample", "--ckpt", str(path), *flags, "--stage", "0"]) == 0
    clips = np.load(tmp_path / "s" / "clips.npy")
    blocks = clips.reshape(2, 3, 4, 4, 4, 4, 4)
    assert clips.shape == (2, 3, 4, 16, 16) and (blocks == blocks[..., :1, :, :1]).all()  # 4x4 pixels of 4x4 each
    plain = saved(tmp_path / "d.ckpt", DCGAN(**TINY))
    flags[-1] = str(tmp_path / "none")
    for wrong, named in ((["--stage", "1"], "DCGAN does not grow"), (["--parts"], "DCGAN does not make its clips of")):
        assert main(["sample", "--ckpt", str(plain), *flags, *wrong]) == 2
        assert named in capsys.readouterr().err and not (tmp_path / "none").exists()
    assert main(["sample", "--ckpt", str(path), *flags, "--stage", "9"]) == 2
    assert "from 0 to 2" in capsys.readouterr().err
