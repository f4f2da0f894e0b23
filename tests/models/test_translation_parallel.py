"""Two processes equal one for a translation: gradients, and the buffer of past clips of the global batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent


def train(out: Path, world: int) -> list[dict[str, torch.Tensor]]:
    env = {k: v for k, v in os.environ.items() if k not in ("VIDIFF_RUN_DIR", "LOCAL_RANK", "MASTER_PORT")}
    env |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parents[1])}
    command = [sys.executable, str(HERE / "translation_worker.py"), str(out), "--world", str(world)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(f"{out}.{r}", weights_only=True) for r in range(world)]


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    (one,) = train(tmp_path / "one", 1)
    first, second = train(tmp_path / "two", 2)
    for key, value in one.items():
        assert torch.equal(first[key], second[key]), key
        torch.testing.assert_close(first[key], value, rtol=0, atol=1e-11)
    assert int(one["history.a.kept"]) == 5 and float(one["history.a.clips"].abs().min(0).values.max()) > 0
