"""Writes small ONNX models without weights, so that translating needs no package for it.

They are written in the protobuf wire format (https://protobuf.dev/programming-guides/encoding/), with the field
numbers of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

CONTRIB = "com.microsoft"  # onnxruntime's own operators
_TYPES = {  # TensorProto.DataType
    np.dtype(np.float32): 1,
    np.dtype(np.uint8): 2,
    np.dtype(np.int8): 3,
    np.dtype(np.int64): 7,
    np.dtype(np.float16): 10,
    np.dtype(np.float64): 11,
}
_OPSET, _IR_VERSION = 21, 10
_INTEGER = 2  # AttributeProto.AttributeType


class SmallGraph:
    """Collects nodes, constants, inputs and outputs; `bytes(graph)` is the model."""

    def __init__(self) -> None:
        self._parts = _field(2, b"small")

    def input(self, name: str, dtype: Any, num_axes: int) -> str:
        """Declare an input; its sizes are left open."""
        self._parts += _field(11, _value(name, dtype, num_axes))
        return name

    def output(self, name: str, dtype: Any, num_axes: int) -> None:
        """Declare the result of a node as an output."""
        self._parts += _field(12, _value(name, dtype, num_axes))

    def constant(self, name: str, values: Sequence[int]) -> str:
        """Store whole numbers (N)."""
        data = np.array(values, "<i8").tobytes()
        tensor = _number(1, len(values)) + _number(2, _TYPES[np.dtype(np.int64)])
        self._parts += _field(5, tensor + _field(8, name.encode()) + _field(9, data))
        return name

    def node(
        self, operator: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: int
    ) -> str:
        """Add a node; attributes are whole numbers from 0. `output` names its result, or several with commas."""
        node = b"".join(_field(1, name.encode()) for name in inputs)
        node += b"".join(_field(2, name.encode()) for name in output.split(","))
        node += _field(4, operator.encode()) + _field(7, domain.encode())
        for name, value in attributes.items():
            node += _field(5, _field(1, name.encode()) + _number(3, value) + _number(20, _INTEGER))
        self._parts += _field(1, node)
        return output

    def __bytes__(self) -> bytes:
        opsets = [_field(1, b"") + _number(2, _OPSET), _field(1, CONTRIB.encode()) + _number(2, 1)]
        return _number(1, _IR_VERSION) + _field(7, self._parts) + b"".join(_field(8, one) for one in opsets)


def _value(name: str, dtype: Any, num_axes: int) -> bytes:
    sizes = b"".join(_field(1, _field(2, f"{name}_{axis}".encode())) for axis in range(num_axes))
    tensor = _number(1, _TYPES[np.dtype(dtype)]) + _field(2, sizes)
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
