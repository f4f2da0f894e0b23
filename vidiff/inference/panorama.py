"""Videos that show all around, and videos of two eyes, through networks and programs that know of neither."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from vidiff.errors import RunError, UsageError
from vidiff.models.translation import Translator
from vidiff.nn.circular import make_circular, see_single_eyes
from vidiff.nn.resnet import GRID
from vidiff.sphere import wrap
from vidiff.video.remux import Change
from vidiff.video.spherical import STEREO, Projection, Spherical, Stereo

ClipChange = Callable[[Tensor], Tensor]


def shown_as(projection: Projection | None, stereo: Stereo | None) -> Spherical | None:
    """What is said in the files that are made; None: what the source says.

    Raises:
        UsageError: there is no such projection, or no such order of the eyes.
    """
    if projection not in (None, "flat", "equirectangular"):
        raise UsageError(f"projection must be flat or equirectangular, got {projection!r}")
    if stereo not in (None, *STEREO):
        raise UsageError(f"stereo must be one of {', '.join(STEREO)}, got {stereo!r}")
    return None if projection is stereo is None else Spherical(projection or "flat", stereo or "mono")


def looking_around(model: Translator, projection: Projection | None) -> Translator:
    """The model where it was trained for this projection, else a copy of it whose networks look all around; one that
    was trained on two eyes as a copy that sees one."""
    turns = [see_single_eyes] if model.spec.projection == "stereo" else []
    turns += [make_circular] if projection == "equirectangular" != model.spec.projection else []
    if not turns:
        return model
    model = copy.deepcopy(model)
    for turn in turns:
        turn(model.generator)
        turn(model.generator_ema.module)
    return model


def check_around(clip: Tensor) -> None:
    """Refuse clips (..., H, W) whose seam would lie within a square of a network's grid."""
    if clip.shape[-1] % GRID:
        raise RunError(f"a panorama's width has to be a multiple of {GRID} (of both eyes each), it is {clip.shape[-1]}")


def each_eye(change: ClipChange, stereo: Stereo | None) -> ClipChange:
    """The same of clips (C, T, H, W) that hold the pictures of two eyes, each by itself."""
    if stereo in (None, "mono"):
        return change
    side = -1 if stereo == "left-right" else -2

    def both(clip: Tensor) -> Tensor:
        if clip.shape[side] % 2:
            raise RunError(f"stereo {stereo}: the frame cannot be halved, its side has {clip.shape[side]} pixels")
        return torch.cat([change(eye) for eye in clip.chunk(2, dim=side)], dim=side)

    return both


def around(change: Change, share: int = 8) -> Change:
    """A change of whole frames, such as style transfer, that knows no panoramas, for panoramas.

    Frames are continued beyond the seam by 1 / `share` of their width on either side. Of what comes back the
    continuation is cross-faded with the columns that it repeats: what it makes left and right of the seam meets.
    """

    def changed(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        size: list[int] = []

        def wide() -> Iterator[np.ndarray]:
            for frame in frames:
                size[:] = [frame.shape[1]]
                pad = frame.shape[1] // share
                yield np.concatenate([frame[:, -pad:], frame, frame[:, :pad]], axis=1)

        for frame in change(wide()):
            width = size[0]
            pad = width // share
            middle = frame[:, pad : pad + width].astype(np.float32)
            # At the seam both halves have weight 1/2; `pad` / 2 columns away only the middle counts.
            half = pad // 2
            rise = (np.arange(half, dtype=np.float32) + 0.5) / (2 * half) + 0.5  # of the middle, from the seam inwards
            left, right = frame[:, pad + width : pad + width + half], frame[:, pad - half : pad]
            middle[:, :half] += (left - middle[:, :half]) * (1 - rise)[:, None]
            middle[:, width - half :] += (right - middle[:, width - half :]) * (1 - rise[::-1])[:, None]
            yield (middle + 0.5).clip(0, 255).astype(np.uint8)

    return changed


def resized_around(resize: Callable[[Tensor, list[int]], Tensor], clip: Tensor, size: list[int]) -> Tensor:
    """A clip (..., H, W) resized by a function that knows no panoramas; widths are multiples of 4."""
    pad, new = clip.shape[-1] // 4, size[-1] // 4
    return resize(wrap(clip, pad), [size[0], size[1] + 2 * new])[..., new : new + size[1]]
