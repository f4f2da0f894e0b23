"""A discriminator that also predicts the class of a clip, or numbers such as the speed of what moves."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.blocks import Init, Norm, add_spectral_norm, initialize
from vidiff.nn.discriminators import ConvDiscriminator


class HeadedDiscriminator(ConvDiscriminator):
    """`ConvDiscriminator` with linear heads on its last features, for auxiliary losses (`vidiff.models.logits`).

    The class head is that of Odena, Olah, Shlens 2017, 1610.09585: the label is to be predicted and therefore no input,
    so there is no projection term.

    Args:
        spec: sizes; the class head has `num_classes` outputs.
        norm, init, spectral: as in `ConvDiscriminator`.
        classes: whether there is a class head.
        numbers: names of values that the batch has for its real clips, such as `speed`: one head of one output each.

    Raises:
        ValueError: a class head without classes, or no head at all.
    """

    def __init__(
        self,
        spec: ClipSpec,
        norm: Norm = "batch",
        init: Init = "dcgan",
        spectral: bool = False,
        classes: bool = True,
        numbers: list[str] = [],  # noqa: B006  (read, never changed)
    ):
        super().__init__(replace(spec, num_classes=None) if classes else spec, norm, init, spectral)
        if classes and not spec.num_classes:
            raise ValueError("a class head needs classes: set data.num_classes to auto, or classes to false")
        outputs = ({"class": spec.num_classes} if classes else {}) | dict.fromkeys(numbers, 1)
        if not outputs:
            raise ValueError("a discriminator with heads needs at least one: classes, or numbers such as [speed]")
        self.heads = nn.ModuleDict({name: nn.Conv3d(self.channels, n, self.grid) for name, n in outputs.items()})
        initialize(self.heads, init)
        if spectral:
            add_spectral_norm(self.heads)

    def forward(self, clip: Tensor, label: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """clip (B, C, T, H, W) in [-1, 1] -> logits (B,), and by name: class logits (B, K), estimates (B,)."""
        features = self.layers(clip)
        outputs = {name: head(features).flatten(1) for name, head in self.heads.items()}  # (B, n, 1, 1, 1) -> (B, n)
        return self.logits(features, label), {k: v if k == "class" else v.squeeze(1) for k, v in outputs.items()}
