"""Augmentation of clips on the device: pipelines for real clips, and augmentation in front of a discriminator."""

from vidiff.augment.ada import AdaptiveAugment
from vidiff.augment.content import ContentTransform
from vidiff.augment.degrade import (
    Blur,
    DroppedFrames,
    GaussianNoise,
    Jpeg,
    LowResolution,
    MissingBlocks,
    OneOf,
    PoissonNoise,
    Scratches,
)
from vidiff.augment.discriminator import DiffAugment
from vidiff.augment.geometry import ResizedCrop
from vidiff.augment.pipeline import Augment, LabelMix, build_augment
from vidiff.augment.splice import ShuffleSegments, Splice
from vidiff.augment.time_warp import FastMotion, FrameSkip, Reversal, SlowMotion, SpeedCurve

__all__ = [
    "AdaptiveAugment",
    "Augment",
    "Blur",
    "ContentTransform",
    "DiffAugment",
    "DroppedFrames",
    "FastMotion",
    "FrameSkip",
    "GaussianNoise",
    "Jpeg",
    "LabelMix",
    "LowResolution",
    "MissingBlocks",
    "OneOf",
    "PoissonNoise",
    "ResizedCrop",
    "Reversal",
    "Scratches",
    "ShuffleSegments",
    "SlowMotion",
    "SpeedCurve",
    "Splice",
    "build_augment",
]
