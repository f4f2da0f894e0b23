"""The same tests on every machine: one thread, a home of their own, nothing inherited, and helpers importable."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)

# What a launcher, a shell or a user's settings would tell the runs of the tests.
FOREIGN = ("VIDIFF_", "WANDB_", "SLURM_", "PMI_", "OMPI_", "MASTER_", "XDG_", "TORCH_HOME", "TORCHELASTIC_")
FOREIGN += ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
for name in [n for n in os.environ if n.startswith(FOREIGN)]:
    del os.environ[name]
os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # what is exact to the bit is so on a CPU


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """`-n auto`: as many processes as this one may use cores, and not more than memory is sure to hold."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 8)


@pytest.fixture(autouse=True, scope="session")
def _own_home(tmp_path_factory):
    """Caches, weights and accounts of the user are not seen by the tests, and theirs not by the user."""
    os.environ["HOME"] = str(tmp_path_factory.mktemp("home"))
    os.environ["VIDIFF_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def _same_in_any_order(monkeypatch):
    """No test inherits the run folder or the random numbers of the one before."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
