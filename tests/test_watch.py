"""A process that is gone: the others end, and one of them says which and why."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch.distributed as dist
from helpers import child_environment

from vidiff import watch
from vidiff.watch import Watch, how_it_ended

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _quick(request, monkeypatch):
    monkeypatch.setattr(watch, "BEAT_S", 0.01)
    monkeypatch.setattr(watch, "GRACE_S", 0.1)


class Child:
    """A process as `subprocess` shows it, with a given exit code."""

    returncode = None

    def poll(self) -> int | None:
        return self.returncode


class Verdict:
    """What a watch has to say, when it comes to that."""

    def __init__(self):
        self.said, self.came = [], threading.Event()

    def __call__(self, said: str | None) -> None:
        self.said.append(said)
        self.came.set()


def test_a_silent_process_is_noticed_and_one_process_says_so():
    store, heard = dist.HashStore(), [Verdict(), Verdict()]
    watches = [Watch(3, patience=2.0, end=v) for v in heard]
    for rank, w in enumerate(watches):
        w.begin(store, rank)  # process 2 never speaks
    assert all(v.came.wait(60) for v in heard)
    (said,) = heard[0].said
    assert said.startswith("process 2 of 3 (counted from 0) has been silent for 2 s: it is stopped, or")
    assert heard[1].said == [None]


class Counting:
    """A store that knows how often it was asked."""

    def __init__(self, store: dist.Store):
        self.store, self.asked = store, 0

    def __getattr__(self, name: str):
        self.asked += 1
        return getattr(self.store, name)


def test_of_many_processes_each_watches_a_few_and_all_learn_who_is_lost():
    """Sixteen, the tenth of which never speaks: all come to the verdict, one of them says so."""
    store, heard = dist.HashStore(), {rank: Verdict() for rank in range(16) if rank != 9}
    watches = {rank: Watch(16, patience=2.0, end=verdict) for rank, verdict in heard.items()}
    for rank, w in watches.items():
        w.begin(store, rank)
    assert all(v.came.wait(60) for v in heard.values())
    said = {rank: v.said[0] for rank, v in heard.items()}
    assert said.pop(0).startswith("process 9 of 16 (counted from 0) has been silent") and set(said.values()) == {None}
    assert [watches[rank].near for rank in (0, 8, 15)] == [[1, 2, 3], [0, 9, 10, 11], [0, 1, 2]]
    for w in watches.values():
        w.stop()


def test_what_is_asked_of_the_store_does_not_grow_with_the_square(monkeypatch):
    """A beat is at most eleven requests, of however many processes."""
    monkeypatch.setattr(watch, "BEAT_S", 10_000.0)  # the beats are made here
    store = dist.HashStore()
    for rank in range(500):
        store.set(f"vidiff/alive/{rank}", "1")
    w, counting = Watch(500, end=Verdict()), Counting(store)
    w.begin(counting, 250)
    waits = iter([False, True])
    monkeypatch.setattr(w._over, "wait", lambda seconds: next(waits))
    before = counting.asked
    w._beat()
    assert 0 < counting.asked - before <= 11 and len(w.near) == 4
    monkeypatch.undo()
    w.stop()


def test_who_has_done_its_part_may_be_silent():
    store, verdict = dist.HashStore(), Verdict()
    store.set("vidiff/alive/1", watch.DONE)
    a = Watch(2, patience=0.3, end=verdict)
    a.begin(store, 0)
    assert not verdict.came.wait(1.0)
    a.stop()
    assert store.get("vidiff/alive/0") == watch.DONE


def test_a_child_that_ended_badly_is_named_also_before_the_group_exists():
    good, bad, verdict = Child(), Child(), Verdict()
    Watch(3, [good, bad], end=verdict)
    good.returncode, bad.returncode = 0, -signal.SIGKILL
    assert verdict.came.wait(60)
    assert verdict.said == ["process 2 of 3 (counted from 0) was killed (SIGKILL); the others end"]


def test_without_its_store_process_0_is_gone():
    class Broken:
        def set(self, *args):
            raise RuntimeError("connection lost")

    verdict = Verdict()
    Watch(2, end=verdict).begin(Broken(), 1)
    assert verdict.came.wait(60)
    assert verdict.said == ["process 0 of 2 (counted from 0) has ended; the others end"]


def test_after_a_broken_connection_who_is_silent_is_gone_sooner():
    verdict = Verdict()
    w = Watch(2, patience=10_000.0, end=verdict)
    w.begin(dist.HashStore(), 0)
    w.verdict()
    assert verdict.came.wait(60) and "process 1 of 2" in verdict.said[0]


def test_exit_codes_in_words():
    assert how_it_ended(-9) == "was killed (SIGKILL)" and how_it_ended(2) == "has ended with exit code 2"
    assert how_it_ended(-15) == how_it_ended(143) == "was terminated (SIGTERM)"


@pytest.mark.slow
@pytest.mark.parametrize("victim", [1, 0])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP], ids=lambda s: s.name)
def test_two_processes_end_together(tmp_path, how, victim):
    command = [sys.executable, str(HERE / "parallel_worker.py"), "DCGAN", str(tmp_path / "out"), "--world", "2"]
    command += ["--steps", "1000000", "--patience", "10", "--pids"]
    with (tmp_path / "err").open("w") as err:
        main = subprocess.Popen(command, env=child_environment(), stdout=subprocess.DEVNULL, stderr=err)
        files, pids = [tmp_path / f"out.pid{k}" for k in range(2)], []
        try:
            while not all(f.exists() for f in files) and main.poll() is None:
                time.sleep(0.1)
            pids = [int(f.read_text()) for f in files]
            os.kill(pids[victim], how)
            rest = [pid for pid in pids if pid != pids[victim]]
            while any(alive(pid) for pid in rest):
                main.poll()
                time.sleep(0.1)
        finally:
            for pid in [*pids, main.pid]:
                if alive(pid):
                    os.kill(pid, signal.SIGKILL)
            main.wait()
    said = [line for line in (tmp_path / "err").read_text().splitlines() if line.startswith("vidiff: error")]
    assert len(said) == 1 and "Traceback" not in (tmp_path / "err").read_text()
    assert how == signal.SIGTERM and victim == 0 or f"process {victim} of 2" in said[0]


def alive(pid: int) -> bool:
    """Whether a process runs or is stopped; not one that only waits to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
