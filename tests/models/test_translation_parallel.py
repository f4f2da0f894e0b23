"""Two processes equal one for a translation: gradients, and the buffer of past clips of the global batch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import child_environment

HERE = Path(__file__).parent


def train(out: Path, world: int) -> list[dict[str, torch.Tensor]]:
    command = [sys.executable, str(HERE / "translation_worker.py"), str(out), "--world", str(world)]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True)
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
