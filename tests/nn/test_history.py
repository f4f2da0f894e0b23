"""The buffer of past clips: it fills, exchanges half of the clips, and resumes."""

from __future__ import annotations

import torch

from vidiff.clip import ClipSpec
from vidiff.nn.history import History


def numbered(slots) -> torch.Tensor:
    """Clips whose pixels all say their slot."""
    return torch.stack([torch.full((3, 1, 8, 8), float(s)) for s in slots])


def test_history_fills_and_then_exchanges():
    buffer = History(ClipSpec(num_frames=1, resolution=8), size=6)
    shown = [int(buffer.exchange(numbered([s]), [s], 0, "a")[0, 0, 0, 0, 0]) for s in range(406)]
    assert shown[:6] == list(range(6)) and int(buffer.kept) == 6
    old = [s for s, now in zip(shown[6:], range(6, 406)) if s != now]
    assert 150 < len(old) < 250  # one half, three standard deviations at most 30
    assert len(set(old)) == len(old)  # what was shown is gone
    assert sum(n - s > 30 for s, n in zip(shown, range(406))) > 5  # some stay long


def test_history_resumes_and_is_a_function_of_slots():
    spec = ClipSpec(num_frames=1, resolution=8)
    straight, first, second = (History(spec, 3) for _ in range(3))
    whole = [straight.exchange(numbered(r), r, 1, "b") for r in ([0, 1], [2, 3], [4, 5], [6, 7], [8, 9])]
    parts = [first.exchange(numbered(r), r, 1, "b") for r in ([0, 1, 2, 3],)]  # another batch size
    second.load_state_dict(first.state_dict())
    parts += [second.exchange(numbered(r), r, 1, "b") for r in ([4, 5, 6], [7], [8, 9])]
    assert torch.equal(torch.cat(whole), torch.cat(parts)) and torch.equal(straight.clips, second.clips)
    nothing = History(spec, 0)
    assert torch.equal(nothing.exchange(numbered([4]), [4], 1), numbered([4]))
