"""Trainings with W&B (offline, without an account), with TensorBoard, and without either."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from helpers import child_environment, wandb_history

from vidiff.data.shapes.render import render_dataset
from vidiff.training.loggers import MetricsCSV
from vidiff.training.run import Run

FIT = ["-m", "vidiff", "fit", "--config", "experiments/dcgan.yaml", "--config", "experiments/_tiny.yaml"]
QUICK = ["--data.root", "shapes", "--run_dir", "r", "--trainer.max_steps", "2", "--evaluation.metrics", "fvd_random"]
SAID = r"Restor.*|step \d+/\d+  \d+ %  .*|measuring .*|vidiff: (W&B: offline in|continuing) .*"


def run(folder: Path, *arguments: str, code: str | None = None) -> subprocess.CompletedProcess:
    if not (folder / "shapes").exists():
        render_dataset(folder / "shapes", videos=12, seed=0, frames=12, resolution=32)
    env = child_environment() | {"WANDB__SERVICE_WAIT": "600"}  # seconds until it gives its own process up
    start = ["-c", code] if code else FIT
    return subprocess.run(
        [sys.executable, *start, *QUICK, *arguments], cwd=folder, env=env, capture_output=True, text=True
    )


def test_wandb_without_an_account_stays_one_run_over_two_sittings(tmp_path):
    assert run(tmp_path, "--logger", "wandb").returncode == 0
    done = run(tmp_path, "--logger", "wandb", "--ckpt_path", "last", "--trainer.max_steps", "3")
    assert done.returncode == 0, done.stderr[-3000:]
    for line in done.stderr.splitlines():  # no warning on the way
        assert re.fullmatch(SAID, line), line
    assert "wandb sync r/wandb/offline-run-*" in done.stderr
    folders = sorted((tmp_path / "r/wandb").glob("offline-run-*"))
    assert len(folders) == 2 and {f.name.rpartition("-")[2] for f in folders} == {
        (tmp_path / "r/wandb/run-id.txt").read_text()
    }
    rows = [row for folder in folders for row in wandb_history(folder)]
    assert [row["generator_step"] for row in rows] == [0, 1, 2, 3] == [row["_step"] for row in rows]
    for key in (
        "loss_g/total",
        "loss_d/total",
        "logits/real",
        "logits/fake",
        "gradient_norm/g",
        "speed/data_wait_frac",
    ):
        assert [key in row for row in rows] == [False, True, True, True], key
    for key in ("metric/fvd_random", "metric/fvd_random_floor", "samples/clips/path", "samples/sheet/path"):
        assert [key in row for row in rows] == [True, False, True, True], key
    floors = {row["metric/fvd_random_floor"] for row in rows if "metric/fvd_random_floor" in row}
    assert len(floors) == 1 and all(row["metric/fvd_random"] > floors.copy().pop() for row in (rows[0], rows[-1]))
    videos = list(folders[0].glob("files/media/videos/samples/*.mp4"))
    assert len(videos) == 2 and all(v.stat().st_size > 500 for v in videos)


def test_tensorboard_holds_curves_and_animations(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    done = run(tmp_path, "--logger", "tensorboard")
    assert done.returncode == 0, done.stderr[-3000:]
    events = EventAccumulator(str(tmp_path / "r/tensorboard")).Reload()
    steps = {key: [e.step for e in events.Scalars(key)] for key in events.Tags()["scalars"]}
    assert steps["loss_g/adv"] == steps["logits/fake"] == steps["speed/clips_per_s"] == [1, 2]
    assert steps["metric/fvd_random"] == steps["metric/fvd_random_floor"] == [0, 2]
    sections = {"loss_g", "loss_d", "logits", "gradient_norm", "weight_norm", "rate", "metric", "speed"}
    assert {key.partition("/")[0] for key in steps} == sections
    assert [e.step for e in events.Images("samples/clips")] == [0, 2]
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


def test_half_a_row_is_no_row(tmp_path):
    """What a full disk cut short: the first digit of step 12 is not step 1."""
    (tmp_path / "metrics.csv").write_text("step,train/a\n1,0.5\n11,0.25\n1")
    table = MetricsCSV(Run(tmp_path, resumed=True))
    assert table.resume_at(11) == 11
    table.log_metrics({"train/a": 0.125}, 12)
    assert (tmp_path / "metrics.csv").read_text() == "step,train/a\n1,0.5\n11,0.25\n12,0.125\n"
