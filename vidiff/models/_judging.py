"""What comes with a discriminator's answers: penalties of its gradient, and everything that goes by its logits."""

from __future__ import annotations

from typing import Any, Callable, ClassVar

import torch
from torch import Tensor

from vidiff.augment import AdaptiveAugment
from vidiff.errors import UsageError
from vidiff.nn.blocks import mixes_clips
from vidiff.parallel import gather_batch, sum_over_processes


class Judging:
    """What an `AdversarialModule` does with the logits and gradients of its discriminator."""

    real_above: ClassVar[float | None] = 0.0
    """The logit above which D takes a clip for real; None where only differences count: the middle of both means."""

    penalty_through: ClassVar[tuple[str, ...]] = ()
    """What may mix the clips of a batch in a judge whose gradient is penalised, where the paper has it so."""

    _watched: tuple[Tensor, Tensor] | None = None  # real and generated logits of D's newest update

    def penalty(self, function: Callable, *args: Any) -> Tensor:
        """A gradient penalty; eager even when the networks are compiled, which know no double backward.

        Raises:
            UsageError: D mixes the clips of a batch.
        """
        self.check_penalty()
        if not self.compile_networks:
            return function(*args)
        with torch.compiler.set_stance("force_eager"):
            return function(*args)

    def check_penalty(self) -> None:
        """Refuse a D that mixes the clips of a batch: a penalty is of each clip's own gradient.

        `penalty` asks; a family whose penalty is always there asks at construction too, before any data is read.
        """
        if mixing := [what for what in mixes_clips(self.discriminator) if what not in self.penalty_through]:
            raise UsageError(
                f"{type(self).__name__}: the gradient penalty is per clip and has no meaning through {mixing[0]}; give "
                "the discriminator norm: layer, instance or none, and no minibatch_std, or set the penalty's weight "
                "to 0 where the family can do without"
            )

    def watch(self, real_logits: Tensor, fake_logits: Tensor) -> None:
        """Note D's logits of the batch, once an update: the dashboard, ADA and `balance` go by them.

        Logged are the mean logits and how often D is on the right side of the middle between them.

        Args:
            real_logits, fake_logits: (B, ...), one or many a clip.
        """
        real, fake = real_logits.detach().float(), fake_logits.detach().float()
        self._watched = real, fake
        # A decision is taken on the global batch, so that 2 processes take the same as 1.
        shown = (real, fake) if self.balancer is None else (gather_batch(real), gather_batch(fake))
        means = [x.mean() for x in shown]
        middle = 0.5 * (means[0] + means[1])
        right = 0.5 * ((shown[0] > middle).float().mean() + (shown[1] < middle).float().mean())
        self.terms |= dict(zip(("train/d_real_logit", "train/d_fake_logit", "train/d_separation"), (*means, right)))

    def adapt(self, clips: int) -> None:
        """After an update of D: ADA and the balance follow what it said.

        Args:
            clips: real clips in this process's batch, however many logits or judges each of them had.

        Raises:
            UsageError: either is wanted, and the family has not called `watch`.
        """
        adaptive = isinstance(self.discriminator_augment, AdaptiveAugment)
        if (adaptive or self.balancer is not None) and self._watched is None:
            what = "model.discriminator_augment: AdaptiveAugment" if adaptive else "model.balance"
            raise UsageError(
                f"{what} goes by D's logits, and {type(self).__name__} does not show them: its discriminator_losses "
                "has to call self.watch(real_logits, fake_logits)"
            )
        if adaptive:
            real, fake = self._watched
            above = self.real_above
            if above is None:
                sums = sum_over_processes(torch.stack([real.mean(), fake.mean(), real.new_ones(())]))
                above = 0.5 * (sums[0] + sums[1]) / sums[2]
            self.discriminator_augment.update(real - above, clips, sum_over_processes)
            self.terms["train/ada_p"] = self.discriminator_augment.p.clone()
            self.terms["train/ada_r_t"] = self.discriminator_augment.r_t.clone()
        self._rebalance()
        self._watched = None
