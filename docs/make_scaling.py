"""Measures and fits what a training step costs, and writes the tables of docs/scaling.md:

    python docs/make_scaling.py

Work and memory of activations are counted by running both turns of a step without numbers (PyTorch's device `meta`), at
any size; CPU seconds and peak memory are measured at small ones and fitted to the counts.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import torch.distributed as dist
from scipy.optimize import nnls

from vidiff.bench.step_clock import CountFlops, forget_peak, memory_mb, roof
from vidiff.bench.step_costs import entrant, run
from vidiff.models.allocator import release_memory
from vidiff.models.turn import Turn
from vidiff.nn.blocks import count_parameters
from vidiff.training.trainer import quiet

PAGE = Path(__file__).with_name("scaling.md")
EXPERIMENTS = ("dcgan", "wgan_gp", "videogan", "r3gan", "anytime", "cyclegan")
MEASURED = ((8, 32, 2), (16, 32, 2), (16, 64, 1))  # frames, pixels, clips
STEPS = 2
LARGE = (64, 256)  # the most frames that networks take; a clip of 128 is counted as two of these
# Stated, not measured: a GPU of 80 GB with 989 TFLOP/s in bfloat16 (data sheet of the H100 SXM), of which a third is
# reached; 25 GB/s between machines of 8 for each GPU, 300 GB/s inside of one.
GPU_FLOPS, GPU_BYTES, NEAR, FAR = 989e12 / 3, 80e9, 300e9, 25e9


def at_size(experiment: str, frames: int, pixels: int, clips: int):
    """An experiment with its own networks at another size."""
    sizes = {"num_frames": frames, "resolution": pixels, "batch_size": clips}
    words = [word for name, value in sizes.items() for word in (f"--data.{name}", str(value))]
    return entrant(f"experiments/{experiment}.yaml", [*words, "--data.num_workers", "0"])


def counted(experiment: str, frames: int, pixels: int, clips: int) -> dict[str, float]:
    """GFLOP of a step, GB (float32) that the larger turn keeps for its backward pass, parameters of both players."""
    one = at_size(experiment, frames, pixels, clips)
    batch = next(iter(one.data.train_dataloader()))
    batch = {name: x if name == "slot" else x.to("meta") for name, x in batch.items()}
    model = one.model.to("meta")
    for part in model.modules():
        if isinstance(getattr(part, "kept", None), torch.Tensor):  # how full a history is: read in every step
            part.kept = torch.zeros((), dtype=torch.int64)

    def update(turn: Turn) -> None:
        for player, network in model.players.items():
            network.requires_grad_(player == turn.player)
        losses = model.discriminator_losses if turn.player == "d" else model.generator_losses
        sum(losses(turn).values()).backward()
        model.requires_grad_(True)

    with patch("torch.autocast", lambda *args, **kwargs: nullcontext()):  # there is none for `meta`
        first, further = Turn(model, "d", batch), model.strategies.n_critic - 1
        made, fake = tried(first.keep_fake)  # before D's turn and for both, as in training
        work_d, kept_d = tried(lambda: update(first))
        work_g, kept_g = tried(lambda: update(Turn(model, "g", batch, after=first)))
        work_more = tried(lambda: update(Turn(model, "d", batch)))[0] if further else 0.0
    return {
        "gflop": made + work_d + work_g + further * work_more,
        "kept_gb": max(sum((fake | kept).values()) for kept in (kept_d, kept_g)) / 1e9,
        "parameters": float(sum(count_parameters(network) for network in model.players.values())),
    }


def tried(work: Callable[[], None]) -> tuple[float, dict[int, int]]:
    """GFLOP of some work, and what it keeps for backward passes: storage -> bytes."""
    kept: dict[int, torch.Tensor] = {}

    def pack(x: torch.Tensor) -> torch.Tensor:
        kept[x.untyped_storage()._cdata] = x  # held until it is counted: no other gets its number
        return x

    with CountFlops() as counter, torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        work()
    return counter.total / 1e9, {name: x.untyped_storage().nbytes() for name, x in kept.items()}


def measured(experiment: str, frames: int, pixels: int, clips: int) -> dict[str, float]:
    """CPU seconds of a step (median), GFLOP as they ran, and GB that this process grew by at most."""
    release_memory()
    before, _ = memory_mb("VmRSS"), forget_peak()
    one = at_size(experiment, frames, pixels, clips)
    with tempfile.TemporaryDirectory() as folder:
        run(one, STEPS, Path(folder))
    grown = (memory_mb("VmHWM") - before) / 1e3
    return {"cpu_s": float(np.median([lap.cpu_s for lap in one.laps])), "ran_gflop": one.gflop, "peak_gb": grown}


def fitted(columns: list[list[float]], wanted: list[float]) -> tuple[np.ndarray, list[float]]:
    """Coefficients, none below 0, with the least relative error, and what they give."""
    a, y = np.array(columns, dtype=float).T, np.array(wanted)
    coefficients, _ = nnls(a / y[:, None], np.ones(len(y)))
    return coefficients, list(a @ coefficients)


def table(head: str, rows: list[list[str]]) -> list[str]:
    names = head.split(" | ")
    lines = [f"| {' | '.join(row)} |" for row in [names, ["---"] * len(names), *rows]]
    return [*lines, ""]


def small(rows: list[dict]) -> list[str]:
    """Measured, counted and fitted, with what is left over."""
    time_, seconds = fitted([[r["gflop"] for r in rows], [r["parameters"] for r in rows]], [r["cpu_s"] for r in rows])
    ones = [1.0] * len(rows)
    columns = [[r["kept_gb"] for r in rows], [r["parameters"] * 4e-9 for r in rows], ones]
    room, sizes = fitted(columns, [r["peak_gb"] for r in rows])
    out = []
    for r, s, m in zip(rows, seconds, sizes):
        out.append([r["experiment"], "{} x {} x {}".format(r["frames"], r["pixels"], r["pixels"]), str(r["clips"])])
        out[-1] += [f"{r['gflop']:.1f}", f"{r['ran_gflop']:.1f}", f"{r['cpu_s']:.2f}", f"{s:.2f}"]
        out[-1] += [f"{s / r['cpu_s'] - 1:+.0%}", f"{r['kept_gb']:.2f}", f"{r['peak_gb']:.2f}", f"{m:.2f}"]
        out[-1] += [f"{m / r['peak_gb'] - 1:+.0%}"]
    words = [
        f"CPU seconds = GFLOP / {1 / time_[0]:.0f} + {time_[1] * 1e6:.3f} for each million parameters; "
        f"GB = {room[0]:.2f} times what is kept + {room[1]:.1f} times the weights + {room[2]:.2f}.",
        "",
    ]
    head = (
        "experiment | clip | batch | GFLOP counted | as run | CPU s | fitted | off | GB kept | GB peak | fitted | off"
    )
    return [*words, *table(head, out)]


def large() -> list[str]:
    """One clip of 128 frames of 256 x 256, from two of 64: counted, then computed for GPUs."""
    out, costs = [], []
    for experiment in EXPERIMENTS:
        try:
            one, two = (counted(experiment, *LARGE, clips) for clips in (1, 2))
        except Exception as error:  # networks of one size say so
            out.append([experiment, " ".join(str(error).split())[:70], *[""] * 6])
            continue
        gflop, kept = 2 * (two["gflop"] - one["gflop"]), 2 * (two["kept_gb"] - one["kept_gb"]) / 2  # bfloat16
        state = 16 * one["parameters"] + 4 * one["parameters"]  # weights, gradients, two moments; G's average at most
        fits = int((GPU_BYTES - state) / 1e9 / kept)
        step = max(1, fits) * gflop * 1e9 / GPU_FLOPS
        row = [experiment, f"{gflop / 1e3:.1f}", f"{one['parameters'] / 1e6:.0f}", f"{kept:.1f}", str(fits)]
        for gpus in (8, 64, 512):
            bandwidth = NEAR if gpus <= 8 else FAR
            wait = 2 * (gpus - 1) / gpus * 4 * one["parameters"] / bandwidth
            minutes = 1e6 / (gpus * max(1, fits)) * (step + wait) / 60
            row.append(f"{step + wait:.2f} s, {wait / (step + wait):.1%}, {minutes:.1f} min")
        out.append(row)
        costs.append(gflop)
    head = "experiment | TFLOP a clip | M parameters | GB kept a clip | clips on 80 GB | 8 GPUs | 64 GPUs | 512 GPUs"
    return table(head, out)


def beats() -> list[str]:
    """Requests a second that the store of the group answers, against what the beats of `vidiff.watch` ask of it."""
    store = dist.TCPStore("127.0.0.1", 0, 1, True)
    store.set("beat", "1")
    begin = time.process_time()
    for _ in range(4000):
        store.get("beat")
    rate = 4000 / (time.process_time() - begin)
    asked = {n: (n * 6, n * (2 * n - 1)) for n in (8, 64, 512)}  # own beat, four others', who is lost; all others'
    rows = [[str(n), *(f"{a:,} ({a / rate:.0%})" for a in pair)] for n, pair in asked.items()]
    return [
        f"The store of a group answered {rate:,.0f} requests in a CPU second here. Each process writes a beat a second "
        "and reads those of four others:",
        "",
        *table("processes | requests a second | if each read all others", rows),
    ]


def main() -> None:
    torch.set_num_threads(1)
    quiet()
    rows = []
    for experiment in EXPERIMENTS:
        for frames, pixels, clips in MEASURED:
            size = dict(experiment=experiment, frames=frames, pixels=pixels, clips=clips)
            place = (experiment, frames, pixels, clips)
            # In a process of its own, forked: what it grows by is not what another measurement left.
            with ProcessPoolExecutor(1, get_context("fork")) as alone:
                rows.append(size | counted(*place) | alone.submit(measured, *place).result())
            print(rows[-1], flush=True)
    best = roof()
    lines = [f"The roof in the same process: {max(best.values()):.0f} GFLOP in a CPU second.", "", *small(rows)]
    parts = {"measured": lines, "computed": large(), "beats": beats()}
    text = PAGE.read_text(encoding="utf-8")
    for name, content in parts.items():
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        text = before + mark + "\n".join(["", *content]) + "\n<!-- end -->" + rest.partition("<!-- end -->")[2]
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
