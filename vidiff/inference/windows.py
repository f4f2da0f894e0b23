"""A video of any length through a network that takes clips: overlapping windows in time, cross-faded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor

from vidiff.errors import UsageError
from vidiff.nn.resnet import has_clip_statistics, time_radius


def plan(network: torch.nn.Module, num_frames: int, window: int | None) -> tuple[int, int, int]:
    """(window, trim, fade) in frames for a generator trained on clips of `num_frames`.

    A network without statistics over the clip is exact away from a window's ends: `trim` frames, its receptive field in
    time, are dropped there, and the fade only hides rounding. Else, and where a frame may depend on all others, no
    frame is exact, and half a window is faded.
    """
    if num_frames == 1:
        return 1, 0, 0
    if has_clip_statistics(network):
        window = window or max(16, num_frames)
        return window, 0, window // 2
    trim, fade = time_radius(network), 2
    window = window or max(num_frames, 4 * trim + 2 * fade)
    check_room("window", window, trim, 2 * trim + fade, "frames")
    return window, trim, fade


def check_room(name: str, size: int, radius: int, used: int, unit: str) -> None:
    """Raise UsageError where both ends of a window or tile, which take `used` of it, leave nothing between them."""
    if size <= used:
        raise UsageError(
            f"{name} {size}: this generator sees {radius} {unit} to either side, so a {name} needs more than {used} "
            f"{unit}"
        )


def through_windows(
    frames: Iterable[Tensor], network: Callable[[Tensor], Tensor], window: int, trim: int, fade: int, batch: int = 1
) -> Iterator[Tensor]:
    """As many frames as come in, in order; never more than `batch` windows of them are held, and those between two.

    Where two windows meet, `trim` frames of each are dropped and the next `fade` are mixed with weights that rise
    evenly. The last window is as long as the others and reaches further back instead.

    Args:
        frames: (C, H, W), any dtype.
        network: clips (N, C, T, H, W), N <= `batch` windows of T <= `window` frames -> float clips (N, C, T, H, W).
        window, trim, fade: frames; window > 2 * trim + fade.
        batch: windows that the network gets at once.
    """
    step, hold = window - 2 * trim - fade, trim + fade
    assert step > 0 and trim >= 0 and fade >= 0 and batch > 0
    windows = _windows(frames, window, step)
    held: Tensor | None = None  # the last `hold` frames that came out of the window before
    while some := list(islice(windows, batch)):
        for out, (clip, new) in zip(network(torch.stack([clip for clip, _ in some])), some):
            if held is not None:
                out = out[:, clip.shape[1] - new - hold :]
                if fade:
                    weight = torch.arange(1, fade + 1, dtype=out.dtype, device=out.device) / (fade + 1)
                    mixed = torch.lerp(held[:, :fade], out[:, :fade], weight[:, None, None])
                    out = torch.cat([mixed, out[:, fade:]], dim=1)
            ready = max(0, out.shape[1] - hold)
            yield from out[:, :ready].unbind(1)
            held = out[:, ready:]
    if held is not None:
        yield from held.unbind(1)


def _windows(frames: Iterable[Tensor], window: int, step: int) -> Iterator[tuple[Tensor, int]]:
    """Clips (C, T, H, W), and how many of the frames of each were in none before; only one by itself is shorter."""
    source = iter(frames)
    kept: list[Tensor] = []
    new = list(islice(source, window))
    while new:
        kept = (kept + new)[-window:]
        yield torch.stack(kept, dim=1), len(new)
        new = list(islice(source, step))
