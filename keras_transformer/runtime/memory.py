"""Keys and values of all decoder layers in one block of the CPU's memory (`device_memory` for a GPU's).

A row is moved for all layers at once, and a part (the keys or the values of one layer) is handed to ONNX
Runtime by its address.

Letters: R rows, H heads, X positions (of the source or of the cache), K head width.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import mmap
import sys
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

IntArray = NDArray[np.integer[Any]]

LARGEST_POOL = (
    8 * 2**20
)  # bytes that wait for the next batch: short batches gain, long ones cost memory (measured)


_LEAST_MAPPED = 2**17  # bytes
_LEAST_HUGE = 2**21


def new_array(shape: Sequence[int], dtype: Any) -> NDArray[Any]:
    """An array with anything in it that is finite; a large one in pages of its own, past the allocator.

    Batches of all sizes on several threads left 9 MB of holes in the allocator's heaps for 10,000 translations.
    Where the system has huge pages, a batch's memory is had four times faster in them (measured).
    """
    count = math.prod(shape)
    num_bytes = count * np.dtype(dtype).itemsize
    if num_bytes < _LEAST_MAPPED:
        return np.zeros(shape, dtype)
    private = getattr(mmap, "MAP_PRIVATE", 0) | getattr(mmap, "MAP_ANONYMOUS", 0)  # none on Windows
    pages = mmap.mmap(-1, num_bytes, flags=private) if private else mmap.mmap(-1, num_bytes)
    if num_bytes >= _LEAST_HUGE and hasattr(mmap, "MADV_HUGEPAGE"):  # Linux
        with contextlib.suppress(OSError):  # a kernel without them
            pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, dtype, count).reshape(shape)  # zeros, unmapped with the array


def give_back_freed() -> None:
    """Have the allocator return what is free to the system; after loading that is twice a bundle (Linux)."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
        if trim is not None:
            trim(0)


class MemoryPool:
    """Blocks of memory that batches leave behind for those that follow. Threads may share it.

    Memory that is new to the process is filled with zeros by the system as it is touched, which costs a short
    batch more than a step of the model (measured).
    """

    def __init__(self) -> None:
        self._free: list[NDArray[np.uint8]] = []
        # Re-entrant: whatever allocates may start the garbage collector, which gives back what it finds, here.
        self._lock = threading.RLock()

    def room(self, shape: Sequence[int], dtype: Any) -> KeyValueMemory:
        """Memory of `shape`, with anything in it that is finite."""
        return KeyValueMemory(shape, dtype, self)

    def take(self, num_bytes: int) -> NDArray[np.uint8]:
        """A block of at least `num_bytes` and less than twice as many, with anything in it that is finite."""
        with self._lock:
            fitting = [block for block in self._free if num_bytes <= len(block) <= 2 * num_bytes]
            if fitting:
                block = min(fitting, key=len)
                self._free = [other for other in self._free if other is not block]
                return block
        return new_array((num_bytes,), np.uint8)

    def give_back(self, block: NDArray[np.uint8]) -> None:
        """Nobody reads or writes `block` any more."""
        with self._lock:
            self._free.append(block)
            while sum(map(len, self._free)) > LARGEST_POOL:
                del self._free[:1]  # none is left where the collector ran in between, and came here too


class KeyValueMemory:
    """(parts, R, H, X, K), of which the first `num_rows` rows are in use.

    Args:
        shape: The five sizes.
        dtype: float32, float16 or int8.
        pool: Where the memory comes from and goes to.
    """

    def __init__(self, shape: Sequence[int], dtype: Any, pool: MemoryPool) -> None:
        self._shape = tuple(shape)
        self._dtype = np.dtype(dtype)
        self._pool = pool
        self.num_rows = shape[1]
        num_bytes = int(np.prod(shape)) * self._dtype.itemsize
        block = pool.take(num_bytes)
        self._array = block[:num_bytes].view(self._dtype).reshape(self._shape)
        self._address = int(self._array.ctypes.data)
        weakref.finalize(self, pool.give_back, block).atexit = False

    @property
    def num_positions(self) -> int:
        """X."""
        return self._shape[3]

    def bind_part(self, bind: Any, name: str, part: int) -> None:
        """Give `bind` (an IOBinding's `bind_input` or `bind_output`) the rows in use of one part."""
        _, rows, heads, positions, width = self._shape
        offset = part * rows * heads * positions * width * self._dtype.itemsize
        shape = [self.num_rows, heads, positions, width]
        bind(name, "cpu", 0, self._dtype.type, shape, self._address + offset)

    def bind_whole(self, binding: ort.IOBinding, name: str) -> None:
        """Let `binding` write its output `name` (parts, R, H, X, K) here."""
        binding.bind_output(name, "cpu", 0, self._dtype.type, list(self._shape), self._address)

    def numpy(self, part: int) -> NDArray[Any]:
        """The rows in use of one part, for reading."""
        return np.asarray(self._array[part, : self.num_rows])

    def copy_rows(
        self, sources: Sequence[int], destinations: Sequence[int], starts: Sequence[int], filled: int
    ) -> None:
        """Copy positions of rows, from `starts` to `filled`; each source is read as it was before the call."""
        array = self._array
        if set(sources).isdisjoint(destinations):
            for source, destination, start in zip(sources, destinations, starts, strict=True):
                array[:, destination, :, start:filled] = array[:, source, :, start:filled]
        elif len(starts):
            some = slice(min(starts), filled)
            array[:, destinations, :, some] = array[:, sources, :, some]

    def keep(self, rows: IntArray, filled: int) -> None:
        """Use only `rows` from here on, in this order, each with its first `filled` positions."""
        array = self._array
        if (np.diff(rows) > 0).all():  # every row moves down, past rows that have moved before
            for to, row in enumerate(rows.tolist()):
                if to != row:
                    array[:, to, :, :filled] = array[:, row, :, :filled]
        else:
            array[:, : len(rows), :, :filled] = array[:, rows, :, :filled]
        self.num_rows = len(rows)

    def put(self, rows: IntArray, other: KeyValueMemory) -> None:
        """Overwrite `rows` with the rows of `other`, which has no more positions, and zeros behind them."""
        array, length = self._array, other.num_positions
        for new, row in enumerate(rows.tolist()):
            array[:, row, :, :length] = other._array[:, new]
            array[:, row, :, length:] = 0

    def grown(self, num_positions: int) -> KeyValueMemory:
        """A copy of the rows in use with room for more positions, and zeros there."""
        parts, _, heads, old, width = self._shape
        shape = (parts, self.num_rows, heads, num_positions, width)
        new = self._pool.room(shape, self._dtype)
        array = new._array
        array[:, :, :, :old] = self._array[:, : self.num_rows]
        array[:, :, :, old:] = 0
        return new
