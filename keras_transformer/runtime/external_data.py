"""Finds weights that an ONNX file would read from another file, without the onnx package.

ONNX Runtime follows such a reference out of the bundle's folder, past the bundle's checksums. This
walks the protobuf wire format (https://protobuf.dev/programming-guides/encoding/) along the fields of
onnx.proto that can hold a tensor and skips everything else, the weights themselves included.
"""

from collections.abc import Iterator

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


def has_external_data(model: bytes) -> bool:
    """True where any tensor of the ONNX model lives outside `model`.

    Raises:
        ValueError: `model` is not in the protobuf wire format.
    """
    return _search(memoryview(model), "Model")


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
