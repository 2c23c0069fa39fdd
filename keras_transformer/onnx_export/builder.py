"""A small writer of ONNX graphs: nodes and constants go in by name, a checked model comes out."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

OPSET = 21
IR_VERSION = 10
CONTRIB = "com.microsoft"  # onnxruntime's own operators


class GraphBuilder:
    """Collects nodes, constants, inputs and outputs of one graph."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    def input(self, name: str, dtype: Any, shape: list[int | str]) -> str:
        """Declare a graph input; a string in `shape` is a size that may change."""
        self._inputs.append(helper.make_tensor_value_info(name, _element_type(dtype), shape))
        return name

    def output(self, name: str, dtype: Any, shape: list[int | str]) -> None:
        """Declare a graph output, the result of a node of that name."""
        self._outputs.append(helper.make_tensor_value_info(name, _element_type(dtype), shape))

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """Store an array inside the file; a second call with the same name reuses the first."""
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def node(
        self, operator: str, inputs: list[str], name: str = "", domain: str = "", **attributes: Any
    ) -> str:
        """Add a node with one result; '' in `inputs` leaves that input out."""
        return self.nodes(operator, inputs, [name or self._fresh(operator)], domain, **attributes)[0]

    def nodes(
        self, operator: str, inputs: list[str], outputs: list[str], domain: str = "", **attributes: Any
    ) -> list[str]:
        """Add a node with several named results."""
        node = helper.make_node(operator, inputs, outputs, f"{outputs[0]}:node", domain=domain, **attributes)
        self._nodes.append(node)
        return outputs

    def choose(
        self,
        condition: str,
        outputs: list[str],
        dtypes: list[Any],
        then: Callable[[], list[str]],
        otherwise: Callable[[], list[str]],
    ) -> list[str]:
        """Add an If: `then` and `otherwise` write the nodes of its branches and return their results."""
        branches = {}
        for attribute, write in (("then_branch", then), ("else_branch", otherwise)):
            outside, self._nodes = self._nodes, []
            results = write()
            infos = [
                helper.make_tensor_value_info(name, _element_type(dtype), None)
                for name, dtype in zip(results, dtypes, strict=True)
            ]
            branches[attribute] = helper.make_graph(self._nodes, f"{outputs[0]}:{attribute}", [], infos)
            self._nodes = outside
        return self.nodes("If", [condition], outputs, **branches)

    def build(self) -> onnx.ModelProto:
        """The model, every weight inside it."""
        graph = helper.make_graph(
            self._nodes, self._name, self._inputs, self._outputs, list(self._constants.values())
        )
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)],
            ir_version=IR_VERSION,
            producer_name="keras_transformer",
        )

    def _fresh(self, operator: str) -> str:
        self._count += 1
        return f"{operator}_{self._count}"


def _element_type(dtype: Any) -> int:
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
