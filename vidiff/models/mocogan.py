"""MoCoGAN: a content latent that stays, a motion latent that moves, a discriminator of frames and one of clips.

Tulyakov, Liu, Yang, Kautz 2018, "MoCoGAN: Decomposing Motion and Content for Video Generation", 1707.04993.

    frame t = G([z_content, category, h_t]),   h_t = GRU(e_t, h_{t-1}),   e_t, h_0 normal
    D minimizes  E softplus(-D_I(x_t)) + E softplus(D_I(G_t)) + E softplus(-D_V(x)) + E softplus(D_V(G))
                 + E CE(Q(x), label)
    G minimizes  E softplus(-D_I(G_t)) + E softplus(-D_V(G)) + lambda E CE(Q(G), category)

Paper -> code: z_C -> `latents` (`latent_dim`), epsilon and h_0 -> `motion_noise`, R_M -> `MoCoGenerator.cell`,
D_I, D_V -> `discriminator["frame"]`, `["clip"]`, Q -> further outputs of D_V, lambda -> `cls_weight`, S_1 (one random
frame) -> `one_frame`. Without classes there is neither category nor Q.
Where paper and authors' code differ the code is followed: D learns Q from real labels, G is asked for its category.
Deviations: half of the training clips begin later in their path (`max_start`) and the GRU begins slow (`gate_bias`),
which together keep long clips alive; the frame is taken from the same generated clip that D_V gets, categories have
the data's frequencies, no weight decay (1e-5 in the code); D_V has noise before its last layer too, where the code has
it before the four others alone (D_I has it everywhere); other clip sizes than 16x64x64 have fewer or more layers and
kernels as long as there are frames; samples come from a moving average of G.
"""

from __future__ import annotations

from typing import Sequence

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn

from vidiff import keyed
from vidiff.errors import UsageError
from vidiff.losses import standard_d, standard_g
from vidiff.models.base import AdversarialModule, NetworkFactory
from vidiff.models.turn import Side, Terms, Turn
from vidiff.nn.moco import MoCoDiscriminators, MoCoGenerator
from vidiff.optim import Adam

CHUNK = 16  # frames of noise drawn under one key, so that a longer clip begins like a shorter one


class MoCoGAN(AdversarialModule):
    """Content and motion apart; makes clips of any length.

    Args:
        motion_dim: size of the motion latent (10 in the paper's code).
        generator: network factory; None = a `MoCoGenerator` with that `motion_dim`.
        discriminator: factory of a ModuleDict with `frame` and `clip`; None = `MoCoDiscriminators`.
        optimizer_g, optimizer_d: the code's Adam, learning rate 2e-4 and beta1 0.5.
        cls_weight: lambda, weight of the classification terms of both players.
        judge_noise: standard deviation of the noise before each layer of the discriminators in training. The authors'
            command has 0.1, but none before D_V's last layer.
        max_start: half of the training clips begin after up to that many steps of their path, so that clips of any
            length stay what was trained; 0 in the paper, where nothing moves beyond about twice the training's length.
        gate_bias: of the GRU's update gate at the start, see `MoCoGenerator`; 0 in the paper's code.
        kwargs: sizes and the step, see `AdversarialModule`; `latent_dim` (50 in the paper) is the content's.
    """

    def __init__(
        self,
        motion_dim: int = 10,
        generator: NetworkFactory | None = None,
        discriminator: NetworkFactory | None = None,
        optimizer_g: OptimizerCallable = lambda p: Adam(p, lr=2e-4, beta1=0.5, beta2=0.999),
        optimizer_d: OptimizerCallable = lambda p: Adam(p, lr=2e-4, beta1=0.5, beta2=0.999),
        cls_weight: float = 1.0,
        judge_noise: float = 0.1,
        max_start: int = 48,
        gate_bias: float = 2.0,
        latent_dim: int = 50,
        **kwargs,
    ):
        if max_start < 0:
            raise UsageError(f"model.max_start must not be negative, got {max_start}")
        super().__init__(
            generator=generator or (lambda spec: MoCoGenerator(spec, motion_dim, gate_bias)),
            discriminator=discriminator or (lambda spec: MoCoDiscriminators(spec, judge_noise)),
            optimizer_g=optimizer_g,
            optimizer_d=optimizer_d,
            latent_dim=latent_dim,
            **kwargs,
        )
        self.motion_dim, self.cls_weight, self.max_start = motion_dim, cls_weight, max_start

    def motion_noise(self, slots: Sequence[int], num_frames: int, *parts: int | str) -> Tensor:
        """h_0 and e_1 .. e_T (len(slots), 1 + T, M), each row a function of (seed, parts, slot)."""
        start = keyed.normal(slots, (1, self.motion_dim), self.seed, "h", *parts)
        chunks = range(-(-num_frames // CHUNK))
        noise = [keyed.normal(slots, (CHUNK, self.motion_dim), self.seed, "e", k, *parts) for k in chunks]
        return torch.cat([start, torch.cat(noise, dim=1)[:, :num_frames]], dim=1).to(self.device, self.dtype)

    def window(self, network: nn.Module, slots: Sequence[int], *parts: int | str) -> Tensor:
        """`motion_noise` of a training clip: half of them begin their path, half up to `max_start` steps later."""
        frames = self.spec.num_frames
        if not self.max_start or not hasattr(network, "noise_from"):  # a network of one's own: from the beginning
            return self.motion_noise(slots, frames, *parts)
        noise = self.motion_noise(slots, self.max_start + frames, *parts)
        start = keyed.integers(slots, self.max_start + 1, self.seed, "start", *parts)
        late = keyed.integers(slots, 2, self.seed, "late", *parts)
        return network.noise_from(noise, (late * start).to(noise.device), frames)

    def fake_clips(self, turn: Turn) -> Tensor:
        noise = self.window(self.generator, turn.slots, *turn.draw)
        return self.generator(turn.latents(), turn.label, noise)

    def one_frame(self, clip: Tensor, slots: Sequence[int], *parts: int | str) -> Tensor:
        """One random frame of each clip, (B, C, 1, H, W)."""
        t = keyed.integers(slots, clip.shape[2], self.seed, "frame", *parts).to(clip.device)
        return clip[torch.arange(len(clip), device=clip.device), :, t][:, :, None]

    def discriminate(self, clip: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Logits of whole clips (B, P), and class logits (B, K) where there are classes."""
        return self.discriminator["clip"](clip)

    def judge_frame(self, turn: Turn, clip: Tensor, side: Side, *parts: int | str) -> Tensor:
        """Logits of one frame of each clip; the dashboard goes by those of whole clips."""
        return turn.judge(self.one_frame(clip, turn.slots, *parts), side, self.discriminator["frame"], counts=False)

    def discriminator_losses(self, turn: Turn) -> Terms:
        real, fake = turn.real, turn.fake()
        frames = standard_d(self.judge_frame(turn, real, "real", "real"), self.judge_frame(turn, fake, "fake", "d"))
        clips = standard_d(turn.judge(real, "real"), turn.judge(fake, "fake"))
        terms = dict(zip(("frame_real", "frame_fake", "clip_real", "clip_fake"), (*frames, *clips)))
        return terms | self._class_term(turn, "real", turn.class_target)

    def generator_losses(self, turn: Turn) -> Terms:
        fake = turn.fake()
        frame = standard_g(self.judge_frame(turn, fake, "fake", "g", turn.move))
        terms = {"frame": frame, "clip": standard_g(turn.judge(fake, "fake"))}
        return terms | self._class_term(turn, "fake", turn.batch["label"])

    def _class_term(self, turn: Turn, side: Side, target: Tensor) -> Terms:
        if (class_logits := turn.predictions[side]) is None:
            return {}
        return {"class": self.cls_weight * F.cross_entropy(class_logits, target)}

    def synthesize(
        self, network: nn.Module, ids: Sequence[int], seed: int, label: Tensor | None, num_frames: int | None
    ) -> Tensor:
        noise = self.motion_noise(ids, num_frames or self.spec.num_frames, "sample", seed)
        return network(self.latents(ids, "sample", seed), label, noise)

    def statistics_batch(self, network: nn.Module, ids: range) -> None:
        noise = self.window(network, ids, "statistics")
        network(self.latents(ids, "statistics"), self.sampler.labels(ids), noise)
