"""Films in the style of a picture or of another film, in four steps: pre-process, extract, transfer, post-process."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from vidiff.consistency import StyleWeights
from vidiff.errors import UsageError, at_least
from vidiff.files import check_suffix, check_writable, sha256_of
from vidiff.flow import flow_method
from vidiff.inference.checkpoint import load_model, origin_of
from vidiff.inference.device import pick_device
from vidiff.inference.jobs import Job, Translated, find_jobs
from vidiff.inference.marking import marked
from vidiff.inference.panorama import around, shown_as
from vidiff.inference.style_measure import StyleMeasure
from vidiff.inference.style_network import (
    STYLE,
    SUFFIX,
    read_network,
    restyle,
    style_digest,
    style_network,
    train,
    training_pairs,
    write_network,
)
from vidiff.inference.style_steps import SMALLEST, Steps
from vidiff.inference.style_transfer import Before, Optimization
from vidiff.inference.translate import run_jobs
from vidiff.models.stylizer import StyleTranslator, stylizer
from vidiff.nn.by_frames import frame_by_frame
from vidiff.nn.resnet import has_clip_statistics, time_radius
from vidiff.nn.style_maps import ExtractorName, available_extractor, style_extractor
from vidiff.video.provenance import Origin
from vidiff.video.remux import Change, identities
from vidiff.video.spherical import Projection
from vidiff.video.style_source import read_style

Method = Literal["optimize", "feedforward"]
RESOLUTION = 160  # pixels of the shorter side: some CPU-seconds a frame
BETTER = "; VGG19's are better: `vidiff weights fetch vgg19` (575 MB)"


def stylize(
    input: str | Path,
    style: str | Path | None,
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
        style: a picture, or a video, of which up to 8 frames are taken; None: that of a run's checkpoint.
        output: a .mp4, .mov or .mkv; a folder where the input holds several videos.
        method: `optimize`: every frame by optimization; `feedforward`: a network is trained on frames of the input for
            the style, then restyles each frame in one pass.
        ckpt: a .safetensors of that network: used where it is, else written after its training. Or the checkpoint of a
            run of experiments/style.yaml, whose network is used instead; a style that is named too has to be its own.
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
        watermark: a text that is hidden in every frame, as `vidiff watermark embed` hides its key; None: none.
        say: called with a line about the network, about what is passed over, or cannot be kept as it was.

    Returns:
        What became of each video. One alone that cannot be restyled raises its error instead.

    Raises:
        UsageError: the request cannot be carried out; nothing is written. RunError: the one video cannot be read.
    """
    jobs, unusable = find_jobs(Path(input), Path(output), say)
    check_apart(jobs, style and Path(style))
    what = dict(method=method, ckpt=ckpt, updates=updates, extractor=extractor, resolution=resolution)
    what |= dict(iterations=iterations, strength=strength, keep_color=keep_color, denoise=denoise, sharpen=sharpen)
    what |= dict(frame_by_frame=frame_by_frame, measure=measure, projection=projection)
    painter, shown = Stylizer(style, **what, device=device, say=say), shown_as(projection, None)
    painter.prepare(jobs)
    change, origin = marked(watermark, painter.change, painter.origin())
    results = list(run_jobs(jobs, unusable, change, say, painter.made, origin, "restyling", shown))
    if painter.measure is not None:
        say(painter.measure.summary())
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
        style: str | Path | None,
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
        self.method, self.ckpt, self.style = method, None if ckpt is None else Path(ckpt), style and Path(style)
        self.steps = Steps(resolution, keep_color, denoise, sharpen, pick_device(device))
        self.projection, self.frame_by_frame = projection, frame_by_frame
        self.iterations, self.updates, self.network = iterations, updates, None
        self.settings = dict(command="stylize", method=method, resolution=resolution, strength=strength)
        self.settings |= dict(keep_color=keep_color, denoise=denoise, sharpen=sharpen)
        self.model = trained_stylizer(self.ckpt, self.style, self.steps.device) if is_run(self.ckpt) else None
        self.measure = None
        if self.model is not None:
            if strength != 1:
                raise UsageError(f"strength {strength}: that of {ckpt} was chosen in its training")
            self.network, self.made = self.model.network(0, 1), f"style of {self.model.style.name} by {self.ckpt.name}"
            self._words = f"style of {self.model.style.name} by the network of {self.ckpt}"
        if self.model is None or measure:
            self._read(extractor, strength, measure)
        self._say = say

    def _read(self, extractor: ExtractorName | None, strength: float, measure: bool) -> None:
        """Everything that is done with the style itself; a network of a run needs it to be measured alone."""
        if self.style is None:
            raise UsageError("style: name a picture or a video; without it only the checkpoint of a run makes a film")
        name, steps = extractor or available_extractor(), self.steps
        frames = read_style(self.style, steps.resolution)
        self.pictures = [replace(steps, denoise=False, sharpen=False).pre_process(frame) for frame in frames]
        self.extract = style_extractor(name)
        self.measure = StyleMeasure(self.extract, self.pictures) if measure else None
        if self.model is not None:
            return
        self._words = f"style by method {self.method} with features of {name}{BETTER if name != 'vgg19' else ''}"
        self.weights, self.flow = StyleWeights(style=strength * StyleWeights.style), flow_method("dis")
        self.made = f"style of {self.style.name} by {self.method} with features of {name}"
        # The name that the weights had when the first networks were kept: they are used as before.
        digest = f"{style_digest(self.pictures)}-{repr(self.weights).removeprefix('Style')}"
        self.record = {"name": self.style.name, "extractor": name, STYLE: digest}
        self.settings |= dict(extractor=name, iterations=self.iterations, updates=self.updates)
        if self.ckpt is not None and self.ckpt.exists():
            self.network = read_network(self.ckpt, digest)

    def origin(self) -> Origin:
        """What is said of the files; see `vidiff.video.provenance`."""
        inputs = () if self.style is None else (self.style,)
        if self.model is not None:
            return replace(origin_of(self.model, **self.settings), inputs=inputs)
        origin = Origin(f"style transfer by {self.method}", settings=self.settings, inputs=inputs)
        if self.ckpt is not None and self.ckpt.exists():
            origin = replace(origin, checkpoint=self.ckpt.name, sha256=sha256_of(self.ckpt))
        return origin

    def prepare(self, jobs: Sequence[Job]) -> None:
        """Train the network of method feedforward on frames of these films, where there is none yet."""
        self._prepare(jobs)
        self.change = self._told(self.change)
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
            self._tell()
            train(self.network, self.extract, self.pictures, pairs, self.flow, self.weights, self.updates)
            if self.ckpt is not None:
                write_network(self.ckpt, self.network, self.record)
        self.change = feedforward_stylizer(self.network.to(self.steps.device), self.steps, self.measure)

    def _tell(self) -> None:
        """Say, once, how the style is given."""
        words, self._words = self._words, ""
        if words:
            self._say(words)

    def _told(self, change: Change) -> Change:
        """The same, which tells how when a first frame has come: where none can be read, the error alone is said."""

        def telling(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
            for frame in frames:
                self._tell()
                yield frame

        return lambda frames: change(telling(frames))


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
            with torch.no_grad(), frame_by_frame(network) if source.device.type == "cpu" else nullcontext():
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
    if not Path(ckpt).exists():  # one is written; a run's is there
        check_suffix(ckpt, SUFFIX)
        check_writable(Path(ckpt))


def is_run(ckpt: Path | None) -> bool:
    """Whether a checkpoint is one of `vidiff fit`."""
    return ckpt is not None and ckpt.suffix == ".ckpt" and ckpt.exists()


def trained_stylizer(ckpt: Path, style: Path | None, device: torch.device) -> StyleTranslator:
    """The model of a run of experiments/style.yaml, for frames that come one by one.

    Args:
        ckpt: its checkpoint.
        style: what it is said to have been trained for; None: nothing is said.
        device: where to work.

    Raises:
        UsageError: it is of another family or style, or its network takes no color frames one by one. RunError: see
            `load_model`.
    """
    model = stylizer(load_model(ckpt, device))
    if style is not None:
        model.check_style(style)
    network = model.network(0, 1)
    if model.spec.channels != 3 or time_radius(network) or has_clip_statistics(network):
        raise UsageError(
            f"ckpt {ckpt}: its network takes no color frames one by one: `vidiff translate` shows it clips"
        )
    return model


def check_apart(jobs: Sequence[Job], style: Path | None) -> None:
    """Raise UsageError where an output would replace the style, whatever it is called."""
    for job in jobs if style else ():
        if identities([job.target]) & identities([style]):
            raise UsageError(f"{job.target}: the output would replace the style")
