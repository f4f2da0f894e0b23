"""What is made of a discriminator's answers: losses of its heads, the dashboard, adaptive augmentation, the balance."""

from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidiff.augment import AdaptiveAugment
from vidiff.errors import UsageError
from vidiff.models.strategies import Balancer
from vidiff.models.turn import Terms, Turn
from vidiff.parallel import gather_batch, sum_over_processes


def head_losses(turn: Turn) -> Terms:
    """Auxiliary terms of a discriminator that returns predictions by name beside its logits (`vidiff.nn.heads`).

    class: D minimizes CE(C(x), label) + CE(C(G(z, label)), label), G the second of the two (Odena et al. 2017,
    1610.09585); a number that the batch gives for its real clips (such as their speed): D alone minimizes Huber's loss
    of its estimate for them, because nobody knows the number of a generated clip. The terms are `class_real`,
    `class_fake` and the number's name; `term_weights` weighs them. A family with predictions of another form has losses
    of its own.
    """
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


def follow_logits(
    turn: Turn, augment: nn.Module | None, balancer: Balancer | None, above: float | None
) -> dict[str, Tensor]:
    """Let the augmentation and the balance follow D's logits of a turn; what is logged of all three.

    Args:
        turn: of D, after its losses.
        augment, above: see `adapt_augmentation`; another augmentation follows nothing.

    Raises:
        UsageError: there is something to follow, and the family has not judged both sides.
    """
    adaptive = isinstance(augment, AdaptiveAugment)
    if (answers := turn.answers()) is None:
        if adaptive or balancer is not None:
            what = "model.discriminator_augment: AdaptiveAugment" if adaptive else "model.balance"
            raise UsageError(
                f"{what} goes by D's logits, and {type(turn.model).__name__} does not show them: its "
                'discriminator_losses has to get them by turn.judge(clip, "real") and turn.judge(clip, "fake")'
            )
        return {}
    logged = describe_logits(*answers, gathered=balancer is not None)
    if adaptive:
        adapt_augmentation(augment, *answers, above, len(turn.batch["slot"]))
        logged |= {"train/ada_p": augment.p.clone(), "train/ada_r_t": augment.r_t.clone()}
    if balancer is not None:
        balancer.update(logged["train/d_separation"])
        logged[f"train/balance_{balancer.options.adapt}"] = torch.tensor(balancer.value)
    return logged


def describe_logits(real: Tensor, fake: Tensor, gathered: bool) -> dict[str, Tensor]:
    """Mean logits, and how often D is on the right side of the middle between them (1/2: it cannot tell).

    Args:
        real, fake: logits of any shape with the batch in front.
        gathered: over all processes: a decision on them is then the same on 2 processes as on 1.
    """
    if gathered:
        real, fake = gather_batch(real), gather_batch(fake)
    means = real.mean(), fake.mean()
    middle = 0.5 * (means[0] + means[1])
    right = 0.5 * ((real > middle).float().mean() + (fake < middle).float().mean())
    return dict(zip(("train/d_real_logit", "train/d_fake_logit", "train/d_separation"), (*means, right)))


def adapt_augmentation(augment: AdaptiveAugment, real: Tensor, fake: Tensor, above: float | None, clips: int) -> None:
    """One step of adaptive augmentation after an update of D, alike on all processes.

    Args:
        real, fake: this process's logits of any shape.
        above: the logit above which D takes a clip for real; None: the middle of both means.
        clips: real clips in this process's batch, however many logits each of them has.
    """
    if above is None:
        sums = sum_over_processes(torch.stack([real.mean(), fake.mean(), real.new_ones(())]))
        above = 0.5 * (sums[0] + sums[1]) / sums[2]
    augment.update(real - above, clips, sum_over_processes)
