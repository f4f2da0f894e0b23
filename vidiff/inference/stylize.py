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
    device: str | torch.device | None = None,
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
        device: where to work, such as cuda:1; None: an accelerator where there is one, else the CPU.
        say: called with a line about the network, about what is passed over, or cannot be kept as it was.

    Returns:
        What became of each video. One alone that cannot be restyled raises its error instead.

    Raises:
        UsageError: the request cannot be carried out; nothing is written. RunError: the one video cannot be read.
    """
    at_least(SMALLEST, resolution=resolution)
    at_least(1, iterations=iterations, updates=updates)
    check_ckpt(method, ckpt)
    if not (math.isfinite(strength) and strength >= 0):
        raise UsageError(f"strength must be a number of at least 0, got {strength}")
    jobs, unusable = find_jobs(Path(input), Path(output), say)
    check_apart(jobs, Path(style))
    frames = read_style(Path(style), resolution)
    name = extractor or available_extractor()
    steps = Steps(resolution, keep_color, denoise, sharpen, pick_device(device))
    pictures = [Steps(resolution, keep_color, device=steps.device).pre_process(frame) for frame in frames]
    extract = style_extractor(name)
    taken = StyleMeasure(extract, pictures) if measure else None
    say(f"style by method {method} with features of {name}{BETTER if name != 'vgg19' else ''}")
    weights, flow = Weights(style=strength * Weights.style), flow_method("dis")
    if method == "optimize":
        optimization = Optimization(extract, pictures, weights, iterations, None if frame_by_frame else flow)
        change = frame_stylizer(optimization, steps, taken)
    else:
        record = {"name": Path(style).name, "extractor": name, "style": f"{style_digest(pictures)}-{weights}"}
        if ckpt is not None and Path(ckpt).exists():
            network = read_network(Path(ckpt), record["style"])
        else:
            network = style_network().to(steps.device)
            train(network, extract, pictures, training_pairs(jobs, steps), flow, weights, updates)
            if ckpt is not None:
                write_network(Path(ckpt), network, record)
        change = feedforward_stylizer(network.to(steps.device), steps, taken)
    made = f"style of {Path(style).name} by {method} with features of {name}"
    settings = dict(command="stylize", method=method, extractor=name, resolution=resolution, iterations=iterations)
    settings |= dict(updates=updates, strength=strength, keep_color=keep_color, denoise=denoise, sharpen=sharpen)
    origin = Origin(f"style transfer by {method}", settings=settings, inputs=(Path(style),))
    if ckpt is not None:
        origin = replace(origin, checkpoint=Path(ckpt).name, sha256=sha256_of(Path(ckpt)))
    results = list(run_jobs(jobs, unusable, change, say, made, origin))
    if taken is not None:
        say(taken.summary())
    return results


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
