"""Sampling: clip i is a function of the weights, the seed and i, whatever the batch size, device or processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vidiff import keyed
from vidiff.clip import signed_to_uint8
from vidiff.ema import STATISTICS_SIZE, Forward, GeneratorEMA
from vidiff.errors import UsageError, at_least


@dataclass
class Sampler:
    """Makes clips with a trained generator.

    Args:
        synthesize: `synthesize(network, ids, seed, label, num_frames)`: clips (B, C, T, H, W) in [-1, 1] of sample ids.
        measure: runs a network on keyed clips, see `vidiff.ema.Forward`.
        generator: the raw weights.
        average: their moving average.
        seed: of the model, key of the labels that nobody gives.
        num_classes: labels of a conditional model are 0 .. num_classes - 1.
    """

    synthesize: Callable[[nn.Module, Sequence[int], int, Tensor | None, int | None], Tensor]
    measure: Forward
    generator: nn.Module
    average: GeneratorEMA
    seed: int
    num_classes: int | None

    def averaged(self, batch_size: int = STATISTICS_SIZE) -> nn.Module:
        """The moving average, its BatchNorm statistics measured where the weights have moved since."""
        self.average.refresh(self.measure, batch_size)
        return self.average.module

    @contextmanager
    def network(self, ema: bool) -> Iterator[nn.Module]:
        """The moving average or the raw weights, in eval mode and without gradients inside the block."""
        network = self.averaged() if ema else self.generator
        was_training = network.training
        network.eval()
        try:
            with torch.no_grad():
                yield network
        finally:
            network.train(was_training)

    def labels(self, ids: Sequence[int], seed: int = 0, labels: Sequence[int] | Tensor | None = None) -> Tensor | None:
        """Labels (len(ids),) on the generator's device; None of an unconditional model.

        Args:
            labels: repeated in order; None = drawn uniformly by (seed of the model, seed, id). A float tensor
                (len(ids), K) of shares of the classes is taken as it is.

        Raises:
            UsageError: the model takes no labels, or not these.
        """
        k = self.num_classes
        device = next(self.generator.parameters()).device
        if not k:
            if labels is not None:
                raise UsageError("this model is unconditional: it takes no labels")
            return None
        if isinstance(labels, Tensor) and labels.is_floating_point():
            return labels.to(device)
        if labels is None:
            return keyed.integers(ids, k, self.seed, "label", seed).to(device)
        if bad := [x for x in labels if not 0 <= x < k]:
            raise UsageError(f"labels must be from 0 to {k - 1}, got {bad[0]}")
        return torch.tensor([labels[i % len(labels)] for i in ids], device=device)

    def generate(
        self,
        ids: Sequence[int],
        seed: int = 0,
        labels: Sequence[int] | None = None,
        num_frames: int | None = None,
        ema: bool = True,
    ) -> Tensor:
        """Clips uint8 (len(ids), C, T, H, W) on the CPU; clip i is a function of (weights, seed, ids[i], label).

        Args:
            seed: key of the latents.
            labels: labels 0..K-1 of a conditional model, repeated in order; None = drawn uniformly by the key.
            num_frames: frames a clip, for families that can choose.
            ema: use the generator's moving average (what is evaluated) or the raw weights.

        Raises:
            UsageError: `num_frames` differs from what this network makes, or a label is out of range.
        """
        at_least(1, num_frames=num_frames)
        label = self.labels(ids, seed, labels)
        with self.network(ema) as network:
            return signed_to_uint8(self.synthesize(network, ids, seed, label, num_frames)).cpu()

    def batches(
        self, generate: Callable[..., Tensor], ids: Sequence[int], seed: int, batch_size: int, **options: Any
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """(ids (B,), clips uint8 (B, C, T, H, W)) by `generate(ids, seed, **options)`, `batch_size` at once."""
        if options.get("ema", True):
            self.averaged(batch_size)
        for start in range(0, len(ids), batch_size):
            part = list(ids[start : start + batch_size])
            yield torch.tensor(part), generate(part, seed, **options)
