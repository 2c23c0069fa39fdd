"""A bundle is whole, of a known format and self-contained, or it is a sentence that says what is wrong."""

import json
import re
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from keras_transformer.errors import UserError
from keras_transformer.runtime import names
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.runtime.external_data import has_external_data
from keras_transformer.runtime.manifest import FileRecord, Manifest
from tests.onnx_export import runs


@pytest.fixture
def folder(tmp_path):
    config = runs.config(num_encoder_layers=1, num_decoder_layers=1)
    return runs.write_bundle(tmp_path / "b", config, runs.weights_of(config), ("fp32", "fp16")).folder


def refused(folder, message):
    with pytest.raises(UserError, match=rf"\A{re.escape(message)}\Z"):
        Bundle.open(folder)


def edit(folder, change):
    path = folder / names.MANIFEST_FILE
    values = json.loads(path.read_text("utf-8"))
    change(values)
    path.write_text(json.dumps(values), "utf-8")


def test_the_manifest_comes_back_as_it_was(folder):
    bundle = Bundle.open(str(folder))
    assert bundle.manifest.max_length == runs.MAX_LENGTH
    assert bundle.manifest.cache_head_dim == 8
    assert list(bundle.manifest.precisions) == ["fp32", "fp16"]
    assert bundle.manifest.longest_source is None
    for manifest in (bundle.manifest, replace(bundle.manifest, longest_source=56)):
        assert manifest == Manifest.from_dict(json.loads(json.dumps(manifest.to_dict())))
    assert bundle.tokenizer_path == folder / "tokenizer.json"
    assert [len(data) for data in bundle.read_graphs("fp16")] == [
        (folder / name).stat().st_size for name in ("encoder.fp16.onnx", "decoder.fp16.onnx")
    ]


def test_a_folder_that_is_none(tmp_path):
    refused(
        tmp_path,
        f"A model must be a folder with a manifest.json, found none at {tmp_path}/manifest.json. "
        "Write one with: python export/to_onnx.py RUN --output FOLDER",
    )
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(UserError, match="A model must be a folder with a manifest"):
        Bundle.open(tmp_path / "file")


@pytest.mark.parametrize("name", ["tokenizer.json", "encoder.fp32.onnx", "decoder.fp16.onnx"])
def test_one_flipped_bit_is_found(folder, name):
    path = folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=re.escape(f"{path} must be the file its manifest names (sha256 ")):
        Bundle.open(folder)


def test_a_file_that_is_missing_or_cut_short(folder):
    path = folder / "decoder.fp32.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"got another or damaged one\. Copy or export the bundle again"):
        Bundle.open(folder)
    path.unlink()
    refused(
        folder,
        f"A bundle must hold decoder.fp32.onnx, {path} cannot be read: No such file or directory. "
        "Copy or export the bundle again.",
    )


def test_a_file_that_changes_after_opening_is_not_loaded(folder):
    bundle = Bundle.open(folder)
    (folder / "encoder.fp32.onnx").write_bytes(b"else")
    with pytest.raises(UserError, match="got another or damaged one"):
        bundle.read_graphs("fp32")


def test_a_newer_format(folder):
    edit(folder, lambda values: values.update(format_version=3, precisions="of another kind"))
    refused(folder, f"{folder} must be of bundle format 2, got 3. Upgrade keras_transformer.")


def test_an_older_format(folder):
    edit(folder, lambda values: values.update(format_version=1))
    refused(folder, f"{folder} must be of bundle format 2, got 1. Export the model again.")


def test_a_manifest_that_is_not_json(folder):
    (folder / names.MANIFEST_FILE).write_text("{", "utf-8")
    with pytest.raises(
        UserError, match=rf"\A{re.escape(str(folder))}/manifest.json must be JSON, it is not: "
    ):
        Bundle.open(folder)


def test_a_manifest_that_is_a_folder(folder):
    (folder / names.MANIFEST_FILE).unlink()
    (folder / names.MANIFEST_FILE).mkdir()
    refused(
        folder,
        f"{folder}/manifest.json must be a file that can be read: Is a directory. Copy or export the bundle again.",
    )


def test_a_manifest_nested_without_end(folder):
    (folder / names.MANIFEST_FILE).write_text("[" * 100_000, "utf-8")
    with pytest.raises(UserError, match=r"/manifest\.json must be JSON, it is not: "):
        Bundle.open(folder)


VOCABULARY_SIZE = runs.config().vocabulary_size


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda values: values.pop("name"), "KeyError: 'name'"),
        (lambda values: values["model"].update(num_heads="5"), "TypeError: an integer is due, got '5'"),
        (lambda values: values.update(precisions={}), "ValueError: no precision"),
        (lambda values: values.update(longest_source="56"), "TypeError: an integer is due, got '56'"),
        (
            lambda values: values.update(longest_source=0),
            "ValueError: longest_source must be at least 1, got 0",
        ),
        (
            lambda values: values["model"].update(max_length=0),
            "ValueError: max_length must be from 1 to 16777216, got 0",
        ),
        (
            lambda values: values["model"].update(num_heads=2),
            "ValueError: cache_head_dim must be 16 for this model_dim and num_heads, got 8",
        ),
        (
            lambda values: values["model"].update(num_heads=7),
            "ValueError: num_heads must divide model_dim (30), got 7",
        ),
        (
            lambda values: values["special_ids"].update(eos=-1),
            f"ValueError: eos_id must be below vocabulary_size ({VOCABULARY_SIZE}), got -1",
        ),
        (lambda values: values["precisions"].update(fp8={}), "ValueError: unknown precision 'fp8'"),
        (
            lambda values: values["tokenizer"].update(file="../../etc/passwd"),
            "ValueError: file must be tokenizer.json, got '../../etc/passwd'",
        ),
    ],
)  # fmt: skip
def test_a_manifest_with_a_field_amiss(folder, change, what):
    edit(folder, change)
    refused(
        folder,
        f"{folder}/manifest.json must hold every field of a manifest, got {what}. Export the model again.",
    )


def test_a_manifest_that_is_no_object(folder):
    (folder / names.MANIFEST_FILE).write_text("[]", "utf-8")
    with pytest.raises(UserError, match="must hold every field of a manifest, got TypeError: "):
        Bundle.open(folder)


def test_a_precision_that_is_not_there(folder):
    with pytest.raises(
        UserError, match=rf"\A{re.escape(str(folder))} must hold int8, it has fp32, fp16. Export it again.\Z"
    ):
        Bundle.open(folder).read_graphs("int8")


def externalise(model, place):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../secret")
    if place == "initializer":
        model.graph.initializer.append(tensor)
    elif place == "attribute":
        model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))
    elif place == "inner graph":
        inner = helper.make_graph([], "inner", [], [helper.make_tensor_value_info("c", 1, [2])], [tensor])
        model.graph.node.append(helper.make_node("If", ["c"], ["d"], then_branch=inner, else_branch=inner))
    elif place == "sparse":
        sparse = model.graph.sparse_initializer.add()
        sparse.values.CopyFrom(tensor)
    else:
        node = helper.make_node("Constant", [], ["c"], value=tensor)
        model.functions.append(
            helper.make_function("x", "F", [], ["c"], [node], [helper.make_opsetid("", 21)])
        )
    return model


PLACES = ["initializer", "attribute", "inner graph", "sparse", "function"]


@pytest.mark.parametrize("place", PLACES)
def test_weights_outside_the_file_are_refused(folder, place):
    path = folder / "decoder.fp32.onnx"
    model = externalise(onnx.load(path, load_external_data=False), place)
    path.write_bytes(model.SerializeToString())
    record = FileRecord.of(path)
    edit(folder, lambda values: values["precisions"]["fp32"].update(decoder=vars(record)))
    bundle = Bundle.open(folder)
    with pytest.raises(
        UserError,
        match=rf"\A{re.escape(str(path))} must hold its weights itself, it points to another file. ",
    ):
        bundle.read_graphs("fp32")


def test_weights_inside_the_file_are_not_taken_for_outside():
    weights = numpy_helper.from_array(np.full((300,), 0x6E6E6E6E, np.int32), "external_data")
    node = helper.make_node("Constant", [], ["c"], value=weights, domain="", doc_string="external")
    graph = helper.make_graph([node], "g", [], [helper.make_tensor_value_info("c", 6, [300])], [weights])
    assert not has_external_data(helper.make_model(graph).SerializeToString())


@pytest.mark.parametrize(
    ("data", "what"),
    [(b"\x3a\x7fabc", "a whole ONNX file, got one that ends early"),
     (b"\x0b", "an ONNX file, got wire type 3"),
     (b"\xff" * 12, "an ONNX file, got a broken integer")],
)  # fmt: skip
def test_what_is_no_onnx_file(data, what):
    with pytest.raises(ValueError, match=rf"\A`model` must be {what}. Export it again.\Z"):
        has_external_data(data)


def test_graphs_nested_without_end_are_refused(folder):
    def wrapped(field, data):
        size, written = len(data), b""
        while size > 127:
            written, size = written + bytes([size & 127 | 128]), size >> 7
        return bytes([field << 3 | 2]) + written + bytes([size]) + data

    data = b""
    for _ in range(1000):
        data = wrapped(1, wrapped(5, wrapped(6, data)))  # a graph's node, its attribute, and a graph in it
    path = folder / "decoder.fp32.onnx"
    path.write_bytes(wrapped(7, data))
    record = FileRecord.of(path)
    edit(folder, lambda values: values["precisions"]["fp32"]["decoder"].update(vars(record)))
    message = f"{path} must be an ONNX file, it holds graphs in graphs without end. Do not use this bundle."
    with pytest.raises(UserError, match=rf"\A{re.escape(message)}\Z"):
        Bundle.open(folder).read_graphs("fp32")
