"""Keys and values in a GPU's memory: rows are moved there, by a small graph of our own, and never through the CPU.

Letters: P parts, R rows, H heads, X positions, K head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from keras_transformer.runtime.devices import session_options
from keras_transformer.runtime.small_graph import SmallGraph

IntArray = NDArray[np.integer[Any]]

_AXIS_OF_ROWS, _AXIS_OF_POSITIONS = 1, 3


class DeviceMemory:
    """(P, R, H, X, K), with the methods of `memory.KeyValueMemory`; a change moves it to another address.

    Args:
        shape: The five sizes.
        dtype: float16 or float32.
        mover: Where it lies, and what moves its rows.
        value: What it holds; None is zeros.
    """

    def __init__(
        self, shape: Sequence[int], dtype: Any, mover: DeviceMover, value: ort.OrtValue | None = None
    ) -> None:
        self._shape = tuple(shape)
        self._dtype = np.dtype(dtype)
        self._mover = mover
        self._value = mover.zeros(self._shape, self._dtype) if value is None else value

    @property
    def num_rows(self) -> int:
        """R."""
        return self._shape[_AXIS_OF_ROWS]

    @property
    def num_positions(self) -> int:
        """X."""
        return self._shape[_AXIS_OF_POSITIONS]

    def bind_part(self, bind: Any, name: str, part: int) -> None:
        """Give `bind` (an IOBinding's `bind_input` or `bind_output`) one part."""
        shape, dtype = self._shape[1:], self._dtype
        offset = part * int(np.prod(shape)) * dtype.itemsize
        bind(name, self._mover.device, 0, dtype.type, list(shape), self._value.data_ptr() + offset)

    def bind_whole(self, binding: ort.IOBinding, name: str) -> None:
        """Let `binding` write its output `name` (P, R, H, X, K) here."""
        binding.bind_ortvalue_output(name, self._value)

    def numpy(self, part: int) -> NDArray[Any]:
        """A copy of one part."""
        return np.asarray(self._value.numpy()[part])

    def copy_rows(
        self, sources: Sequence[int], destinations: Sequence[int], starts: Sequence[int], filled: int
    ) -> None:
        """Copy rows, whole; each source is read as it was before the call."""
        rows = np.arange(self.num_rows)
        rows[destinations] = sources
        self._move(rows, self.num_positions)

    def keep(self, rows: IntArray, filled: int) -> None:
        """Keep only `rows`, in this order."""
        self._move(rows, self.num_positions)

    def grown(self, num_positions: int) -> DeviceMemory:
        """A copy with room for more positions, and zeros there."""
        new = DeviceMemory(self._shape, self._dtype, self._mover, self._value)
        new._move(np.arange(self.num_rows), num_positions)
        return new

    def _move(self, rows: IntArray, num_positions: int) -> None:
        """Become `rows` of this memory's rows, with zeros behind their positions."""
        self._value = self._mover.moved(self._value, self._dtype, rows, num_positions)
        self._shape = tuple(self._value.shape())


class DeviceMover:
    """Moves rows between tensors where they lie.

    Args:
        device: "cuda"; "cpu" serves tests.
        provider: Of onnxruntime, for that device.
        dtypes: Of what is moved: float16 or float32.
    """

    def __init__(self, device: str, provider: str, *dtypes: Any) -> None:
        self.device = device
        self._sessions = {
            dtype: ort.InferenceSession(_moving_graph(dtype), session_options(None), providers=[provider])
            for dtype in set(map(np.dtype, dtypes))
        }

    def room(self, shape: Sequence[int], dtype: Any) -> DeviceMemory:
        """New memory, of zeros."""
        return DeviceMemory(shape, dtype, self)

    def zeros(self, shape: Sequence[int], dtype: np.dtype[Any]) -> ort.OrtValue:
        """A tensor of zeros: what a mask hides must be finite."""
        return ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, dtype), self.device, 0)

    def moved(
        self, value: ort.OrtValue, dtype: np.dtype[Any], rows: IntArray, num_positions: int
    ) -> ort.OrtValue:
        """(P, len(rows), H, num_positions, K): rows of `value`, of that dtype, and zeros behind their positions."""
        session = self._sessions[dtype]
        binding = session.io_binding()
        shape = list(value.shape())
        pads = np.zeros(10, np.int64)
        pads[5 + _AXIS_OF_POSITIONS] = num_positions - shape[_AXIS_OF_POSITIONS]
        binding.bind_ortvalue_input("value", value)
        binding.bind_ortvalue_input("pads", ort.OrtValue.ortvalue_from_numpy(pads))
        index = np.ascontiguousarray(rows, np.int64)
        binding.bind_ortvalue_input("rows", ort.OrtValue.ortvalue_from_numpy(index))
        shape[_AXIS_OF_ROWS], shape[_AXIS_OF_POSITIONS] = len(index), num_positions
        found = ort.OrtValue.ortvalue_from_shape_and_type(shape, dtype.type, self.device, 0)
        binding.bind_ortvalue_output("moved", found)
        session.run_with_iobinding(binding)
        return found


def _moving_graph(dtype: np.dtype[Any]) -> bytes:
    """moved = Pad(Gather(value, rows), pads)."""
    graph = SmallGraph()
    graph.input("value", dtype, 5)
    graph.input("rows", np.int64, 1)
    graph.input("pads", np.int64, 1)
    graph.output("moved", dtype, 5)
    graph.node(
        "Pad", [graph.node("Gather", ["value", "rows"], "chosen", axis=_AXIS_OF_ROWS), "pads"], "moved"
    )
    return bytes(graph)
