"""Looks into an ONNX file without the onnx package: weights outside the file, and weights by name.

ONNX Runtime follows a reference to another file out of the bundle's folder, past the bundle's checksums.
This walks the protobuf wire format (https://protobuf.dev/programming-guides/encoding/) along the fields of
onnx.proto that can hold a tensor and skips everything else, the weights themselves included.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Message -> {field number: message in that field}, from onnx.proto.
_CHILDREN = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # fields of TensorProto; a location of 0 is "in this file"


_GRAPH, _INITIALIZER = 7, 5  # of the model, of the graph
_DIMS, _DATA_TYPE, _NAME, _RAW_DATA = 1, 2, 8, 9  # fields of TensorProto
_DTYPES = {1: "<f4", 2: "u1", 3: "i1"}  # of TensorProto.DataType


def has_external_data(model: bytes) -> bool:
    """True where any tensor of the ONNX model lives outside `model`.

    Raises:
        ValueError: `model` is not in the protobuf wire format.
    """
    return _search(memoryview(model), "Model")


def read_weights(model: bytes, names: Collection[str]) -> dict[str, NDArray[Any]]:
    """The weights of the main graph that have one of `names`, in float32, uint8 or int8, as copies.

    Raises:
        ValueError: `model` is not in the protobuf wire format, or such a weight is of another kind.
    """
    import numpy as np  # here: the window opens bundles' manifests long before it computes anything

    found: dict[str, NDArray[Any]] = {}
    for number, graph in _fields(memoryview(model)):
        if number != _GRAPH or not isinstance(graph, memoryview):
            continue
        for field, tensor in _fields(graph):
            if field != _INITIALIZER or not isinstance(tensor, memoryview):
                continue
            parts: dict[int, Any] = {}
            dims: list[int] = []
            for part, value in _fields(tensor):
                if part == _DIMS and not isinstance(value, memoryview):
                    dims.append(value)
                else:
                    parts[part] = value
            name = bytes(parts.get(_NAME, b"")).decode("utf-8")
            if name in names:
                dtype = _DTYPES.get(parts.get(_DATA_TYPE, 0))
                if dtype is None or _RAW_DATA not in parts:
                    raise ValueError(
                        f"`model` must hold {name} in float32, uint8 or int8, it does not. Export it again."
                    )
                found[name] = np.frombuffer(parts[_RAW_DATA], dtype).reshape(dims).copy()
    return found


def _search(message: memoryview, kind: str) -> bool:
    children = _CHILDREN[kind]
    for number, value in _fields(message):
        if kind == "Tensor" and (number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)):
            return True
        child = children.get(number)
        if child is not None and isinstance(value, memoryview) and _search(value, child):
            return True
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """(field number, bytes or integer) of each field; fixed-width fields give 0."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire_type == 2:
            size, at = _varint(message, at)
        elif wire_type in (1, 5):
            size = 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"`model` must be an ONNX file, got wire type {wire_type}. Export it again.")
        if at + size > len(message):
            raise ValueError("`model` must be a whole ONNX file, got one that ends early. Export it again.")
        yield number, message[at : at + size] if wire_type == 2 else 0
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("`model` must be an ONNX file, got a broken integer. Export it again.")
