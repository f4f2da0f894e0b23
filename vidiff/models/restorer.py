"""What families share that restore damaged clips: from `degraded` to `clean`, the damage, and a size to grow to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from torch import Tensor

from vidiff.augment.degrade import Degradation, LowResolution, OneOf, check_degradations, degrade
from vidiff.clip import uint8_to_unit
from vidiff.models.base import AdversarialModule
from vidiff.models.translation import OneWay, expected

DEGRADED, CLEAN = 0, 1


class Restorer(AdversarialModule, OneWay):
    """A translation from damaged clips to clean ones that makes its own damage: any folder of clips is training data.

    A family calls `set_degradations` in its `__init__`.
    """

    way = ("restore", "degraded", "clean")

    def set_degradations(self, operators: Iterable[Degradation]) -> None:
        """Keep what happens to the clips.

        Raises:
            UsageError: there is nothing, or something that is no degradation.
        """
        # In a list: they have no weights and belong into no checkpoint but by their configuration.
        self.degradations = check_degradations(operators, "model.degradations")

    @property
    def scale(self) -> int:
        """How many times larger a restored video is: the factor of the resolution that it learned to undo; 1 where
        other damage may stand in its place."""
        factors = [op.factor for op in self.degradations if isinstance(op, LowResolution) and op.p == 1]
        return factors[0] if factors else 1

    @property
    def undoes(self) -> str:
        """The damage in words, `gaussian noise and jpeg`."""
        return " and ".join(in_words(op) for op in self.degradations)

    def degrade(self, clips: Tensor, slots: Sequence[int], *key: int | str) -> Tensor:
        """uint8 clips (B, C, T, H, W) -> damaged ones; row i is a function of (seed, key, slots[i])."""
        damaged = degrade(uint8_to_unit(clips), self.degradations, slots, self.seed, "degrade", *key)
        return (damaged * 255).round().to(clips.dtype)


def in_words(op: Degradation) -> str:
    """The name of a degradation's class; of `OneOf` those of its kinds, each once."""
    if isinstance(op, OneOf):
        return "one of " + ", ".join(dict.fromkeys(map(in_words, op.degradations)))
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(op).__name__).lower()


def restorer(model: object) -> Restorer:
    """The model, where it restores.

    Raises:
        UsageError: it does not.
    """
    return expected(model, Restorer, "does not restore videos: train one with experiments/restoration.yaml")
