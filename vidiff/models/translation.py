"""What the families that translate clips between domains share: directions, `translate`, and no samples from noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vidiff.clip import signed_to_uint8, uint8_to_unit, unit_to_signed
from vidiff.errors import UsageError


class Translator:
    """Mixin of a family whose generator makes clips of one domain from clips of another; numbers name domains.

    A family implements `mapping(source, target, ema)`, a function float clips (B, C, T, H, W) -> the same, and sets
    `num_domains`.
    """

    num_domains: int

    def mapping(self, source: int, target: int, ema: bool = True) -> Callable[[Tensor], Tensor]:
        """The trained translation from domain `source` to domain `target`, for clips in [-1, 1] on the device."""
        raise NotImplementedError

    @property
    def domains(self) -> list[str]:
        """Names of the domains as the training data had them."""
        counts = self.data_record.get("domains") or {}
        names = list(next(iter(counts.values()), {}))
        return names if len(names) == self.num_domains else [str(k) for k in range(self.num_domains)]

    @property
    def directions(self) -> dict[str, list[tuple[int, int]]]:
        """Name of each direction -> its (source, target) pairs of domains."""
        names = self.domains
        return {f"to_{names[t]}": [(s, t) for s in range(self.num_domains) if s != t] for t in range(self.num_domains)}

    @torch.no_grad()
    def translate(self, clips: Tensor, source: int, target: int, ema: bool = True) -> Tensor:
        """uint8 clips (B, C, T, H, W) of domain `source` -> uint8 clips of the same shape in domain `target`.

        Args:
            clips: uint8, T >= 1, H and W multiples of 4; on any device.
            source, target: numbers of domains.
            ema: the generator's moving average (what is evaluated) or the raw weights.
        """
        clip = unit_to_signed(uint8_to_unit(clips.to(self.device))).to(self.dtype)
        return signed_to_uint8(self.mapping(source, target, ema)(clip)).cpu()

    def generate(self, ids: Sequence[int], *args, **kwargs) -> Tensor:
        raise UsageError(
            f"{type(self).__name__} makes no clips from noise: it translates, see `vidiff translate --help`"
        )

    def _eval_network(self, ema: bool) -> torch.nn.Module:
        """The moving average, or a view of the raw weights; neither network has layers that differ in training."""
        return self.generator_ema.module if ema else self.generator
