"""Films in the style of a picture or of another film, in four steps: pre-process, extract, transfer, post-process."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from vidiff.errors import UsageError, at_least
from vidiff.files import check_suffix, check_writable, sha256_of
from vidiff.flow import flow_method
from vidiff.inference.device import pick_device
from vidiff.inference.jobs import Job, Translated, find_jobs
from vidiff.inference.marking import marked
from vidiff.inference.panorama import around, shown_as
from vidiff.inference.style_measure import StyleMeasure
from vidiff.inference.style_network import (
    SUFFIX,
    read_network,
    restyle,
    style_digest,
    style_network,
    train,
    training_pairs,
    write_network,
)
from vidiff.inference.style_source import read_style
from vidiff.inference.style_steps import SMALLEST, Steps
from vidiff.inference.style_transfer import Before, Optimization, Weights
from vidiff.inference.translate import run_jobs
from vidiff.nn.style_maps import ExtractorName, available_extractor, style_extractor
from vidiff.video.provenance import Origin
from vidiff.video.remux import Change, identities
from vidiff.video.spherical import Projection

Method = Literal["optimize", "feedforward"]
RESOLUTION = 160  # pixels of the shorter side: some CPU-seconds a frame
BETTER = "; VGG19's are better: `vidiff weights fetch vgg19` (575 MB)"


def stylize(
    input: str | Path,
    style: str | Path,
    output: str | Path,
    *,
    method: Method = "optimize",
    ckpt: str | Path | None = None,
    updates: int = 300,
    extractor: ExtractorName | None = None,
    resolution: int = RESOLUTION,
    iterations: int = 15,
    strength: float = 1.0,
    keep_color: bool = False,
    denoise: bool = False,
    sharpen: bool = False,
    frame_by_frame: bool = False,
    measure: bool = False,
    projection: Projection | None = None,
    device: str | torch.device | None = None,
    watermark: str | None = None,
    say: Callable[[str], None] = warnings.warn,
) -> list[Translated]:
    """Give a video, or every video of a folder, the style of a picture or of another video; times, sizes, sound stay.

    Args:
        input: a video; a folder, manifest, strip or array of videos.
        style: a picture, or a video, of which up to 8 frames are taken.
        output: a .mp4, .mov or .mkv; a folder where the input holds several videos.
        method: `optimize`: every frame by optimization; `feedforward`: a network is trained on frames of the input for
            the style, then restyles each frame in one pass.
        ckpt: a .safetensors of that network: used where it is, else written after its training.
        updates: of the training of that network.
        extractor: the network whose features tell content and style: vgg19, vgg16, vgg16_hed or lite0; None: the first
            of these that is here.
        resolution: pixels of the shorter side that is worked at, where the video has more; it keeps its own size.
        iterations: of the optimization of a frame; 4 times as many for the first one of a shot.
        strength: factor of the style's weight: 0.1 for a hint of it, 10 for little else.
        keep_color: only the brightness is restyled.
        denoise: smooth noise away first.
        sharpen: sharpen the result.
        frame_by_frame: each frame on its own, without the one before it: it flickers, and is there to compare with.
        measure: say how near to the style it is, how much of the content is left, and how much it flickers.
        projection: `equirectangular`: the video shows all around; frames are continued beyond the seam, and the
            continuation is cross-faded with what it repeats.
        device: where to work, such as cuda:1; None: an accelerator where there is one, else the CPU.
        watermark: a text that is hidden in every frame, see `vidiff.inference.watermark.embed_watermark`; None: none.
        say: called with a line about the network, about what is passed over, or cannot be kept as it was.

    Returns:
        What became of each video. One alone that cannot be restyled raises its error instead.

    Raises:
        UsageError: the request cannot be carried out; nothing is written. RunError: the one video cannot be read.
    """
    jobs, unusable = find_jobs(Path(input), Path(output), say)
    check_apart(jobs, Path(style))
    what = dict(method=method, ckpt=ckpt, updates=updates, extractor=extractor, resolution=resolution)
    what |= dict(iterations=iterations, strength=strength, keep_color=keep_color, denoise=denoise, sharpen=sharpen)
    what |= dict(frame_by_frame=frame_by_frame, measure=measure, projection=projection)
    stylizer, shown = Stylizer(style, **what, device=device, say=say), shown_as(projection, None)
    stylizer.prepare(jobs)
    change, origin = marked(watermark, stylizer.change, stylizer.origin())
    results = list(run_jobs(jobs, unusable, change, say, stylizer.made, origin, "restyling", shown))
    if stylizer.measure is not None:
        say(stylizer.measure.summary())
    return results


class Stylizer:
    """Gives frames a style; see `stylize` for its arguments.

    `change` of RGB frames uint8 (H, W, 3) gives the same in the style, one by one, in constant memory; it is there
    once `prepare` was called.

    Raises:
        UsageError, RunError: the style, or what it is to be found with, cannot be used.
    """

    def __init__(
        self,
        style: str | Path,
        *,
        method: Method = "optimize",
        ckpt: str | Path | None = None,
        updates: int = 300,
        extractor: ExtractorName | None = None,
        resolution: int = RESOLUTION,
        iterations: int = 15,
        strength: float = 1.0,
        keep_color: bool = False,
        denoise: bool = False,
        sharpen: bool = False,
        frame_by_frame: bool = False,
        measure: bool = False,
        projection: Projection | None = None,
        device: str | torch.device | None = None,
        say: Callable[[str], None] = warnings.warn,
    ):
        at_least(SMALLEST, resolution=resolution)
        at_least(1, iterations=iterations, updates=updates)
        check_ckpt(method, ckpt)
        if not (math.isfinite(strength) and strength >= 0):
            raise UsageError(f"strength must be a number of at least 0, got {strength}")
        frames, name = read_style(Path(style), resolution), extractor or available_extractor()
        self.steps = Steps(resolution, keep_color, denoise, sharpen, pick_device(device))
        self.pictures = [Steps(resolution, keep_color, device=self.steps.device).pre_process(frame) for frame in frames]
        self.extract = style_extractor(name)
        self.measure = StyleMeasure(self.extract, self.pictures) if measure else None
        say(f"style by method {method} with features of {name}{BETTER if name != 'vgg19' else ''}")
        self.weights, self.flow = Weights(style=strength * Weights.style), flow_method("dis")
        self.frame_by_frame, self.iterations, self.updates = frame_by_frame, iterations, updates
        self.method, self.ckpt, self.network = method, None if ckpt is None else Path(ckpt), None
        self.made = f"style of {Path(style).name} by {method} with features of {name}"
        digest = f"{style_digest(self.pictures)}-{self.weights}"
        self.record = {"name": Path(style).name, "extractor": name, "style": digest}
        self.settings = dict(command="stylize", method=method, extractor=name, resolution=resolution)
        self.settings |= dict(iterations=iterations, updates=updates, strength=strength, keep_color=keep_color)
        self.settings |= dict(denoise=denoise, sharpen=sharpen)
        self.style, self.projection = Path(style), projection
        if self.ckpt is not None and self.ckpt.exists():
            self.network = read_network(self.ckpt, digest)

    def origin(self) -> Origin:
        """What is said of the files; see `vidiff.video.provenance`."""
        origin = Origin(f"style transfer by {self.method}", settings=self.settings, inputs=(self.style,))
        if self.ckpt is not None and self.ckpt.exists():
            origin = replace(origin, checkpoint=self.ckpt.name, sha256=sha256_of(self.ckpt))
        return origin

    def prepare(self, jobs: Sequence[Job]) -> None:
        """Train the network of method feedforward on frames of these films, where there is none yet."""
        self._prepare(jobs)
        if self.projection == "equirectangular":
            self.change = around(self.change)

    def _prepare(self, jobs: Sequence[Job]) -> None:
        if self.method == "optimize":
            flow = None if self.frame_by_frame else self.flow
            optimization = Optimization(self.extract, self.pictures, self.weights, self.iterations, flow)
            self.change = frame_stylizer(optimization, self.steps, self.measure)
            return
        if self.network is None:
            self.network = style_network().to(self.steps.device)
            pairs = training_pairs(jobs, self.steps)
            train(self.network, self.extract, self.pictures, pairs, self.flow, self.weights, self.updates)
            if self.ckpt is not None:
                write_network(self.ckpt, self.network, self.record)
        self.change = feedforward_stylizer(self.network.to(self.steps.device), self.steps, self.measure)


def video_style_transfer(
    input_video: str | Path, style_video: str | Path, output_video: str | Path, **options
) -> list[Translated]:
    """`stylize`, under the name that it is looked for by: the style of one video, or picture, for another.

    Args:
        input_video, style_video, output_video: `input`, `style` and `output` of `stylize`.
        options: its further arguments.
    """
    return stylize(input_video, style_video, output_video, **options)


def frame_stylizer(optimization: Optimization, steps: Steps, measure: StyleMeasure | None = None) -> Change:
    """A function of any number of RGB frames uint8 (H, W, 3): the same in the style, one by one, in constant memory.

    Args:
        optimization: what finds a frame in the style.
        steps: what is done before and after.
        measure: is told of every frame.
    """

    def change(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        before: Before | None = None
        for image in frames:
            source = steps.pre_process(image)
            maps = optimization.extract_content(source)
            before = optimization.transfer(image, source, maps, before)
            if measure is not None:
                measure.add(image, source, before.result)
            yield steps.post_process(image, before.result)

    return change


def feedforward_stylizer(network: nn.Module, steps: Steps, measure: StyleMeasure | None = None) -> Change:
    """As `frame_stylizer`, by a network that was trained for the style; its features were extracted in its training.

    Args:
        network: see `style_network`.
        steps, measure: see `frame_stylizer`.
    """
    network.eval().requires_grad_(False)

    def change(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for image in frames:
            source = steps.pre_process(image)
            result = restyle(network, source)
            if measure is not None:
                measure.add(image, source, result)
            yield steps.post_process(image, result)

    return change


def check_ckpt(method: Method, ckpt: str | Path | None) -> None:
    """Raise UsageError where a network's file is named that this method has no use for, or that cannot be written."""
    if method not in ("optimize", "feedforward"):
        raise UsageError(f"method must be optimize or feedforward, got {method!r}")
    if ckpt is None:
        return
    if method == "optimize":
        raise UsageError("ckpt: there is no network to keep with method optimize; method feedforward trains one")
    if not Path(ckpt).exists():
        check_suffix(ckpt, SUFFIX)
        check_writable(Path(ckpt))


def check_apart(jobs: Sequence[Job], style: Path) -> None:
    """Raise UsageError where an output would replace the style, whatever it is called."""
    for job in jobs:
        if identities([job.target]) & identities([style]):
            raise UsageError(f"{job.target}: the output would replace the style")
