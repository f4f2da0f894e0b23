"""Videos of any length and size through a trained translation, in constant memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import tee
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidiff.clip import clip_to_thwc, signed_to_uint8, thwc_to_clip, uint8_to_unit, unit_to_signed
from vidiff.errors import at_least, one_by_one
from vidiff.inference.checkpoint import origin_of
from vidiff.inference.jobs import UNKNOWN, Job, Translated, find_jobs
from vidiff.inference.marking import marked
from vidiff.inference.panorama import check_around, each_eye, looking_around, resized_around, shown_as
from vidiff.inference.tiles import on_grid, plan_tiles, space_radius, through_tiles
from vidiff.inference.windows import plan, through_windows
from vidiff.models.allocator import keep_memory
from vidiff.models.translation import Translator, translator
from vidiff.nn.by_frames import frame_by_frame
from vidiff.nn.resnet import GRID
from vidiff.video.provenance import Origin
from vidiff.video.remux import MARK, Change
from vidiff.video.spherical import Projection, Spherical, Stereo


def translate_video(
    model: Translator,
    input: str | Path,
    output: str | Path,
    *,
    direction: str | None = None,
    target: str | None = None,
    resolution: int | None = None,
    window: int | None = None,
    tile: int | None = None,
    batch_size: int = 1,
    projection: Projection | None = None,
    stereo: Stereo | None = None,
    compare: bool = False,
    ema: bool = True,
    watermark: str | None = None,
    say: Callable[[str], None] = warnings.warn,
) -> list[Translated]:
    """Translate a video, or every video of a folder; times, sizes, sound and subtitles stay.

    Args:
        model: one that translates, see `vidiff.load_model`.
        input: a video; a folder, manifest, strip or array of videos.
        output: a .mp4, .mov or .mkv; a folder where the input holds several videos.
        direction, target, resolution, window, tile, batch_size: see `vidiff.inference.translate.frame_translator`.
        projection, stereo: see `vidiff.inference.translate.frame_translator`; the files say it, in the boxes that
            players look for. None: they say what the source says.
        compare, ema: see `vidiff.inference.translate.frame_translator`.
        watermark: a text that is hidden in every frame, as `vidiff watermark embed` hides its key; None: none.
        say: called with a line about what is passed over, or cannot be kept as it was.

    Returns:
        What became of each video. One alone that cannot be translated raises its error instead.

    Raises:
        UsageError: the request cannot be carried out; nothing is written. RunError: the one video cannot be read.
    """
    jobs, unusable = find_jobs(Path(input), Path(output), say)
    what = dict(direction=direction, target=target, resolution=resolution, window=window, tile=tile, compare=compare)
    what |= dict(projection=projection, stereo=stereo)
    origin = origin_of(model, command="translate", **what, ema=ema)
    change = frame_translator(model, **what, ema=ema, say=say, batch_size=batch_size)
    change, origin = marked(watermark, change, origin)
    return list(run_jobs(jobs, unusable, change, say, origin=origin, shown=shown_as(projection, stereo)))


def run_jobs(
    jobs: Sequence[Job],
    unusable: Sequence[Translated],
    change: Change,
    say: Callable[[str], None],
    made: str = "",
    origin: Origin | None = UNKNOWN,
    verb: str = "translating",
    shown: Spherical | None = None,
    mark: str = MARK,
) -> Iterator[Translated]:
    """Yield what became of each of `find_jobs`' videos as soon as it is known; see `translate_video`, and `Job.run` for
    `made`, `origin`, `shown` and `mark`; `verb` is what messages call it."""
    yield from unusable
    alone = len(jobs) + len(unusable) == 1
    for job, frames, error in one_by_one(
        jobs, lambda job: job.run(change, say, made, origin, shown, mark), verb, alone
    ):
        yield Translated(job.source, error=error) if error else Translated(job.source, job.target, frames)


def frame_translator(
    model: Translator,
    *,
    direction: str | None = None,
    target: str | None = None,
    resolution: int | None = None,
    window: int | None = None,
    tile: int | None = None,
    batch_size: int = 1,
    projection: Projection | None = None,
    stereo: Stereo | None = None,
    compare: bool = False,
    ema: bool = True,
    say: Callable[[str], None] = warnings.warn,
) -> Change:
    """A function of any number of RGB frames uint8 (H, W, 3): their translations, one by one, in constant memory.

    Args:
        model: one that translates.
        direction: a2b or b2a, of two domains; None: a2b, without a target.
        target: instead, the domain to translate to, by name or number.
        resolution: pixels of the shorter side that the network works at; None: the video's own.
        window: frames that the network sees at once (memory); None: what it was trained on, or needs.
        tile: pixels of a frame, each way, that the network sees at once (memory); None: all.
        batch_size: windows that it gets at once (memory): more keep a GPU busy; the frames are the same.
        projection: `equirectangular`: frames show all around, their left side continues the right one, and every
            convolution, window and tile looks across that seam; None: as the model was trained.
        stereo: `left-right` or `top-bottom`: frames hold the pictures of two eyes, which are translated one by one.
        compare: write input and output side by side.
        ema: the generator's moving average, not its raw weights.
        say: called with a line about what the tiles change.

    Raises:
        UsageError: there is no such direction, or a number is too small for this network.
    """
    pair = translator(model).pair(direction, target)
    at_least(8, resolution=resolution)
    at_least(1, window=window, batch_size=batch_size)
    at_least(16, tile=tile)
    shown_as(projection, stereo)
    stereo = "left-right" if stereo is None and model.spec.projection == "stereo" else stereo
    model = looking_around(model, projection)
    wraps = (projection or model.spec.projection) == "equirectangular"
    network, mapping = model.network(*pair, ema), model.mapping(*pair, ema)
    if model.device.type == "cpu":
        keep_memory()
    windows = plan(network, model.spec.num_frames, window)
    tiles = plan_tiles(network, tile) if tile else None
    if tiles and space_radius(network) is None:
        say("this generator sees the whole frame at once: tiles are cross-faded, and not what the whole would be")

    def run(clips: Tensor) -> Tensor:
        """float (N, C, T, H, W) -> the same on the CPU; only this much is on the device."""
        with torch.no_grad(), frame_by_frame(network) if model.device.type == "cpu" else nullcontext():
            return mapping(clips.to(model.device, model.dtype)).float().cpu()

    def translate(clips: Tensor) -> Tensor:
        """uint8 (N, 3, T, H, W) -> float (N, 3, T, H, W) in [-1, 1]."""
        x = unit_to_signed(uint8_to_unit(clips))
        x = x.mean(1, keepdim=True) if model.spec.channels == 1 else x
        return each_eye(translate_eye, stereo)(x).expand(-1, 3, -1, -1, -1)

    def translate_eye(x: Tensor) -> Tensor:
        whole = (lambda part: through_tiles(part, run, *tiles, wraps)) if tiles else run
        _ = wraps and check_around(x)
        return _scaled(x, whole, resolution, wraps) if resolution else on_grid(x, whole)

    def change(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        images = (thwc_to_clip(frame[None])[:, 0] for frame in frames)  # (H, W, 3) -> (3, H, W)
        for frame in through_windows(images, translate, *windows, batch_size):
            yield clip_to_thwc(signed_to_uint8(frame.unsqueeze(1)))[0]

    return side_by_side(change) if compare else change


def side_by_side(change: Change) -> Change:
    """The same change, each of its frames to the right of the one it was made of."""

    def both(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        sources, frames = tee(frames)  # those whose translations are still in a window wait here
        for image, source in zip(change(frames), sources):
            yield np.concatenate([source, image], axis=1)

    return both


def _scaled(clip: Tensor, network: Callable[[Tensor], Tensor], resolution: int, wraps: bool = False) -> Tensor:
    """Float clips (..., H, W) through a network at about `resolution` pixels on the shorter side, and back."""
    h, w = clip.shape[-2:]
    scale = resolution / min(h, w)
    size = [max(GRID, round(side * scale / GRID) * GRID) for side in (h, w)]
    resize = partial(resized_around, _resized) if wraps else _resized
    return resize(network(resize(clip, size)), [h, w])


def _resized(clip: Tensor, size: list[int]) -> Tensor:
    planes = clip.flatten(0, -3).unsqueeze(1)  # (N, C, T, H, W) -> (N*C*T, 1, H, W)
    return F.interpolate(planes, size, mode="bilinear", antialias=True).view(*clip.shape[:-2], *size)
