"""The pipeline: Kornia's operators and ours in one list, exact from the key, exact over processes."""

from __future__ import annotations

import random
import subprocess
import sys

import kornia.augmentation as K
import numpy as np
import pytest
import torch
from helpers import same_but_for_rounding
from torch import nn

from vidiff.augment import (
    ContentTransform,
    FastMotion,
    FrameSkip,
    ResizedCrop,
    Reversal,
    ShuffleSegments,
    SlowMotion,
    SpeedCurve,
    Splice,
    build_augment,
)
from vidiff.errors import UsageError

KEY = (7, "augment", 3)


def clips(b=6, c=3, t=5, h=16, w=16, seed=0):
    return torch.rand(b, c, t, h, w, generator=torch.Generator().manual_seed(seed))


SPATIAL = {
    "flip": lambda p: K.RandomHorizontalFlip(p=p),
    "affine": lambda p: K.RandomAffine(10.0, (0.1, 0.1), (0.9, 1.1), p=p),
    "affine_filled": lambda p: K.RandomAffine(10.0, fill_value=torch.tensor([1.0, 0.5, 0.0]), padding_mode="fill", p=p),
    "crop": lambda p: ResizedCrop(p=p),
    "perspective": lambda p: K.RandomPerspective(p=p),
    "elastic": lambda p: K.RandomElasticTransform((5, 5), p=p),
    "erase": lambda p: K.RandomErasing(p=p),
    "jitter": lambda p: K.ColorJitter(0.3, 0.3, 0.3, 0.1, p=p),
    "jiggle": lambda p: K.ColorJiggle(0.3, 0.3, 0.3, 0.1, p=p),
    "gamma": lambda p: K.RandomGamma((0.7, 1.4), p=p),
    "gray": lambda p: K.RandomGrayscale(p=p),
    "planckian": lambda p: K.RandomPlanckianJitter(p=p),
    "shuffle": lambda p: K.RandomChannelShuffle(p=p),
    "noise": lambda p: K.RandomGaussianNoise(std=0.2, p=p),
    "noise_shared": lambda p: K.RandomGaussianNoise(std=0.2, p=p, same_on_batch=True),
    "blur": lambda p: K.RandomGaussianBlur((3, 3), (0.1, 2.0), p=p),
    "motion_blur": lambda p: K.RandomMotionBlur((3, 7), 35.0, 0.5, p=p),
    "equalize": lambda p: K.RandomEqualize(p=p),
}


TEMPORAL = {
    "slow": lambda p: SlowMotion(p=p),
    "fast": lambda p: FastMotion(p=p),
    "skip": lambda p: FrameSkip(p=p),
    "curve": lambda p: SpeedCurve(p=p),
    "reverse": lambda p: Reversal(p=p),
    "segments": lambda p: ShuffleSegments(fade=1, p=p),
    "splice": lambda p: Splice(p=p),
    "content": lambda p: ContentTransform(torch.neg, p=p),
    "depth": lambda p: K.RandomDepthicalFlip3D(p=p),
}


EVERY = {**SPATIAL, **TEMPORAL}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("p", [0.5, 1.0])
def test_key_decides_everything_and_processes_agree(name, p):
    clip, augment = clips(), build_augment([EVERY[name](p)])
    before = torch.get_rng_state()
    whole = augment(clip, KEY)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(99)
    assert torch.equal(augment(clip, KEY), whole)
    for b in (2, 4):  # unequal parts, too
        parts = [augment(clip[:b], KEY, 0, 6), augment(clip[b:], KEY, b, 6)]
        assert same_but_for_rounding(torch.cat(parts), whole)
    assert whole.shape == clip.shape and whole.min() >= 0 and whole.max() <= 1
    assert not torch.equal(whole, clip)
    if name != "content":
        later = torch.stack([augment(clip, (7, "augment", step)) for step in range(3)])
        assert (
            p == 1.0 and name in ("gray", "reverse", "depth", "flip", "equalize") or not torch.equal(later[0], later[1])
        )


@pytest.mark.parametrize("name", SPATIAL)
def test_frames_of_a_clip_share_parameters_and_clips_do_not(name):
    still = clips(1, 3, 1).expand(6, 3, 5, 16, 16)
    out = build_augment([SPATIAL[name](1.0)])(still, KEY)
    assert (out - out[:, :, :1]).abs().max() < 1e-6
    if name not in ("flip", "gray", "equalize", "noise_shared"):
        assert len({row.numpy().tobytes() for row in out}) > 1


@pytest.mark.parametrize("name", [n for n in SPATIAL if n not in ("crop",)])
def test_agrees_with_kornias_video_container(name):
    clip, op = clips(), SPATIAL[name](0.5)
    ours = build_augment([op])(clip, KEY)
    from vidiff.keyed import forked

    with forked(*KEY, 0):
        theirs = K.VideoSequential(op, data_format="BCTHW", same_on_frame=True)(clip)
    assert torch.allclose(ours, theirs.clamp(0, 1), atol=2e-6, rtol=0)


@pytest.mark.parametrize("name", EVERY)
def test_p_zero_is_identity(name):
    clip = clips()
    assert torch.equal(build_augment([EVERY[name](0.0)])(clip, KEY), clip)


def test_probability_is_per_clip():
    clip = clips(400, 1, 1, 2, 2)
    for op in (K.RandomVerticalFlip(p=0.25), ResizedCrop((0.3, 0.5), p=0.25), ContentTransform(torch.neg, p=0.25)):
        changed = (build_augment([op])(clip, KEY) != clip).flatten(1).any(1).float().mean()
        assert 0.15 < changed < 0.35


def test_mixed_list_and_containers():
    clip = clips()
    ops = [
        SpeedCurve(p=0.5),
        K.ImageSequential(K.RandomHorizontalFlip(p=0.5), K.RandomInvert(p=0.5), Reversal(p=0.5), random_apply=2),
        K.VideoSequential(K.RandomBrightness((0.7, 1.2), p=0.5), data_format="BCTHW"),
        nn.Sequential(Splice(p=0.5), K.RandomGaussianBlur((3, 3), (0.1, 1.0), p=0.5)),
        K.auto.RandAugment(2, 10),
        nn.Upsample(scale_factor=2, mode="nearest"),
        K.RandomCrop((20, 20)),
    ]
    augment = build_augment(ops)
    for step in range(4):
        whole = augment(clip, (step,))
        assert whole.shape == (6, 3, 5, 20, 20) and not whole.requires_grad
        parts = [augment(clip[:2], (step,), 0, 6), augment(clip[2:4], (step,), 2, 6), augment(clip[4:], (step,), 4, 6)]
        assert same_but_for_rounding(torch.cat(parts), whole)


@pytest.mark.parametrize("preset", ["none", "light", "standard", "strong"])
def test_presets(preset):
    clip, label = clips(8), torch.arange(8)
    augment = build_augment(preset)
    out, mix = augment(clip, KEY, label=label)
    assert out.shape == clip.shape and out.min() >= 0 and out.max() <= 1
    assert torch.equal(out, clip) == (preset == "none")
    halves = [augment(clip[:4], KEY, 0, 8, label[:4]), augment(clip[4:], KEY, 4, 8, label[4:])]
    assert same_but_for_rounding(torch.cat([h[0] for h in halves]), out)
    for name in ("label", "other", "weight"):
        assert torch.equal(torch.cat([getattr(h[1], name) for h in halves]), getattr(mix, name))
    assert torch.equal(build_augment(preset)(clip, KEY), out)  # nothing is remembered, labels change nothing
    if preset != "strong":
        assert torch.equal(mix.weight, torch.ones(8))
    assert all("p=" in line for line in repr(augment).splitlines() if "): " in line and "ops" not in line)


def test_other_random_states_and_precision():
    clip, augment = clips(), build_augment("strong")
    random.seed(1), np.random.seed(1)
    states = random.getstate(), np.random.get_state()[1].copy()
    out = augment(clip, KEY)
    assert random.getstate() == states[0] and (np.random.get_state()[1] == states[1]).all()
    # Moving the module to another precision must not change what is drawn.
    assert torch.equal(build_augment("strong").double()(clip, KEY), out)
    assert torch.allclose(build_augment("strong")(clip.double(), KEY).float(), out, atol=1e-3)
    assert build_augment("standard")(clip.bfloat16(), KEY).dtype == torch.bfloat16
    assert torch.equal(build_augment("strong").eval()(clip, KEY), out)


def test_one_channel_and_one_frame():
    augment = build_augment([SpeedCurve(p=1.0), ShuffleSegments(p=1.0), Splice(p=1.0), ResizedCrop(p=1.0)])
    assert augment(clips(2, 1, 1), KEY).shape == (2, 1, 1, 16, 16)
    assert augment(clips(2, 1, 2), KEY).shape == (2, 1, 2, 16, 16)


def test_messages():
    with pytest.raises(UsageError, match="none, light, standard, strong"):
        build_augment("heavy")
    with pytest.raises(UsageError, match="not an operator"):
        build_augment(["flip"])
    with pytest.raises(UsageError, match="Splice"):
        build_augment([K.RandomMixUpV2()])
    with pytest.raises(UsageError, match="p=1"):
        build_augment([K.RandomHorizontalFlip(), _Shrink(p=0.5)])(clips(32), KEY)
    with pytest.raises(ValueError, match="float clips"):
        build_augment("light")(torch.zeros(2, 3, 4, 8, 8, dtype=torch.uint8), KEY)
    with pytest.raises(ValueError, match="global batch of 4"):
        build_augment("light")(clips(4), KEY, 2, 4)


class _Shrink(K.IntensityAugmentationBase2D):
    def apply_transform(self, input, params, flags, transform=None):
        return input[..., ::2]

    def transform_inputs(self, input, params, flags, transform=None, **kwargs):
        return self.apply_transform(input, params, flags)


def test_from_yaml():
    code = """
import sys, torch, yaml
from jsonargparse import ArgumentParser
from vidiff.augment import build_augment
parser = ArgumentParser()
parser.add_argument("--augment", type=str | list[torch.nn.Module])
text = '''
augment:
- class_path: vidiff.augment.SpeedCurve
  init_args: {octaves: [0.0, 1.0], p: 0.5}
- class_path: kornia.augmentation.RandomAffine
  init_args: {degrees: 10.0, translate: [0.1, 0.1], scale: [0.9, 1.1], p: 0.5}
- class_path: kornia.augmentation.ColorJitter
  init_args: {brightness: 0.2, contrast: 0.2, saturation: 0.2, hue: 0.05, p: 0.5}
- class_path: vidiff.augment.ShuffleSegments
  init_args: {segments: [2, 3], fade: 2, p: 0.2}
- class_path: vidiff.augment.Splice
  init_args: {share: [0.25, 0.5], fade: 2, p: 0.3}
- class_path: kornia.augmentation.RandomGaussianBlur
  init_args: {kernel_size: [3, 3], sigma: [0.1, 1.5], p: 0.2}
'''
made = parser.instantiate_classes(parser.parse_string(text))
assert build_augment(made.augment)(torch.rand(4, 3, 8, 16, 16), (1,)).shape == (4, 3, 8, 16, 16)
made = parser.instantiate_classes(parser.parse_string("augment: strong"))
assert len(build_augment(made.augment).ops) == 7
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
