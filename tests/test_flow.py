"""Optical flow: known motion, warping by the formula, which pixels were seen before, and what is missing."""

from __future__ import annotations

import hashlib

import pytest
import torch
from motion import known, panning

from vidiff import flow as flow_module
from vidiff.errors import UsageError
from vidiff.flow import backward_flow, flow_method


@pytest.mark.parametrize("size", [8, 16, 32, 40])
def test_dis_finds_known_motion(size):
    pytest.importorskip("cv2")
    clip, method = panning(3, size, 2, -1), flow_method("dis")
    back, seen = backward_flow(clip, method)
    assert back.shape == (1, 2, 2, size, size) and seen.shape == (1, 1, 2, size, size)
    inside = back[..., 3:-3, 3:-3] if size > 8 else back
    found = inside.flatten(2).median(2).values[0]
    torch.testing.assert_close(found, torch.tensor([-2.0, 1.0]), rtol=0, atol=0.3 if size > 8 else 1.0)
    if size > 16:
        assert float(seen[..., 4:-4, 4:-4].mean()) > 0.9 and float(seen[..., :, 0].mean()) < 0.5  # new at the left
    still, _ = backward_flow(torch.zeros(1, 1, 2, size, size), method)
    assert float(still.abs().max()) == 0.0
    assert torch.equal(back, backward_flow(clip, method)[0])


def test_pixels_that_were_hidden_are_masked():
    """Content that moves right by 2: what enters at the left was not there; flows that contradict are not believed."""
    clip = panning(3, 16, 2, 0).double()
    back, seen = backward_flow(clip, known(2.0, 0.0))
    assert seen.dtype == torch.float64
    assert torch.equal(seen[0, 0, 0], (torch.arange(16) >= 2).double().expand(16, 16))
    nothing = backward_flow(clip, lambda first, second: torch.full((2, 2, 16, 16), 3.0))[1]
    assert float(nothing.sum()) == 0.0


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
