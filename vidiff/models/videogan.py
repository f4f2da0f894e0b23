"""VideoGAN: a moving foreground over a static background, joined by a mask.

Vondrick, Pirsiavash, Torralba 2016, "Generating Videos with Scene Dynamics", 1609.02612.

    G(z) = m(z) * f(z) + (1 - m(z)) * b(z),      b(z) has one frame, repeated
    D minimizes  E softplus(-D(x)) + E softplus(D(G(z)))
    G minimizes  E softplus(-D(G(z))) + lambda E |m(z)|_1

Paper -> code: f, m, b -> `TwoStreamGenerator.parts`, `VideoGAN.parts`; lambda = 0.1 -> `mask_weight`. The paper
writes a sum for the sparsity term; the authors' code averages over the mask's elements, which is followed.
`temporal: conv` is the paper's foreground stream of 3-D transposed convolutions; `temporal: lstm` decodes each frame
of an LSTM's latent path by itself, and then makes clips of any length.
Deviations: sizes by `resolution` and `num_frames`; weights begin as N(0, 0.02), as DCGAN's do, where the authors' code
has N(0, 0.01), the mask's layer included; samples come from a moving average of G.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, Sequence

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn

from vidiff.clip import ClipSpec, signed_to_uint8
from vidiff.errors import UsageError
from vidiff.losses import standard_d, standard_g
from vidiff.models.base import AdversarialModule, NetworkFactory
from vidiff.models.turn import Terms, Turn
from vidiff.nn.blocks import ClassEmbedding, initialize, time_doublings
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.nn.frames import LSTMPath, frame_decoder, frame_head
from vidiff.nn.generators import ConvGenerator
from vidiff.optim import Adam


class TwoStreamGenerator(nn.Module):
    """z -> background (one frame), foreground and mask (clips) -> their composition.

    Args:
        spec: sizes.
        temporal: `conv`: 3-D transposed convolutions; `lstm`: frames decoded from an LSTM's latent path.
    """

    def __init__(self, spec: ClipSpec, temporal: Literal["conv", "lstm"] = "conv"):
        super().__init__()
        if temporal not in ("conv", "lstm"):
            raise UsageError(f"VideoGAN: temporal must be conv or lstm, got {temporal!r}")
        self.spec, self.temporal = spec, temporal
        self.embed = ClassEmbedding(spec.num_classes, spec.latent_dim) if spec.num_classes else None
        inputs = spec.latent_dim * (2 if self.embed else 1)
        self.background = nn.Sequential(frame_decoder(inputs, spec), frame_head(spec.width, spec.channels), nn.Tanh())
        if temporal == "lstm":
            self.path = LSTMPath(inputs)
            self.stream = frame_decoder(inputs, spec)
            self.foreground, self.mask = (frame_head(spec.width, c) for c in (spec.channels, 1))
        else:
            # The one-stream generator up to its last layer, which both the foreground and the mask have of their own.
            self.stream = ConvGenerator(replace(spec, latent_dim=inputs, num_classes=None)).layers[:-2]
            kernel_t, stride_t = (4, 2) if time_doublings(spec.num_frames, 1) else (3, 1)
            self.foreground, self.mask = (
                nn.ConvTranspose3d(spec.width, c, (kernel_t, 4, 4), (stride_t, 2, 2), 1) for c in (spec.channels, 1)
            )
            initialize(self.foreground, "dcgan")
            initialize(self.mask, "dcgan")

    def parts(self, z: Tensor, label: Tensor | None = None, num_frames: int | None = None) -> tuple[Tensor, ...]:
        """z (B, Z) -> background (B, C, 1, H, W) and foreground (B, C, T, H, W) in [-1, 1], mask (B, 1, T, H, W) in
        [0, 1]."""
        if self.embed is not None:
            z = torch.cat([z, self.embed(label).to(z.dtype)], dim=1)
        t = num_frames or self.spec.num_frames
        point = z[:, :, None, None, None]  # (B, Z) -> (B, Z, 1, 1, 1)
        features = self.stream(self.path(z, t) if self.temporal == "lstm" else point)
        foreground, mask = torch.tanh(self.foreground(features)), torch.sigmoid(self.mask(features))
        return self.background(point), foreground[:, :, :t], mask[:, :, :t]

    def compose(self, background: Tensor, foreground: Tensor, mask: Tensor) -> Tensor:
        """m f + (1 - m) b."""
        return mask * foreground + (1.0 - mask) * background

    def forward(self, z: Tensor, label: Tensor | None = None, num_frames: int | None = None) -> Tensor:
        """z (B, Z), label (B,) or None -> clip (B, C, T, H, W) in [-1, 1]."""
        return self.compose(*self.parts(z, label, num_frames))


class VideoGAN(AdversarialModule):
    """Two-stream generator with a static background and a sparse mask.

    Args:
        temporal: `conv` (the paper) or `lstm`, see `TwoStreamGenerator`.
        generator: network factory; None = a `TwoStreamGenerator` of that kind.
        discriminator: network factory.
        optimizer_g, optimizer_d: the paper's Adam, learning rate 2e-4 and beta1 0.5.
        mask_weight: lambda, weight of the mask's mean; without it everything may become foreground.
        kwargs: sizes and the step, see `AdversarialModule`.
    """

    def __init__(
        self,
        temporal: Literal["conv", "lstm"] = "conv",
        generator: NetworkFactory | None = None,
        discriminator: NetworkFactory = lambda spec: ConvDiscriminator(spec, norm="batch"),
        optimizer_g: OptimizerCallable = lambda p: Adam(p, lr=2e-4, beta1=0.5, beta2=0.999),
        optimizer_d: OptimizerCallable = lambda p: Adam(p, lr=2e-4, beta1=0.5, beta2=0.999),
        mask_weight: float = 0.1,
        **kwargs,
    ):
        super().__init__(
            generator=generator or (lambda spec: TwoStreamGenerator(spec, temporal)),
            discriminator=discriminator,
            optimizer_g=optimizer_g,
            optimizer_d=optimizer_d,
            **kwargs,
        )
        if not hasattr(self.generator, "parts"):
            raise UsageError("VideoGAN: the generator needs `parts(z, label)`, as TwoStreamGenerator has it")
        self.temporal, self.mask_weight = temporal, mask_weight

    def fake_clips(self, turn: Turn) -> tuple[Tensor, Tensor]:
        """Clips, and their masks (B, 1, T, H, W)."""
        background, foreground, mask = self.generator.parts(turn.latents(), turn.label)
        return self.generator.compose(background, foreground, mask), mask

    def discriminator_losses(self, turn: Turn) -> Terms:
        real, fake = standard_d(turn.judge(turn.real, "real"), turn.judge(turn.fake()[0], "fake"))
        return {"real": real, "fake": fake}

    def generator_losses(self, turn: Turn) -> Terms:
        fake, mask = turn.fake()
        turn.note(mask_mean=mask.mean())
        return {"adv": standard_g(turn.judge(fake, "fake")), "mask": self.mask_weight * mask.mean()}

    def synthesize(
        self, network: nn.Module, ids: Sequence[int], seed: int, label: Tensor | None, num_frames: int | None
    ) -> Tensor:
        if self.temporal == "conv":
            return super().synthesize(network, ids, seed, label, num_frames)
        return network(self.latents(ids, "sample", seed), label, num_frames)

    def parts(
        self,
        ids: int | Sequence[int],
        seed: int = 0,
        labels: Sequence[int] | None = None,
        num_frames: int | None = None,
        ema: bool = True,
    ) -> dict[str, Tensor]:
        """What the clips of `generate(ids, seed, labels, num_frames, ema)` are made of, uint8 on the CPU.

        Args:
            ids: sample ids, or a number n for the first n.
            seed, labels, num_frames, ema: as in `generate`.

        Returns:
            `background` (n, C, T, H, W), all frames equal; `foreground` (n, C, T, H, W); `mask` (n, 1, T, H, W);
            `cutout` (n, C + 1, T, H, W): the foreground with the mask as its alpha channel, for overlays.
        """
        ids = range(ids) if isinstance(ids, int) else ids
        if self.temporal == "conv" and num_frames not in (None, self.spec.num_frames):
            raise UsageError(f"VideoGAN makes clips of exactly {self.spec.num_frames} frames, not {num_frames}")
        label = self.sampler.labels(ids, seed, labels)
        with self.sampler.network(ema) as network:
            background, foreground, mask = network.parts(self.latents(ids, "sample", seed), label, num_frames)
        alpha = signed_to_uint8(mask * 2.0 - 1.0).cpu()
        background = background.expand_as(foreground)
        parts = {"background": background, "foreground": foreground}
        parts = {name: signed_to_uint8(part).cpu() for name, part in parts.items()}
        return parts | {"mask": alpha, "cutout": torch.cat([parts["foreground"], alpha], dim=1)}
