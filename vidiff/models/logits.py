"""What goes by the logits of a discriminator's update: the dashboard, adaptive augmentation, the players' balance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidiff.augment import AdaptiveAugment
from vidiff.errors import UsageError
from vidiff.models.strategies import Balancer
from vidiff.models.turn import Turn
from vidiff.parallel import gather_batch, sum_over_processes


def follow_logits(
    turn: Turn, augment: nn.Module | None, balancer: Balancer | None, above: float | None
) -> dict[str, Tensor]:
    """Let the augmentation and the balance follow D's logits of a turn; what is logged of all three.

    Args:
        turn: of D, after its losses.
        augment: in front of the discriminator; only an `AdaptiveAugment` follows anything.
        balancer: None: none.
        above: see `adapt_augmentation`.

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
