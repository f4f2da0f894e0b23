"""What several test files need: tiny models, tiny data in memory, a quiet trainer."""

from __future__ import annotations

import argparse
import csv
import json
import os
import struct
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch import nn

from vidiff import keyed
from vidiff.models import families
from vidiff.models.autoencoder import Autoencoder
from vidiff.models.base import AdversarialModule
from vidiff.models.turn import Turn

SHARED = Path(__file__).resolve().parents[2] / "shared"
TINY = dict(num_frames=4, resolution=16, width=4, latent_dim=8)
GAMES = sorted(name for name, family in families().items() if issubclass(family, AdversarialModule))


class Clips(LightningDataModule):
    """Batches of noise clips that are a function of their slots; `offset` and `world` cut them over processes."""

    def __init__(self, batch_size: int = 4, batches: int = 1000, num_classes: int | None = None, **sizes):
        super().__init__()
        self.batch_size, self.batches, self.num_classes = batch_size, batches, num_classes
        self.num_frames, self.resolution = sizes.get("num_frames", 4), sizes.get("resolution", 16)

    def batch(self, index: int, rank: int = 0, world: int = 1) -> dict[str, torch.Tensor]:
        first = index * self.batch_size * world + rank * self.batch_size
        slots = range(first, first + self.batch_size)
        shape = (3, self.num_frames, self.resolution, self.resolution)
        return {
            "clip": keyed.normal(slots, shape, "clip").clamp(-1, 1),
            "label": keyed.integers(slots, self.num_classes or 1, "label"),
            "slot": torch.tensor(list(slots)),
        }

    def train_dataloader(self):
        rank = self.trainer.global_rank if self.trainer else 0
        world = self.trainer.world_size if self.trainer else 1
        return _Stream(self, rank, world)


class Anything(Clips):
    """What any family asks for: clips with labels, and clips of two domains."""

    def batch(self, index, rank=0, world=1):
        batch = super().batch(index, rank, world)
        return batch | {"clip_a": batch["clip"], "clip_b": batch["clip"].flip(0)}


def losses_of(model, player: str, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A player's terms outside of any training."""
    losses = {"d": "discriminator_losses", "g": "generator_losses"}[player]
    return getattr(model, losses)(Turn(model, player, batch))


def numbers(terms: dict[str, torch.Tensor]) -> dict[str, float]:
    """Terms as Python's numbers."""
    return {k: float(v.detach()) for k, v in terms.items()}


def fakes_of(model, player: str, batch: dict[str, torch.Tensor]):
    """What a player is shown as generated, without a graph."""
    made = Turn(model, player, batch).fake()
    made = made[0] if isinstance(made, tuple) else made  # clips, and what else they are made of
    return made.detach() if isinstance(made, torch.Tensor) else {k: v.detach() for k, v in made.items()}


class _Stream:
    def __init__(self, data: Clips, rank: int, world: int):
        self.data, self.rank, self.world = data, rank, world

    def __len__(self):
        return self.data.batches

    def __iter__(self):
        return (self.data.batch(i, self.rank, self.world) for i in range(self.data.batches))


def quiet_trainer(**settings) -> Trainer:
    defaults = dict(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=-1,
        use_distributed_sampler=False,
    )
    return Trainer(**{**defaults, **settings})


@contextmanager
def native_kernels():
    """PyTorch's own CPU kernels: the same half precision on every CPU, where oneDNN's are broken with AVX-512."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this setting warns of one that was not touched
        with torch.backends.mkldnn.flags(enabled=False):
            yield


def same_but_for_rounding(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Kernels round by the shape that they see, on some CPUs; a step may turn that into a jump of one value in 1000."""
    return a.shape == b.shape and float(((a.double() - b.double()).abs() > 1e-5).double().mean()) < 1e-3


def child_environment() -> dict[str, str]:
    """For the processes that a test starts: this checkout and these helpers; no W&B process of this one's, which would
    write their files where it stands."""
    tests = Path(__file__).resolve().parent
    own = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return own | {"PYTHONPATH": f"{tests.parent}:{tests}"}


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="") as f:
        return list(csv.DictReader(f))


def joins(count: int, window: int, trim: int, fade: int) -> list[int]:
    """Frames of a video of `count` frames where the windows that it is made of change: t means from t - 1 to t."""
    step, out = window - 2 * trim - fade, set()
    for start in range(step, count - 2 * trim - fade, step):  # a window is begun when there are new frames for it
        out |= {start + trim, start + trim + fade}
    return sorted(t for t in out if 0 < t < count)


def rng(seed: int) -> np.random.Generator:
    """The same numbers on every machine."""
    return np.random.Generator(np.random.PCG64(seed))


def case_a() -> tuple[np.ndarray, np.ndarray]:
    """Two sets of 512 features that differ a little."""
    g = rng(1234)
    return g.standard_normal((512, 64)), 1.1 * g.standard_normal((512, 64)) + 0.1


def double(model, num_classes: int | None = None):
    """A model and the first batch in float64."""
    model = model.double()
    batch = Clips(num_classes=num_classes).batch(0)
    return model, {**batch, "clip": batch["clip"].double()}


def worker_arguments(**more: str) -> argparse.Namespace:
    """`OUT [--world N]` of a script that a test starts, one or several times; `more` options with their defaults."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--world", type=int, default=1)
    for name, default in more.items():
        parser.add_argument(f"--{name}", default=default)
    torch.set_num_threads(1)
    return parser.parse_args()


def wandb_history(folder: Path) -> list[dict]:
    """The rows of an offline run of W&B: flat keys, nested ones joined by slashes.

    Its file is a LevelDB log: behind 7 bytes come blocks of 32 KiB with records in chunks (checksum, length, kind).
    """
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.glob("*.wandb")
    data, at, part, out = path.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:  # no chunk begins in the last bytes of a block
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        part += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last chunk of a record
            record, part = Record.FromString(part), b""
            if record.HasField("history"):
                items = record.history.item
                out.append({i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items})
    return out


def tokenizer(tmp_path, width: int = 4) -> tuple[Autoencoder, str]:
    """A checkpoint of an autoencoder, its average unlike its raw weights."""
    model = Autoencoder(**TINY | {"num_frames": 8, "width": width})
    with torch.no_grad():
        for p in model.generator_ema.module.parameters():
            p.add_(0.01)
    trainer = quiet_trainer(max_steps=1)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    return model, str(tmp_path / "a.ckpt")


class Says(nn.Module):
    """A part of a network that answers what it was told."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, *inputs):
        return self.answer
