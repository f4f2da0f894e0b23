"""W&B offline without an account, TensorBoard, and life without either."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from helpers import child_environment

from vidiff.data.shapes.render import render_dataset

FIT = ["-m", "vidiff", "fit", "--config", "experiments/dcgan.yaml", "--config", "experiments/_tiny.yaml"]
QUICK = ["--data.root", "shapes", "--run_dir", "r", "--trainer.max_steps", "2", "--evaluation.metrics", "fvd_random"]


def run(folder: Path, *arguments: str, code: str | None = None) -> subprocess.CompletedProcess:
    if not (folder / "shapes").exists():
        render_dataset(folder / "shapes", videos=12, seed=0, frames=12, resolution=32)
    env = child_environment() | {"WANDB__SERVICE_WAIT": "600"}  # seconds until it gives its own process up
    start = ["-c", code] if code else FIT
    return subprocess.run(
        [sys.executable, *start, *QUICK, *arguments], cwd=folder, env=env, capture_output=True, text=True
    )


def test_wandb_offline_holds_metrics_and_videos(tmp_path):
    done = run(tmp_path, "--logger", "wandb")
    assert done.returncode == 0, done.stderr[-3000:]
    (folder,) = (tmp_path / "r/wandb").glob("offline-run-*")
    data = (next(folder.glob("*.wandb"))).read_bytes()
    for name in (b"train/g_adv", b"train/d_grad_norm", b"val/fvd_random", b"trainer/global_step", b"optimizer_g"):
        assert name in data, name
    videos = list((folder / "files/media/videos/samples").glob("*.mp4"))
    assert len(videos) == 2 and all(v.stat().st_size > 500 for v in videos)
    assert (tmp_path / "r/metrics.csv").exists()


def test_tensorboard_holds_curves_and_animations(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    done = run(tmp_path, "--logger", "tensorboard")
    assert done.returncode == 0, done.stderr[-3000:]
    events = EventAccumulator(str(tmp_path / "r/tensorboard")).Reload()
    assert [e.step for e in events.Scalars("train/g_adv")] == [1, 2]
    assert events.Images("samples/clips")[0].encoded_image_string[:3] == b"GIF"


def test_life_without_wandb_and_tensorboard(tmp_path):
    """Both packages hidden: training works, asking for one is a usage error that names it."""
    hide = (
        "import sys, importlib.util as u\n"
        "for name in ('wandb', 'tensorboard'):\n    sys.modules[name] = None\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda n, *a: None if n.split('.')[0] in ('wandb', 'tensorboard') else find(n, *a)\n"
        "from vidiff.cli import main\n"
        "fit = ['fit', '--config', 'experiments/dcgan.yaml', '--config', 'experiments/_tiny.yaml']\n"
        "sys.exit(main(fit + sys.argv[1:]))\n"
    )
    done = run(tmp_path, code=hide)
    assert done.returncode == 0, done.stderr[-3000:]
    done = run(tmp_path, "--run_dir", "other", "--logger", "wandb", code=hide)
    assert done.returncode == 2 and "pip install wandb" in done.stderr and "Traceback" not in done.stderr
