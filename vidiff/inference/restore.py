"""Videos of any length and size through a trained restoration: as `translate`, and larger where it learned that."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch.nn.functional as F

from vidiff.augment.degrade import to_8_bits
from vidiff.clip import clip_to_thwc, thwc_to_clip, uint8_to_unit
from vidiff.errors import UsageError
from vidiff.inference.checkpoint import origin_of
from vidiff.inference.jobs import Translated, find_jobs
from vidiff.inference.marking import marked
from vidiff.inference.panorama import shown_as
from vidiff.inference.translate import frame_translator, run_jobs, side_by_side
from vidiff.models.module import VideoModule
from vidiff.models.restorer import restorer
from vidiff.sphere import wrap
from vidiff.video.remux import Change
from vidiff.video.spherical import Projection, Stereo

TILE = 256  # pixels; where a network sees a bounded part of a frame, tiles give what the whole would
LARGEST_SCALE = 4
EDGE = 4  # pixels beyond a seam that bicubic interpolation may look at


def restore(
    model: VideoModule,
    input: str | Path,
    output: str | Path,
    *,
    scale: int | None = None,
    window: int | None = None,
    tile: int = TILE,
    projection: Projection | None = None,
    stereo: Stereo | None = None,
    compare: bool = False,
    ema: bool = True,
    watermark: str | None = None,
    say: Callable[[str], None] = warnings.warn,
) -> list[Translated]:
    """Restore a video, or every video of a folder; times, sound and subtitles stay, sizes are multiplied by `scale`.

    Args:
        model: one that restores, see `vidiff.load_model`.
        input: a video; a folder, manifest, strip or array of videos.
        output: a .mp4, .mov or .mkv; a folder where the input holds several videos.
        scale, window, tile, projection, stereo: see `vidiff.inference.restore.frame_restorer`.
        compare, ema: see `vidiff.inference.restore.frame_restorer`.
        watermark: a text that is hidden in every frame, as `vidiff watermark embed` hides its key; None: none.
        say: called with a line about what is passed over, or cannot be kept as it was.

    Returns:
        What became of each video. One alone that cannot be restored raises its error instead.

    Raises:
        UsageError: the request cannot be carried out; nothing is written. RunError: the one video cannot be read.
    """
    jobs, unusable = find_jobs(Path(input), Path(output), say)
    what = dict(scale=scale, window=window, tile=tile, projection=projection, stereo=stereo, compare=compare, ema=ema)
    origin = origin_of(model, command="restore", **what)
    change, origin = marked(watermark, frame_restorer(model, **what, say=say), origin)
    shown = shown_as(projection, stereo)
    return list(run_jobs(jobs, unusable, change, say, origin=origin, verb="restoring", shown=shown))


def frame_restorer(
    model: VideoModule,
    *,
    scale: int | None = None,
    window: int | None = None,
    tile: int = TILE,
    projection: Projection | None = None,
    stereo: Stereo | None = None,
    compare: bool = False,
    ema: bool = True,
    say: Callable[[str], None] = warnings.warn,
) -> Change:
    """A function of any number of RGB frames uint8 (H, W, 3): their restorations, one by one, in constant memory.

    Args:
        model: one that restores.
        scale: frames are enlarged this many times by bicubic interpolation before the network sees them, 1 to 4; None:
            as many times as the low resolution that the model learned to undo, 1 for other damage.
        window: frames that the network sees at once (memory); None: what it needs.
        tile: pixels of a frame, each way, that the network sees at once (memory).
        projection, stereo: see `vidiff.inference.translate.frame_translator`.
        compare: write input (enlarged as well) and output side by side.
        ema: the generator's moving average, not its raw weights.
        say: called with a line about what the tiles change.

    Raises:
        UsageError: the model does not restore, or a number cannot be used.
    """
    restores = restorer(model)
    scale = restores.scale if scale is None else scale
    if not 1 <= scale <= LARGEST_SCALE:
        raise UsageError(f"scale must be from 1 to {LARGEST_SCALE}, got {scale}")
    restored = frame_translator(
        restores, window=window, tile=tile, projection=projection, stereo=stereo, ema=ema, say=say
    )
    wraps = (projection or restores.spec.projection) == "equirectangular"
    restored = side_by_side(restored) if compare else restored
    return restored if scale == 1 else lambda frames: restored(enlarged(frames, scale, wraps))


def enlarged(frames: Iterable[np.ndarray], scale: int, wraps: bool = False) -> Iterator[np.ndarray]:
    """RGB frames uint8 (H, W, 3) -> (scale H, scale W, 3), bicubic as in `vidiff.augment.degrade.LowResolution`; all
    around where `wraps`."""
    pad = EDGE if wraps else 0
    for frame in frames:
        x = uint8_to_unit(thwc_to_clip(frame[None])).transpose(0, 1)  # (C, 1, H, W) -> (1, C, H, W)
        x = wrap(x, pad)
        size = [side * scale for side in x.shape[2:]]
        x = to_8_bits(F.interpolate(x, size, mode="bicubic"))[..., pad * scale : size[1] - pad * scale]
        yield clip_to_thwc((x * 255).round().byte().transpose(0, 1))[0]
