"""The Transformer as two ONNX graphs, written directly from its weights.

Encoder: source tokens in, every decoder layer's cross-attention keys and values out, computed once a
sentence. Decoder: T >= 1 target tokens in, logits out; one graph serves a step, a prefix and the scoring
of a pair, over caches that are bound in place. The beams of a sentence share its cross keys and values:
cross-attention sees them as one longer query.

Letters: B batch, R rows (beams of B sentences), S source, T target, L cache length, D model_dim,
F feed_forward_dim, H heads, K head_dim, V vocabulary.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from keras_transformer.config import ModelConfig
from keras_transformer.onnx_export.builder import CONTRIB, GraphBuilder
from keras_transformer.onnx_export.maps import CROSS_KEY_VALUE, Maps
from keras_transformer.positions import sinusoidal_positions
from keras_transformer.runtime import names
from keras_transformer.runtime.manifest import padded_head_dim

LAYER_NORM_EPSILON = 1e-5

Weights = Mapping[str, NDArray[np.float32]]


class TransformerGraphs:
    """Writes both graphs of one model.

    Args:
        config: Shape of the model.
        weights: Arrays by their published names, kernels (in, out).
        maps: How linear maps, embedding and projection are computed.
    """

    def __init__(self, config: ModelConfig, weights: Weights, maps: Maps) -> None:
        self._config = config
        self._weights = weights
        self._maps = maps
        self._cache_head_dim = padded_head_dim(config.head_dim)

    def encoder(self) -> onnx.ModelProto:
        """source_ids (B, S), source_lengths (B) -> cross_keys_values (2·layers, B, H, S, K)."""
        config, graph = self._config, GraphBuilder("encoder")
        source_ids = graph.input(names.SOURCE_IDS, np.int64, ["batch", "source"])
        lengths = graph.input(names.SOURCE_LENGTHS, np.int32, ["batch"])
        last = graph.node("Sub", [lengths, graph.constant("one", np.array(1, np.int32))])  # (B)
        source = graph.node("Shape", [source_ids], start=1, end=2)  # (1)
        total = graph.node("Cast", [source], to=onnx.TensorProto.INT32)
        mask = self._source_mask(graph, lengths, source) if self._maps.dtype == np.float16 else ""
        positions = graph.node(
            "Slice", [self._positions(graph), graph.constant("zero", np.zeros(1, np.int64)), source]
        )  # (S, D)

        hidden = self._maps.embed(graph, source_ids, self._weights["embedding/table"], shared=False)
        hidden = graph.node("Add", [hidden, positions])  # (B, S, D)
        for index in range(config.num_encoder_layers):
            layer = f"encoder_layers/{index}"
            hidden = self._residual(
                graph,
                hidden,
                f"{layer}/self_attention_norm",
                lambda x, layer=layer: self._encoder_attention(graph, x, layer, last, total, mask),
            )
            hidden = self._feed_forward(graph, hidden, layer)
        if config.norm_placement == "pre":
            hidden = self._norm(graph, hidden, "encoder_norm")
        self._cross_keys_values(graph, hidden)
        return graph.build()

    def decoder(self) -> onnx.ModelProto:
        """Tokens, positions, caches, cross keys and values -> logits (R, T, V) and the same caches."""
        config, graph = self._config, GraphBuilder("decoder")
        token_ids = graph.input(names.TOKEN_IDS, np.int64, ["rows", "target"])
        position_ids = graph.input(names.POSITION_IDS, np.int64, ["rows", "target"])
        last = graph.input(names.LAST_POSITIONS, np.int32, ["rows"])
        total = graph.input(names.TOTAL_LENGTH, np.int32, [1])
        graph.input(names.SOURCE_PADDING_MASK, np.int32, ["batch", "source"])
        graph.input(names.CROSS_SHAPE, np.int64, [3])
        graph.input(names.ROW_SHAPE, np.int64, [3])
        self._declare_caches(graph)

        hidden = self._maps.embed(graph, token_ids, self._weights["embedding/table"], shared=True)
        positions = graph.node("Gather", [self._positions(graph), position_ids], axis=0)  # (R, T, D)
        hidden = graph.node("Add", [hidden, positions])  # (R, T, D)
        for index in range(config.num_decoder_layers):
            layer = f"decoder_layers/{index}"
            hidden = self._residual(
                graph,
                hidden,
                f"{layer}/self_attention_norm",
                lambda x, index=index: self._decoder_attention(graph, x, index, last, total),
            )
            hidden = self._residual(
                graph,
                hidden,
                f"{layer}/cross_attention_norm",
                lambda x, index=index: self._cross_attention(graph, x, index),
            )
            hidden = self._feed_forward(graph, hidden, layer)
        if config.norm_placement == "pre":
            hidden = self._norm(graph, hidden, "decoder_norm")
        self._maps.project(graph, hidden, self._weights["embedding/table"])
        return graph.build()

    def _declare_caches(self, graph: GraphBuilder) -> None:
        heads, width, dtype = self._config.num_heads, self._cache_head_dim, self._maps.dtype
        in_integers = self._maps.cache_scales(0, width) is not None
        cached = np.dtype(np.int8) if in_integers else dtype
        for index in range(self._config.num_decoder_layers):
            for cross in (names.cross_key(index), names.cross_value(index)):
                graph.input(cross, dtype, ["batch", heads, "source", width])
            for past in (names.past_key(index), names.past_value(index)):
                graph.input(past, cached, ["rows", heads, "cache", width])
            for present in (names.present_key(index), names.present_value(index)):
                graph.output(present, cached, ["rows", heads, "cache", width])

    def _source_mask(self, graph: GraphBuilder, lengths: str, source: str) -> str:
        """int32 (B, S), 1 = may attend."""
        places = graph.constant("places", np.arange(self._config.max_length, dtype=np.int32))
        places = graph.node("Slice", [places, graph.constant("zero", np.zeros(1, np.int64)), source])  # (S)
        ends = graph.node("Unsqueeze", [lengths, graph.constant("column", np.ones(1, np.int64))])  # (B, 1)
        return graph.node("Cast", [graph.node("Less", [places, ends])], to=onnx.TensorProto.INT32)

    def _positions(self, graph: GraphBuilder) -> str:
        table = sinusoidal_positions(self._config.max_length, self._config.model_dim)
        return graph.constant("positions", table.astype(self._maps.dtype))

    def _residual(self, graph: GraphBuilder, hidden: str, norm: str, sub_layer: Any) -> str:
        """Post: LN(x + sub(x)), the paper's section 3.1. Pre: x + sub(LN(x))."""
        if self._config.norm_placement == "post":
            return self._norm(graph, graph.node("Add", [hidden, sub_layer(hidden)]), norm)
        return graph.node("Add", [hidden, sub_layer(self._norm(graph, hidden, norm))])

    def _norm(self, graph: GraphBuilder, hidden: str, name: str) -> str:
        gamma, beta = (
            graph.constant(f"{name}/{part}", self._weights[f"{name}/{part}"].astype(self._maps.dtype))
            for part in ("gamma", "beta")
        )
        return graph.node("LayerNormalization", [hidden, gamma, beta], axis=-1, epsilon=LAYER_NORM_EPSILON)

    def _feed_forward(self, graph: GraphBuilder, hidden: str, layer: str) -> str:
        """Section 3.3, eq. 2, with its residual and norm."""
        weights, maps = self._weights, self._maps

        def sub_layer(x: str) -> str:
            inner, outer = f"{layer}/feed_forward/inner", f"{layer}/feed_forward/outer"
            x = maps.linear(graph, x, inner, weights[f"{inner}/kernel"], weights[f"{inner}/bias"])
            x = maps.activate(graph, x, self._config.activation)
            return maps.linear(graph, x, outer, weights[f"{outer}/kernel"], weights[f"{outer}/bias"])

        return self._residual(graph, hidden, f"{layer}/feed_forward_norm", sub_layer)

    def _encoder_attention(
        self, graph: GraphBuilder, x: str, layer: str, last: str, total: str, mask: str
    ) -> str:
        """Self-attention over each row's own length: padding is neither read nor paid for.

        With a `mask`, for CUDA: its GroupQueryAttention has been causal whatever `causal` says.
        """
        packed = self._query_key_value(graph, x, layer)
        if mask:
            parts = [f"{layer}/self_attention/{part}" for part in ("query", "key", "value")]
            graph.nodes("Split", [packed], parts, axis=-1, num_outputs=3)
            context = graph.node(
                "MultiHeadAttention",
                [*parts, "", mask],
                domain=CONTRIB,
                num_heads=self._config.num_heads,
                scale=self._scale(),
            )
            return self._attention_output(graph, context, f"{layer}/self_attention/output")
        context = graph.nodes(
            "GroupQueryAttention",
            [packed, "", "", "", "", last, total],
            [f"{layer}/self_attention/context", f"{layer}/unused_key", f"{layer}/unused_value"],
            CONTRIB,
            causal=0,
            **self._attention(),
        )[0]
        return self._attention_output(graph, context, f"{layer}/self_attention/output")

    def _decoder_attention(self, graph: GraphBuilder, x: str, index: int, last: str, total: str) -> str:
        """Causal self-attention, which writes its keys and values into the caches in place."""
        layer = f"decoder_layers/{index}"
        packed = self._query_key_value(graph, x, layer)
        inputs = [packed, "", "", names.past_key(index), names.past_value(index), last, total]
        attributes = self._attention()
        scales = self._maps.cache_scales(index, self._cache_head_dim)
        if scales is not None:
            inputs += [""] * 5  # sines, cosines, positions, bias, sinks
            for part, scale in zip(("key", "value"), scales, strict=True):
                inputs.append(graph.constant(f"{layer}/self_attention/{part}_cache_scales", scale))
                attributes[f"{part[0]}_quant_type"] = "PER_CHANNEL"
            attributes["kv_cache_bit_width"] = 8
        context = graph.nodes(
            "GroupQueryAttention",
            inputs,
            [f"{layer}/self_attention/context", names.present_key(index), names.present_value(index)],
            CONTRIB,
            **attributes,
        )[0]
        return self._attention_output(graph, context, f"{layer}/self_attention/output")

    def _cross_attention(self, graph: GraphBuilder, x: str, index: int) -> str:
        """Over the source; the query (R, T, H*K) is read as (B, beam_size*T, H*K), which moves nothing.

        1/√K lies in the query's kernel: onnxruntime's product for a single query, which reads the keys as they
        lie, knows no factor, and the other one copies them first (15 % of attention for 32 rows).
        """
        layer, config = f"decoder_layers/{index}/cross_attention", self._config
        kernel = self._weights[f"{layer}/query/kernel"] * np.float32(self._scale())
        query = self._maps.linear(graph, x, f"{layer}/query", self._padded_columns(kernel), None)
        if index == alignment_layer(config):
            unscaled = np.array(1.0 / self._scale(), self._maps.dtype)
            graph.nodes("Mul", [query, graph.constant("alignment_factor", unscaled)], [names.ALIGNMENT_QUERY])
            width = config.num_heads * self._cache_head_dim
            graph.output(names.ALIGNMENT_QUERY, self._maps.dtype, ["rows", "target", width])
        context = graph.node(
            "MultiHeadAttention",
            [
                graph.node("Reshape", [query, names.CROSS_SHAPE]),
                names.cross_key(index),
                names.cross_value(index),
                "",
                names.SOURCE_PADDING_MASK,
            ],
            domain=CONTRIB,
            num_heads=config.num_heads,
            scale=1.0,
        )  # (B, beam_size*T, H*K)
        context = graph.node("Reshape", [context, names.ROW_SHAPE])  # (R, T, H*K)
        return self._attention_output(graph, context, f"{layer}/output")

    def _query_key_value(self, graph: GraphBuilder, x: str, layer: str) -> str:
        name = f"{layer}/self_attention/query_key_value"
        return self._maps.linear(graph, x, name, self._padded_columns(self._weights[f"{name}/kernel"]), None)

    def _attention_output(self, graph: GraphBuilder, context: str, name: str) -> str:
        kernel = self._padded_columns(self._weights[f"{name}/kernel"].T).T
        return self._maps.linear(graph, context, name, kernel, None)

    def _cross_keys_values(self, graph: GraphBuilder, hidden: str) -> None:
        """Keys and values of all decoder layers in one product."""
        config, width = self._config, self._cache_head_dim
        parts = 2 * config.num_decoder_layers
        kernel = np.concatenate(
            [
                self._padded_columns(self._weights[f"decoder_layers/{i}/cross_attention/key_value/kernel"])
                for i in range(config.num_decoder_layers)
            ],
            axis=1,
        )  # (D, parts*H*K), columns K | V of layer 0, K | V of layer 1, …
        packed = self._maps.linear(graph, hidden, CROSS_KEY_VALUE, kernel, None)
        shape = graph.constant("cross_shape", np.array([0, 0, parts, config.num_heads, width], np.int64))
        packed = graph.node("Reshape", [packed, shape])  # (B, S, parts, H, K)
        graph.nodes("Transpose", [packed], [names.CROSS_KEYS_VALUES], perm=[2, 0, 3, 1, 4])
        graph.output(
            names.CROSS_KEYS_VALUES, self._maps.dtype, [parts, "batch", config.num_heads, "source", width]
        )

    def _attention(self) -> dict[str, Any]:
        heads = self._config.num_heads
        return {"num_heads": heads, "kv_num_heads": heads, "scale": self._scale()}

    def _scale(self) -> float:
        return 1.0 / math.sqrt(self._config.head_dim)  # of the true K: zero columns add nothing to a product

    def _padded_columns(self, kernel: NDArray[np.float32]) -> NDArray[np.float32]:
        """(in, n*H*K) -> (in, n*H*K'), each head's columns filled up with zeros to K'."""
        head_dim, width = self._config.head_dim, self._cache_head_dim
        if head_dim == width:
            return kernel
        heads = kernel.reshape(kernel.shape[0], -1, head_dim)
        return np.pad(heads, ((0, 0), (0, 0), (0, width - head_dim))).reshape(kernel.shape[0], -1)


def alignment_layer(config: ModelConfig) -> int:
    """The last decoder layer but one, whose cross-attention is nearest to a word alignment.

    Garg et al. 2019, Jointly Learning to Align and Translate, section 4.2.
    """
    return max(0, config.num_decoder_layers - 2)
