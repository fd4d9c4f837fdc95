"""Arrays of a shard: read by several threads at once."""

from __future__ import annotations

import gc
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from speech2vid.data import shards


class Garbage:
    """An object that only the collector frees, and that lets other threads run when it is freed."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        time.sleep(1e-4)


def test_arrays_are_read_by_several_threads_at_once() -> None:
    """Python 3.11 parses the headers of NumPy's files into a tree that two threads may not build at once."""
    array = np.arange(30 * 68 * 2, dtype=np.float32).reshape(30, 68, 2)
    data = shards._npy(array)

    def read(_: int) -> bool:
        for _ in range(2):
            Garbage()
        return np.array_equal(shards._array(data, np.float32, array.shape), array)

    threshold = gc.get_threshold()
    gc.set_threshold(17)
    try:
        with ThreadPoolExecutor(4) as threads:
            assert all(threads.map(read, range(300)))
    finally:
        gc.set_threshold(*threshold)
