"""Folders of runs that were never run."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import numpy as np
import reports
import yaml

from vidiff import keyed
from vidiff.training.page import Wall, write_walls
from vidiff.video.write import write_mp4

DIRECTION = {
    **{"sources": ["A"], "target": "B", "psnr": 21.0, "psnr_gain": 6.0, "ssim": 0.8, "identity_psnr": 15.0},
    "controls": {"identity": {"fvd_random": 9.0}, "oracle": {"fvd_random": 0.1}},
}


def clips(count: int, frames: int = 4, side: int = 16):
    """uint8 clips (N, 3, T, H, W) of a few colored blocks, a function of their number."""
    blocks = (keyed.normal(range(count), (3, frames, 4, 4), "page") * 60 + 128).clamp(0, 255).byte()
    return blocks.repeat_interleave(side // 4, -1).repeat_interleave(side // 4, -2)


def write_run(
    folder: Path, translates: bool = False, name: str = "DCGAN", steps: int = 20, samples: bool = True, **config
) -> Path:
    """A finished run with everything that a page shows; `config` overrides keys of its configuration."""
    (folder / "samples").mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    for checkpoint in ("best.ckpt", "last.ckpt"):
        (folder / "checkpoints" / checkpoint).write_bytes(b"")
    experiment = "cyclegan" if translates else "dcgan"
    settings = {"seed_everything": 0, "trainer": {"max_steps": steps}, "model": experiment} | config
    settings.setdefault("data", {"init_args": {"num_frames": 8, "resolution": 16, "root": "videos"}})
    (folder / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    _write_tables(folder, translates, steps)
    about = {
        "model": name,
        "translates": translates,
        "parameters": {"g": 1000, "d": 900},
        "data": {"dataset": "shapes", "videos": {"train": 24}, "num_frames": 8, "resolution": 16},
        "sessions": [{"device": "a processor", "processes": 1, "seconds": 61.0}],
    }
    (folder / "run.json").write_text(json.dumps(about))
    report = copy.deepcopy(reports.REPORT) | {"model": name, "data": about["data"], "steps": steps}
    report |= {"checkpoint": "best.ckpt", "checkpoint_step": steps, "selection": "lowest fvd_random"}
    if translates:
        report["directions"] = {"a2b": DIRECTION, "b2a": DIRECTION | {"sources": ["B"], "target": "A"}}
        report["metrics"] = {f"fvd_random_{d}": report["metrics"]["fvd_random"] for d in ("a2b", "b2a")}
        del report["controls"]
    (folder / "report.json").write_text(json.dumps(report))
    if samples:
        _write_samples(folder / "samples", translates)
    return folder


def _write_tables(folder: Path, translates: bool, steps: int) -> None:
    measured = ["val/fvd_random", *[f"val/fvd_random_{d}" for d in ("a2b", "b2a") if translates], "val/motion"]
    columns = ["train/d_total", "train/g_total", "train/d_real_logit", "train/g_grad_norm", "train/g_adv", *measured]
    lines = [",".join(["step", *columns])]
    for step in range(steps + 1):
        values = [f"{10 * math.exp(-step / 5) + i:.6f}" for i, _ in enumerate(columns)]
        lines.append(",".join([str(step), *(v if i < 5 or step % 10 == 0 else "" for i, v in enumerate(values))]))
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    (folder / "timing.csv").write_text("step,time/clips_per_s\n1,40.5\n2,41.5\n")


def _write_samples(samples: Path, translates: bool) -> None:
    some = clips(8)
    for step in (0, 10, 20):
        rows = [some[i :: 1 + translates] for i in range(1 + translates)]
        tiled = [np.concatenate([np.moveaxis(c.numpy(), 0, -1) for c in row], axis=2) for row in rows]
        write_mp4(samples / f"step-{step:07d}.mp4", np.concatenate(tiled, axis=1))
    if translates:
        columns = ("source", "translation", "true counterpart")
        write_walls(samples, [Wall("A to B", some[:6], 3, columns), Wall("B to A", some[2:], 3, columns)], 20)
    else:
        write_walls(samples, [Wall("Real", some[:4], 2), Wall("Generated", some[4:], 2)], 20)
