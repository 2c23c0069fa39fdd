"""Keys and values in a GPU's memory: rows are moved there, by a small graph of our own, and never through the CPU.

The graph is written in the protobuf wire format (https://protobuf.dev/programming-guides/encoding/), so that
translating needs no package for writing models.

Letters: P parts, R rows, N new rows, H heads, X positions, K head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

IntArray = NDArray[np.integer[Any]]

_FLOATS = {np.dtype(np.float32): 1, np.dtype(np.float16): 10}  # TensorProto.DataType
_INT64 = 7
_OPSET, _IR_VERSION = 21, 10
_AXIS_OF_ROWS, _AXIS_OF_POSITIONS = 1, 3


class DeviceMemory:
    """(P, R, H, X, K), with the methods of `memory.KeyValueMemory`; a change moves it to another address.

    Args:
        shape: The five sizes.
        mover: Where it lies, and what moves its rows.
        value: What it holds; None is zeros.
    """

    def __init__(self, shape: Sequence[int], mover: DeviceMover, value: ort.OrtValue | None = None) -> None:
        self._shape = tuple(shape)
        self._mover = mover
        self._value = mover.zeros(self._shape) if value is None else value

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
        shape, dtype = self._shape[1:], self._mover.dtype
        offset = part * int(np.prod(shape)) * dtype.itemsize
        bind(name, self._mover.device, 0, dtype.type, list(shape), self._value.data_ptr() + offset)

    def bind_whole(self, binding: ort.IOBinding, name: str) -> None:
        """Let `binding` write its output `name` (P, R, H, X, K) here."""
        binding.bind_ortvalue_output(name, self._value)

    def numpy(self, part: int) -> NDArray[Any]:
        """A copy of one part."""
        return np.asarray(self._value.numpy()[part])

    def copy_rows(self, sources: IntArray, destinations: IntArray, filled: IntArray) -> None:
        """Copy rows; each source is read as it was before the call."""
        rows = np.arange(self.num_rows)
        rows[destinations] = sources
        self._move(self, rows, self.num_positions)

    def keep(self, rows: IntArray, filled: IntArray) -> None:
        """Keep only `rows`, in this order."""
        self._move(self, rows, self.num_positions)

    def put(self, rows: IntArray, other: DeviceMemory) -> None:
        """Overwrite `rows` with the rows of `other`, which has no more positions, and zeros behind them."""
        index = np.arange(self.num_rows)
        index[rows] = self.num_rows + np.arange(other.num_rows)
        self._move(other, index, self.num_positions)

    def grown(self, num_positions: int) -> DeviceMemory:
        """A copy with room for more positions, and zeros there."""
        new = DeviceMemory(self._shape, self._mover, self._value)
        new._move(self, np.arange(self.num_rows), num_positions)
        return new

    def _move(self, other: DeviceMemory, rows: IntArray, num_positions: int) -> None:
        """Become `rows` of this memory's rows and, behind them, those of `other`."""
        self._value = self._mover.moved(self._value, other._value, rows, num_positions)
        self._shape = tuple(self._value.shape())


class DeviceMover:
    """Moves rows between tensors where they lie.

    Args:
        device: "cuda"; "cpu" serves tests.
        provider: Of onnxruntime, for that device.
        dtype: float16 or float32.
    """

    def __init__(self, device: str, provider: str, dtype: Any) -> None:
        self.device = device
        self.dtype = np.dtype(dtype)
        options = ort.SessionOptions()
        options.log_severity_level = 3
        self._session = ort.InferenceSession(_moving_graph(self.dtype), options, providers=[provider])

    def room(self, shape: Sequence[int]) -> DeviceMemory:
        """New memory, of zeros."""
        return DeviceMemory(shape, self)

    def zeros(self, shape: Sequence[int]) -> ort.OrtValue:
        """A tensor of zeros: what a mask hides must be finite."""
        return ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, self.dtype), self.device, 0)

    def moved(
        self, first: ort.OrtValue, second: ort.OrtValue, rows: IntArray, num_positions: int
    ) -> ort.OrtValue:
        """(P, len(rows), H, num_positions, K): rows of `first` and, counted on, of `second`; zeros behind them."""
        binding = self._session.io_binding()
        shape = list(first.shape())
        for name, value in (("first", first), ("second", second)):
            pads = np.zeros(10, np.int64)
            pads[5 + _AXIS_OF_POSITIONS] = num_positions - value.shape()[_AXIS_OF_POSITIONS]
            binding.bind_ortvalue_input(name, value)
            binding.bind_ortvalue_input(f"{name}_pads", ort.OrtValue.ortvalue_from_numpy(pads))
        index = np.ascontiguousarray(rows, np.int64)
        binding.bind_ortvalue_input("rows", ort.OrtValue.ortvalue_from_numpy(index))
        shape[_AXIS_OF_ROWS], shape[_AXIS_OF_POSITIONS] = len(index), num_positions
        found = ort.OrtValue.ortvalue_from_shape_and_type(shape, self.dtype.type, self.device, 0)
        binding.bind_ortvalue_output("moved", found)
        self._session.run_with_iobinding(binding)
        return found


def _moving_graph(dtype: np.dtype[Any]) -> bytes:
    """moved = Gather(Concat(Pad(first), Pad(second)), rows), an ONNX model."""
    nodes = [
        _node("Pad", ["first", "first_pads"], "first_long"),
        _node("Pad", ["second", "second_pads"], "second_long"),
        _node("Concat", ["first_long", "second_long"], "all", _AXIS_OF_ROWS),
        _node("Gather", ["all", "rows"], "moved", _AXIS_OF_ROWS),
    ]
    floats = _FLOATS[dtype]
    inputs = [
        _value("first", floats, ["parts", "rows", "heads", "positions", "width"]),
        _value("first_pads", _INT64, ["ten"]),
        _value("second", floats, ["parts", "more", "heads", "fewer", "width"]),
        _value("second_pads", _INT64, ["ten"]),
        _value("rows", _INT64, ["found"]),
    ]
    output = _value("moved", floats, ["parts", "found", "heads", "longest", "width"])
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, b"moving")
    graph += b"".join(_field(11, one) for one in inputs) + _field(12, output)
    opset = _field(1, b"") + _number(2, _OPSET)
    return _number(1, _IR_VERSION) + _field(7, graph) + _field(8, opset)


def _node(operator: str, inputs: Sequence[str], output: str, axis: int | None = None) -> bytes:
    node = b"".join(_field(1, name.encode()) for name in inputs) + _field(2, output.encode())
    node += _field(4, operator.encode())
    if axis is not None:
        node += _field(5, _field(1, b"axis") + _number(3, axis) + _number(20, 2))  # 2: an integer
    return node


def _value(name: str, element_type: int, sizes: Sequence[str]) -> bytes:
    shape = b"".join(_field(1, _field(2, size.encode())) for size in sizes)
    tensor = _number(1, element_type) + _field(2, shape)
    return _field(1, name.encode()) + _field(2, _field(1, tensor))


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
