"""Whether D knows its training clips from held-out ones of the same kind: it has learnt them by heart if so."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vidiff import keyed
from vidiff.clip import uint8_to_unit, unit_to_signed
from vidiff.models.base import AdversarialModule
from vidiff.models.turn import Turn

CLIPS = 32  # a side: a share of pairs is then known to about 0.07


def share_above(a: Tensor, b: Tensor) -> float:
    """Share of pairs in which a logit of `a` (N,) is above one of `b` (M,); a tie counts half: 1/2 is no difference."""
    above = (a[:, None] > b[None]).double() + 0.5 * (a[:, None] == b[None]).double()
    return float(above.mean())


class Memory:
    """Compares D's logits of training clips with those of held-out and of generated ones, without a trace in training.

    Args:
        data: a ClipDataModule whose split `val` holds videos.
        seed: of the clips that are chosen, the same at every evaluation.
    """

    def __init__(self, data: Any, seed: int):
        batches = {split: next(iter(data.eval_clips(split, CLIPS, seed, CLIPS))) for split in ("train", "val")}
        self.real = {split: (clips, labels) for split, (_, clips, labels) in batches.items()}
        self.seed = seed

    @torch.no_grad()
    def of(self, module: AdversarialModule) -> dict[str, float]:
        """`val/d_train_above_held_out` and `val/d_train_above_generated`: shares of pairs, see `share_above`.

        The clips go through D in eval mode and without augmentation; every process computes the same.
        """
        ids = list(range(CLIPS))
        fake = module.sample(CLIPS, self.seed, batch_size=CLIPS), module.sampler.labels(ids, self.seed)
        modes = {part: part.training for part in module.discriminator.modules()}
        module.discriminator.eval()
        try:
            logits = {side: self._logits(module, *pair) for side, pair in {**self.real, "fake": fake}.items()}
        finally:
            for part, mode in modes.items():
                part.training = mode
        return {
            "val/d_train_above_held_out": share_above(logits["train"], logits["val"]),
            "val/d_train_above_generated": share_above(logits["train"], logits["fake"]),
        }

    def _logits(self, module: AdversarialModule, clips: Tensor, labels: Tensor | None) -> Tensor:
        """D's mean logit of each of these uint8 clips (N,), taken for real ones."""
        clip = unit_to_signed(uint8_to_unit(clips.to(module.device))).to(module.dtype)
        label = torch.zeros(len(clips), dtype=torch.int64) if labels is None else labels
        batch = {"clip": clip, "label": label.to(module.device), "slot": torch.arange(len(clips))}
        with keyed.forked(self.seed, "memory"):
            logits = module.real_logits(Turn(module, "d", batch, augmented=False))
        return logits.float().reshape(len(clips), -1).mean(1).cpu()
