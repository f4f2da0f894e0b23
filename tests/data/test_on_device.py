"""Labels of clips that augmentation joined from two, on their way to a classifier."""

from __future__ import annotations

from types import SimpleNamespace

import torch
import torch.nn.functional as F

from vidiff.augment import ShuffleSegments, Splice
from vidiff.data.datamodule import ClipDataModule
from vidiff.models.stargan import StarGAN
from vidiff.models.turn import Turn


def module(augment, monkeypatch, **settings) -> ClipDataModule:
    data = ClipDataModule("nowhere", augment=augment, **settings)
    monkeypatch.setattr(ClipDataModule, "num_classes", 3)
    data.trainer = SimpleNamespace(training=True, global_rank=0, world_size=1)
    return data


def batch() -> dict:
    clip = torch.zeros(4, 3, 8, 8, 8, dtype=torch.uint8)
    clip += (60 * torch.arange(4, dtype=torch.uint8))[:, None, None, None, None]
    return {"clip": clip, "label": torch.tensor([0, 1, 2, 2]), "slot": torch.arange(4)}


def test_the_share_of_a_label_is_its_share_of_the_frames(monkeypatch):
    out = module([Splice((0.25, 0.5), p=1.0)], monkeypatch).on_after_batch_transfer(batch(), 0)
    share = out["label_share"]
    assert share.shape == (4, 3) and torch.allclose(share.sum(1), torch.ones(4))
    # Each clip has one grey level, so that the frames tell how much of a clip is left and what has come in.
    level = ((out["clip"] + 1) * 127.5).mean((1, 3, 4))  # (B, T)
    others = torch.tensor([60.0, 0.0, 180.0, 120.0])
    own = torch.tensor([0.0, 60.0, 120.0, 180.0])
    kept = ((level.mean(1) - others) / (own - others)).clamp(0, 1)
    assert torch.allclose(share[:2][[0, 1], [0, 1]], kept[:2], atol=1e-3) and (kept[:2] < 1).all()
    assert torch.allclose(share[2:, 2], torch.ones(2))  # two clips of one class


def test_nothing_is_added_where_nothing_is_joined(monkeypatch):
    for augment in ("none", "standard", [ShuffleSegments(p=1.0)]):
        assert "label_share" not in module(augment, monkeypatch).on_after_batch_transfer(batch(), 0)
    assert "label_share" in module("strong", monkeypatch).on_after_batch_transfer(batch(), 0)


def test_the_classifier_learns_the_shares():
    sizes = dict(num_frames=4, resolution=16, width=4, num_classes=2)
    model = StarGAN(**sizes)
    clip = torch.randn(3, 3, 4, 16, 16).clamp(-1, 1)
    label, share = torch.tensor([0, 1, 1]), torch.tensor([[0.75, 0.25], [0.0, 1.0], [0.5, 0.5]])
    batch = {"clip": clip, "label": label, "label_share": share, "slot": torch.arange(3)}
    terms = model.discriminator_losses(Turn(model, "d", batch))
    log_p = F.log_softmax(model.discriminator(clip)[1], dim=1)
    assert torch.allclose(terms["cls"], -(share * log_p).sum(1).mean(), atol=1e-6)
