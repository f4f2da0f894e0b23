"""From noise to clips: `python docs/flow_path.py CHECKPOINT OUT.png [GUIDANCE]` draws the way of a flow.

Two clips, a block each. The upper row is where the flow is at t = 0, 1/4, 1/2, 3/4, 1 (decoded where it works in
latents), the lower row where it points to from there, x + (1 - t) v: the mean of what may still come, sharper with each
step. Three frames of each.
"""

from __future__ import annotations

import sys

import torch
from figures import save_rows

from vidiff.clip import signed_to_uint8
from vidiff.inference.checkpoint import load_model

STEPS, SHOWN, CLIPS, LARGER = 16, (0, 4, 8, 12, 16), (1, 2), 3


@torch.no_grad()
def main(words: list[str]) -> None:
    torch.set_num_threads(1)
    model = load_model(words[0], "cpu", guidance=float(words[2]) if len(words) > 2 else 1.0)
    sampler, label = model.generator_ema.module, model.sampler.labels(CLIPS)
    x, at, points = model.latents(CLIPS, "sample", 0), [], []
    for i in range(STEPS + 1):
        v = sampler.velocity(x, min(i / STEPS, 1 - 1e-3), label)
        if i in SHOWN:
            at.append(sampler.codec.decode(x))
            points.append(sampler.codec.decode(x + (1 - i / STEPS) * v))
        x = x + v / STEPS
    blocks = [[[signed_to_uint8(c[k]) for c in clips] for clips in (at, points)] for k in range(len(CLIPS))]
    save_rows(words[1], blocks, LARGER)


if __name__ == "__main__":
    main(sys.argv[1:])
