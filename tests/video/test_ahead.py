"""Threads ahead of this one and behind it: the same items in the same order, not too many, and no thread is left."""

from __future__ import annotations

import threading
from itertools import islice

import pytest

from vidiff.video.ahead import ahead, behind


def threads() -> int:
    return sum(t.name in ("vidiff-ahead", "vidiff-behind") for t in threading.enumerate())


def test_items_come_in_order_from_another_thread():
    names = []

    def items():
        for i in range(50):
            names.append(threading.current_thread().name)
            yield i

    with ahead(items(), 3) as taken:
        assert list(taken) == list(range(50))
    assert set(names) == {"vidiff-ahead"} and threads() == 0


def test_it_waits_for_whoever_takes():
    begun, room = [], threading.Semaphore(0)

    def items():
        for i in range(100):
            begun.append(i)
            room.release()
            yield i

    with ahead(items(), 3) as taken:
        for _ in range(5):  # three that wait, one in hand, and the one that is being put
            next(taken) if len(begun) > 10 else room.acquire(timeout=10)
        assert next(taken) == 0 and len(begun) <= 6


def test_an_error_comes_where_it_happened():
    def items():
        yield 1
        raise KeyError("two")

    with ahead(items()) as taken:
        assert next(taken) == 1
        with pytest.raises(KeyError, match="two"):
            next(taken)


def test_leaving_early_ends_and_closes_the_source():
    closed = []

    def items():
        try:
            while True:
                yield 0
        finally:
            closed.append(threading.current_thread().name)

    with pytest.raises(RuntimeError, match="enough"), ahead(items(), 2) as taken:
        next(taken)
        raise RuntimeError("enough")
    assert closed == ["vidiff-ahead"] and threads() == 0


def test_one_behind_another():
    with ahead(range(20)) as first, ahead(2 * x for x in first) as second:
        assert list(second) == list(range(0, 40, 2))
    with pytest.raises(ValueError), ahead(iter(range(10**9))) as first, ahead(x + 1 for x in first) as second:
        assert next(second) == 1
        raise ValueError
    assert threads() == 0


def test_work_behind_has_all_items_and_its_result():
    names = []

    def work(items):
        names.append(threading.current_thread().name)
        return sum(items)

    assert behind(work, range(100)) == 4950 and behind(work, [], 1) == 0
    assert set(names) == {"vidiff-behind"} and threads() == 0


def test_the_first_error_of_either_is_raised():
    seen = []

    def broken():
        yield 1
        raise KeyError("items")

    def fails(items):
        seen.append(next(items))
        raise OSError("work")

    def endless():
        while True:
            yield 0

    with pytest.raises(KeyError, match="items"):
        behind(list, broken())
    with pytest.raises(OSError, match="work"):
        behind(fails, endless())
    assert seen == [0] and threads() == 0
    assert behind(lambda items: next(items), endless()) == 0  # enough is enough


def test_after_the_end_it_stays_at_its_end():
    """Whoever takes batches asks once more after the last item."""

    def batches(items, size):
        while batch := list(islice(items, size)):
            yield batch

    with ahead(range(8)) as taken:
        assert behind(list, batches(taken, 4)) == [[0, 1, 2, 3], [4, 5, 6, 7]]
        assert next(taken, "over") == next(taken, "over") == "over"
    assert behind(lambda items: (list(items), list(items)), range(3)) == ([0, 1, 2], []) and threads() == 0
