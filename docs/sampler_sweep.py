"""What a flow's clips are under other samplers: `python docs/sampler_sweep.py CHECKPOINT DATA STEPS,GUIDANCE ...`.

Prints a table: 256 clips each, of another seed than those of reports, against clips of DATA's training videos.
"""

from __future__ import annotations

import sys
import time

import torch
from steps_table import CLIPS, SEED, TIMED, evaluator

from vidiff.inference.checkpoint import load_model
from vidiff.metrics.recognizable import PARTS

SHOWN = ("clip_distance", "motion", "diversity")


def main(checkpoint: str, root: str, *settings: str) -> None:
    torch.set_num_threads(1)
    judge = evaluator(root)
    print(*("| steps", "guidance", "recognizable", *PARTS, "frames", *SHOWN, "CPU-s a clip |"), sep=" | ")
    print("|" + "---|" * (len(PARTS) + len(SHOWN) + 5))
    for setting in settings:
        steps, guidance = setting.split(",")
        model = load_model(checkpoint, "cpu", sampling_steps=int(steps), guidance=float(guidance))
        found = judge.evaluate(model.iter_samples(range(CLIPS), SEED), CLIPS)
        began = time.process_time()
        model.sample(TIMED, SEED)
        seconds = (time.process_time() - began) / TIMED
        parts = found["recognizable"]["parts"]
        values = [found["recognizable"]["value"], *(parts[name] for name in (*PARTS, "frames"))]
        values += [found[name]["value"] for name in SHOWN]
        print(*(f"| {steps}", guidance, *(f"{x:.3f}" for x in values), f"{seconds:.3f} |"), sep=" | ", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
