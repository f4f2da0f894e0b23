"""StarGAN on clips: unpaired translation between K domains with one generator.

Choi, Choi, Kim, Ha, Kim, Choo 2018, "StarGAN: Unified Generative Adversarial Networks for Multi-Domain Image-to-Image
Translation", 1711.09020, with a time axis. D gives patch logits D_src(x) and domain probabilities D_cls(. | x); x has
domain c', c is a target drawn uniformly, x_hat = eps x + (1 - eps) G(x, c):

    D minimizes  -E D_src(x) + E D_src(G(x, c)) - lambda_cls E log D_cls(c' | x)
                   + lambda_gp E (|grad D_src(x_hat)|_2 - 1)^2
    G minimizes  -E D_src(G(x, c)) - lambda_cls E log D_cls(c | G(x, c)) + lambda_rec E |x - G(G(x, c), c')|_1

With `game: least_squares` the first terms are those of CycleGAN (1703.10593) and there is no gradient penalty. A
discriminator that returns logits alone is asked about a domain instead, D_c(x): c' for real clips, c for G(x, c), and
there are no classification terms (StarGAN v2, Choi et al. 2020, 1912.01865).

Paper -> code: lambda_cls = 1 -> `cls_weight`, lambda_rec = 10 -> `rec_weight`, lambda_gp = 10 -> `gp_weight`,
n_critic = 5, Adam (1e-4, 0.5, 0.999) with a rate that falls to zero over the second half of the training.
Deviations: time axis; domains exclude each other, so the classification loss is a cross entropy (the published code's
for its second data set); `motion_weight` compares differences of successive frames too; c is drawn by each clip's
slot, not permuted within the batch; samples come from a moving average of G.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from vidiff import keyed
from vidiff.errors import UsageError
from vidiff.losses import least_squares_d, least_squares_g, wasserstein_d, wasserstein_g
from vidiff.models.base import AdversarialModule, NetworkFactory
from vidiff.models.translation import Translator
from vidiff.models.turn import Terms, Turn
from vidiff.nn.resnet import StarDiscriminator, StarGenerator
from vidiff.optim import Adam, Schedule
from vidiff.penalties import gradient_penalty


class StarGAN(AdversarialModule, Translator):
    """One generator for all domains, one discriminator that also names the domain; the batch holds `clip` and `label`.

    Args:
        generator, discriminator: network factories; the first is called with (clip, target label), the second with
            (clip, label) and returns (patch logits, domain logits), or patch logits of the domain `label` alone.
        optimizer_g, optimizer_d: the paper's Adam.
        lr_schedule: the paper's: constant, and linear to zero over the second half.
        game: `wasserstein` with gradient penalty (paper) or `least_squares`.
        n_critic: D updates per G update.
        cls_weight, rec_weight, gp_weight: the paper's three lambdas.
        rec_loss: `l1` (paper) or `mse`, see `CycleGAN`.
        rec_through: whether the reconstruction moves the first translation too (paper). Else x is only what the second
            one should have made of it (back-translation, as Sennrich et al. 2016, 1511.06709): where a domain has no
            colors, the first need not hide them.
        motion_weight: weight of the reconstruction of differences of frames, in units of `rec_weight`.
        width: base channels of both networks, the paper's 64.
        kwargs: sizes and the step, see `AdversarialModule`.

    Raises:
        UsageError: the data has no domains, or the gradient penalty meets a discriminator that mixes clips.
    """

    real_above = None

    def __init__(
        self,
        generator: NetworkFactory = lambda spec: StarGenerator(spec, blocks=6),
        discriminator: NetworkFactory = lambda spec: StarDiscriminator(spec, layers=6),
        optimizer_g: OptimizerCallable = lambda p: Adam(p, lr=1e-4, beta1=0.5, beta2=0.999),
        optimizer_d: OptimizerCallable = lambda p: Adam(p, lr=1e-4, beta1=0.5, beta2=0.999),
        lr_schedule: Schedule = Schedule("linear", decay_start=0.5),
        game: Literal["wasserstein", "least_squares"] = "wasserstein",
        n_critic: int = 5,
        cls_weight: float = 1.0,
        rec_weight: float = 10.0,
        rec_loss: Literal["l1", "mse"] = "l1",
        rec_through: bool = True,
        gp_weight: float = 10.0,
        motion_weight: float = 1.0,
        width: int = 64,
        num_classes: int | None = None,
        **kwargs,
    ):
        if not num_classes or num_classes < 2:
            raise UsageError(
                "StarGAN translates between two or more domains, and the data has none: use DomainDataModule, or "
                "ClipDataModule with data.num_classes: auto, on a folder with a folder for each domain"
            )
        super().__init__(
            generator=generator,
            discriminator=discriminator,
            optimizer_g=optimizer_g,
            optimizer_d=optimizer_d,
            lr_schedule=lr_schedule,
            n_critic=n_critic,
            width=width,
            num_classes=num_classes,
            **kwargs,
        )
        if game == "wasserstein":
            self.check_penalty()
        else:
            self.real_above = 0.5  # the middle of the targets
        self.game, self.num_domains = game, num_classes
        self.cls_weight, self.rec_weight, self.gp_weight = cls_weight, rec_weight, gp_weight
        self.rec_loss, self.rec_through, self.motion_weight = rec_loss, rec_through, motion_weight

    def targets(self, turn: Turn) -> Tensor:
        """Domains to translate to (B,), uniform over all K, a function of the slot."""
        return keyed.integers(turn.slots, self.num_domains, self.seed, "target", *turn.draw).to(self.device)

    def fake_clips(self, turn: Turn) -> Tensor:
        return self.generator(turn.real, self.targets(turn))

    def discriminate(self, clip: Tensor, label: Tensor | None) -> Any:
        """Patch logits and domain logits, or patch logits of the domains `label` alone."""
        return self.discriminator(clip, label)

    def _judge_fake(self, turn: Turn, fake: Tensor, target: Tensor) -> Tensor:
        return turn.judge(fake, "fake", lambda clip: self.discriminate(clip, target))

    def discriminator_losses(self, turn: Turn) -> Terms:
        x, fake = turn.real, turn.fake()
        losses = wasserstein_d if self.game == "wasserstein" else least_squares_d
        logits = turn.judge_both(fake, self.targets(turn))
        terms = dict(zip(("real", "fake"), losses(*logits)))
        if (domain_logits := turn.predictions.get("real")) is not None:
            terms["cls"] = self.cls_weight * F.cross_entropy(domain_logits, turn.class_target)
            turn.note(accuracy=(domain_logits.argmax(1) == turn.label).float().mean())
        if self.game == "wasserstein":
            summed = lambda clip: turn.judge(clip, "mixed").flatten(1).sum(1)  # noqa: E731  as published: not the mean
            terms["gp"] = self.gp_weight * turn.penalty(gradient_penalty, summed, x, fake, turn.uniform("mix"))
        return terms

    def generator_losses(self, turn: Turn) -> Terms:
        x, fake, target = turn.real, turn.fake(), self.targets(turn)
        rec = self.generator(fake if self.rec_through else fake.detach(), turn.label)
        logits = self._judge_fake(turn, fake, target)
        terms = {"adv": wasserstein_g(logits) if self.game == "wasserstein" else 2.0 * least_squares_g(logits)}
        if (domain_logits := turn.predictions.get("fake")) is not None:
            terms["cls"] = self.cls_weight * F.cross_entropy(domain_logits, target)
        terms["rec"] = self.rec_weight * self.distance(rec, x, self.rec_loss)
        if self.motion_weight and x.shape[2] > 1:
            motion = self.distance(rec.diff(dim=2), x.diff(dim=2), self.rec_loss)
            terms["motion"] = self.rec_weight * self.motion_weight * motion
        return terms

    def mapping(self, source: int, target: int, ema: bool = True):
        network = self.network(source, target, ema)
        return lambda clip: network(clip, torch.full(clip.shape[:1], target, device=clip.device))
