"""Which motions can be named: `python docs/named_by_motion.py CHECKPOINT DATA [KEY=VALUE ...]`.

Prints a table: test clips of DATA, the same through the tokenizer of a flow, and as many of the flow with the motions
of these; KEY=VALUE are its settings of sampling. Without classes motions are those that are seen.
"""

from __future__ import annotations

import sys

import torch
import yaml
from torch import Tensor

from vidiff.clip import signed_to_uint8, uint8_to_unit, unit_to_signed
from vidiff.data.datamodule import ClipDataModule
from vidiff.inference.checkpoint import load_model
from vidiff.metrics.recognizable import load_recognizer
from vidiff.metrics.sprites import MOTIONS

CLIPS, BATCH, SEED = 192, 32, 1000


def row(name: str, clips: Tensor, real: Tensor, label: Tensor | None) -> str:
    """Of clips uint8 (N, 3, T, H, W): motion beside that of `real`, shares by motion, speeds of those that slide."""
    seen = load_recognizer().recognize(clips)
    label = seen.motion if label is None else label
    moved = clips.float().diff(dim=2).abs().mean() / real.float().diff(dim=2).abs().mean()
    slides = label == MOTIONS.index("slide")
    values = [moved, seen.all.float().mean(), *(seen.all[label == k].float().mean() for k in range(len(MOTIONS)))]
    speed = seen.where[slides, :, 0].diff(dim=1).abs() * clips.shape[-1]  # (N', T - 1), pixels
    values += [seen.passed["path"][slides].float().mean(), speed.mean(), speed.std(1).median()]
    return " | ".join([f"| {name}", *(f"{value:.2f}" for value in values)]) + " |"


@torch.no_grad()
def main(checkpoint: str, root: str, *settings: str) -> None:
    torch.set_num_threads(1)
    given = {key: yaml.safe_load(value) for key, _, value in (s.partition("=") for s in settings)}
    model = load_model(checkpoint, "cpu", **given)
    data = ClipDataModule(root, num_workers=0, augment="none", num_classes="auto")
    data.prepare_data()
    data.setup("test")
    rows = list(data.eval_clips("test", CLIPS, SEED, BATCH))
    real, label = torch.cat([r[1] for r in rows]), torch.cat([r[2] for r in rows])
    print("| clips", "motion", "named", *MOTIONS, "slide: path", "speed, pixels", "its deviation |", sep=" | ")
    print("|" + "---|" * (len(MOTIONS) + 6))
    print(row("test", real, real, label), flush=True)
    codec = model.generator_ema.module.codec
    coded = [codec.decode(codec.encode(unit_to_signed(uint8_to_unit(part)))) for part in real.split(BATCH)]
    print(row("through the tokenizer", signed_to_uint8(torch.cat(coded).clamp(-1, 1)), real, label), flush=True)
    wanted = label if model.spec.num_classes else None
    made = model.generate(range(CLIPS), SEED, labels=None if wanted is None else wanted.tolist())
    print(row("generated", made, real, wanted))


if __name__ == "__main__":
    main(*sys.argv[1:])
