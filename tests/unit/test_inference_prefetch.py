"""Stages side by side: order, bounds, errors, stopping, and whose time is counted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from speech2vid.inference.prefetch import ahead
from speech2vid.timing import Stopwatch


def test_ahead_keeps_order_and_works_ahead_within_its_bound() -> None:
    generated: list[int] = []
    five = threading.Event()

    def count() -> Iterator[int]:
        for number in range(20):
            generated.append(number)
            if len(generated) == 5:
                five.set()
            yield number

    with closing(ahead(count(), 3)) as items:
        first = next(items)
        assert five.wait(120)  # one taken, three waiting, one in hand
        leads = [len(generated)]
        rest = []
        for item in items:
            rest.append(item)
            leads.append(len(generated) - len(rest))
    assert [first, *rest] == list(range(20))
    assert max(leads) == 5


def test_ahead_raises_what_its_items_raise_after_the_good_ones() -> None:
    def fail() -> Iterator[int]:
        yield 1
        raise KeyError("inside")

    items = ahead(fail(), 4)
    assert next(items) == 1
    with pytest.raises(KeyError, match="inside"):
        next(items)


def test_closing_stops_the_thread_and_closes_the_items() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    before = threading.active_count()
    chain = ahead(ahead(endless(), 2), 2)
    next(chain)
    assert threading.active_count() == before + 2
    chain.close()
    assert closed.is_set()
    assert threading.active_count() == before


def test_time_inside_counts_for_the_inner_stage_only(work: Callable[[float], None]) -> None:
    watch = Stopwatch()

    def slow() -> Iterator[int]:
        work(2)
        yield 1

    with watch("outer"):
        work(10)
        assert list(watch.timed("inner", slow())) == [1]
        work(10)
    assert watch.seconds == {"inner": 2, "outer": 20}


def test_waiting_for_another_thread_is_nobodys_work(work: Callable[[float], None]) -> None:
    watch = Stopwatch()
    wanted = threading.Semaphore(1)

    def slow() -> Iterator[int]:
        for number in range(3):
            wanted.acquire()
            work(1)
            yield number

    for _ in ahead(watch.timed("slow", slow()), 1):
        with watch("fast"):
            pass
        wanted.release()
    assert watch.seconds == {"slow": 3, "fast": 0}
