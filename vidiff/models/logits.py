"""What goes by the logits of a discriminator's update: the dashboard and adaptive augmentation."""

from __future__ import annotations

import torch
from torch import Tensor

from vidiff.augment import AdaptiveAugment
from vidiff.parallel import gather_batch, sum_over_processes


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
    return {"real_logit": means[0], "fake_logit": means[1], "separation": right}


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
