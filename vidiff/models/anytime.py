"""Anytime GAN: a clip is a function of time, and D looks at a few frames of it.

Motion codes that are continuous in time and a D of a few frames come from Skorokhodov, Tulyakov, Elhoseiny 2022,
"StyleGAN-V: A Continuous Video Generator with the Price, Image Quality and Perks of StyleGAN2", 2112.14683, and Yu et
al. 2022, "Generating Videos with Dynamics-aware Implicit Generative Adversarial Networks" (DIGAN), 2202.10571; the game
is the standard one with R1 (Mescheder et al. 2018, 1801.04406) on every `r1_every`-th batch (Karras et al. 2020,
1912.04958).

    D minimizes  E softplus(-D(x_t, t)) + E softplus(D(G(z, t), t)) + gamma/2 E |grad D(x_t, t)|^2
    G minimizes  E softplus(-D(G(z, t), t))                     t: k different frame numbers of a clip, drawn anew

Paper -> code: k -> `frames` (3 in StyleGAN-V, 2 in DIGAN); gamma -> `r1_gamma`; motion code v_t -> `MotionCode`.
Deviations from StyleGAN-V: small convolutional networks with BatchNorm whose scale comes from the clip's code, in the
place of modulated StyleGAN2 layers; the motion code is a sum of waves of the clip's own speeds, without random anchors,
so all of a clip's chance is in z; D sees the gaps as channels and judges each frame by itself beside all together.

An update costs what its frames cost, whatever the clip's length, and a clip has any length and any frame rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn

from vidiff import keyed
from vidiff.errors import UsageError, at_least
from vidiff.losses import standard_d, standard_g
from vidiff.models.base import AdversarialModule, NetworkFactory
from vidiff.models.turn import Terms, Turn
from vidiff.nn.anytime import AnytimeDiscriminator, AnytimeGenerator
from vidiff.optim import Adam
from vidiff.penalties import logits_and_penalty


class AnytimeGAN(AdversarialModule):
    """Standard game on a few frames of each clip; makes clips of any length.

    Args:
        frames: k, frames of a clip that D looks at; at most all.
        generator: network factory; called with (z, label, times).
        discriminator: network factory; None = an `AnytimeDiscriminator` of `frames` frames. Called with (clip, label,
            times), or with a whole clip without times.
        optimizer_g, optimizer_d: Adam, beta1 0 and beta2 0.99, learning rate 8e-4.
        r1_gamma: gamma, weight of the penalty on real clips; 0 = none.
        r1_every: batches from one penalty to the next, which then weighs that much more.
        latent_dim: length of z.
        kwargs: sizes and the step, see `AdversarialModule`.

    Raises:
        UsageError: the discriminator mixes the clips of a batch, or an argument is out of range.
    """

    def __init__(
        self,
        frames: int = 3,
        generator: NetworkFactory = lambda spec: AnytimeGenerator(spec),
        discriminator: NetworkFactory | None = None,
        optimizer_g: OptimizerCallable = lambda p: Adam(p, lr=8e-4, beta1=0.0, beta2=0.99),
        optimizer_d: OptimizerCallable = lambda p: Adam(p, lr=8e-4, beta1=0.0, beta2=0.99),
        r1_gamma: float = 8.0,
        r1_every: int = 4,
        latent_dim: int = 64,
        **kwargs,
    ):
        at_least(1, **{"model.frames": frames, "model.r1_every": r1_every})
        if r1_gamma < 0:
            raise UsageError(f"model.r1_gamma must not be negative, got {r1_gamma}")
        super().__init__(
            generator=generator,
            discriminator=discriminator or (lambda spec: AnytimeDiscriminator(spec, frames)),
            optimizer_g=optimizer_g,
            optimizer_d=optimizer_d,
            latent_dim=latent_dim,
            **kwargs,
        )
        self.frames, self.r1_gamma, self.r1_every = min(frames, self.spec.num_frames), r1_gamma, r1_every
        if r1_gamma:
            self.check_penalty()

    def times(self, turn: Turn) -> Tensor:
        """Which frames D looks at: different ones, increasing, int64 (B, k), each row a function of (seed, slot).

        The first and the last lie in a window of random length, so neighbors are as frequent as frames far apart.
        """
        frames, k, key = self.spec.num_frames, self.frames, (self.seed, "times", *turn.draw)
        if k == 1:
            return keyed.integers(turn.slots, frames, *key)[:, None].to(self.device)
        span = k + keyed.integers(turn.slots, frames - k + 1, *key, "span")[:, None]  # (B, 1)
        start = keyed.integers(turn.slots, 1 << 30, *key, "start")[:, None] % (frames - span + 1)
        inner = torch.arange(frames).expand(len(span), -1)
        order = keyed.normal(turn.slots, (frames,), *key).masked_fill((inner == 0) | (inner >= span - 1), math.inf)
        inner = order.argsort(dim=1)[:, : k - 2]
        return (start + torch.cat([0 * span, inner, span - 1], dim=1)).sort(dim=1).values.to(self.device)

    def fake_clips(self, turn: Turn) -> Tensor:
        """Those frames of as many clips as the batch has, (B, C, k, H, W)."""
        return self.generator(turn.latents(), turn.label, self.times(turn).to(self.dtype))

    def looking_at(self, times: Tensor, turn: Turn) -> Callable[[Tensor], Tensor]:
        """D of the frames of these times (B, k): clips (B, C, k, H, W) -> logits."""
        return lambda clip: self.discriminator(clip, turn.label, times.to(self.dtype))

    def discriminator_losses(self, turn: Turn) -> Terms:
        times = self.times(turn)
        clips = turn.real[torch.arange(len(times), device=times.device)[:, None], :, times].transpose(1, 2)
        look = self.looking_at(times, turn)
        judge_real = partial(turn.judge, side="real", by=look)
        terms = {}
        if self.r1_gamma and self.batches_seen % self.r1_every == 0:
            real_logits, r1 = turn.penalty(logits_and_penalty, judge_real, clips)
            terms["r1"] = self.r1_gamma * self.r1_every * r1
        else:
            real_logits = judge_real(clips)
        real, fake = standard_d(real_logits, turn.judge(turn.fake(), "fake", by=look))
        return {"real": real, "fake": fake} | terms

    def generator_losses(self, turn: Turn) -> Terms:
        fake = turn.fake()
        return {"adv": standard_g(turn.judge(fake, "fake", by=self.looking_at(self.times(turn), turn)))}

    def synthesize(
        self, network: nn.Module, ids: Sequence[int], seed: int, label: Tensor | None, num_frames: int | None
    ) -> Tensor:
        z = self.latents(ids, "sample", seed)
        times = torch.arange(num_frames or self.spec.num_frames, device=z.device, dtype=z.dtype)
        return network(z, label, times.expand(len(z), -1))
