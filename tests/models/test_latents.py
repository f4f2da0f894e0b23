"""Latents that are kept: the same as encoded anew, in whatever company, within a limit; who needs what is said."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vidiff.clip import ClipSpec
from vidiff.errors import UsageError
from vidiff.models.latents import SPREAD, KnownLatents, take_spread
from vidiff.nn.flow_transformer import FlowTransformer
from vidiff.nn.flow_unet import FlowSampler, FlowUNet3d
from vidiff.nn.layered_autoencoder import LayeredAutoencoder


class Counting(nn.Module):
    """Latents are halves; how many clips were encoded is counted."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def encode(self, clip):
        self.seen += len(clip)
        return clip[:, :, ::2] / 2


def test_a_clip_is_encoded_once():
    codec, known, clips = Counting(), KnownLatents(1), torch.randn(4, 3, 4, 8, 8)
    first = known.encode(codec, clips)
    again = known.encode(codec, torch.cat([clips[2:], torch.zeros_like(clips[:1])]))
    assert torch.equal(first, clips[:, :, ::2] / 2) and torch.equal(again[:2], first[2:]) and not again[2].any()
    assert codec.seen == 5
    known.encode(codec, clips + 1e-6)  # other clips, however little
    assert codec.seen == 9


def test_the_oldest_go():
    codec, known = Counting(), KnownLatents(1)
    clips = torch.randn(60, 3, 4, 64, 64)  # 98,304 bytes of latents each: ten fit
    known.encode(codec, clips)
    assert known.size == sum(x.nbytes for x in known.kept.values()) <= 10**6 and len(known.kept) == 10
    known.encode(codec, clips[-10:])
    assert codec.seen == 60
    known.encode(codec, clips[:1])
    assert codec.seen == 61


def test_nothing_is_kept_unless_asked_for():
    codec, known, clips = Counting(), KnownLatents(0), torch.randn(2, 3, 4, 8, 8)
    for _ in range(2):
        assert torch.equal(known.encode(codec, clips), clips[:, :, ::2] / 2)
    assert codec.seen == 4 and not known.kept
    with pytest.raises(UsageError, match="keep_latents"):
        KnownLatents(-1)


class SomeClips:
    """Stands in for a datamodule: clips for evaluation, as bytes."""

    def __init__(self, clips):
        self.clips = clips

    def eval_clips(self, split, count):
        assert split == "train" and count == SPREAD
        for i, part in enumerate(self.clips.split(8)):
            yield torch.arange(8 * i, 8 * i + len(part)), part, torch.zeros(len(part), dtype=torch.int64)


def test_every_number_of_the_latents_is_measured_once():
    spec = ClipSpec(num_frames=4, resolution=16, width=8)
    codec = LayeredAutoencoder(spec, objects=1)
    samplers = [FlowSampler(FlowTransformer(codec.latent_spec(spec), 1), codec=codec) for _ in range(2)]
    clips = torch.randint(256, (20, 3, 4, 16, 16), dtype=torch.uint8)
    take_spread(SomeClips(clips), *samplers)
    with torch.no_grad():
        expected = codec.encode(clips.float() / 127.5 - 1).std(0).clamp(min=0.3)
    assert expected.min() < 0.31 < expected.max()
    for sampler in samplers:
        torch.testing.assert_close(sampler.network.data_std, expected, rtol=1e-3, atol=1e-4)


def test_a_network_of_one_standard_deviation_asks_for_no_clip():
    take_spread(None, FlowSampler(FlowUNet3d(ClipSpec(num_frames=4, resolution=16, width=8))))
