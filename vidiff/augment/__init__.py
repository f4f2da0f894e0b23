"""Augmentation of clips on the device: pipelines for real clips, and augmentation in front of a discriminator."""

from vidiff.augment.ada import AdaptiveAugment
from vidiff.augment.content import ContentTransform
from vidiff.augment.discriminator import DiffAugment
from vidiff.augment.geometry import ResizedCrop
from vidiff.augment.pipeline import Augment, LabelMix, build_augment
from vidiff.augment.splice import ShuffleSegments, Splice
from vidiff.augment.time_warp import FastMotion, FrameSkip, Reversal, SlowMotion, SpeedCurve

__all__ = [
    "AdaptiveAugment",
    "Augment",
    "ContentTransform",
    "DiffAugment",
    "FastMotion",
    "FrameSkip",
    "LabelMix",
    "ResizedCrop",
    "Reversal",
    "ShuffleSegments",
    "SlowMotion",
    "SpeedCurve",
    "Splice",
    "build_augment",
]
