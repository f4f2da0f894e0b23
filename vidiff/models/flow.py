"""Flow matching on clips: noise becomes a clip along straight lines; no game, one network.

Lipman, Chen, Ben-Hamu, Nickel, Le 2023, "Flow Matching for Generative Modeling", 2210.02747; Liu, Gong, Liu 2023, "Flow
Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow", 2209.03003.

    G minimizes  E |v((1 - t) z + t x, t) - (x - z)|^2        z noise, x a clip, t in [0, 1]
    a clip is    x(1) of dx/dt = v(x, t), x(0) = z

Paper -> code: v -> `generator` (a `FlowUNet3d` inside a `FlowSampler`), the integration -> `sampling_steps`, `solver`;
t -> `times`: uniform or logit-normal, moved towards noise by `time_shift` (Esser et al. 2024, 2403.03206); labels left
out for guidance -> `label_dropout`, `guidance` (Ho and Salimans 2022, 2207.12598); guidance by a worse version of
itself (Karras et al. 2024, 2406.02507), which here is what the average was at `guide_step`.
Deviations: z may have a part that all frames share (`rho`, Ge et al. 2023, 2305.10474); t of consecutive clips is
spread evenly over [0, 1] (multiples of the golden ratio), which makes a batch's loss steadier (as in Kingma et al.
2021, 2107.00630); the network predicts what is left beside the best linear velocity; samples are of a moving average.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn

from vidiff import keyed
from vidiff.errors import UsageError, at_least
from vidiff.models.latents import KnownLatents, encoded, flow_sampler, take_spread, take_tokenizer
from vidiff.models.module import VideoModule
from vidiff.models.turn import Terms, Turn
from vidiff.nn.blocks import NetworkFactory
from vidiff.nn.flow_unet import FlowUNet3d, Solver, shifted
from vidiff.optim import Adam

GOLDEN = (math.sqrt(5) - 1) / 2


def clip_noise(model: VideoModule, rho: float, slots: Iterable[int] | Tensor, *parts: int | str) -> Tensor:
    """Noise (len(slots), C, T, H, W) of the shape of clips or of their latents.

    sqrt(rho) n + sqrt(1 - rho) n_f, n of the clip and n_f of each frame; row i is a function of (the model's seed,
    parts, slots[i]).
    """
    slots, spec = list(slots), model.generator.codec.latent_spec(model.spec)
    shape = (spec.channels, spec.num_frames, spec.resolution, spec.aspect * spec.resolution)
    own = keyed.normal(slots, shape, model.seed, "z", *parts)
    shared = keyed.normal(slots, (shape[0], 1, *shape[2:]), model.seed, "z", *parts, "shared")
    return (math.sqrt(rho) * shared + math.sqrt(1 - rho) * own).to(model.device, model.dtype)


def spread_times(slots: Iterable[int], seed: int) -> Tensor:
    """Numbers in [0, 1), float64 (len(slots),), each a function of the seed and its slot; those of consecutive slots
    are spread evenly."""
    start = float(torch.rand((), generator=keyed.generator(seed, "time")))
    return torch.tensor([math.fmod(start + slot * GOLDEN, 1.0) for slot in slots], dtype=torch.float64)


def velocity_loss(network: nn.Module, x: Tensor, z: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
    """E |v((1 - t) z + t x, t) - (x - z)|^2 of clips x and noise z (B, C, T, H, W), t (B,)."""
    at = t[:, None, None, None, None]
    return (network((1 - at) * z + at * x, t, label) - (x - z)).square().mean()


class FlowMatching(VideoModule):
    """A network learns the velocity between noise and clips; sampling integrates it in a number of steps.

    Args:
        generator: factory of the network, v(x, t, label).
        optimizer_g: Adam, learning rate 2e-3 and betas (0.9, 0.99).
        rho: share of the noise's variance that all frames of a clip have in common, in [0, 1).
        times: how t is drawn: `uniform`, or `logit_normal`: sigmoid(n), n normal, which is seldom near 0 and 1.
        time_shift: s; t becomes t / (t + s (1 - t)), in training and between the steps of sampling: above 1 it is more
            often near 0, where there is noise, as latents want it that say the same thing in many places.
        draws: of noise and time for each clip of a batch; where reading and encoding cost more than the network, one
            clip may teach several times.
        label_dropout: share of the clips whose label is left out, so that guidance has something to go from.
        sampling_steps: steps from noise to a clip; more are slower and nearer to the flow.
        solver: `euler`, one look at the network a step, or `heun`, two.
        guidance: w; 1 = none, above 1 the clips are further from what the guide makes, or, without a guide, the classes
            are told apart more clearly.
        guide_step: the generator step whose average becomes the guide; a tenth of the training is usual. None: none.
        autoencoder: factory of an autoencoder, such as `vidiff.nn.autoencoder.ClipAutoencoder`, in whose latents the
            flow works (Rombach et al. 2022, 2112.10752); None = pixels.
        tokenizer: a checkpoint of `Autoencoder` whose averaged weights `fit` begins with; they do not train on.
        keep_latents: megabytes of latents that are kept, see `KnownLatents`; for data without augmentation.
        kwargs: sizes and the training, see `VideoModule`.

    Raises:
        UsageError: a number is out of its range.
    """

    def __init__(
        self,
        generator: NetworkFactory = lambda spec: FlowUNet3d(spec),
        optimizer_g: OptimizerCallable = lambda p: Adam(p, lr=2e-3, beta1=0.9, beta2=0.99),
        rho: float = 0.0,
        times: Literal["uniform", "logit_normal"] = "uniform",
        time_shift: float = 1.0,
        draws: int = 1,
        label_dropout: float = 0.1,
        sampling_steps: int = 8,
        solver: Solver = "euler",
        guidance: float = 1.0,
        guide_step: int | None = None,
        autoencoder: NetworkFactory | None = None,
        tokenizer: str | None = None,
        keep_latents: int = 0,
        **kwargs,
    ):
        at_least(1, **{"model.sampling_steps": sampling_steps, "model.draws": draws})
        if solver not in ("euler", "heun"):
            raise UsageError(f"model.solver must be euler or heun, got {solver!r}")
        if times not in ("uniform", "logit_normal"):
            raise UsageError(f"model.times must be uniform or logit_normal, got {times!r}")
        if not 0 < time_shift < math.inf:
            raise UsageError(f"model.time_shift must be above 0, got {time_shift}")
        if not 0 <= rho < 1 or not 0 <= label_dropout <= 1:
            raise UsageError(f"model.rho must be in [0, 1) and label_dropout in [0, 1], got {rho} and {label_dropout}")
        if (autoencoder is None) != (tokenizer is None):
            raise UsageError(
                "model.autoencoder, a network, and model.tokenizer, its trained weights: give both or none"
            )

        if guide_step is not None:
            at_least(1, **{"model.guide_step": guide_step})
        sampling = {"steps": sampling_steps, "solver": solver, "guidance": guidance, "shift": time_shift}
        sampling["guided"] = guide_step is not None
        sampled = flow_sampler(generator, autoencoder, **sampling)
        super().__init__(generator=sampled, optimizer_g=optimizer_g, **kwargs)
        self.tokenizer, self.known = tokenizer, KnownLatents(keep_latents)
        self.rho, self.times, self.time_shift = rho, times, time_shift
        self.draws, self.label_dropout, self.guide_step = draws, label_dropout, guide_step

    def setup(self, stage: str) -> None:
        if stage == "fit" and self.tokenizer is not None:
            samplers = self.generator, self.generator_ema.module
            take_tokenizer(self.tokenizer, *samplers)
            take_spread(self.trainer.datamodule, *samplers)
        super().setup(stage)

    def before_batch(self, batch: dict[str, Tensor]) -> None:
        """What the average is at its step becomes the guide."""
        if self.guide_step is not None and self.trainer.global_step == self.guide_step:
            for sampler in (self.generator, self.generator_ema.module):
                sampler.take_guide(self.generator_ema.module.network)

    def latents(self, slots: Iterable[int] | Tensor, *parts: int | str) -> Tensor:
        return clip_noise(self, self.rho, slots, *parts)

    def drawn_times(self, turn: Turn, draw: int = 0) -> Tensor:
        """t (B,) of a turn's clips, each a function of the seed, its slot and the number of the draw."""
        u = spread_times([slot * self.draws + draw for slot in turn.slots], self.seed)
        t = u if self.times == "uniform" else torch.special.ndtri(u).sigmoid()
        return shifted(t, self.time_shift).to(turn.real)

    def generator_losses(self, turn: Turn) -> Terms:
        x, label = encoded(turn), turn.label
        if label is not None:
            kept = (turn.uniform("label") >= self.label_dropout).to(x)
            label = F.one_hot(label, self.spec.num_classes).to(x) * kept[:, None]
            label = label.repeat(self.draws, 1)
        z = torch.cat([turn.latents(*([draw] if draw else [])) for draw in range(self.draws)])
        t = torch.cat([self.drawn_times(turn, draw) for draw in range(self.draws)])
        return {"fm": velocity_loss(self.generator.network, x.repeat(self.draws, 1, 1, 1, 1), z, t, label)}
