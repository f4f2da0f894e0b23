"""What `edit` can do with a segment: each public function here is an operation, its arguments the keys of a plan.

Torch is imported by those that need it, when a plan names them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vidiff.errors import UsageError
from vidiff.inference.jobs import Job
from vidiff.video.provenance import Origin
from vidiff.video.remux import Change

SLOWEST, FASTEST = 0.25, 8.0
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of BT.601


@dataclass(frozen=True)
class Operation:
    """What becomes of the frames of a segment.

    Args:
        change: as many frames out as in.
        count: how many of so many frames go through it; 0: the segment is left out.
        scale: how many times larger they come out.
        about: for the comment of the file.
        origin: gives what is said of frames that a model makes; None: none does.
    """

    change: Change = iter
    count: Callable[[int], int] = lambda number: number
    scale: int = 1
    about: str = ""
    origin: Callable[[], Origin] | None = None


@dataclass
class Setting:
    """What all operations of a plan share.

    Args:
        source: the video.
        device, trust: see `vidiff.load_model`.
        say: called with a line about what cannot be kept as it was.
    """

    source: Path
    device: str | None
    trust: tuple[str, ...]
    say: Callable[[str], None]
    models: dict[str, Any] = field(default_factory=dict)

    def model(self, ckpt: Path):
        """The model of a checkpoint, loaded once."""
        from vidiff.inference.checkpoint import load_model

        if str(ckpt) not in self.models:
            self.models[str(ckpt)] = load_model(ckpt, self.device, self.trust)
        return self.models[str(ckpt)]


def keep(setting: Setting) -> Operation:
    """The segment as it is."""
    return Operation(about="keep")


def drop(setting: Setting) -> Operation:
    """The segment is left out, with its sound."""
    return Operation(count=lambda number: 0, about="drop")


def speed(setting: Setting, *, factor: float) -> Operation:
    """Faster or slower: of n frames round(n / factor) are shown, at least 1; sound keeps its pitch.

    Args:
        factor: 2 for twice as fast, 0.5 for half as fast; from 0.25 to 8.
    """
    if not SLOWEST <= factor <= FASTEST:
        raise UsageError(f"factor must be from {SLOWEST} to {FASTEST:g}, got {factor}")
    return Operation(count=lambda number: max(1, int(number / factor + 0.5)), about=f"speed {factor:g}")


def color(
    setting: Setting, *, brightness: float = 0.0, contrast: float = 1.0, saturation: float = 1.0, gamma: float = 1.0
) -> Operation:
    """Other colors: x in [0, 1] becomes y + saturation (x - y), y its luma (BT.601); then contrast (x - 1/2) + 1/2 +
    brightness, clipped; then x^(1 / gamma).

    Args:
        brightness: from -1 to 1.
        contrast, saturation: at least 0.
        gamma: above 0; more than 1 is brighter.
    """
    if not -1 <= brightness <= 1:
        raise UsageError(f"brightness must be from -1 to 1, got {brightness}")
    if not (contrast >= 0 and saturation >= 0):
        raise UsageError(f"contrast and saturation must be at least 0, got {contrast} and {saturation}")
    if not gamma > 0:
        raise UsageError(f"gamma must be above 0, got {gamma}")

    def change(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for frame in frames:
            x = frame.astype(np.float32) / 255
            luma = (x @ LUMA)[..., None]
            x = contrast * (luma + saturation * (x - luma) - 0.5) + 0.5 + brightness
            yield (np.clip(x, 0, 1) ** (1 / gamma) * 255 + 0.5).astype(np.uint8)

    return Operation(change, about="color")


def translate(
    setting: Setting,
    *,
    ckpt: Path,
    direction: str | None = None,
    target: str | None = None,
    resolution: int | None = None,
    window: int | None = None,
    tile: int | None = None,
    ema: bool = True,
) -> Operation:
    """Through a trained translation.

    Args:
        ckpt: a checkpoint, or zoo:NAME.
        direction, target, resolution, window, tile: see `vidiff.inference.translate.frame_translator`.
        ema: see `vidiff.inference.translate.frame_translator`.
    """
    from vidiff.inference.checkpoint import origin_of
    from vidiff.inference.translate import frame_translator

    what = dict(direction=direction, target=target, resolution=resolution, window=window, tile=tile, ema=ema)
    model = setting.model(ckpt)
    change = frame_translator(model, **what, say=setting.say)
    return Operation(change, about="translate", origin=lambda: origin_of(model, **what))


def restore(
    setting: Setting,
    *,
    ckpt: Path,
    scale: int | None = None,
    window: int | None = None,
    tile: int = 256,
    ema: bool = True,
) -> Operation:
    """Through a trained restoration.

    Args:
        ckpt: a checkpoint, or zoo:NAME.
        scale, window, tile, ema: see `vidiff.inference.restore.frame_restorer`.
    """
    from vidiff.inference.checkpoint import origin_of
    from vidiff.inference.restore import frame_restorer
    from vidiff.models.restorer import restorer

    model = restorer(setting.model(ckpt))
    what = dict(scale=scale, window=window, tile=tile, ema=ema)
    change, larger = frame_restorer(model, **what, say=setting.say), model.scale if scale is None else scale
    return Operation(change, scale=larger, about="restore", origin=lambda: origin_of(model, **what))


def stylize(
    setting: Setting,
    *,
    style: Path | None = None,
    method: Literal["optimize", "feedforward"] = "optimize",
    ckpt: Path | None = None,
    updates: int = 300,
    extractor: Literal["vgg19", "vgg16", "vgg16_hed", "lite0"] | None = None,
    resolution: int = 160,
    iterations: int = 15,
    strength: float = 1.0,
    keep_color: bool = False,
    denoise: bool = False,
    sharpen: bool = False,
    frame_by_frame: bool = False,
) -> Operation:
    """In the style of a picture or of another video; a network of method feedforward is trained on the whole video.

    Args:
        style, method, ckpt, updates: see `vidiff.inference.stylize.stylize`.
        extractor, resolution, iterations: see `vidiff.inference.stylize.stylize`.
        strength, keep_color, denoise, sharpen, frame_by_frame: see `vidiff.inference.stylize.stylize`.
    """
    from vidiff.inference.stylize import Stylizer

    what = dict(method=method, ckpt=ckpt, updates=updates, extractor=extractor, resolution=resolution)
    what |= dict(iterations=iterations, strength=strength, keep_color=keep_color, denoise=denoise, sharpen=sharpen)
    stylizer = Stylizer(style, **what, frame_by_frame=frame_by_frame, device=setting.device, say=setting.say)

    def change(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        stylizer.prepare([Job(setting.source, setting.source)])  # not before the whole plan was found sound
        yield from stylizer.change(frames)

    return Operation(change, about=stylizer.made, origin=stylizer.origin)


def operations() -> dict[str, Callable[..., Operation]]:
    """Name -> operation."""
    functions = (f for f in globals().values() if inspect.isfunction(f) and f.__module__ == __name__)
    return {f.__name__: f for f in functions if "setting" in inspect.signature(f).parameters}
