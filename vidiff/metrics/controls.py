"""Controls of every measured model: sets of clips of which it is known how good they are.

Reports and tables read one list of them: how each is made and what it has to show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from vidiff import keyed

LEAD = "clip_distance"  # what models and controls are compared by
FORMER = "fvd_random"  # the same in reports that do not have it

Maker = Callable[[Tensor, int], Tensor]


def _draws(clip: Tensor, seed: int, i: int) -> tuple[Tensor, int, Tensor]:
    """Of clip i (C, T, H, W): a grey noise (1, T, H, W), the number of a frame, an order of all frames."""
    draw = keyed.generator("control", seed, i)
    _, t, h, w = clip.shape
    noise = torch.randint(0, 256, (1, t, h, w), generator=draw, dtype=torch.uint8)
    frame = int(torch.randint(0, t, (1,), generator=draw))
    return noise.to(clip.device), frame, torch.randperm(t, generator=draw).to(clip.device)


def grey_noise(real: Tensor, seed: int) -> Tensor:
    """Every pixel of every frame an independent uniform grey level."""
    return torch.stack([_draws(clip, seed, i)[0].expand_as(clip) for i, clip in enumerate(real)])


def mean_frame_frozen(real: Tensor, seed: int) -> Tensor:
    """The mean of all frames of all clips, standing still."""
    total = torch.zeros_like(real[0, :, 0], dtype=torch.float64, device="cpu")
    for clip in real:  # one at a time: no float copy of the set
        total += clip.cpu().double().mean(1)
    mean = (total / len(real)).round().to(torch.uint8).to(real.device)
    return mean[None, :, None].expand_as(real).contiguous()


def one_clip_repeated(real: Tensor, seed: int) -> Tensor:
    """One real clip again and again: a generator that has collapsed onto one sample."""
    return real[keyed.key("control", seed, "clip") % len(real)][None].expand_as(real).contiguous()


def frames_frozen(real: Tensor, seed: int) -> Tensor:
    """Each clip's frame at a seeded time, standing still: perfect images, no motion."""
    frames = [_draws(clip, seed, i)[1] for i, clip in enumerate(real)]
    return torch.stack([clip[:, t : t + 1].expand_as(clip) for clip, t in zip(real, frames)])


def frames_shuffled(real: Tensor, seed: int) -> Tensor:
    """Each clip's frames in a seeded order: perfect images, wrong motion."""
    return torch.stack([clip[:, _draws(clip, seed, i)[2]] for i, clip in enumerate(real)])


class Control(NamedTuple):
    """Clips whose worth is known.

    Args:
        name: in reports.
        shows: `rubbish`: every model has to be ahead of it. `limit`: real pictures, so that no model has to be; those
            in a wrong order or without movement show what a measure does not see, where they are ahead of a model or
            of `real_held_out`, and that one what a model could be that has learnt more than its training clips.
        make: uint8 clips (N, C, T, H, W) and a seed -> as many control clips; None: whoever measures has them.
    """

    name: str
    shows: Literal["rubbish", "limit"]
    make: Maker | None = None

    @property
    def label(self) -> str:
        return self.name.replace("_", " ")


CONTROLS = (
    Control("untrained", "rubbish"),  # the model's own generator before its first step
    Control("grey_noise", "rubbish", grey_noise),
    Control("mean_frame_frozen", "rubbish", mean_frame_frozen),
    Control("one_clip_repeated", "rubbish", one_clip_repeated),
    Control("frames_frozen", "limit", frames_frozen),
    Control("frames_shuffled", "limit", frames_shuffled),
    Control("real_held_out", "limit"),  # clips of videos that were not trained on
    # Of translations:
    Control("identity", "rubbish"),  # the untouched source
    Control("oracle", "limit"),  # the true counterpart, written to a file and read back
)


def controls(real: Tensor, seed: int = 0) -> dict[str, Tensor]:
    """Every control that is made of real clips, as many clips each as are given.

    Args:
        real: uint8 (N, C, T, H, W).
        seed: with a clip's position the key of all randomness.

    Returns:
        {name: uint8 (N, C, T, H, W)} in the order of CONTROLS.
    """
    if real.dtype != torch.uint8 or real.ndim != 5 or len(real) == 0:
        raise ValueError(f"controls are made from uint8 clips (N, C, T, H, W), got {real.dtype} {tuple(real.shape)}")
    return {c.name: c.make(real, seed) for c in CONTROLS if c.make is not None}


def standing(compared: Iterable[tuple[float | None, dict[str, float | None]]]) -> tuple[list[Control], list[Control]]:
    """Which controls a model is ahead of, and which it is behind, by a measure where less is better.

    Args:
        compared: the model's value and each control's, {name: value}, of every run (and direction). Ahead is who is
            ahead in all of them, so that the worst run speaks; a tie is not ahead.
    """
    pairs = list(compared)
    measured = [c for c in CONTROLS if any(values.get(c.name) is not None for _, values in pairs)]

    def ahead(control: Control) -> bool:
        both = [(value, values.get(control.name)) for value, values in pairs]
        return all(value is not None and other is not None and value < other for value, other in both)

    return [c for c in measured if ahead(c)], [c for c in measured if not ahead(c)]


def controls_of(report: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    """Control -> metric -> value of a run's report; a translation's metrics carry the name of their direction."""
    if "directions" not in report:
        return report.get("controls") or {}
    out: dict[str, dict[str, float | None]] = {}
    for direction, found in report["directions"].items():
        for control, values in (found.get("controls") or {}).items():
            out.setdefault(control, {}).update({f"{m}_{direction}": v for m, v in values.items()})
    return out


def lead_of(names: Iterable[str]) -> str:
    """By which of these metrics models and controls are compared; a translation's carry the name of a direction."""
    names = list(names)
    return LEAD if any(n == LEAD or n.startswith(f"{LEAD}_") for n in names) else FORMER


def compared(report: dict[str, Any]) -> list[tuple[float | None, dict[str, float | None]]]:
    """What `standing` compares of a run's report: its lead metric and the controls', of each direction."""
    controls, pairs = controls_of(report), []
    lead = lead_of(report["metrics"])
    for name, result in report["metrics"].items():
        if name == lead or name.startswith(f"{lead}_"):  # a translation has one a direction
            pairs.append((result.get("value"), {c: values.get(name) for c, values in controls.items()}))
    return pairs
