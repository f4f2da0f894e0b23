"""Settings that cannot work end in one line that names them: in this process, with nothing left behind."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
import torch

from vidiff.cli import main

BAD = [
    ("trainer.accumulate_grad_batches", "2", "data.batch_size"),
    ("trainer.gradient_clip_val", "1", "model.clip_grad_norm"),
    ("trainer.log_every_n_steps", "-1", "trainer.log_every_n_steps"),
    ("trainer.max_steps", "-5", "max_steps"),
    ("trainer.strategy", "fsdp", "fsdp"),
    ("trainer.strategy", "nope", "nope"),
    ("trainer.precision", "bf16-true", "bf16-true"),
    ("trainer.precision", "half", "trainer.precision"),
    ("trainer.devices", "0", "devices"),
    ("trainer.accelerator", "cuda" if not torch.cuda.is_available() else "tpu", "accelerator"),
    ("trainer.callbacks", "StochasticWeightAveraging --trainer.callbacks.swa_lrs 0.1", "model.ema_decay"),
    ("trainer.callbacks", "EMAWeightAveraging", "model.ema_decay"),
    ("seed_everything", "-1", "from 0 to 4294967295"),
    ("seed_everything", "99999999999", "from 0 to 4294967295"),
    ("budget_cpu_s", "-1", "budget_cpu_s must be above 0"),
    ("budget_clips", "0", "budget_clips must be above 0"),
    ("budget_gpu_s", "60", "budget_gpu_s needs a GPU"),
    ("evaluation.num_clips", "1", "evaluation.num_clips must be at least 2"),
    ("evaluation.every_n_steps", "0", "evaluation.every_n_steps must be at least 1"),
    ("evaluation.every_n_steps", "-2", "evaluation.every_n_steps must be at least 1"),
    ("evaluation.batch_size", "0", "evaluation.batch_size must be at least 1"),
    ("evaluation.reference", "nope", "train, val or test"),
    ("checkpoints.every_n_steps", "0", "checkpoints.every_n_steps must be at least 1"),
    ("model.ema_half_life", "-5", "model.ema_half_life"),
    ("model.ema_decay", "2", "model.ema_decay"),
    ("model.ema_decay", "nan", "model.ema_decay"),
    ("model.optimizer_g.lr", "-1", "model.optimizer_g: Invalid learning rate: -1"),
    ("model.optimizer_d.lr", "nan", "lr"),
    ("model.clip_grad_norm", "-1", "model.clip_grad_norm"),
    ("model.term_weights", "{adv: .nan}", "model.term_weights must be finite"),
    ("model.latent_dim", "0", "model.latent_dim"),
    ("model.lr_schedule.warmup_steps", "-5", "warmup_steps"),
    ("data.resolution", "8", "data.resolution"),
    ("data.num_frames", "1 --evaluation.metrics motion", "motion needs clips of at least 2 frames"),
    ("data.num_frames", "0", "num_frames"),
    ("data.batch_size", "0", "batch_size"),
    ("data.frame_stride", "0", "frame_stride"),
    ("run_dir", "taken.txt", "taken.txt is a file"),
    ("run_dir", "taken.txt/r", "taken.txt is a file"),
    ("config", "utf16.yaml", "utf16.yaml must be saved as UTF-8: it is UTF-16"),
    ("config", "latin1.yaml", "latin1.yaml must be saved as UTF-8"),
    ("config", "list.yaml", "list.yaml must hold a mapping"),
]


@pytest.mark.parametrize("name, value, named", BAD, ids=[f"{n} {v}" for n, v, _ in BAD])
def test_bad_options(fit, capsys, name, value, named):
    Path("taken.txt").write_text("here\n")
    Path("utf16.yaml").write_bytes(codecs.BOM_UTF16_LE + "trainer: {max_steps: 2}".encode("utf-16-le"))
    Path("latin1.yaml").write_bytes("# größer\ntrainer: {max_steps: 2}".encode("latin-1"))
    Path("list.yaml").write_text("- 1\n")
    before = sorted(Path().rglob("*"))
    where = [] if name == "run_dir" else ["--run_dir", "r"]
    assert fit(*where, f"--{name}", *(value.split() if " --" in value else [value])) == 2
    said = capsys.readouterr().err
    (line,) = [line for line in said.splitlines() if line.startswith("vidiff: error: ")]
    assert named in line and "Traceback" not in said
    assert sorted(Path().rglob("*")) == before  # nothing half-written


def test_more_memory_than_there_is(fit, capsys):
    assert fit("--run_dir", "r", "--model.width", "10000000") in (1, 2)
    said = capsys.readouterr().err
    assert "out of memory" in said and len(said.strip().splitlines()) == 1 and not Path("r").exists()


def test_slurm_without_srun(fit, capsys, monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "2")
    assert fit("--run_dir", "r") == 2
    assert "--ntasks" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["fit", "validate"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"hello"], ids=["empty", "cut", "text"])
def test_a_checkpoint_that_cannot_be_read(fit, capsys, content, verb):
    Path("bad.ckpt").write_bytes(content)
    layers = ["--config", "experiments/dcgan.yaml", "--config", "experiments/_tiny.yaml"]
    assert main([verb, *layers, "--ckpt_path", "bad.ckpt"]) == 1
    said = capsys.readouterr().err
    assert "bad.ckpt is not a readable checkpoint" in said
    assert "Traceback" not in said and not Path("runs").exists()


def test_log_every_n_steps_0_is_never(fit):
    from helpers import rows

    assert fit("--run_dir", "r", "--trainer.log_every_n_steps", "0", "--trainer.max_steps", "1") == 0
    assert not any(row.get("train/g_total") for row in rows(Path("r/metrics.csv")))


def test_the_home_folder_in_flags(fit, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    Path("own.yaml").write_text("trainer: {max_steps: 1}\n")
    assert fit("--run_dir=~/r", "--config", "~/own.yaml") == 0
    assert (tmp_path / "r/report.json").is_file() and not Path("~").exists()
