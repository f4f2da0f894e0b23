"""Distances at each frame index see where along a clip quality is lost."""

from __future__ import annotations

import json

import pytest
import torch

from vidiff.cli import main
from vidiff.errors import RunError
from vidiff.metrics.features import RandomConv3d
from vidiff.metrics.frechet import frechet_from_features
from vidiff.metrics.per_frame import frame_distances
from vidiff.video.write import write_mp4


def clips(n, frames, seed, size=16):
    g = torch.Generator().manual_seed(seed)
    base = torch.randint(0, 256, (n, 3, 1, 4, 4), generator=g).float()
    return torch.nn.functional.interpolate(base, (frames, size, size)).to(torch.uint8)


def test_a_decaying_clip_has_a_rising_curve():
    extractor = RandomConv3d()
    fake = clips(48, 4, 1)
    noise = torch.randint(-128, 128, fake.shape, generator=torch.Generator().manual_seed(2))
    strength = torch.tensor([0.0, 0.0, 0.3, 1.0])[:, None, None]
    fake = (fake + strength * noise).clamp(0, 255).to(torch.uint8)
    real = clips(96, 1, 0)
    parts = [(range(i, i + 16), real[i : i + 16]) for i in range(0, 96, 16)]
    out = frame_distances({"fvd_random": extractor}, parts, [(range(48), fake[:20]), (range(28), fake[20:])])
    values, floor = out["fvd_random"]["values"], out["fvd_random"]["floor"]
    assert len(values) == 4 and values[0] == pytest.approx(values[1], rel=1e-6)
    assert values[0] == pytest.approx(floor, rel=0.5) and values[0] < values[2] < values[3] > 2 * floor
    expected = frechet_from_features(extractor(real[:48]), extractor(fake[:, :, 3:]))
    assert values[3] == pytest.approx(expected, rel=1e-6)
    with pytest.raises(RunError, match="at least 2"):
        frame_distances({"fvd_random": extractor}, parts, [([0], fake[:1])])


def test_from_the_command_line(tmp_path, capsys):
    """Long generated videos against real ones that are shorter."""
    for kind, n, frames in (("real", 6, 3), ("fake", 4, 10)):
        for i, clip in enumerate(clips(n, frames, seed=len(kind), size=32)):
            write_mp4(tmp_path / kind / f"{i}.mp4", clip)
    flags = ["--real", str(tmp_path / "real"), "--fake", str(tmp_path / "fake"), "--num_frames", "10", "--per_frame"]
    flags += ["--device", "cpu", "--metrics"]
    assert main(["evaluate", *flags, "fvd_random", "--json", str(tmp_path / "r.json")]) == 0
    result = json.loads((tmp_path / "r.json").read_text())["per_frame"]["fvd_random"]
    assert len(result["values"]) == 10 and min(result["values"]) > 0 and result["clips"] == 4
    # Stills: the first frame and the last are equal up to H.264.
    assert result["values"][0] == pytest.approx(result["values"][9], rel=0.2)
    assert "at each frame index" in capsys.readouterr().out
    assert main(["evaluate", *flags, "motion"]) == 2
    assert "frame by frame there are fd_lite0 and fvd_random, not motion" in capsys.readouterr().err
