"""Tampered clips: foreign material exactly where the mask says, a segment inside the clip, a region in all frames."""

from __future__ import annotations

import pytest
import torch

from vidiff import keyed
from vidiff.augment.tamper import KINDS, tamper


@pytest.mark.parametrize("kind", KINDS)
def test_foreign_material_is_where_the_mask_is(kind):
    clips, others = torch.full((40, 3, 16, 32, 32), 40).byte(), torch.full((40, 3, 16, 32, 32), 200).byte()
    out, masks = tamper(clips, others, [kind] * 40, keyed.generator(1))
    assert out.dtype == torch.uint8 and masks.shape == (40, 16, 32, 32) and set(masks.unique().tolist()) == {0, 1}
    clear = ((out.int() - 120).abs() > 2).all(1)  # not on the edge itself
    assert clear.double().mean() > 0.98 and torch.equal((out > 120).all(1)[clear], masks.bool()[clear])
    share = masks.mean((1, 2, 3))
    if kind == "segment":
        assert not masks[:, 0].any() and not masks[:, -1].any()  # frames of the clip on both sides
        assert ((masks.amax((2, 3)).diff(dim=1).abs().sum(1)) == 2).all() and (
            masks.amax((2, 3)) == masks.amin((2, 3))
        ).all()
        assert share.min() >= 0.2 and share.max() <= 0.55
    else:
        assert (masks == masks[:, :1]).all() and share.min() > 0.02 and share.max() < 0.25
    assert share.unique().numel() > 3


def test_it_is_a_function_of_the_key_and_leaves_its_input():
    clips = torch.randint(0, 256, (4, 3, 8, 16, 16), dtype=torch.uint8)
    before = clips.clone()
    kinds = ["segment", "region"] * 2
    a, b = (tamper(clips, clips.roll(1, 0), kinds, keyed.generator(3)) for _ in range(2))
    assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) and torch.equal(clips, before)
    assert not torch.equal(a[0], tamper(clips, clips.roll(1, 0), kinds, keyed.generator(4))[0])
