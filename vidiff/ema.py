"""Exponential moving average of a generator, counted in generator updates."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def warm_decay(decay: float, updates: int) -> float:
    """min(decay, (1 + n) / (10 + n)): early averages forget fast, else short runs show the initialisation."""
    return min(decay, (1 + updates) / (10 + updates))


def decay_from_half_life(half_life: float, clips_per_update: int) -> float:
    """The decay per update after which a weight has half its influence `half_life` clips later.

    decay = 0.5 ** (clips_per_update / half_life), so that a change of batch size keeps the same average.
    """
    if half_life <= 0:
        raise ValueError(f"ema_half_life must be positive (in clips), got {half_life}")
    return 0.5 ** (clips_per_update / half_life)


STATISTICS_SIZE = 32
STATISTICS_IDS = [range(k, k + STATISTICS_SIZE) for k in range(0, 8 * STATISTICS_SIZE, STATISTICS_SIZE)]

Forward = Callable[[nn.Module, range], object]
"""`forward(network, ids)` runs a network on its keyed clips `ids`."""


@torch.no_grad()
def standing_statistics(network: nn.Module, forward: Forward, batch_size: int = STATISTICS_SIZE) -> bool:
    """Measure BatchNorm's mean and variance anew as the mean over 8 training-mode batches of 32; whether there is any.

    Brock et al. 2019, 1809.11096. The rest of the network stays in the mode that it is in.

    Args:
        network: in eval mode.
        forward: see `Forward`.
        batch_size: clips that are run at once; below 32 it takes less memory, more time, and gives the same.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if norms and batch_size < STATISTICS_SIZE:
        _measure_in_parts(norms, lambda ids: forward(network, ids), batch_size)
        return True
    momenta = [m.momentum for m in norms]
    for m in norms:
        m.reset_running_stats()
        m.momentum, m.alone = None, True  # a cumulative mean, of this process alone
        nn.Module.train(m, True)
    for ids in STATISTICS_IDS if norms else ():
        forward(network, ids)
    for m, momentum in zip(norms, momenta):
        m.momentum, m.alone = momentum, False
        nn.Module.train(m, False)
    return bool(norms)


def _measure_in_parts(norms: list[nn.Module], forward: Callable[[range], object], size: int) -> None:
    """The same a few clips at a time; a compiled network would not see the layers' other `forward`."""
    measured: dict[nn.Module, list[tuple[Tensor, Tensor]]] = {m: [] for m in norms}
    with torch.compiler.set_stance("force_eager"):
        for ids in STATISTICS_IDS:
            for norm, *statistics in _of_batch(norms, forward, ids, size):
                measured[norm].append(statistics)
    for norm, statistics in measured.items():
        norm.reset_running_stats()
        for buffer, values in zip((norm.running_mean, norm.running_var), zip(*statistics)):
            buffer.copy_(torch.stack(values).mean(0))
        norm.num_batches_tracked.fill_(len(statistics))


class _Reached(Exception):
    """A layer whose statistics are not known yet has got its input."""


def _of_batch(
    norms: list[nn.Module], forward: Callable[[range], object], ids: range, size: int
) -> list[tuple[nn.Module, Tensor, Tensor]]:
    """(layer, mean, unbiased variance) of one batch, for each use of a BatchNorm layer and in their order.

    A layer's statistics are those of the whole batch, and the next layer's input depends on them: the batch goes
    through in parts, as far as the first layer whose statistics are unknown, and again.
    """
    known: list[tuple[nn.Module, Tensor, Tensor]] = []
    while True:
        inputs: list[tuple[nn.Module, int, Tensor, Tensor]] = []
        for start in range(0, len(ids), size):
            uses = iter(known)

            def normalize(norm: nn.Module, x: Tensor, uses=uses, inputs=inputs) -> Tensor:
                if (use := next(uses, None)) is None:
                    dims = [d for d in range(x.ndim) if d != 1]
                    wide = x.double()
                    inputs.append((norm, x.numel() // x.shape[1], wide.sum(dims), wide.square().sum(dims)))
                    raise _Reached
                _, mean, var, count = use
                return F.batch_norm(x, mean, var * (count - 1) / count, norm.weight, norm.bias, eps=norm.eps)

            for norm in norms:
                norm.forward = functools.partial(normalize, norm)
            try:
                forward(ids[start : start + size])
            except _Reached:
                pass
            finally:
                for norm in norms:
                    del norm.forward
        if not inputs:
            return [use[:3] for use in known]
        count = sum(n for _, n, _, _ in inputs)
        mean = sum(s for _, _, s, _ in inputs) / count
        var = (sum(q for _, _, _, q in inputs) / count - mean.square()).clamp(min=0) * count / max(count - 1, 1)
        norm = inputs[0][0]
        known.append((norm, mean.to(norm.running_mean), var.to(norm.running_var), count))


class GeneratorEMA(AveragedModel):
    """The moving average of a generator; parameters are averaged, buffers copied, always in eval mode.

    The copied BatchNorm statistics belong to the raw weights, not to their average: clips come out washed or burnt.
    `refresh` replaces them by the averaged weights' own (`standing_statistics`).

    Args:
        generator: the network to follow.
        decay: weight of the old average, 0 <= decay < 1; warmed up by `warm_decay`.
    """

    def __init__(self, generator: nn.Module, decay: float = 0.999):
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"ema_decay must be in [0, 1), got {decay}")
        self.decay = decay
        super().__init__(generator, multi_avg_fn=self._average, use_buffers=False)
        self.requires_grad_(False)
        self.eval()
        self.stale = True  # whether the statistics have not been measured since the weights were set
        self.register_load_state_dict_post_hook(lambda module, _: setattr(module, "stale", True))

    def update_parameters(self, model: nn.Module) -> None:
        super().update_parameters(model)
        self.stale = True

    def refresh(self, forward: Forward, batch_size: int = STATISTICS_SIZE) -> None:
        """Measure BatchNorm's statistics where that was not done for these weights; see `standing_statistics`."""
        if self.stale:
            standing_statistics(self.module, forward, batch_size)
        self.stale = False

    @contextlib.contextmanager
    def replaced_by(self, network: nn.Module) -> Iterator[None]:
        """Let another generator stand for the average while the context lasts, with BatchNorm statistics of its own.

        Args:
            network: on the same device, in eval mode.
        """
        average, stale = self.module, self.stale
        self.module, self.stale = network, True
        try:
            yield
        finally:
            self.module, self.stale = average, stale

    @torch.no_grad()
    def _average(self, averaged, current, num_averaged):
        torch._foreach_lerp_(averaged, current, 1.0 - warm_decay(self.decay, int(num_averaged)))

    def train(self, mode: bool = True):
        # Lightning switches the whole module to train mode; an average that updates its BatchNorm is no average.
        return super().train(False)
