"""Auxiliary losses of a discriminator that returns predictions by name beside its logits (`vidiff.nn.heads`).

class: D minimizes CE(C(x), label) + CE(C(G(z, label)), label), G the second of the two (Odena et al. 2017,
1610.09585); a number that the batch gives for its real clips (such as their speed): D alone minimizes Huber's loss of
its estimate for them, because nobody knows the number of a generated clip. The terms are `class_real`, `class_fake`
and the number's name; `term_weights` weighs them.
"""

from __future__ import annotations

import warnings

import torch.nn.functional as F

from vidiff.models.turn import Terms, Turn


def head_losses(turn: Turn) -> Terms:
    """The terms of what was predicted in a turn; a family with predictions of another form has losses of its own."""
    batch, terms = turn.batch, {}
    for side, predictions in turn.predictions.items():
        if not isinstance(predictions, dict) or (turn.player == "g" and side == "real"):
            continue
        for name, value in predictions.items():
            if name == "class":
                target = turn.class_target if side == "real" else batch["label"]
                terms[f"class_{side}"] = F.cross_entropy(value, target)
                turn.note(**{f"class_accuracy_{side}": (value.argmax(1) == batch["label"]).float().mean()})
            elif side == "real" and name in batch:
                terms[name] = F.smooth_l1_loss(value, batch[name].to(value))
            elif side == "real":
                text = f"the discriminator has a head for {name!r}, but the data does not give it, or its "
                text += "augmentation changes it (--data.augment none or light keeps the speed): ignored"
                warnings.warn(text, stacklevel=2)  # Python shows one text from one place once
    return terms
