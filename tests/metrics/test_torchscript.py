"""Features of anybody's TorchScript file: fed as it says, checked, named by what is in the file."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vidiff.errors import UsageError
from vidiff.metrics.features import load
from vidiff.metrics.frechet import frechet_from_features
from vidiff.metrics.resolve import resolve_metrics


class Means(nn.Module):
    def forward(self, clips: Tensor) -> Tensor:
        return clips.mean((2, 3, 4))


class Corners(nn.Module):
    def forward(self, frames: Tensor) -> Tensor:
        return frames[:, :, 0, 0]


class OfTheBatch(nn.Module):
    def forward(self, clips: Tensor) -> Tensor:
        return clips.mean((2, 3, 4)) - clips.mean()


class Wide(nn.Module):
    def forward(self, clips: Tensor) -> Tensor:
        return clips.mean((3, 4))


class Constant(nn.Module):
    def forward(self, clips: Tensor) -> Tensor:
        return clips.mean((2, 3, 4)) * 0


class Broken(nn.Module):
    def forward(self, clips: Tensor) -> Tensor:
        return clips.mean((2, 3, 4)) / 0


def saved(module: nn.Module, folder) -> str:
    path = folder / f"{type(module).__name__}.pt"
    torch.jit.script(module).save(str(path))
    return str(path)


CLIPS = torch.randint(0, 256, (6, 3, 8, 20, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("values", "low", "high"), [("signed", -1, 1), ("unit", 0, 1), ("bytes", 0, 255)])
def test_clips_come_in_the_range_that_was_asked_for(tmp_path, values, low, high):
    net = load(saved(Means(), tmp_path), values)
    expected = low + (high - low) * CLIPS.double().mean((2, 3, 4)) / 255
    assert net.dim == 3 and not net.official and net.kind == "clips"
    torch.testing.assert_close(net(CLIPS).double(), expected, rtol=1e-4, atol=1e-4)


def test_frames_of_a_size(tmp_path):
    net = load(saved(Corners(), tmp_path), "unit", size=16, frames=4)
    assert net(CLIPS).shape == (24, 3) and net.kind == "frames" and net.resize.startswith("16x16")
    whole = load(saved(Corners(), tmp_path), "unit", frames=4)
    torch.testing.assert_close(whole(CLIPS)[0], CLIPS[0, :, 1, 0, 0] / 255)  # the first of four evenly spaced ones
    assert whole.sha256 == net.sha256


def test_a_fingerprint_is_kept(tmp_path):
    path = saved(Means(), tmp_path)
    known = load(path).fingerprint()
    assert load(path, fingerprint=known).name == load(path).name != load(path, "unit").name
    with pytest.raises(UsageError, match="another fingerprint"):
        load(path, "unit", fingerprint=known)


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (OfTheBatch, "rest of its batch"),
        (Wide, r"gives \(3, 3, 16\) for 3 clips"),
        (Constant, "same features"),
        (Broken, "not finite"),
        (Corners, r"gives \(3, 3, 64\)"),
    ],
)
def test_what_gives_no_features_is_refused(tmp_path, module, text):
    with pytest.raises(UsageError, match=text):
        load(saved(module(), tmp_path))


def test_what_is_no_torchscript_is_refused(tmp_path):
    (tmp_path / "x.pt").write_bytes(b"no zip")
    with pytest.raises(UsageError, match="no TorchScript module"):
        load(tmp_path / "x.pt")
    with pytest.raises(UsageError, match="no such file"):
        load(tmp_path / "y.pt")
    with pytest.raises(UsageError, match="unit, signed, bytes"):
        load(saved(Means(), tmp_path), "rgb")


def test_as_a_metric_by_name(tmp_path):
    path = saved(Means(), tmp_path)
    fd, kd = resolve_metrics([f"fd@{path}", f"kd@{path}"])
    assert fd.name == "fd@Means" and kd.spec.score == "kernel" and fd.extractor is kd.extractor and not fd.official
    assert frechet_from_features(fd.extractor(CLIPS), fd.extractor(CLIPS)) < 1e-6
