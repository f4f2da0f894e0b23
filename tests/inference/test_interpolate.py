"""Morphs: they begin and end at the samples themselves, to the bit, and every step of the way is small."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers import TINY

import vidiff
from vidiff import keyed
from vidiff.cli import main
from vidiff.errors import UsageError
from vidiff.inference.interpolate import morph, path
from vidiff.keyed import Between
from vidiff.models import families
from vidiff.models.anytime import AnytimeGAN
from vidiff.models.cyclegan import CycleGAN
from vidiff.models.dcgan import DCGAN
from vidiff.models.mocogan import MoCoGAN
from vidiff.models.translation import Translator

GENERATORS = {name: cls for name, cls in families().items() if not issubclass(cls, Translator)}


def made(cls, **more):
    """A model whose layers do something: with a last one of zeros all noise is one clip."""
    model = cls(**{**TINY, **more}).eval()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for p in model.generator_ema.module.parameters():
            if p.ndim > 1 and not p.any():
                torch.nn.init.normal_(p, 0.0, 0.1)
    return model


@pytest.mark.parametrize("name", GENERATORS)
def test_the_ends_are_the_samples_to_the_bit(name):
    model = made(GENERATORS[name], num_frames=8)
    clips = path(model, [3, 0, 5], 3, seed=2, batch_size=7)
    plain = model.generate([3, 0, 5], 2)
    assert clips.shape == (7, *plain.shape[1:]) and clips.dtype == torch.uint8
    for row, j in enumerate((0, 3, 6)):
        same = model.generate([[3, 0, 5][row], *range(10, 16)], 2)[0]  # as many at once: kernels round by the shape
        assert torch.equal(clips[j], same) and (clips[j].int() - plain[row].int()).abs().max() <= 1
    assert not torch.equal(clips[1], clips[0]) and not torch.equal(clips[1], clips[3])


@pytest.mark.parametrize("cls", [DCGAN, AnytimeGAN, MoCoGAN], ids=lambda c: c.__name__)
def test_classes_go_over_into_each_other(cls):
    model = made(cls, num_classes=3)
    clips = path(model, [4, 4], 4, labels=[0, 2])
    for row, label in ((0, 0), (4, 2)):
        same = model.generate([4] * 5, labels=[label])[0]
        assert torch.equal(clips[row], same)
    ends = (clips[0].double() - clips[4].double()).abs().mean()
    steps = [(a.double() - b.double()).abs().mean() for a, b in zip(clips, clips[1:])]
    assert ends > 0 and max(steps) < ends
    drawn = path(model, [0, 1], 1, seed=3)
    assert torch.equal(drawn, model.generate([0, 1], 3))


@pytest.mark.parametrize("cls", [DCGAN, AnytimeGAN, MoCoGAN], ids=lambda c: c.__name__)
def test_steps_get_smaller_as_there_are_more(cls):
    """Of twice as many steps the largest is about half as large: the way has no jump."""
    model = made(cls).double()  # no rounding but that to 8 bits

    def largest(steps: int) -> float:
        clips = path(model, [0, 1], steps).double()
        return max(float((a - b).square().mean().sqrt()) for a, b in zip(clips, clips[1:]))

    assert 0.35 < largest(16) / largest(8) < 0.8


def test_slerp_keeps_its_distance_and_its_speed():
    a, b = keyed.normal([1, 2], (3, 50), "test")
    points = torch.stack([keyed.slerp(a, b, s) for s in np.linspace(0, 1, 9)]).double().flatten(1)
    assert torch.allclose(points[0], a.double().flatten()) and torch.allclose(points[-1], b.double().flatten())
    a, b = a / a.norm(), b / b.norm()
    points = torch.stack([keyed.slerp(a, b, s) for s in np.linspace(0, 1, 9)]).double().flatten(1)
    assert torch.allclose(points.norm(dim=1), torch.ones(9, dtype=torch.float64), atol=1e-6)
    chords = (points[1:] - points[:-1]).norm(dim=1)
    angle = math.acos(float((a * b).sum()))
    assert torch.allclose(chords, torch.full((8,), 2 * math.sin(angle / 16), dtype=torch.float64), atol=1e-6)


def test_rows_between_slots():
    plain = keyed.normal([7, 9], (4,), "z")
    rows = keyed.normal([Between(7, 9, 0.0), Between(7, 9, 1.0), Between(7, 7, 0.3), Between(7, 9, 0.5)], (4,), "z")
    assert torch.equal(rows[0], plain[0]) and torch.equal(rows[1], plain[1]) and torch.equal(rows[2], plain[0])
    assert torch.equal(rows[3], keyed.slerp(plain[0], plain[1], 0.5))
    assert torch.allclose(keyed.slerp(plain[0], -plain[0], 0.25), 0.5 * plain[0])


def test_the_morph_runs_forth_and_back():
    clips = torch.arange(4, dtype=torch.uint8)[None, None, :, None, None].expand(9, 3, 4, 2, 2)
    assert morph(clips)[0, :, 0, 0].tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert morph(clips[:, :, :1])[0, :, 0, 0].tolist() == [0] * 9


def test_the_files(tmp_path):
    model = made(DCGAN)
    written = vidiff.interpolate_to(model, tmp_path / "m", [0, 2], steps=5, formats=("npy", "png", "gif", "mp4"))
    assert [p.name for p in written] == ["morph.npy", "morph.png", "morph.gif", "morph.mp4"]
    assert np.array_equal(np.load(written[0]), path(model, [0, 2], 5).numpy())
    assert vidiff.read_provenance(written[3])["marked"]


def test_the_command(tmp_path, capsys):
    words = ["sample", "--ckpt", "zoo:anytime-motions", "--output", str(tmp_path / "m"), "--steps", "2"]
    assert main([*words, "--interpolate", "0", "0", "--labels", "0", "3", "--formats", "gif", "png"]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "m" / f"morph.{s}") for s in ("gif", "png")]
    assert main([*words, "--interpolate", "0", "1", "--parts"]) == 2
    assert "stage, parts and alpha" in capsys.readouterr().err
    assert main([*words, "--interpolate", "0", "1", "--labels", "0", "1", "2"]) == 2
    assert "labels: 3 of them for 2 ids" in capsys.readouterr().err


@pytest.mark.parametrize(
    "ids, wrong, said",
    [
        ([1], {}, "two or more ids"),
        ([-1, 2], {}, "two or more ids"),
        ([0, 1], {"steps": 0}, "steps must be at least 1"),
        ([0, 1], {"labels": [1]}, "takes no labels"),
        ([0, 1], {"num_frames": 9}, "exactly 4 frames"),
        ([0, 1], {"formats": ("avi",)}, "avi cannot be written"),
    ],
)
def test_what_is_refused_leaves_nothing(tmp_path, ids, wrong, said):
    with pytest.raises(UsageError, match=said):
        vidiff.interpolate_to(made(DCGAN), tmp_path / "m", ids, **wrong)
    with pytest.raises(UsageError, match="makes no clips from noise"):
        vidiff.interpolate_to(CycleGAN(num_frames=4, resolution=16, width=4), tmp_path / "m", [0, 1])
    assert not list(tmp_path.iterdir())
