"""Sampling: clip i is a function of the weights, the seed and i, whatever the batch size, device or processes."""

from __future__ import annotations

from typing import Iterator, Sequence

import torch
from torch import Tensor, nn

from vidiff import keyed
from vidiff.clip import signed_to_uint8
from vidiff.ema import STATISTICS_SIZE
from vidiff.errors import UsageError


class Sampling:
    """What an `AdversarialModule` does once it is trained."""

    def generate(
        self,
        ids: Sequence[int],
        seed: int = 0,
        labels: Sequence[int] | None = None,
        num_frames: int | None = None,
        ema: bool = True,
    ) -> Tensor:
        """Clips uint8 (len(ids), C, T, H, W) on the CPU; clip i is a function of (weights, seed, ids[i], label).

        Raises:
            UsageError: `num_frames` differs from what this network makes, or a label is out of range.
        """
        if num_frames is not None and num_frames < 1:
            raise UsageError(f"num_frames must be at least 1, got {num_frames}")
        label = self._sample_labels(ids, seed, labels)
        network = self.averaged_generator() if ema else self.generator
        was_training = network.training
        network.eval()
        try:
            with torch.no_grad():
                return signed_to_uint8(self.synthesise(network, ids, seed, label, num_frames)).cpu()
        finally:
            network.train(was_training)

    def synthesise(
        self, network: nn.Module, ids: Sequence[int], seed: int, label: Tensor | None, num_frames: int | None
    ) -> Tensor:
        """Clips in [-1, 1] of these sample ids by `network`; a family that can choose its length overrides this."""
        if num_frames not in (None, self.spec.num_frames):
            raise UsageError(
                f"{type(self).__name__} makes clips of exactly {self.spec.num_frames} frames, not {num_frames}"
            )
        return network(self.latents(ids, "sample", seed), label)

    def averaged_generator(self, batch_size: int = STATISTICS_SIZE) -> nn.Module:
        """The moving average, its BatchNorm statistics measured where the weights have moved since."""
        self.generator_ema.refresh(self.statistics_batch, batch_size)
        return self.generator_ema.module

    def statistics_batch(self, network: nn.Module, ids: range) -> None:
        """Run `network` on keyed clips: what the moving average's BatchNorm is measured on."""
        network(self.latents(ids, "statistics"), self._sample_labels(ids, 0, None))

    def _sample_labels(self, ids: Sequence[int], seed: int, labels: Sequence[int] | None) -> Tensor | None:
        k = self.spec.num_classes
        if not k:
            if labels is not None:
                raise UsageError("this model is unconditional: it takes no labels")
            return None
        if labels is None:
            return keyed.integers(ids, k, self.seed, "label", seed).to(self.device)
        if bad := [x for x in labels if not 0 <= x < k]:
            raise UsageError(f"labels must be from 0 to {k - 1}, got {bad[0]}")
        return torch.tensor([labels[i % len(labels)] for i in ids], device=self.device)

    def iter_samples(
        self, ids: Sequence[int], seed: int = 0, batch_size: int = 64, **kwargs
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """(ids (B,), clips uint8 (B, C, T, H, W)) in batches: memory does not grow with the number of clips."""
        if kwargs.get("ema", True):
            self.averaged_generator(batch_size)
        for start in range(0, len(ids), batch_size):
            part = list(ids[start : start + batch_size])
            yield torch.tensor(part), self.generate(part, seed, **kwargs)

    def sample(
        self,
        n: int,
        seed: int = 0,
        labels: Sequence[int] | None = None,
        num_frames: int | None = None,
        batch_size: int = 64,
        ema: bool = True,
    ) -> Tensor:
        """n clips, uint8 (n, C, T, H, W) on the CPU.

        Args:
            n: number of clips.
            seed: key of the latents; clip i is the same for any n and batch size.
            labels: labels 0..K-1 of a conditional model, repeated in order; None = drawn uniformly by the key.
            num_frames: frames a clip, for families that can choose.
            batch_size: clips made at once.
            ema: use the generator's moving average (what is evaluated) or the raw weights.
        """
        if n < 1:
            raise UsageError(f"the number of clips must be at least 1, got {n}")
        parts = self.iter_samples(range(n), seed, batch_size, labels=labels, num_frames=num_frames, ema=ema)
        return torch.cat([clips for _, clips in parts])

    def initial_generator(self) -> nn.Module:
        """A generator with the weights of step 0, in eval mode: the baseline that training has to leave behind."""
        with keyed.forked(self.seed, "weights"):
            return self._generator_factory(self.spec).to(self.device, self.dtype).eval()
