"""CycleGAN on clips: unpaired translation between two domains.

Zhu, Park, Isola, Efros 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks",
1703.10593, with least squares (section 4) and a time axis (as Bashkirova et al. 2018, 1806.03698). G = a2b and F = b2a;
what is written for G: A -> B holds for F: B -> A with the letters exchanged:

    D_B minimizes  1/2 E (D_B(b) - 1)^2 + 1/2 E D_B(G(a))^2                      G(a) through a buffer of 50 past ones
    G minimizes    E (D_B(G(a)) - 1)^2
                   + lambda       E |F(G(a)) - a|_1                              cycle, per frame
                   + lambda mu    E |d_t F(G(a)) - d_t a|_1                      cycle, differences of frames
                   + lambda iota  E |G(b) - b|_1                                 identity (section 5.2)
                   + tau          E |d_t G(a)| exp(-10 |d_t a|)                  still where the source is still
                   + terms of `models/consistency.py`                           flow, prediction, features: off

Paper -> code: lambda = 10 -> `cycle_weight`, 0.5 lambda -> `identity_weight` (iota, in units of lambda), pool of 50 ->
`pool_size`, Adam (2e-4, 0.5, 0.999) with a rate that is constant for half of the training and falls to zero over the
other half -> `optimizer_*`, `lr_schedule`. mu -> `motion_weight`, tau -> `temporal_weight`.
Deviations: time axis, mu and tau; D moves before G; batches of any size; samples come from a moving average of G.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn

from vidiff.clip import clip_to_frames
from vidiff.consistency import stillness_loss
from vidiff.errors import UsageError
from vidiff.flow import FlowKind
from vidiff.losses import least_squares_d, least_squares_g
from vidiff.models.base import AdversarialModule, NetworkFactory
from vidiff.models.consistency import Consistency, predictors
from vidiff.models.translation import Translator
from vidiff.models.turn import Terms, Turn
from vidiff.nn.history import History
from vidiff.nn.perceptual import FeatureNetwork
from vidiff.nn.resnet import PatchDiscriminator, ResnetGenerator
from vidiff.optim import Adam, Schedule
from vidiff.parallel import gather_batch


class CycleGAN(AdversarialModule, Translator):
    """Two generators `a2b` and `b2a`, two discriminators `a` and `b`; the batch holds `clip_a` and `clip_b`.

    Args:
        generator, discriminator: factories of one network; two of each are built.
        frame_discriminator: a second pair of discriminators, on single frames, called with num_frames 1; None: no.
        optimizer_g, optimizer_d: one optimizer for both generators, one for both discriminators.
        lr_schedule: the paper's: constant, and linear to zero over the second half.
        cycle_weight: lambda.
        cycle_loss: `l1` (paper) or `mse`, of cycle and identity.
        motion_weight: mu, weight of the cycle on differences of successive frames, in units of `cycle_weight`.
        identity_weight: iota, in units of `cycle_weight`; the paper's 0.5 keeps colors where they need not change.
        temporal_weight: tau, weight of temporal consistency with the source.
        flow_weight, flow, recycle_weight, perceptual_weight, perceptual: see `Consistency`.
        stereo_weight: see `Consistency`; for `data.projection: stereo`.
        pool_size: generated clips kept per domain to show to the discriminators; 0 = none.
        width: base channels of all networks, the paper's 64.
        kwargs: sizes and the step, see `AdversarialModule`.
    """

    num_domains = 2
    real_above = 0.5

    def __init__(
        self,
        generator: NetworkFactory = lambda spec: ResnetGenerator(spec, conv="factorized"),
        discriminator: NetworkFactory = lambda spec: PatchDiscriminator(spec, layers=3),
        frame_discriminator: NetworkFactory | None = None,
        optimizer_g: OptimizerCallable = lambda p: Adam(p, lr=2e-4, beta1=0.5, beta2=0.999),
        optimizer_d: OptimizerCallable = lambda p: Adam(p, lr=2e-4, beta1=0.5, beta2=0.999),
        lr_schedule: Schedule = Schedule("linear", decay_start=0.5),
        cycle_weight: float = 10.0,
        cycle_loss: Literal["l1", "mse"] = "l1",
        motion_weight: float = 1.0,
        identity_weight: float = 0.5,
        temporal_weight: float = 0.0,
        flow_weight: float = 0.0,
        flow: FlowKind = "dis",
        recycle_weight: float = 0.0,
        perceptual_weight: float = 0.0,
        perceptual: FeatureNetwork = "lite0",
        stereo_weight: float = 0.0,
        pool_size: int = 50,
        width: int = 64,
        **kwargs,
    ):
        def generators(spec):
            pair = {"a2b": generator(spec), "b2a": generator(spec)}
            return nn.ModuleDict(pair | (predictors(spec) if recycle_weight else {}))

        def discriminators(spec):
            pairs = {d: discriminator(spec) for d in "ab"}
            if frame_discriminator is not None:
                pairs |= {f"frame_{d}": frame_discriminator(replace(spec, num_frames=1)) for d in "ab"}
            return nn.ModuleDict(pairs)

        super().__init__(
            generator=generators,
            discriminator=discriminators,
            optimizer_g=optimizer_g,
            optimizer_d=optimizer_d,
            lr_schedule=lr_schedule,
            width=width,
            **kwargs,
        )
        if stereo_weight and self.spec.projection != "stereo":
            raise UsageError(
                "model.stereo_weight compares two eyes: the clips have to hold them (data.projection stereo)"
            )
        self.cycle_weight, self.cycle_loss, self.motion_weight = cycle_weight, cycle_loss, motion_weight
        self.identity_weight, self.temporal_weight = identity_weight, temporal_weight
        optional = flow_weight, flow, recycle_weight, perceptual_weight, perceptual
        self.consistency = Consistency(*optional, cycle_loss, stereo_weight)
        self.history = nn.ModuleDict({d: History(self.spec, pool_size) for d in "ab"})

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit":
            self.consistency.prepare()

    def fake_clips(self, turn: Turn) -> dict[str, Tensor]:
        """Translations into each domain."""
        return {"a": self.generator["b2a"](turn.batch["clip_b"]), "b": self.generator["a2b"](turn.batch["clip_a"])}

    def mixed(self, turn: Turn) -> dict[str, Tensor]:
        """Fresh clips of a batch mixed with past ones: every process keeps the buffer of the global batch and takes its
        rows."""
        fakes, slots, mixed = [part.fake() for part in turn.parts], gather_batch(turn.batch["slot"]).tolist(), {}
        first = slots.index(turn.slots[0])  # this process's first row in the global batch
        for d in "ab":
            fresh = torch.cat([fake[d] for fake in fakes])
            shown = self.history[d].exchange(gather_batch(fresh), slots, self.seed, d)
            mixed[d] = shown[first : first + len(fresh)].to(fresh.dtype)
        return mixed

    def discriminator_losses(self, turn: Turn) -> Terms:
        terms, mixed = {}, turn.once(self.mixed)
        for d in "ab":
            fake = mixed[d][turn.rows]
            for name, network in self._discriminators(d).items():
                logits = turn.judge(turn.batch[f"clip_{d}"], "real", network), turn.judge(fake, "fake", network)
                terms[f"{name}real_{d}"], terms[f"{name}fake_{d}"] = least_squares_d(*logits)
        return terms

    def generator_losses(self, turn: Turn) -> Terms:
        fakes = turn.fake()
        terms = self._direction(turn, "a", "b", fakes["b"]) | self._direction(turn, "b", "a", fakes["a"])
        for d, other in ("ab", "ba") if self.identity_weight else ():
            x = turn.batch[f"clip_{d}"]
            identity = self.distance(self.generator[f"{other}2{d}"](x), x, self.cycle_loss)
            terms[f"identity_{d}"] = self.cycle_weight * self.identity_weight * identity
        return terms

    def _direction(self, turn: Turn, source: str, target: str, fake: Tensor) -> Terms:
        """Terms of one direction: is G(x) like the target domain, and does x come back from it?"""
        x = turn.batch[f"clip_{source}"]
        rec = self.generator[f"{target}2{source}"](fake)
        # The paper's generator loss has no factor 1/2.
        terms = {
            f"{name}adv_{target}": 2.0 * least_squares_g(turn.judge(fake, "fake", network))
            for name, network in self._discriminators(target).items()
        }
        terms[f"cycle_{source}"] = self.cycle_weight * self.distance(rec, x, self.cycle_loss)
        if self.motion_weight and x.shape[2] > 1:
            motion = self.distance(rec.diff(dim=2), x.diff(dim=2), self.cycle_loss)
            terms[f"motion_{source}"] = self.cycle_weight * self.motion_weight * motion
        if self.temporal_weight and x.shape[2] > 1:
            terms[f"temporal_{target}"] = self.temporal_weight * stillness_loss(fake, x)
        return terms | self.consistency.terms(self.generator, x, fake, rec, source, target)

    def _discriminators(self, domain: str) -> dict[str, Callable[[Tensor], Tensor]]:
        """Prefix of a term -> discriminator of whole clips, and of frames (B*T, C, 1, H, W) where there is one."""
        networks = {"": self.discriminator[domain]}
        if f"frame_{domain}" in self.discriminator:
            frames = self.discriminator[f"frame_{domain}"]
            networks["frame_"] = lambda clip: frames(clip_to_frames(clip).unsqueeze(2))
        return networks

    def real_logits(self, turn: Turn) -> Tensor:
        return torch.cat([turn.judge(turn.batch[f"clip_{d}"], "real", self.discriminator[d]).flatten() for d in "ab"])

    @property
    def directions(self) -> dict[str, list[tuple[int, int]]]:
        return {"a2b": [(0, 1)], "b2a": [(1, 0)]}

    def network(self, source: int, target: int, ema: bool = True) -> nn.Module:
        assert {source, target} == {0, 1}
        return super().network(source, target, ema)["a2b" if target else "b2a"]
