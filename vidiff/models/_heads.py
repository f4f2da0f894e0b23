"""Auxiliary losses of a discriminator that returns predictions beside its logits."""

from __future__ import annotations

import warnings
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Side = Literal["real", "fake", "mixed"]


class Heads:
    """What an `AdversarialModule` does with a discriminator such as `vidiff.nn.heads.HeadedDiscriminator`.

    class: D minimises CE(C(x), label) + CE(C(G(z, label)), label), G the second of the two (Odena et al. 2017,
    1610.09585); a number that the batch gives for its real clips (such as their speed): D alone minimises Huber's loss
    of its estimate for them, because nobody knows the number of a generated clip. The terms are `class_real`,
    `class_fake` and the number's name; `term_weights` weighs them.

    A family says which clips are which when it judges them; what a penalty mixes from both counts for nothing.
    """

    _predicted: dict[Side, dict[str, Tensor]] | None = None  # side -> head -> prediction; None outside an update

    def logits_of(self, out: Tensor | tuple[Tensor, dict[str, Tensor]], side: Side) -> Tensor:
        """The logits of what a discriminator said; its predictions are kept until the end of the update."""
        if not isinstance(out, tuple):
            return out
        logits, predictions = out
        if self._predicted is not None and side != "mixed":
            self._predicted.setdefault(side, predictions)  # the first look of an update counts
        return logits

    def head_losses(self, player: str, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The named terms of what was predicted in this update."""
        predicted, self._predicted = self._predicted or {}, None
        terms = {}
        for side, predictions in predicted.items():
            if player == "g" and side == "real":
                continue
            for name, value in predictions.items():
                if name == "class":
                    target = self.class_target(batch) if side == "real" else batch["label"]
                    terms[f"class_{side}"] = F.cross_entropy(value, target)
                    right = (value.detach().argmax(1) == batch["label"]).float().mean()
                    self.terms[f"train/{player}_class_accuracy_{side}"] = right
                elif side == "real" and name in batch:
                    terms[name] = F.smooth_l1_loss(value, batch[name].to(value))
                elif side == "real":
                    text = f"the discriminator has a head for {name!r}, but the data does not give it, or its "
                    text += "augmentation changes it (--data.augment none or light keeps the speed): ignored"
                    warnings.warn(text, stacklevel=2)  # Python shows one text from one place once
        return terms
