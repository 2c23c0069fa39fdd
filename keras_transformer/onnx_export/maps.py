"""How the maps with large weights are computed is the business of a `Maps` object.

`FloatMaps` in float_maps.py, `Int8Maps` in quantization.py.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from keras_transformer.onnx_export.builder import GraphBuilder
from keras_transformer.runtime import names

# Names of the linear maps that are not one weight of the checkpoint.
PROJECTION = "projection"
CROSS_KEY_VALUE = "cross_attention/key_value"


class Maps(Protocol):
    """How the maps with large weights are computed: in floats, or in integers."""

    dtype: np.dtype[Any]  # of activations, keys and values

    def linear(
        self,
        graph: GraphBuilder,
        x: str,
        name: str,
        kernel: NDArray[np.float32],
        bias: NDArray[np.float32] | None,
    ) -> str:
        """x (…, in) · kernel (in, out) + bias."""
        ...

    def activate(self, graph: GraphBuilder, x: str, activation: str) -> str:
        """The feed-forward's activation, before its outer linear map."""
        ...

    def cache_scales(
        self, layer: int, head_dim: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """A decoder layer's scales, each (H·K,), where its keys and values are cached in 8 bits; else None."""
        ...

    def embed(self, graph: GraphBuilder, ids: str, table: NDArray[np.float32], *, shared: bool) -> str:
        """Rows of √D · table (V, D) for ids (B, T); `shared` where the projection reads the same table."""
        ...

    def project(self, graph: GraphBuilder, x: str, table: NDArray[np.float32]) -> None:
        """Write the graph's last outputs, `names.LOGITS` among them: x (R, T, D) · tableᵀ, float32 (R, T, V)."""
        ...


def projected_rows(graph: GraphBuilder, x: str) -> str:
    """Give x (R, T, D) out as it is, and let the projection read only its first `names.PROJECTED_ROWS` rows.

    With none the projection costs nothing: for those that read `names.HIDDEN` (a shortlist).
    """
    graph.nodes("Identity", [x], [names.HIDDEN])
    width: list[int | str] = ["rows", "target", "width"]
    graph.output(names.HIDDEN, np.float32, width)
    count = graph.input(names.PROJECTED_ROWS, np.int64, [1])
    return graph.node("Slice", [x, graph.constant("first_row", np.zeros(1, np.int64)), count])
