"""Optical flow: known motion, warping by the formula, which pixels were seen before, and what is missing."""

from __future__ import annotations

import hashlib

import pytest
import torch
import torch.nn.functional as F

from vidiff import flow as flow_module
from vidiff.errors import UsageError
from vidiff.flow import flow_method, motion_back, warp
from vidiff.losses import flow_consistency


def texture(size: int = 64) -> torch.Tensor:
    """A smooth random picture (1, 3, size, size) in [-1, 1]."""
    coarse = torch.rand(1, 3, size // 4, size // 4, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1) * 2 - 1


def panning(frames: int, size: int, dx: int, dy: int) -> torch.Tensor:
    """A window (1, 3, T, size, size) of a picture whose content moves by (dx, dy) pixels a frame."""
    picture = texture(size + 48)
    cut = [picture[..., 24 - dy * t :, 24 - dx * t :][..., :size, :size] for t in range(frames)]
    return torch.stack(cut, dim=2)


def known(dx: float, dy: float):
    """A method that finds the motion of `panning`, in the direction of the two frames that it is given."""
    state = []

    def method(first, second):
        sign = -1.0 if len(state) % 2 == 0 else 1.0  # `motion_back` asks for the way back first
        state.append(sign)
        return first.new_tensor([sign * dx, sign * dy])[None, :, None, None].expand(len(first), 2, *first.shape[2:])

    return method


@pytest.mark.parametrize("size", [8, 16, 32, 40])
def test_dis_finds_known_motion(size):
    pytest.importorskip("cv2")
    clip, method = panning(3, size, 2, -1), flow_method("dis")
    back, seen = motion_back(clip, method)
    assert back.shape == (1, 2, 2, size, size) and seen.shape == (1, 1, 2, size, size)
    inside = back[..., 3:-3, 3:-3] if size > 8 else back
    found = inside.flatten(2).median(2).values[0]
    torch.testing.assert_close(found, torch.tensor([-2.0, 1.0]), rtol=0, atol=0.3 if size > 8 else 1.0)
    if size > 16:
        assert float(seen[..., 4:-4, 4:-4].mean()) > 0.9 and float(seen[..., :, 0].mean()) < 0.5  # new at the left
    still, _ = motion_back(torch.zeros(1, 1, 2, size, size), method)
    assert float(still.abs().max()) == 0.0
    assert torch.equal(back, motion_back(clip, method)[0])


def test_warp_is_the_bilinear_formula():
    frames, field = torch.randn(2, 3, 5, 7).double(), 3 * torch.randn(2, 2, 5, 7).double()
    out = warp(frames, field)
    for n, y, x in [(0, 0, 0), (0, 2, 3), (1, 4, 6), (1, 1, 5), (1, 3, 0)]:
        px = min(max(x + float(field[n, 0, y, x]), 0.0), 6.0)
        py = min(max(y + float(field[n, 1, y, x]), 0.0), 4.0)
        expected = sum(
            max(0.0, 1 - abs(px - i)) * max(0.0, 1 - abs(py - j)) * frames[n, :, j, i]
            for i in range(7)
            for j in range(5)
        )
        torch.testing.assert_close(out[n, :, y, x], expected)
    torch.testing.assert_close(warp(frames, torch.zeros_like(field)), frames)
    grid = torch.stack(torch.meshgrid(torch.arange(5.0), torch.arange(7.0), indexing="ij")[::-1], -1).double()
    place = (grid + field.permute(0, 2, 3, 1)) / torch.tensor([3.0, 2.0]) - 1
    library = F.grid_sample(frames, place, mode="bilinear", padding_mode="border", align_corners=True)
    torch.testing.assert_close(out, library)
    frames.requires_grad_()
    assert torch.autograd.gradcheck(lambda f: warp(f, field), (frames,))


def test_pixels_that_were_hidden_are_masked():
    """Content that moves right by 2: what enters at the left was not there; flows that contradict are not believed."""
    clip = panning(3, 16, 2, 0).double()
    back, seen = motion_back(clip, known(2.0, 0.0))
    assert seen.dtype == torch.float64
    assert torch.equal(seen[0, 0, 0], (torch.arange(16) >= 2).double().expand(16, 16))
    nothing = motion_back(clip, lambda first, second: torch.full((2, 2, 16, 16), 3.0))[1]
    assert float(nothing.sum()) == 0.0


def test_a_clip_that_follows_the_flow_costs_nothing_and_one_that_does_not_is_the_formula():
    clip = panning(4, 16, 1, 2).double()
    back, seen = motion_back(clip, known(1.0, 2.0))
    assert float(flow_consistency(clip, back, seen)) < 1e-12
    other = torch.randn(1, 2, 4, 16, 16).double()
    total = 0.0
    for t in range(3):
        for y in range(2, 16):
            for x in range(1, 16):
                total += float((other[0, :, t + 1, y, x] - other[0, :, t, y - 2, x - 1]).abs().sum())
    assert float(flow_consistency(other, back, seen)) == pytest.approx(total / (2 * 3 * 16 * 16), abs=1e-9)
    assert float(flow_consistency(other, back, 0 * seen)) == 0.0


def test_raft_needs_its_file_and_loads_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDIFF_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UsageError, match="raft_small_C_T_V2-01064c6d.pth.*VIDIFF_WEIGHTS_DIR"):
        flow_method("raft")
    (tmp_path / "raft_small_C_T_V2-01064c6d.pth").write_bytes(b"something else")
    with pytest.raises(UsageError, match=f"sha256 {hashlib.sha256(b'something else').hexdigest()}"):
        flow_method("raft")


def test_raft_gives_pixels_of_the_frame_it_was_given(monkeypatch):
    """With untrained weights: shapes, precision, and that the flow is scaled back with the frame."""
    from torchvision.models.optical_flow import raft_small

    weights = raft_small(weights=None).state_dict()
    monkeypatch.setattr("vidiff.pretrained.raft.load_weights", lambda *a: weights)
    method = flow_method("raft")
    one, two = torch.rand(1, 1, 16, 24) * 2 - 1, torch.rand(1, 1, 16, 24) * 2 - 1
    assert method(one.double(), two.double()).shape == (1, 2, 16, 24)
    monkeypatch.setattr(method._frozen, "network", torch.nn.Conv2d(1, 1, 1))  # stands in: 8 pixels right, 16 down
    big = torch.tensor([8.0, 16.0])[None, :, None, None].expand(1, 2, 128, 192)
    monkeypatch.setattr(method._frozen, "network_for", lambda x: lambda a, b: [big])
    torch.testing.assert_close(method(one, two)[0, :, 3, 4], torch.tensor([1.0, 2.0]))


def test_wrong_words_and_missing_libraries_are_named(monkeypatch):
    with pytest.raises(ValueError, match="dis or raft"):
        flow_method("farneback")
    monkeypatch.setattr(flow_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="opencv-python-headless"):
        flow_method("dis")
