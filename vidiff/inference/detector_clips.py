"""Clips that a detector learns from and is measured on: real ones, generated ones, tampered ones, all encoded alike."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vidiff import keyed
from vidiff.augment.tamper import KINDS, tamper
from vidiff.clip import thwc_to_clip
from vidiff.configs import find_experiment
from vidiff.data.datamodule import ClipDataModule
from vidiff.data.shapes.scene import STYLES, render_scene
from vidiff.data.splits import Split
from vidiff.errors import RunError, UsageError, at_least, unknown_name
from vidiff.files import read_yaml
from vidiff.inference.checkpoint import load_model
from vidiff.models.module import VideoModule
from vidiff.models.translation import Translator
from vidiff.progress import track
from vidiff.video.pyav import PyAVReader
from vidiff.video.write import write_mp4

CLASSES = ("real", "generated", "tampered")  # the default names; a checkpoint has its own
SPLITS = {"train": 2001, "val": 2002, "test": 2003}  # seeds of scenes, latents and cuts: none is shared
RENDERED = 64  # pixels of a scene, before it is brought to the detector's resolution
CRF = (None, 18, 23, 28)  # of the encoding of a clip; None: it is not encoded


@dataclass(frozen=True)
class DetectorConfig:
    """What a detector is trained on, and how: the keys of a file in experiments/detectors.

    Args:
        real: folder of videos; None: the embedded scenes, in all styles.
        generators: checkpoints, or zoo:NAME, of models that make clips or translate them.
        unseen: further ones, which are measured and not trained on.
        classes: names of the three classes: real, generated, tampered.
        num_frames, resolution: of the clips; what the generators make is brought to it.
        train_clips, held_out_clips: of each class.
        network: class_path and init_args of a network, see `vidiff.nn.detector.ClipDetector`.
        steps, batch_size, rate: of the training.
        seed: of weights and batches.
    """

    real: str | None = None
    generators: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=lambda: list(CLASSES))
    num_frames: int = 16
    resolution: int = 32
    train_clips: int = 384
    held_out_clips: int = 160
    network: dict[str, Any] = field(default_factory=lambda: {"class_path": "vidiff.nn.detector.ClipDetector"})
    steps: int = 400
    batch_size: int = 24
    rate: float = 0.003
    seed: int = 0

    def __post_init__(self):
        if not self.generators:
            raise UsageError("generators: name at least one checkpoint, or zoo:NAME")
        if len(self.classes) != len(CLASSES) or len(set(self.classes)) != len(CLASSES):
            raise UsageError(f"classes: three names are needed, for {', '.join(CLASSES)}; got {self.classes}")
        at_least(8, num_frames=self.num_frames, resolution=self.resolution, held_out_clips=self.held_out_clips)
        at_least(1, steps=self.steps, train_clips=self.train_clips)
        at_least(len(CLASSES), batch_size=self.batch_size)
        if self.resolution % 4:
            raise UsageError(f"resolution must be a multiple of 4, got {self.resolution}")


def read_detector_config(path: str | Path) -> DetectorConfig:
    """The configuration of a file, or of a shipped one: `experiments/detectors/NAME.yaml`.

    Raises:
        UsageError: no such file, not YAML, an unknown key, or a value that cannot be.
    """
    found = find_experiment(path)
    if found is None:
        raise UsageError(f"{path}: no such file; a shipped one is experiments/detectors/shapes.yaml")
    content, known = read_yaml(found), [f.name for f in fields(DetectorConfig)]
    if odd := [key for key in content if key not in known]:
        raise UsageError(f"{path}: {unknown_name('key', str(odd[0]), known)}")
    try:
        return DetectorConfig(**content)
    except (UsageError, TypeError) as error:
        raise UsageError(f"{path}: {' '.join(str(error).split())}") from error


@dataclass(frozen=True)
class LabeledClips:
    """Clips and what they are.

    Args:
        clips: uint8 (N, 3, T, H, W).
        labels: (N,), positions in the classes.
        masks: (N, T, H, W), 1 where a clip is not as it was recorded: everywhere in a generated one.
        sources: of each clip: the family that made it, or how it was tampered with, or "".
    """

    clips: Tensor
    labels: Tensor
    masks: Tensor
    sources: tuple[str, ...]

    def select(self, keep: Sequence[int]) -> LabeledClips:
        """Some of the clips."""
        at = torch.as_tensor(list(keep))
        return LabeledClips(self.clips[at], self.labels[at], self.masks[at], tuple(self.sources[i] for i in keep))


def labeled_clips(config: DetectorConfig, split: str, count: int) -> LabeledClips:
    """`count` clips of each class: generators in equal shares, half of the tampered ones segments and half regions.

    Every clip goes through H.264 at one of CRF at random, whatever its class, so that the traces of encoding tell
    nothing.

    Args:
        config: see `DetectorConfig`.
        split: train, val or test: no scene, video, latent or cut of one is in another.
        count: of each class.

    Raises:
        UsageError, RunError: a checkpoint or the folder cannot be used.
    """
    seed = SPLITS[split]
    size = (config.num_frames, config.resolution, config.resolution)
    pool = real_clips(config, split, 2 * count, seed)
    real, others = pool[:count], pool[count:]
    made, names = [], []
    for number, name in enumerate(track(config.generators, f"generating for {split}")):
        share = count // len(config.generators) + (number < count % len(config.generators))
        if share:
            model = load_model(name, "cpu")
            made.append(generated_clips(model, share, seed, others, size))
            names += [type(model).__name__] * share
    fake = torch.cat(made)
    draw = keyed.generator(config.seed, "tamper", split)
    kinds, foreign, named = _material(real, config.real is None)
    changed, masks = tamper(others, foreign, kinds, draw)
    clips = encoded(torch.cat([real, fake, changed]), keyed.generator(config.seed, "encode", split))
    empty = torch.zeros(count, *size)
    labels = torch.arange(len(CLASSES)).repeat_interleave(count)
    return LabeledClips(clips, labels, torch.cat([empty, empty + 1, masks]), tuple([""] * count + names + named))


def _material(real: Tensor, embedded: bool) -> tuple[list[str], Tensor, list[str]]:
    """(how to tamper with each of as many clips, the foreign material, names of both).

    Of embedded scenes half of the material has another style than the clip, and half is `alike`: of the same one.
    Styles alternate from scene to scene, so that kinds change after four of them, material after eight.
    """
    numbers, styles = range(len(real)), len(STYLES)
    kinds = [KINDS[i // styles % len(KINDS)] for i in numbers]
    alike = [embedded and i // (styles * len(KINDS)) % 2 == 1 for i in numbers]
    foreign = torch.stack([real[i - (styles if same else 1)] for i, same in zip(numbers, alike)])
    return kinds, foreign, [f"{kind}, alike" if same else kind for kind, same in zip(kinds, alike)]


def unseen_clips(config: DetectorConfig, name: str) -> LabeledClips:
    """Clips of a generator that nothing was trained on, made and encoded as those of the test split."""
    size = (config.num_frames, config.resolution, config.resolution)
    model, seed, count = load_model(name, "cpu"), SPLITS["test"], config.held_out_clips
    sources = real_clips(config, "test", count, seed) if isinstance(model, Translator) else torch.empty(0)
    clips = encoded(generated_clips(model, count, seed, sources, size), keyed.generator(config.seed, "encode", name))
    family = (type(model).__name__,) * count
    return LabeledClips(clips, torch.ones(count, dtype=torch.long), torch.ones(count, *size), family)


def real_clips(config: DetectorConfig, split: str, count: int, seed: int) -> Tensor:
    """uint8 (count, 3, T, H, W) of recordings, or of embedded scenes in all styles."""
    size = (config.num_frames, config.resolution, config.resolution)
    if config.real is None:
        return torch.cat([scenes(STYLES[i % len(STYLES)], [i], seed, size) for i in range(count)])
    data = ClipDataModule(
        root=config.real, num_frames=config.num_frames, resolution=config.resolution, num_workers=0,
        split=Split(val=0.2, test=0.2, seed=config.seed), augment="none",
    )  # fmt: skip
    data.prepare_data()
    data.setup()
    if not data.videos[split]:
        raise RunError(f"{config.real}: too few videos for a {split} split of their own")
    found = torch.cat([clips for _, clips, *_ in data.eval_clips(split, count, seed, 32)])
    if len(found) < count:
        found = found.repeat(-(-count // len(found)), 1, 1, 1, 1)[:count]
    return found.expand(-1, 3, -1, -1, -1)


def scenes(style: str, numbers: Sequence[int], seed: int, size: tuple[int, int, int]) -> Tensor:
    """Embedded scenes, uint8 (N, 3, *size)."""
    clips = [thwc_to_clip(render_scene(seed, n, style, size[0], RENDERED)) for n in numbers]
    return resized(torch.stack(clips), size)


def resized(clips: Tensor, size: tuple[int, int, int]) -> Tensor:
    """uint8 clips (N, C, t, h, w) -> (N, 3, *size): frames by area; more frames than there are repeat backward."""
    n, c, t, h, w = clips.shape
    there = [*range(t), *range(t - 2, 0, -1)]
    clips = clips[:, :, [there[i % len(there)] for i in range(size[0])]]
    if (h, w) != size[1:]:
        frames = clips.transpose(1, 2).reshape(-1, c, h, w).float()
        frames = F.interpolate(frames, size[1:], mode="bilinear", antialias=True).round().clamp(0, 255).byte()
        clips = frames.reshape(n, size[0], c, *size[1:]).transpose(1, 2)
    return clips.expand(-1, 3, -1, -1, -1)


def generated_clips(model: VideoModule, count: int, seed: int, real: Tensor, size: tuple[int, int, int]) -> Tensor:
    """uint8 (count, 3, *size): samples, or translations of clips of the domain, each a function of the seed."""
    if not isinstance(model, Translator):
        return resized(model.sample(count, seed=seed), size)
    pairs = [pair for found in model.directions.values() for pair in found]
    out = []
    for number in range(count):
        source, target = pairs[number % len(pairs)]
        domain = model.domains[source]
        clip = scenes(domain, [10_000 + number], seed, size) if domain in STYLES else real[number % len(real)][None]
        side = model.spec.resolution
        clip = resized(clip, (size[0], side, side))
        out.append(resized(model.translate(clip, source, target), size))
    return torch.cat(out)


def encoded(clips: Tensor, draw: torch.Generator) -> Tensor:
    """Clips uint8 (N, 3, T, H, W) as they come back from mp4 files of qualities at random."""
    out = clips.clone()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        for i, clip in enumerate(track(clips, "encoding")):
            crf = CRF[int(torch.randint(len(CRF), (1,), generator=draw))]
            if crf is not None:
                write_mp4(path, clip, crf=crf)
                frames = PyAVReader(path).read(range(clip.shape[1]))[:, : clip.shape[2], : clip.shape[3]]
                out[i] = thwc_to_clip(frames)
    return out
