"""A few clips of a model of the zoo and a few numbers of them: cheap, and other ones if its weights are not what they
were. The real clips are rendered scenes of the embedded set; no file is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vidiff.clip import thwc_to_clip
from vidiff.data.shapes.scene import render_scene
from vidiff.metrics.features import RandomConv3d
from vidiff.metrics.frechet import frechet_from_features
from vidiff.metrics.paired import psnr
from vidiff.metrics.pixels import FrameDifference, Thumbnail, mean_pair_distance
from vidiff.models.module import VideoModule
from vidiff.models.restorer import CLEAN, DEGRADED, Restorer
from vidiff.models.translation import Translator

CLIPS, SEED = 16, 0
TOLERANCE, TOLERANCE_FVD = 0.02, 0.1  # relative; other kernels round otherwise, and 16 clips make a rough distance


@dataclass(frozen=True)
class Scenes:
    """Scenes of an embedded set that are rendered as a model's clips are cut.

    Args:
        seed: of the set.
        styles: of the domains of a translation, in their order; else the one style of the set.
        first: number of the first scene.
        resolution: of the set, in pixels.
        frame_stride: distance between the frames of a clip.
    """

    seed: int
    styles: tuple[str, ...]
    first: int
    resolution: int
    frame_stride: int = 1

    def clips(self, model: VideoModule, style: str, count: int = CLIPS, length: int | None = None) -> Tensor:
        """uint8 (count, C, T, H, W), sizes as the model has them; T is `length` where it is given."""
        spec, step = model.spec, self.frame_stride
        length = length or spec.num_frames
        frames = (length - 1) * step + 1
        numbers = range(self.first, self.first + count)
        scenes = [render_scene(self.seed, n, style, frames, self.resolution)[::step] for n in numbers]
        clips = torch.stack([thwc_to_clip(scene) for scene in scenes]).float()
        clips = clips.mean(1, keepdim=True) if spec.channels == 1 else clips
        size = (length, spec.resolution, spec.resolution)
        return F.interpolate(clips, size, mode="area").round().to(torch.uint8)


def example_clips(model: VideoModule) -> Tensor:
    """The clips that are measured and shown of a generator."""
    return model.sample(CLIPS, seed=SEED, batch_size=CLIPS)


def spot_check(model: VideoModule, scenes: Scenes) -> dict[str, float]:
    """Numbers of a few clips on the CPU.

    Returns:
        Of a generator: `motion`, mean |x_t - x_(t-1)| in grey levels; `diversity`, mean distance of two clips in the
        space of that metric; `fvd_random` of 16 clips against 16 scenes, biased by so few. Of a translation, for each
        direction: `psnr_<direction>` against the true counterparts in dB, and `motion_<direction>`. Of a restoration
        the same of `restore`, `psnr_damaged`, and `change_restore`, mean |restored - damaged| in grey levels.
    """
    if isinstance(model, Restorer):
        return _restorations(model, scenes)
    if isinstance(model, Translator):
        return _translations(model, scenes)
    fake, real = example_clips(model), scenes.clips(model, scenes.styles[0])
    features = RandomConv3d()
    return {
        "motion": _motion(fake),
        "diversity": mean_pair_distance(Thumbnail()(fake)),
        "fvd_random": frechet_from_features(features(real), features(fake)),
    }


def _motion(clips: Tensor) -> float:
    return float(FrameDifference()(clips).double().mean()) if clips.shape[2] > 1 else 0.0


def _translations(model: Translator, scenes: Scenes) -> dict[str, float]:
    values = {}
    for name, pairs in model.directions.items():
        count = max(2, CLIPS // len(pairs))
        fake, true = [], []
        for source, target in pairs:
            fake.append(model.translate(scenes.clips(model, scenes.styles[source], count), source, target))
            true.append(scenes.clips(model, scenes.styles[target], count))
        values[f"psnr_{name}"] = float(psnr(torch.cat(fake), torch.cat(true)).double().mean())
        values[f"motion_{name}"] = _motion(torch.cat(fake))
    return values


def _restorations(model: Restorer, scenes: Scenes) -> dict[str, float]:
    true = scenes.clips(model, scenes.styles[0])
    damaged = damaged_scenes(model, true)
    fake = model.translate(damaged, DEGRADED, CLEAN)
    pairs = {"damaged": damaged, "restore": fake}
    found = {name: float(psnr(clips, true).double().mean()) for name, clips in pairs.items()}
    change = float((fake.int() - damaged.int()).abs().double().mean())
    return {f"psnr_{n}": v for n, v in found.items()} | {"motion_restore": _motion(fake), "change_restore": change}


def damaged_scenes(model: Restorer, clips: Tensor) -> Tensor:
    """uint8 clips (N, C, T, H, W) -> the same, damaged in ways of their own that no training clip has."""
    return model.degrade(clips, range(len(clips)), "zoo", SEED)


def differing(found: dict[str, float], expected: dict[str, float]) -> list[str]:
    """The values that are not what they should be, each in words; the names have to be the same."""
    wrong = [f"{name} is {'not there' if name not in found else 'new'}" for name in sorted(set(found) ^ set(expected))]
    for name in sorted(set(found) & set(expected)):
        tolerance = TOLERANCE_FVD if name == "fvd_random" else TOLERANCE
        if not abs(found[name] - expected[name]) <= tolerance * max(abs(expected[name]), 1e-3):
            wrong.append(f"{name} is {found[name]:.5g}, {expected[name]:.5g} is expected")
    return wrong


def drawn_styles(names: Sequence[str], record: dict) -> tuple[str, ...]:
    """The styles of some domains of a rendered set, by its record; without domains its one style."""
    if not names:
        return tuple(record["styles"][:1])
    folders = record.get("folders", {})
    return tuple(folders.get(f"train{name}") or folders.get(f"train/{name}") or name for name in names)
