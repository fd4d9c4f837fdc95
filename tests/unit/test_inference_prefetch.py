"""Stages side by side: order, bounds, errors, stopping, and whose time is counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from speech2vid.inference.prefetch import ahead
from speech2vid.timing import Stopwatch


def test_ahead_keeps_order_and_works_ahead_within_its_bound() -> None:
    generated: list[int] = []

    def count() -> Iterator[int]:
        for number in range(20):
            generated.append(number)
            yield number

    with closing(ahead(count(), 3)) as items:
        first = next(items)
        time.sleep(0.3)
        assert (first, len(generated)) == (0, 5)  # one taken, three waiting, one in hand
        assert [first, *items] == list(range(20))


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


def test_time_inside_counts_for_the_inner_stage_only() -> None:
    watch = Stopwatch()

    def slow() -> Iterator[int]:
        time.sleep(0.2)
        yield 1

    with watch("outer"):
        time.sleep(0.1)
        assert list(watch.timed("inner", slow())) == [1]
        time.sleep(0.1)
    assert watch.seconds["inner"] == pytest.approx(0.2, abs=0.08)
    assert watch.seconds["outer"] == pytest.approx(0.2, abs=0.08)


def test_waiting_for_another_thread_is_nobodys_work() -> None:
    watch = Stopwatch()

    def slow() -> Iterator[int]:
        for number in range(3):
            time.sleep(0.1)
            yield number

    for _ in ahead(watch.timed("slow", slow()), 1):
        with watch("fast"):
            pass
    assert watch.seconds["slow"] == pytest.approx(0.3, abs=0.1)
    assert watch.seconds["fast"] < 0.05
