"""Weights read from an ONNX file by name, without the onnx package."""

import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from keras_transformer.runtime.external_data import read_weights


def model_with(*tensors):
    graph = helper.make_graph([], "g", [], [], list(tensors))
    return helper.make_model(graph).SerializeToString()


def test_weights_come_back_by_name():
    table = np.random.default_rng(0).standard_normal((5, 300)).astype(np.float32)
    model = model_with(
        numpy_helper.from_array(np.arange(4, dtype=np.int64), "other"),
        numpy_helper.from_array(np.arange(-3, 3, dtype=np.int8).reshape(2, 3), "integers"),
        numpy_helper.from_array(table, "table"),
        numpy_helper.from_array(np.array(2.5, np.float32), "scale"),
    )
    found = read_weights(model, ("table", "scale", "integers", "absent"))
    assert sorted(found) == ["integers", "scale", "table"]
    np.testing.assert_array_equal(found["integers"], [[-3, -2, -1], [0, 1, 2]])
    assert found["integers"].dtype == np.int8
    np.testing.assert_array_equal(found["table"], table)
    assert found["scale"].shape == ()
    assert found["scale"] == 2.5
    assert found["table"].base is None  # a copy: the file may go


@pytest.mark.parametrize(
    "tensor",
    [
        numpy_helper.from_array(np.zeros(3, np.float16), "table"),
        helper.make_tensor("table", TensorProto.FLOAT, [2], [1.0, 2.0]),  # not in raw_data
    ],
)
def test_a_weight_of_another_kind_is_refused(tensor):
    assert isinstance(tensor, onnx.TensorProto)
    message = "`model` must hold table in float32, uint8 or int8, it does not. Export it again."
    with pytest.raises(ValueError, match=rf"\A{re.escape(message)}\Z"):
        read_weights(model_with(tensor), ("table",))
