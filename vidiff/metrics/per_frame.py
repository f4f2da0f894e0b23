"""Quality at each frame index of long samples: does a recurrent or chained generator decay?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from vidiff.errors import RunError
from vidiff.metrics.features import Extractor
from vidiff.metrics.frechet import frechet_from_features


def frame_distances(
    extractors: Mapping[str, Extractor], real: Iterable[tuple], fake: Iterable[tuple], device: str = "cpu"
) -> dict[str, dict]:
    """Fréchet distance between the generated frames of one index and real frames of any index, for every index.

    The reference is the same for all indices, so that a rising curve is decay. N frames a side are few for a Fréchet
    distance: read differences along the curve and against the floor, not the values.

    Args:
        extractors: name -> features; single frames are given to them as clips of one frame.
        real: (ids, uint8 clips (B, C, 1, H, W)); the second half, in order, is the floor's other side.
        fake: (ids, uint8 clips (B, C, T, H, W)).
        device: where the extractors are.

    Returns:
        {name: {"values": a number for each of the T indices, "floor": real against other real frames}}

    Raises:
        RunError: fewer than 2 generated clips or 4 real frames.
    """
    stills = {name: [] for name in extractors}
    for _, clips, *_ in real:
        for name, extractor in extractors.items():
            stills[name].append(extractor(clips.to(device)).cpu())  # (B, D)
    frames = {name: [] for name in extractors}
    for _, clips, *_ in fake:
        for name, extractor in extractors.items():
            rows = [extractor(clips[:, :, t : t + 1].to(device)).cpu() for t in range(clips.shape[2])]
            frames[name].append(torch.stack(rows))  # (T, B, D)
    out = {}
    for name in extractors:
        if sum(map(len, stills[name])) < 4 or sum(x.shape[1] for x in frames[name]) < 2:
            raise RunError(f"{name} at each frame index needs at least 2 generated clips and 4 real frames")
        reference, other = torch.cat(stills[name]).chunk(2)
        values = [frechet_from_features(reference, rows) for rows in torch.cat(frames[name], dim=1)]
        out[name] = {"values": values, "floor": frechet_from_features(reference, other)}
    return out
