"""The shipped translations leave the copy they begin as, whatever the seed: other seeds stand for other machines."""

from __future__ import annotations

import subprocess
import sys

import pytest
from helpers import child_environment, rows

from vidiff.paths import experiments_dir

STEPS = 100


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_cyclegan_is_no_copy_after_a_hundred_steps(seed, tmp_path):
    """With an l1 cycle, a normalised D and transposed convolutions it still was one after 300 steps, on most seeds."""
    settings = f"--seed_everything {seed} --trainer.max_steps {STEPS} --evaluation.every_n_steps {STEPS}"
    command = [sys.executable, "-m", "vidiff", "fit", "--config", experiments_dir() / "cyclegan.yaml", "--run_dir", "r"]
    command += [*settings.split(), "--model.lr_schedule.total_steps", "400", "--evaluation.num_clips", "32"]
    subprocess.run(command, cwd=tmp_path, check=True, env=child_environment())
    last = [r for r in rows(tmp_path / "r" / "metrics.csv") if r["test/psnr_gain_a2b"]][-1]
    assert int(last["step"]) == STEPS
    for direction in ("a2b", "b2a"):
        assert float(last[f"test/psnr_gain_{direction}"]) > 10
        assert float(last[f"test/ssim_gain_{direction}"]) > 0.1
        assert float(last[f"test/nyquist_ratio_{direction}"]) < 2.5  # at the end of the training below 1.5
