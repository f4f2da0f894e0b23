"""Processes that train together notice when one of them is killed, stopped or terminated, and end.

A collective operation waits for whoever takes part, as long as half an hour. So every process says once a second in the
group's store that it is alive, from a thread of its own: work that takes long, on one process or on all, is no silence.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

import torch.distributed as dist

BEAT_S = 1.0
GRACE_S = 5.0  # for a process that has ended: whoever ends for a reason of its own says so first
PATIENCE_S = 60.0  # for a process that is silent
DONE = b"done"


class Watch:
    """Says that this process is alive, and ends it when another one is not.

    Args:
        world: number of processes.
        children: the processes that this one has started, those from 1 on; they are looked after at once, the others
            from `begin` on.
        patience: seconds of silence after which a process counts as stopped.
        end: called once with what is to be said, which is None where another process says it.
    """

    def __init__(
        self,
        world: int,
        children: Sequence[subprocess.Popen] = (),
        patience: float = PATIENCE_S,
        end: Callable[[str | None], None] | None = None,
    ):
        self.world, self.children, self.patience, self.end = world, children, patience, end or self._end
        self.store: dist.Store | None = None
        self.rank = 0
        self._over = threading.Event()
        self._beats: dict[int, bytes] = {}  # the newest beat of each other process
        self._heard: dict[int, float] = {}  # when it came
        self._gone: dict[int, str] = {}
        threading.Thread(target=self._judge, daemon=True, name="vidiff-watch").start()

    def begin(self, store: dist.Store, rank: int) -> None:
        """Speak and listen in what the processes share and process 0 keeps."""
        self.store, self.rank = store, rank
        self._heard = dict.fromkeys(range(self.world), time.monotonic())
        threading.Thread(target=self._beat, daemon=True, name="vidiff-beat").start()

    def stop(self) -> None:
        """This process has done its part; its silence means nothing from now on."""
        self._over.set()
        if self.store is not None:
            with contextlib.suppress(Exception):  # process 0 may have ended before, and its store with it
                self.store.set(self._key(self.rank), DONE)

    def verdict(self) -> None:
        """After a broken connection: wait for the watch to find out who is gone; it then ends this process.

        Who is silent now need not be waited for as long as usual.
        """
        self.patience = min(self.patience, 2 * GRACE_S)
        self._over.wait(4 * GRACE_S)

    @staticmethod
    def _key(rank: int) -> str:
        return f"vidiff/alive/{rank}"

    def _beat(self) -> None:
        count = 0  # a store whose process is stopped does not answer, so that `_judge` sees process 0 silent
        while not self._over.wait(BEAT_S):
            count += 1
            try:
                self.store.set(self._key(self.rank), str(count))
                self._heard[0] = time.monotonic()
                for other in range(self.world):
                    if other != self.rank and self.store.check([self._key(other)]):
                        beat = self.store.get(self._key(other))
                        if beat != self._beats.get(other) or beat == DONE:
                            self._beats[other], self._heard[other] = beat, time.monotonic()
            except Exception:  # the store is process 0's, and has ended with it
                if not self._over.wait(GRACE_S) and self._beats.get(0) != DONE:
                    self._gone[0] = "has ended"
                return

    def _judge(self) -> None:
        last, ended_at = time.monotonic(), {}
        while not self._over.wait(BEAT_S):
            now = time.monotonic()
            if now - last > GRACE_S:  # this process itself was stopped: nobody else was silent
                self._heard = dict.fromkeys(self._heard, now)
            last = now
            for number, child in enumerate(self.children, 1):
                if child.poll():
                    if now - ended_at.setdefault(number, now) >= GRACE_S:
                        self._gone[number] = how_it_ended(child.returncode)
            for other, heard in self._heard.items():
                if other not in (self.rank, *ended_at) and now - heard > self.patience:
                    silent = (
                        f"has been silent for {self.patience:.0f} s: it is stopped, or its machine is not reachable"
                    )
                    self._gone.setdefault(other, silent)
            if self._gone:
                lost = min(self._gone)
                speaker = min(set(range(self.world)) - set(self._gone))
                said = f"process {lost} of {self.world} (counted from 0) {self._gone[lost]}; the others end"
                self.end(said if self.rank == speaker else None)
                return

    def _end(self, said: str | None) -> None:
        """End at once: the main thread waits in a collective operation that never returns."""
        if said:
            print(f"vidiff: error: {said}. `--ckpt_path last` continues", file=sys.stderr, flush=True)
        for child in self.children:
            child.kill()
        os._exit(1)

    def terminate(self, signum: int, frame: object = None) -> None:
        """A handler of SIGTERM: end at once, and the processes that this one has started with it."""
        if self.rank == 0:
            print(f"vidiff: error: {how_it_ended(-signum)}", file=sys.stderr, flush=True)
        for child in self.children:
            child.kill()
        os._exit(128 + signum)


def how_it_ended(code: int) -> str:
    """An exit code in words."""
    number = -code if code < 0 else code - 128 if code in (128 + signal.SIGTERM, 128 + signal.SIGKILL) else 0
    if number == signal.SIGTERM:
        return "was terminated (SIGTERM)"
    return f"was killed ({signal.Signals(number).name})" if number else f"has ended with exit code {code}"
