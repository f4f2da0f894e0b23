"""What the families that translate clips between domains share: directions, `translate`, and no samples from noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from vidiff.clip import signed_to_uint8, uint8_to_unit, unit_to_signed
from vidiff.consistency import reconstruction
from vidiff.errors import UsageError
from vidiff.models.module import VideoModule
from vidiff.sphere import latitude_weights

T = TypeVar("T")


class Translator(VideoModule):
    """A family whose generator makes clips of one domain from clips of another; numbers name domains.

    With a discriminator it is an `AdversarialModule` too. A family sets `num_domains`; it overrides `network` where it
    has several, `mapping` where they take more than clips.
    """

    num_domains: int

    def distance(self, output: Tensor, target: Tensor, kind: str) -> Tensor:
        """`reconstruction` of clips; where they show all around, a row counts by the cosine of its latitude."""
        weights = latitude_weights(output.shape[-2]) if self.spec.projection == "equirectangular" else None
        return reconstruction(output, target, kind, weights)

    def mapping(self, source: int, target: int, ema: bool = True) -> Callable[[Tensor], Tensor]:
        """The trained translation between two domains, clips (B, C, T, H, W) in [-1, 1] on the device -> the same."""
        return self.network(source, target, ema)

    def network(self, source: int, target: int, ema: bool = True) -> nn.Module:
        """The network that `mapping` runs: the moving average, or a view of the raw weights, neither of which has
        layers that differ in training."""
        return self.generator_ema.module if ema else self.generator

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

    def pair(self, direction: str | None = None, target: str | None = None) -> tuple[int, int]:
        """(source, target) numbers of what is asked of a translation.

        Args:
            direction: `a2b`, `b2a` ...; a2b of two domains where neither is given.
            target: instead: name or number of a domain.

        Raises:
            UsageError: there is no such direction or domain.
        """
        if direction is not None and target is not None:
            raise UsageError("give a direction or a target, not both")
        directions, names = self.directions, self.domains
        if target is not None:
            number = names.index(target) if target in names else int(target) if target.isdecimal() else -1
            if not 0 <= number < len(names):
                raise UsageError(f"target {target}: this model knows the domains {', '.join(names)}")
            return next(pair for pairs in directions.values() for pair in pairs if pair[1] == number)
        if direction is None and "a2b" not in directions:
            raise UsageError(f"a target is needed: this model knows the domains {', '.join(names)}")
        if (direction or "a2b") not in directions:
            raise UsageError(f"direction {direction}: this model has {', '.join(directions)}")
        return directions[direction or "a2b"][0]

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


class OneWay(Translator):
    """A translation that goes from one domain to the other, and not back.

    A family sets `way`: its name, and those of both domains.
    """

    num_domains = 2
    way: tuple[str, str, str]

    @property
    def domains(self) -> list[str]:
        return list(self.way[1:])

    @property
    def directions(self) -> dict[str, list[tuple[int, int]]]:
        return {self.way[0]: [(0, 1)]}

    def pair(self, direction: str | None = None, target: str | None = None) -> tuple[int, int]:
        """(0, 1), whatever of it is named; see `Translator.pair`."""
        way, _, goal = self.way
        if target not in (None, goal, "1"):
            raise UsageError(f"target {target}: this model {way}s, its only target is {goal}")
        return super().pair(way if direction is None else direction)


def translator(model: nn.Module) -> Translator:
    """The model, where it translates.

    Raises:
        UsageError: it does not.
    """
    return expected(model, Translator, "does not translate videos: it makes them (`vidiff sample`)")


def expected(model: object, kind: type[T], otherwise: str) -> T:
    """The model, where it is of a kind.

    Args:
        model: as it was loaded.
        kind: a class.
        otherwise: what models of others do, the end of a sentence.

    Raises:
        UsageError: it is of another.
    """
    if not isinstance(model, kind):
        raise UsageError(f"{type(model).__name__} {otherwise}")
    return model
