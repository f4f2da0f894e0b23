"""From the batches of a loader to what a model gets: float clips, in training augmented, on the clips' own device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vidiff.augment.pipeline import Augment
from vidiff.clip import uint8_to_unit, unit_to_signed

CLIPS = ("clip", "clip_a", "clip_b")


def to_float(
    batch: dict[str, Any],
    augment: Augment | None = None,
    seed: int = 0,
    place: tuple[int, int] = (0, 1),
    num_classes: int | None = None,
) -> dict[str, Any]:
    """The batch with its uint8 clips (`clip`, `clip_a`, `clip_b`) as float [-1, 1].

    Args:
        batch: uint8 clips and their `slot`; with classes also their `label`.
        augment: applied in [0, 1], keyed by the global slot of each clip; None: nothing is.
        seed: of the augmentation.
        place: (rank, number of processes): what is drawn is a function of the clip, not of the process.
        num_classes: None: labels are not used. Else a batch whose clips were joined from two gets `label_share`: what
            a classifier should name each, (B, num_classes).
    """
    out = dict(batch)
    if augment is not None and not augment.keeps_speed:
        out.pop("speed", None)  # it was that of the clip before
    for name in CLIPS:
        if not isinstance(batch.get(name), Tensor) or batch[name].dtype != torch.uint8:
            continue
        clip = uint8_to_unit(batch[name])
        if augment is not None:
            rank, world = place
            size = len(clip)
            first = int(batch["slot"][0]) - rank * size
            key = (seed, first) if name == "clip" else (seed, first, name)
            label = batch.get("label") if num_classes else None
            clip = augment.to(clip.device)(clip, key=key, offset=rank * size, total=world * size, label=label)
            if label is not None:
                clip, mix = clip
                if augment.joins_clips:
                    out["label_share"] = mix.soft(num_classes)
        out[name] = unit_to_signed(clip)
    return out
