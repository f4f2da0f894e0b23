"""The line of a training: what it says on a terminal and in a log, and how it knows the time that is left."""

from __future__ import annotations

import io
import re
import sys
from types import SimpleNamespace

import pytest
import torch

from vidiff import progress as lines
from vidiff.training import progress
from vidiff.training.progress import GameProgress, measuring
from vidiff.training.training_log import Spent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Training:
    """A training of 400 steps of one second each, evaluated every 100 steps in 30 seconds, on a clock set by hand."""

    def __init__(self, monkeypatch, budget: float | None = None, total: int = 400):
        self.now = 0.0
        for module in (lines, progress):
            monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.spent = Spent(budget)
        monkeypatch.setattr(self.spent, "total", lambda: 2 * self.now)  # two cores are at work
        self.bar = GameProgress(100, self.spent)
        self.trainer = SimpleNamespace(global_step=0, max_steps=total, max_epochs=-1, progress_bar_callback=self.bar)
        terms = {"train/g_total": torch.tensor(0.714), "train/d_total": torch.tensor(1.38)}
        self.model = SimpleNamespace(terms=terms, strategies=SimpleNamespace(n_critic=1, g_steps=1))

    def evaluate(self):
        with measuring(self.trainer, f"step {self.trainer.global_step}"):
            self.now += 30

    def run(self, steps: int):
        self.evaluate()
        self.bar.on_train_start(self.trainer, self.model)
        for _ in range(steps):
            self.trainer.global_step += 1
            self.now += 1
            if self.trainer.global_step % 100 == 0:
                self.evaluate()
            self.bar.on_train_batch_end(self.trainer, self.model, None, None, 0)
        self.bar.on_train_end(self.trainer, self.model)


def test_a_log_gets_plain_lines_with_the_time_left(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    Training(monkeypatch).run(400)
    said = sys.stderr.getvalue()
    assert not re.search(r"[\r\x1b]", said)
    log = said.splitlines()
    assert log[0] == "measuring step 0" and log.count("measuring step 400") == 1
    # Ten seconds are ten steps; what is left are 390 of them and four evaluations of 30 s.
    assert log[1] == "step 10/400  2 %  1 it/s  8 min left  g 0.714  d 1.38"
    assert "step 320/400  80 %  1 it/s  2 min left  g 0.714  d 1.38" in log  # 80 s and one evaluation
    assert log[-1] == "step 400/400  100 %  1 it/s  g 0.714  d 1.38"
    assert 40 <= len(log) <= 50


def test_a_budget_may_end_it_earlier(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    training = Training(monkeypatch, budget=2 * 90.0)
    training.run(20)
    assert "step 20/400  5 %  1 it/s  40 s left" in sys.stderr.getvalue()  # 30 + 20 of 90 seconds are gone


def test_a_terminal_gets_one_line_that_changes(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "stderr", Terminal())
    Training(monkeypatch, total=3).run(3)
    said = sys.stderr.getvalue()
    assert "\x1b[" in said and "3/3  100 %  1 it/s" in said and "step 1/3" not in said


@pytest.mark.parametrize("enabled", [True, False])
def test_only_the_first_process_speaks(monkeypatch, enabled):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    training = Training(monkeypatch)
    if not enabled:
        training.bar.disable()
    training.run(20)
    assert bool(sys.stderr.getvalue()) == enabled


def test_without_a_bar_measuring_says_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with measuring(SimpleNamespace(progress_bar_callback=None), "step 0"):
        pass
    assert not sys.stderr.getvalue()
