"""Exponential moving average of a generator, counted in generator updates."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
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


STATISTICS_BATCHES = 8


@torch.no_grad()
def standing_statistics(network: nn.Module, forward: Callable[[nn.Module, int], object]) -> bool:
    """Measure BatchNorm's mean and variance anew as the mean over some training-mode batches; whether there is any.

    Brock et al. 2019, 1809.11096. The rest of the network stays in the mode that it is in.

    Args:
        network: in eval mode.
        forward: `forward(network, i)` runs the network on batch i.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [m.momentum for m in norms]
    for m in norms:
        m.reset_running_stats()
        m.momentum, m.alone = None, True  # a cumulative mean, of this process alone
        nn.Module.train(m, True)
    for i in range(STATISTICS_BATCHES if norms else 0):
        forward(network, i)
    for m, momentum in zip(norms, momenta):
        m.momentum, m.alone = momentum, False
        nn.Module.train(m, False)
    return bool(norms)


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

    def refresh(self, forward: Callable[[nn.Module, int], object]) -> None:
        """Measure BatchNorm's statistics where that was not done for these weights; see `standing_statistics`."""
        if self.stale:
            standing_statistics(self.module, forward)
        self.stale = False

    @torch.no_grad()
    def _average(self, averaged, current, num_averaged):
        torch._foreach_lerp_(averaged, current, 1.0 - warm_decay(self.decay, int(num_averaged)))

    def train(self, mode: bool = True):
        # Lightning switches the whole module to train mode; an average that updates its BatchNorm is no average.
        return super().train(False)
