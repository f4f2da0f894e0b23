"""Multi-period GAN: a clip made coarse to fine in time, one game a period.

Key frames at period P come first, then the frames half-way between them, and so on down to every frame. It follows the
coarse-to-fine pyramids of images (Denton et al. 2015, LAPGAN, 1506.05751; conditional generators, each trained against
its own discriminator on its own scale) along time instead of space; temporal pyramids of the kind are in TGANv2
(Saito et al. 2020, 1811.09245). For each period p, with x_p = every p-th frame of x:

    D_p minimizes  E softplus(-D_p(x_p)) + E softplus(D_p(G_p))
    G_p minimizes  E softplus(-D_p(G_p)),    G_p = interleave(G_2p, g_p(G_2p, z)),    G_P = g_P(z)

Frames shared by two periods are the same frames. `mode: joint` moves all periods at every step, and a period's
discriminator teaches the generators of coarser ones too: D_p sees their frames beside g_p's, so that a g_p alone could
not win by any frame of its own, and flickers. `staged` trains one after the other, coarse to fine, `stage_clips` real
clips each; what is finished stays as it is.
Any length by chaining: g_P also learns, on a share of its clips, to continue the last key frame of a clip of its own,
as it will have to; a longer clip is made of segments, refined as a whole. (To continue a real frame on half of the
clips does not work: D finds the seam, is right about all of these clips, and G goes to pieces over them.)
Names in code: g_P -> `generator.keys`, g_p -> `generator.between`, D_p -> `discriminator["p<p>"]`.
"""

from __future__ import annotations

from functools import partial
from typing import Literal, Sequence

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn

from vidiff import keyed
from vidiff.errors import UsageError
from vidiff.losses import standard_d, standard_g
from vidiff.models.base import AdversarialModule, NetworkFactory
from vidiff.models.turn import Side, Terms, Turn
from vidiff.nn.multiperiod import MultiPeriodDiscriminators, MultiPeriodGenerator
from vidiff.optim import Adam
from vidiff.parallel import world_size


class MultiPeriodGAN(AdversarialModule):
    """A generator and a discriminator for each period, from key frames to every frame.

    Args:
        period: P, a power of two that divides `num_frames` at least twice.
        mode: `joint` or `staged`.
        stage_clips: real clips for which each period but the last is trained in `staged` mode.
        continue_share: share of training clips whose key frames continue those of another clip of the generator.
        generator, discriminator: network factories; None = the multi-period networks with that `period`.
        optimizer_g, optimizer_d: Adam, learning rate 2e-4 and beta1 0.5.
        kwargs: sizes and the step, see `AdversarialModule`.
    """

    def __init__(
        self,
        period: int = 4,
        mode: Literal["joint", "staged"] = "joint",
        stage_clips: int = 4000,
        continue_share: float = 0.25,
        generator: NetworkFactory | None = None,
        discriminator: NetworkFactory | None = None,
        optimizer_g: OptimizerCallable = lambda p: Adam(p, lr=2e-4, beta1=0.5, beta2=0.999),
        optimizer_d: OptimizerCallable = lambda p: Adam(p, lr=2e-4, beta1=0.5, beta2=0.999),
        **kwargs,
    ):
        super().__init__(
            generator=generator or (lambda spec: MultiPeriodGenerator(spec, period)),
            discriminator=discriminator or (lambda spec: MultiPeriodDiscriminators(spec, period)),
            optimizer_g=optimizer_g,
            optimizer_d=optimizer_d,
            **kwargs,
        )
        if mode not in ("joint", "staged") or stage_clips < 1 or not 0.0 <= continue_share <= 1.0:
            raise UsageError("MultiPeriodGAN: mode is joint or staged, stage_clips >= 1, continue_share from 0 to 1")
        self.mode, self.stage_clips, self.continue_share = mode, stage_clips, continue_share
        self._active = steps = list(self.generator.steps)
        # Staged, a term may come long after the first update: a weight's name is checked here and not then.
        self.strategies.declare_terms("d", [f"p{p}_{side}" for p in steps for side in ("real", "fake")])
        self.strategies.declare_terms("g", [f"p{p}" for p in steps])

    def periods_at(self, clips: int) -> list[int]:
        """The periods that are trained after so many clips."""
        steps = self.generator.steps
        return steps if self.mode == "joint" else [steps[min(clips // self.stage_clips, len(steps) - 1)]]

    @torch.no_grad()
    def to_continue(self, turn: Turn) -> tuple[Tensor, Tensor]:
        """The last key frame of other clips (B, C, 1, H, W), and which training clips continue theirs (B,)."""
        before = self.generator.keys(turn.latents("before"), turn.label, None, None)
        draws = keyed.integers(turn.slots, 10_000, self.seed, "continue", *turn.draw)
        return before[:, :, -1:], (draws < 10_000 * self.continue_share).to(self.device)

    def fake_clips(self, turn: Turn) -> dict[int, Tensor]:
        """Generated clips of every period that is trained, by period."""
        z = turn.latents()
        given, has = self.to_continue(turn)
        steps = self.generator.steps
        upto = steps.index(self._active[-1]) + 1
        keys = self.generator.keys(z, turn.label, given, has)
        path = z[:, :, None].expand(-1, -1, keys.shape[2])
        clips = self.generator.refine(keys, path, turn.label, upto, detached=self.mode == "staged")
        return {p: clip for p, clip in zip(steps, clips) if p in self._active}

    def discriminate(self, clip: Tensor, label: Tensor | None, period: int = 1) -> Tensor:
        """Logits (B,) of clips that hold every `period`-th frame."""
        return self.discriminator[f"p{period}"](clip, label)

    def judge_period(self, turn: Turn, clip: Tensor, side: Side, period: int) -> Tensor:
        """Logits of a period's discriminator; for the dashboard the finest one that is trained speaks for all."""
        by = partial(self.discriminate, label=turn.label, period=period)
        return turn.judge(clip, side, by, counts=period == self._active[-1])

    def before_batch(self, batch: dict[str, Tensor]) -> None:
        self._active = self.periods_at(self.batches_seen * len(batch["clip"]) * world_size())

    def discriminator_losses(self, turn: Turn) -> Terms:
        terms = {}
        for p, fake in turn.fake().items():
            real_logits = self.judge_period(turn, turn.real[:, :, ::p], "real", p)
            fake_logits = self.judge_period(turn, fake, "fake", p)
            terms[f"p{p}_real"], terms[f"p{p}_fake"] = standard_d(real_logits, fake_logits)
        return terms

    def generator_losses(self, turn: Turn) -> Terms:
        return {f"p{p}": standard_g(self.judge_period(turn, fake, "fake", p)) for p, fake in turn.fake().items()}

    def synthesize(
        self, network: nn.Module, ids: Sequence[int], seed: int, label: Tensor | None, num_frames: int | None
    ) -> Tensor:
        num_frames = num_frames or self.spec.num_frames
        period = network.steps[0]
        first = self.spec.num_frames // period  # key frames of the first segment; each further one adds first - 1
        further = max(0, -(-(-(-num_frames // period) - first) // (first - 1)))
        z = [self.latents(ids, "sample", seed)]
        z += [self.latents(ids, "sample", seed, "segment", s) for s in range(1, further + 1)]
        return network(torch.stack(z, dim=1), label)[:, :, :num_frames]
