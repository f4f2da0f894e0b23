"""Latents that are kept: the same as encoded anew, in whatever company, within a limit; who needs what is said."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vidiff.errors import UsageError
from vidiff.models.latents import KnownLatents


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
