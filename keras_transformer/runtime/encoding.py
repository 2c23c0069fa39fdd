"""Encodes the sources of a batch: in groups of like lengths, so that padding is hardly computed.

Letters: B batch, S source, H heads, K head width.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from keras_transformer.runtime import names
from keras_transformer.runtime.device_memory import DeviceMover
from keras_transformer.runtime.manifest import Manifest
from keras_transformer.runtime.memory import MemoryPool

IntArray = NDArray[np.integer[Any]]
Run = Callable[[ort.InferenceSession, ort.IOBinding], None]

# Sums over the source are taken in groups of 4 (onnxruntime's kernel for a single query): in whole groups, what
# is padded to a longer batch mate adds nothing but zeros behind, so that no bit depends on it (measured).
SOURCE_MULTIPLE = 4
ENCODER_TOKENS = 256  # padded, of one encoder run: more are slower a token (measured)


def encode(
    encoder: ort.InferenceSession,
    manifest: Manifest,
    pool: MemoryPool | DeviceMover,
    dtype: Any,
    source_ids: NDArray[np.int64],
    source_lengths: NDArray[np.int32],
    run: Run,
) -> Any:
    """Cross keys and values (2·layers, B, H, S, K) of sources, S rounded up to `SOURCE_MULTIPLE`.

    On a device no further than to the model's longest: there the encoder reads the padding, too.

    Args:
        encoder: The session.
        manifest: Of its bundle.
        pool: Where the memory of keys and values comes from.
        dtype: Of keys and values.
        source_ids: (B, S), right padded.
        source_lengths: (B), each at least 1.
        run: Runs the session over a binding.
    """

    def room(batch: int, source: int) -> Any:
        heads, width = manifest.num_heads, manifest.cache_head_dim
        return pool.room((2 * manifest.num_decoder_layers, batch, heads, source, width), dtype)

    def run_encoder(ids: NDArray[np.int64], lengths: NDArray[np.int32], memory: Any) -> None:
        binding = encoder.io_binding()
        binding.bind_ortvalue_input(names.SOURCE_IDS, ort.OrtValue.ortvalue_from_numpy(ids))
        binding.bind_ortvalue_input(names.SOURCE_LENGTHS, ort.OrtValue.ortvalue_from_numpy(lengths))
        memory.bind_whole(binding, names.CROSS_KEYS_VALUES)
        run(encoder, binding)

    batch, longest = source_ids.shape
    rounded = -(-longest // SOURCE_MULTIPLE) * SOURCE_MULTIPLE
    if isinstance(pool, DeviceMover):  # one run: padding costs a GPU less than a second run and a copy
        memory = room(batch, min(rounded, manifest.max_length))
        padding = ((0, 0), (0, memory.num_positions - longest))
        run_encoder(np.pad(source_ids, padding, constant_values=manifest.pad_id), source_lengths, memory)
        return memory
    memory = room(batch, rounded)
    groups = _groups(source_lengths)
    if len(groups) == 1 and longest == memory.num_positions:
        run_encoder(source_ids, source_lengths, memory)
        return memory
    for rows in groups:
        lengths = source_lengths[rows]
        ids = source_ids[rows, : lengths.max()]
        if ids.shape[1] == 1:  # a product with one row would be summed in another order
            ids = np.pad(ids, ((0, 0), (0, 1)), constant_values=manifest.pad_id)
        part = room(*ids.shape)
        run_encoder(np.ascontiguousarray(ids), lengths, part)
        memory.put(rows, part)
    return memory


def _groups(lengths: NDArray[np.int32]) -> list[IntArray]:
    """Rows of like lengths, as many as the encoder handles best at once: less padding, and warm caches."""
    order = np.argsort(-lengths, kind="stable")
    groups: list[list[int]] = []
    for row in order.tolist():
        if groups and (len(groups[-1]) + 1) * lengths[groups[-1][0]] <= ENCODER_TOKENS:
            groups[-1].append(row)
        else:
            groups.append([row])
    return [np.array(group) for group in groups]
