"""A Fréchet video distance as a torchmetrics metric, for anyone's own loop."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from vidiff.metrics.features import Extractor, RandomConv3d
from vidiff.metrics.frechet import Moments, frechet_distance


def _merge(states: Tensor) -> Tensor:
    """Stacked moment vectors (k, 1 + D + D*D) -> their merge, in order: what torchmetrics calls across processes."""
    total = Moments.from_state(states[0])
    for state in states[1:]:
        total.merge(Moments.from_state(state))
    return total.state().to(states.device)


class FrechetVideoDistance(Metric):
    """Fréchet distance of two sets of clips in an extractor's features, streamed.

    Unterthiner et al. 2018 (arXiv 1812.01717). The state is one float64 vector of merged moments a side, so that
    memory does not grow and processes reduce exactly. With the default extractor this is `fvd_random`, whose value
    compares only with itself; pass `vidiff.metrics.official.I3D()` for the published network.

        fvd = FrechetVideoDistance()
        fvd.update(real_clips, real=True)
        fvd.update(fake_clips, real=False)
        fvd.compute()

    A distributed sampler that repeats clips to fill the last batch counts them twice here (an `Evaluator` drops them).

    Args:
        extractor: default `RandomConv3d()`.
        ddof: of the covariances; 0 is StyleGAN-V's rule for `fvd<N>_<T>f`.
        reset_real: False keeps the real side over `reset()`.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    def __init__(self, extractor: Extractor | None = None, ddof: int = 1, reset_real: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.extractor = extractor or RandomConv3d()
        self.ddof = ddof
        self.reset_real = reset_real
        empty = Moments(self.extractor.dim).state()
        self.add_state("real_moments", empty.clone(), dist_reduce_fx=_merge)
        self.add_state("fake_moments", empty.clone(), dist_reduce_fx=_merge)

    def update(self, clips: Tensor, real: bool) -> None:
        """Add uint8 clips (B, C, T, H, W) to one side."""
        state = self.real_moments if real else self.fake_moments
        new = Moments.from_state(state).update(self.extractor(clips)).state().to(state.device)
        if real:
            self.real_moments = new
        else:
            self.fake_moments = new

    def compute(self) -> Tensor:
        """The distance, float64 scalar."""
        real, fake = Moments.from_state(self.real_moments), Moments.from_state(self.fake_moments)
        value = frechet_distance(real.mean, real.covariance(self.ddof), fake.mean, fake.covariance(self.ddof))
        return torch.tensor(value, dtype=torch.float64, device=self.real_moments.device)

    def reset(self) -> None:
        """Forget both sides, or only the generated one (`reset_real=False`)."""
        kept = self.real_moments
        super().reset()
        if not self.reset_real:
            self.real_moments = kept
