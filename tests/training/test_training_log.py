"""The warning about a data path that starves the model: when it comes, and what it says to do."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import pytest

from vidiff.training import training_log
from vidiff.training.training_log import TrainingLog


def said(
    cache: str, workers: int, share: float = 0.5, wall: float = 10.0, cores: int = 4, times: int = 1, epoch: int = 1
) -> list[str]:
    data = SimpleNamespace(cache=cache, loading={"num_workers": workers})
    trainer = SimpleNamespace(datamodule=data, is_global_zero=True, current_epoch=epoch)
    log = TrainingLog()
    with warnings.catch_warnings(record=True) as caught, pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("always")
        patch.setattr(training_log.os, "cpu_count", lambda: cores)
        for _ in range(times):
            log._warn_of_waiting(trainer, share, wall)
    return [str(w.message) for w in caught]


def test_it_is_said_once_and_only_above_30_percent_of_a_while():
    assert len(said("none", 0, times=3)) == 1
    assert said("none", 0, share=0.29) == [] and len(said("none", 0, share=0.31)) == 1
    assert said("none", 0, share=0.9, wall=1.0) == []  # the first batch always waits


def test_the_epoch_that_fills_the_cache_may_wait():
    assert said("disk", 0, epoch=0) == [] and said("ram", 0, epoch=0) == []
    assert len(said("disk", 0, epoch=1)) == len(said("none", 0, epoch=0)) == 1


def test_what_it_says_to_do_depends_on_the_settings():
    (text,) = said("none", 0)
    assert "50%" in text and "--data.cache disk" in text and "--data.num_workers 2" in text
    (text,) = said("disk", 2)
    assert "--data.cache ram" in text and "--data.num_workers 4" in text
    (text,) = said("ram", 4)  # every core decodes already
    assert "num_workers" not in text and "smaller size" in text


def test_a_slow_disk_is_noticed_in_a_run():
    """Through the callback's own hooks: batches that come late make the share."""
    log, now = TrainingLog(), [0.0]
    said = []
    trainer = SimpleNamespace(
        global_step=0, log_every_n_steps=1, max_steps=9, loggers=[], is_global_zero=True, current_epoch=0,
        datamodule=SimpleNamespace(cache="none", loading={"num_workers": 0}),
    )  # fmt: skip
    module = SimpleNamespace(terms={}, device="cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_log.time, "perf_counter", lambda: now[0])
        patch.setattr(training_log.warnings, "warn", lambda text, **_: said.append(text))
        log.on_train_start(trainer, module)
        for step, (wait, work) in enumerate([(1.0, 5.0), (3.0, 3.0)], start=1):
            now[0] += wait
            log.on_train_batch_start(trainer, module, {}, 0)
            now[0] += work
            trainer.global_step = step
            log.on_train_batch_end(trainer, module, None, {"slot": [0]}, 0)
    assert len(said) == 1 and said[0].startswith("50% of the time")
