"""A discriminator with a logit for a clip as a whole and one for each of its pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.blocks import Init, Norm, add_spectral_norm, initialize, norm_layer
from vidiff.nn.discriminators import ConvDiscriminator


class UNetDiscriminator(nn.Module):
    """`ConvDiscriminator` and a path of transposed convolutions from its features back to a logit for every pixel.

    Schoenfeld, Schiele, Khoreva 2020, "A U-Net Based Discriminator for Generative Adversarial Networks", 2002.12655,
    equations 4 to 6, without the consistency of CutMix. All logits are one tensor (B, 2 N) for N pixels, the whole
    clip's one repeated N times: the mean of any loss over it is 1/2 (loss of the clip) + 1/2 (mean loss of the pixels).
    A gradient penalty is one of the mean of the 2 N logits (`vidiff.penalties`) and needs no other weight.

    Args:
        spec: sizes; `width` is the number of channels after the first layer.
        norm, init, spectral: as in `ConvDiscriminator`, for both paths.
    """

    def __init__(self, spec: ClipSpec, norm: Norm = "batch", init: Init = "dcgan", spectral: bool = False):
        super().__init__()
        self.encoder = ConvDiscriminator(spec, norm, init, spectral)
        convs = [m for m in self.encoder.layers if isinstance(m, nn.Conv3d)]
        times = [spec.num_frames]
        for conv in convs:
            times.append(times[-1] // conv.stride[0])
        self.decoder = nn.ModuleList()
        for i in reversed(range(len(convs))):
            conv, deepest = convs[i], i == len(convs) - 1
            odd = times[i] - times[i + 1] * conv.stride[0]  # the frame that the encoder's stride left out
            up = nn.ConvTranspose3d(
                conv.out_channels * (1 if deepest else 2),  # beside it the encoder's features of the same size
                conv.in_channels if i else 1,
                conv.kernel_size,
                conv.stride,
                conv.padding,
                output_padding=(odd, 0, 0),
            )
            after = [norm_layer(norm, conv.in_channels), nn.LeakyReLU(0.2)] if i else []
            self.decoder.append(nn.Sequential(up, *after))
        initialize(self.decoder, init)
        if spectral:
            add_spectral_norm(self.decoder)

    def clip_and_pixel_logits(self, clip: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """clip (B, C, T, H, W) in [-1, 1], label (B,) or None -> logits (B,) of clips, (B, T, H, W) of pixels."""
        x, features = clip, []
        for layer in self.encoder.layers:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                features.append(x)
        whole = self.encoder.logits(x, label)
        for i, stage in enumerate(self.decoder):
            x = stage(x if i == 0 else torch.cat([x, features[-1 - i]], dim=1))
        return whole, x.squeeze(1)  # (B, 1, T, H, W) -> (B, T, H, W)

    def forward(self, clip: Tensor, label: Tensor | None = None) -> Tensor:
        """clip (B, C, T, H, W) in [-1, 1], label (B,) or None -> logits (B, 2 T H W)."""
        whole, pixels = self.clip_and_pixel_logits(clip, label)
        pixels = pixels.flatten(1)  # (B, T, H, W) -> (B, N)
        return torch.cat([whole[:, None].expand_as(pixels), pixels], dim=1)
