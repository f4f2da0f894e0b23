"""How often intervals hold what they promise, where the truth is known: `python docs/simulate_intervals.py`.

Prints the tables of docs/statistics.md; fewer `--trials` are quicker and less certain.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np
import torch

from vidiff.metrics.frechet import frechet_from_features
from vidiff.metrics.kernel import kernel_distance
from vidiff.metrics.uncertainty import estimate, predicted_floor
from vidiff.progress import track
from vidiff.statistics import t_interval

DISTANCES = {"fréchet": frechet_from_features, "kernel": kernel_distance}


class Found(NamedTuple):
    """Of many trials: mean of the distances, their spread, the mean standard error, the share of intervals with it."""

    mean: float
    spread: float
    se: float
    coverage: float


def draw(seed: int, clips: int, dim: int, per_video: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Real and generated features (N, D) with a spectrum that falls; clips of one video share half of theirs."""
    g = np.random.Generator(np.random.PCG64(seed))
    scale = (np.arange(dim) + 1.0) ** -0.5
    videos = g.standard_normal((clips // per_video, 1, dim)).repeat(per_video, 1).reshape(clips, dim)
    real = videos if per_video == 1 else (videos + g.standard_normal((clips, dim))) / 2**0.5
    fake = g.standard_normal((clips, dim)) * 1.2 + 0.15
    return torch.from_numpy(real * scale), torch.from_numpy(fake * scale)


def simulate(trials: int, clips: int, dim: int, distance: str = "fréchet", per_video: int = 1, by_video: bool = True):
    """Estimates of fresh sets, against the mean over all of them as the truth."""
    videos = np.arange(clips) // per_video if by_video and per_video > 1 else None
    found = [
        estimate(*draw(seed, clips, dim, per_video), DISTANCES[distance], real_videos=videos)
        for seed in track(range(trials), f"{distance}, {clips} clips")
    ]
    values = np.asarray([e.value for e in found])
    truth = values.mean()
    return Found(
        truth,
        values.std(ddof=1),
        float(np.sqrt(np.mean([e.se**2 for e in found]))),
        float(np.mean([e.low <= truth <= e.high for e in found])),
    )


def seeds_coverage(trials: int, seeds: int, skewed: bool) -> float:
    """Share of t-intervals over so many seeds that hold the true mean, of normal or of log-normal values."""
    draws = np.random.Generator(np.random.PCG64(seeds)).standard_normal((trials, seeds))
    values, truth = (np.exp(0.5 * draws), np.exp(0.125)) if skewed else (draws, 0.0)
    intervals = [t_interval(row) for row in values]
    return float(np.mean([i.low <= truth <= i.high for i in intervals]))


def floors(trials: int, clips: int, dim: int, falls: bool) -> tuple[float, float]:
    """Measured and predicted mean Fréchet distance of two samples of one Gaussian."""
    scale = (np.arange(dim) + 1.0) ** -0.5 if falls else np.ones(dim)
    measured = []
    for seed in track(range(trials), "floors"):
        g = np.random.Generator(np.random.PCG64(seed))
        measured.append(frechet_from_features(*(g.standard_normal((clips, dim)) * scale for _ in range(2))))
    return float(np.mean(measured)), predicted_floor(np.diag(scale**2), clips, clips)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    trials = parser.parse_args().trials
    print(
        "| distance | clips a side | D | clips a video | blocks by | mean | sd over fresh sets | mean SE | coverage |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    cases = [("fréchet", 256, 32, 1, True), ("fréchet", 512, 96, 1, True), ("fréchet", 256, 96, 1, True)]
    cases += [("fréchet", 256, 32, 4, True), ("fréchet", 256, 32, 4, False), ("kernel", 256, 32, 1, True)]
    for name, clips, dim, per_video, by_video in cases:
        f = simulate(trials, clips, dim, name, per_video, by_video)
        by = "video" if by_video and per_video > 1 else "clip"
        cells = [
            name,
            clips,
            dim,
            per_video,
            by,
            f"{f.mean:.4g}",
            f"{f.spread:.3g}",
            f"{f.se:.3g}",
            f"{f.coverage:.1%}",
        ]
        print(f"| {' | '.join(map(str, cells))} |")
    print("\n| t-interval over seeds | 3 | 5 | 10 |\n|---|---|---|---|")
    for skewed, label in ((False, "normal values"), (True, "log-normal values")):
        cells = [f"{seeds_coverage(20 * trials, n, skewed):.1%}" for n in (3, 5, 10)]
        print(f"| {label} | {' | '.join(cells)} |")
    print("\n| floor of N clips in D features | measured | predicted |\n|---|---|---|")
    for clips, dim, falls in ((192, 96, False), (192, 96, True), (512, 96, True), (96, 96, False), (48, 96, False)):
        measured, predicted = floors(max(20, trials // 10), clips, dim, falls)
        cells = [f"N {clips}, D {dim}, spectrum {'1/k' if falls else 'equal'}", f"{measured:.4g}"]
        print(f"| {' | '.join(cells)} | {predicted:.4g} ({predicted / measured - 1:+.1%}) |")


if __name__ == "__main__":
    main()
