"""Processes that train together notice when one of them is killed, stopped or terminated, and end.

A collective operation waits for every process, as long as half an hour. So each writes a beat into the group's store
once a second, from a thread of its own: work that takes long, on one process or on all, does not stop the beats. The
next few processes are read by each; who finds one gone writes it into the store, where all look.
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
GRACE_S = 5.0  # for a process that has ended: it prints its own reason first
PATIENCE_S = 60.0  # for a process that is silent
NEAR = 3  # processes that each one reads the beats of: of all, the store of 500 would have no time for anything else
LOST = "vidiff/lost"  # where whoever finds that a process is gone says so to all
DONE = b"done"


class Watch:
    """Writes the beats of this process, and ends it when those of another one stop.

    Args:
        world: number of processes.
        children: the processes that this one has started, those from 1 on; they are watched at once, the others from
            `begin` on.
        patience: seconds of silence after which a process counts as stopped.
        end: called once with the message to print, which is None where another process prints it.
    """

    def __init__(
        self,
        world: int,
        children: Sequence[subprocess.Popen] = (),
        patience: float = PATIENCE_S,
        end: Callable[[str | None], None] | None = None,
    ):
        self.world = world
        self.children = children
        self.patience = patience
        self.end = end or self._end
        self.store: dist.Store | None = None
        self.rank = 0
        self.near: list[int] = []  # the processes that this one reads the beats of
        self._over = threading.Event()
        self._beats: dict[int, bytes] = {}  # the newest beat of each other process
        self._last_beat: dict[int, float] = {}  # when it came
        self._ended_at: dict[int, float] = {}  # when the end of a child was noticed
        self._lost: dict[int, str] = {}  # and why
        threading.Thread(target=self._watch, daemon=True, name="vidiff-watch").start()

    def begin(self, store: dist.Store, rank: int) -> None:
        """Write and read beats in the store, which process 0 keeps."""
        self.store, self.rank = store, rank
        near = {(rank + k) % self.world for k in range(1, NEAR + 1)}
        self.near = sorted({0, *near} - {rank})  # 0, whose end is that of the store: was it done?
        self._last_beat = dict.fromkeys({0, *self.near}, time.monotonic())
        threading.Thread(target=self._beat, daemon=True, name="vidiff-beat").start()

    def stop(self) -> None:
        """This process is done; that its beats stop means nothing from now on."""
        self._over.set()
        if self.store is not None:
            with contextlib.suppress(Exception):  # process 0 may have ended before, and its store with it
                self.store.set(self._key(self.rank), DONE)

    def verdict(self) -> None:
        """After a broken connection: wait until the lost process is found, which ends this one.

        A process that is silent now gets less patience than usual.
        """
        self.patience = min(self.patience, 2 * GRACE_S)
        self._over.wait(4 * GRACE_S)

    @staticmethod
    def _key(rank: int) -> str:
        return f"vidiff/alive/{rank}"

    def _beat(self) -> None:
        count = 0  # a store whose process is stopped does not answer, so that process 0 counts as silent
        while not self._over.wait(BEAT_S):
            count += 1
            try:
                self.store.set(self._key(self.rank), str(count))
                self._last_beat[0] = time.monotonic()
                for other in self.near:
                    if other in self._beats or self.store.check([self._key(other)]):
                        beat = self.store.get(self._key(other))
                        if beat != self._beats.get(other) or beat == DONE:
                            self._beats[other], self._last_beat[other] = beat, time.monotonic()
                if not self._lost and self.store.check([LOST]):
                    number, _, why = self.store.get(LOST).decode().partition(" ")
                    self._lost[int(number)] = why
            except Exception:  # the store is process 0's, and has ended with it
                if not self._over.wait(GRACE_S) and self._beats.get(0) != DONE:
                    self._lost[0] = "has ended"
                return

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._over.wait(BEAT_S):
            now = time.monotonic()
            if now - last > GRACE_S:  # this process itself was stopped: no other was silent
                self._last_beat = dict.fromkeys(self._last_beat, now)
            last = now
            self._look_for_ended(now)
            self._look_for_silent(now)
            if self._lost:
                first = min(self._lost)
                self._tell(first)
                speaker = min(set(range(self.world)) - set(self._lost))
                message = f"process {first} of {self.world} (counted from 0) {self._lost[first]}; the others end"
                self.end(message if self.rank == speaker else None)
                return

    def _tell(self, lost: int) -> None:
        """Let all processes know, and give them the time to read it, for the store ends with process 0."""

        def write() -> None:
            with contextlib.suppress(Exception):
                self.store.set(LOST, f"{lost} {self._lost[lost]}")

        if lost and self.store is not None:
            threading.Thread(target=write, daemon=True).start()  # a store that is stopped does not answer
            self._over.wait(2 * BEAT_S)

    def _look_for_ended(self, now: float) -> None:
        """Note the processes started by this one that ended with an error, and not just now."""
        for number, child in enumerate(self.children, 1):
            if child.poll() and now - self._ended_at.setdefault(number, now) >= GRACE_S:
                self._lost[number] = how_it_ended(child.returncode)

    def _look_for_silent(self, now: float) -> None:
        """Note the processes whose last beat is too long ago."""
        for other, beat in self._last_beat.items():
            if other not in (self.rank, *self._ended_at) and now - beat > self.patience:
                reason = f"has been silent for {self.patience:.0f} s: it is stopped, or its machine is not reachable"
                self._lost.setdefault(other, reason)

    def _end(self, message: str | None) -> None:
        """End at once: the main thread waits in a collective operation that never returns."""
        if message:
            print(f"vidiff: error: {message}. `--ckpt_path last` continues", file=sys.stderr, flush=True)
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
