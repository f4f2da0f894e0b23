"""Adversarial flow on clips: noise becomes a clip in one step, taught by a discriminator and kept near its noise.

Lin, Yang, Lin, Chen, Fan 2025, "Adversarial Flow Models", 2511.22475 (the game and the transport cost); Lin et al.
2025, "Diffusion Adversarial Post-Training for One-Step Video Generation", 2501.08316 (a flow first, approximate
penalties).

    D minimizes  E softplus(-(D(x) - D(G(z)))) + gamma (R1 + R2) + c E (D(x) + D(G(z)))^2
    G minimizes  E softplus(-(D(G(z)) - D(x))) + lambda E |G(z) - z|^2            z noise of the clip's shape

lambda falls along half a cosine: where G may carry z is decided by it while it is large, and by D alone at the end. A
stage that D takes no part in trains the flow: G minimizes fm, the loss of `vidiff.models.flow`, or, where the stage has
`weights: {fm: 0, match: 1}`, match = E |G(z) - X(z)|^2, X(z) the clip that the flow makes of z in many steps.

So there are three trainings by `stages`: (0) without any, the game from scratch; (1) `players: [g]`, then the game;
(2) `players: [g]`, then `players: [g]` with match, then the game.

Paper -> code: G(z) = z + v(z, 0) -> `generator` (a `FlowUNet3d` in a `FlowSampler` of one step), lambda -> `ot_start`,
`ot_final`, `ot_steps`; gamma -> `r1_gamma`, R1 and R2 by differences on one sample in four -> `penalty_sigma`; c ->
`centre_weight`. D never sees z.
Deviations: D is R3GAN's, not the generator's own network (a `FlowDiscriminator` is its way down, and begins with the
flow's weights where there is one); no augmentation; no normalized gradients; one optimizer for the flow and the game.
In the latents of an autoencoder (`autoencoder`, `tokenizer`) x and G(z) above are latents: D judges those.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from vidiff.errors import UsageError, at_least
from vidiff.losses import relativistic_d, relativistic_g
from vidiff.models.base import AdversarialModule
from vidiff.models.flow import clip_noise, spread_times, velocity_loss
from vidiff.models.latents import KnownLatents, encoded, flow_sampler, take_spread, take_tokenizer
from vidiff.models.record import network_of, unlike
from vidiff.models.strategies import Player
from vidiff.models.turn import Terms, Turn
from vidiff.nn.blocks import NetworkFactory
from vidiff.nn.flow_unet import FlowDiscriminator, FlowSampler, FlowUNet3d
from vidiff.nn.r3 import R3Discriminator
from vidiff.optim import Adam

ONE_IN = 4  # samples whose penalty is taken


class AdversarialFlow(AdversarialModule):
    """A one-step generator from clips of noise, from scratch or from a flow.

    Args:
        generator: factory of the network, v(x, t, label), as of `FlowMatching`.
        discriminator: network factory.
        optimizer_g: Adam, learning rate 2e-3 and betas (0, 0.9).
        optimizer_d: Adam, learning rate 2e-3 and betas (0, 0.9).
        rho: share of the noise's variance that all frames of a clip have in common, in [0, 1).
        teacher: a checkpoint of `FlowMatching`, or of this family, with a network of the same shape: its average is
            what `fit` begins with, and its tokenizer where it works in latents.
        critic: a checkpoint of this family whose D `fit` begins with. With `teacher`, which may be of this family too,
            that is a late phase (2501.08316): the average becomes G, and an earlier D is taken where D has stalled.
        r1_gamma: gamma, weight of R1 and R2.
        penalty_sigma: standard deviation of the noise that the penalties take differences by.
        centre_weight: c, which keeps D's logits around 0.
        ot_start, ot_final: lambda at the beginning of the game and at the end of its fall.
        ot_steps: generator steps of the game in which it falls.
        match_steps: steps of the flow in X(z).
        adversarial_rate: factor of G's learning rate in a game that follows other stages or a teacher.
        autoencoder, tokenizer, keep_latents: see `FlowMatching`; the latents of a `teacher` are its own.
        kwargs: sizes and the step, see `AdversarialModule`.

    Raises:
        UsageError: a number is out of its range, the discriminator mixes the clips of a batch, or latents without a
            tokenizer.
    """

    real_above = None

    def __init__(
        self,
        generator: NetworkFactory = lambda spec: FlowUNet3d(spec),
        discriminator: NetworkFactory = lambda spec: R3Discriminator(spec, blocks=2),
        optimizer_g: OptimizerCallable = lambda p: Adam(p, lr=2e-3, beta1=0.0, beta2=0.9),
        optimizer_d: OptimizerCallable = lambda p: Adam(p, lr=2e-3, beta1=0.0, beta2=0.9),
        rho: float = 0.5,
        teacher: str | None = None,
        critic: str | None = None,
        r1_gamma: float = 1.0,
        penalty_sigma: float = 0.1,
        centre_weight: float = 0.01,
        ot_start: float = 0.2,
        ot_final: float = 0.005,
        ot_steps: int = 1000,
        match_steps: int = 8,
        adversarial_rate: float = 0.25,
        autoencoder: NetworkFactory | None = None,
        tokenizer: str | None = None,
        keep_latents: int = 0,
        **kwargs,
    ):
        at_least(0, **{"model.r1_gamma": r1_gamma, "model.centre_weight": centre_weight, "model.ot_final": ot_final})
        at_least(0, **{"model.ot_start": ot_start, "model.adversarial_rate": adversarial_rate})
        at_least(1, **{"model.ot_steps": ot_steps, "model.match_steps": match_steps})
        if not 0 <= rho < 1 or penalty_sigma <= 0:
            raise UsageError(f"model.rho must be in [0, 1), penalty_sigma above 0, got {rho} and {penalty_sigma}")
        if (autoencoder is None and tokenizer is not None) or (autoencoder is not None and not (tokenizer or teacher)):
            raise UsageError(
                "model.autoencoder, a network, needs its trained weights, model.tokenizer or those of model.teacher"
            )
        super().__init__(
            generator=flow_sampler(generator, autoencoder, steps=1),
            discriminator=lambda spec: discriminator(self.generator.codec.latent_spec(spec)),
            optimizer_g=optimizer_g,
            optimizer_d=optimizer_d,
            **kwargs,
        )
        self.check_penalty()
        self.tokenizer, self.known = tokenizer, KnownLatents(keep_latents)
        self.rho, self.teacher, self.critic, self.match_steps = rho, teacher, critic, match_steps
        self.r1_gamma, self.penalty_sigma, self.centre_weight = r1_gamma, penalty_sigma, centre_weight
        self.ot_start, self.ot_final, self.ot_steps = ot_start, ot_final, ot_steps
        self.adversarial_rate = adversarial_rate
        self.flow = copy.deepcopy(self.generator).requires_grad_(False)  # what `match` learns from
        self.flow.steps = match_steps
        self.strategies.declare_terms("g", ["fm", "match", "adv", "ot"])

    def setup(self, stage: str) -> None:
        if stage == "fit" and self.tokenizer is not None:
            samplers = self.generator, self.generator_ema.module, self.flow
            take_tokenizer(self.tokenizer, *samplers)
            take_spread(self.trainer.datamodule, *samplers)
        if stage == "fit" and self.teacher is not None:
            self.begin_from(self.teacher)
        if stage == "fit" and self.critic is not None:
            self.take_critic(self.critic)
        super().setup(stage)

    def begin_from(self, path: str) -> None:
        """Take the averaged weights of a flow's checkpoint for G, its average and the flow that `match` learns from.

        Raises:
            UsageError: there is no such file, or its network is another one.
        """
        record, state = network_of(path, "model.teacher")
        rho, state = record["init_args"].get("rho"), {k: v for k, v in state.items() if "guide" not in k.split(".")[0]}
        if name := unlike(state, self.generator.state_dict()):
            raise UsageError(f"model.teacher {path}: its network is another one, {name} differs: set the same sizes")
        if rho != self.rho:
            raise UsageError(f"model.teacher {path} is a flow of rho {rho}, this model's is {self.rho}: set the same")
        for network in (self.generator, self.generator_ema.module):
            network.load_state_dict(state)
        self._flow_is(self.generator)

    def take_critic(self, path: str) -> None:
        """Take the weights of D from a checkpoint.

        Raises:
            UsageError: there is no such file, or its D is another one.
        """
        _, state = network_of(path, "model.critic", "discriminator.")
        if name := unlike(state, self.discriminator.state_dict()):
            raise UsageError(f"model.critic {path}: its discriminator is another one, {name} differs: set its sizes")
        self.discriminator.load_state_dict(state)

    def _flow_is(self, sampler: FlowSampler) -> None:
        """What `match` learns from, and what a D of the same make begins with."""
        self.flow.load_state_dict(sampler.state_dict())
        if isinstance(self.discriminator, FlowDiscriminator):
            self.discriminator.take_way_down(sampler.network.state_dict())

    def latents(self, slots: Iterable[int] | Tensor, *parts: int | str) -> Tensor:
        """Noise (len(slots), C, T, H, W), see `clip_noise`."""
        return clip_noise(self, self.rho, slots, *parts)

    def fake_clips(self, turn: Turn) -> Tensor:
        return self.generator.integrate(turn.latents(), turn.label)

    def real_logits(self, turn: Turn) -> Tensor:
        return turn.judge(encoded(turn), "real")

    # ---- stages -------------------------------------------------------------------------------------------------

    @property
    def step(self) -> int:
        """The generator step that is being made."""
        return 0 if self._trainer is None else self.trainer.global_step

    @property
    def plays(self) -> bool:
        """Whether D trains at present."""
        return self.strategies.trains("d", self.step)

    @property
    def matches(self) -> bool:
        """Whether G learns the flow's own clips at present."""
        weights = self.strategies.stage(self.step).get("weights", {})
        return not self.plays and weights.get("g_match", weights.get("match", 0.0)) != 0

    @property
    def ot_weight(self) -> float:
        """lambda at present: half a cosine from `ot_start` to `ot_final` over `ot_steps` of the game."""
        stages = self.strategies.stages
        before = sum(s["steps"] for s in stages[:-1] if "d" not in s.get("players", "gd"))
        done = min(max(self.step - before, 0) / self.ot_steps, 1.0)
        return self.ot_final + (self.ot_start - self.ot_final) * 0.5 * (1 + math.cos(math.pi * done))

    def rate_factor(self, player: Player) -> float:
        """Of the schedule and strategies, times the game's for a G that was trained before."""
        before = len(self.strategies.stages) > 1 or self.teacher is not None
        late = self.adversarial_rate if player == "g" and self.plays and before else 1.0
        return super().rate_factor(player) * late

    def before_batch(self, batch: dict[str, Tensor]) -> None:
        """The flow is what the average is at the end of its stage."""
        if not self.plays and not self.matches:
            self._flow_is(self.generator_ema.module)

    # ---- losses -------------------------------------------------------------------------------------------------

    def discriminator_losses(self, turn: Turn) -> Terms:
        real_logits, r1 = turn.approximate_penalty(encoded(turn), "real", self.penalty_sigma, ONE_IN)
        fake_logits, r2 = turn.approximate_penalty(turn.fake(), "fake", self.penalty_sigma, ONE_IN)
        centre = (real_logits + fake_logits).square().mean()
        penalties = {"r1": self.r1_gamma * r1, "r2": self.r1_gamma * r2, "centre": self.centre_weight * centre}
        return {"adv": relativistic_d(real_logits, fake_logits)} | penalties

    def generator_losses(self, turn: Turn) -> Terms:
        if self.plays:
            return self._game(turn)
        if self.matches:
            z = turn.latents()
            with torch.no_grad():
                target = self.flow.integrate(z, turn.label)
            return {"match": (self.generator.integrate(z, turn.label) - target).square().mean()}
        t = spread_times(turn.slots, self.seed).to(turn.real)
        return {"fm": velocity_loss(self.generator.network, encoded(turn), turn.latents(), t, turn.label)}

    def _game(self, turn: Turn) -> Terms:
        z = turn.latents()
        fake = turn.fake()
        fake_logits = turn.judge(fake, "fake")
        with torch.no_grad():
            real_logits = turn.judge(encoded(turn), "real")
        moved = (fake - z).square().mean()
        turn.note(moved=moved, ot_weight=torch.tensor(self.ot_weight))
        return {"adv": relativistic_g(real_logits, fake_logits), "ot": self.ot_weight * moved}
