"""The engine: two ONNX Runtime sessions over one bundle, and one decoding state for each batch.

Each state owns its buffers, bound once; a step writes three small arrays and runs. Several states may
run at once over one engine: ONNX Runtime releases the interpreter lock while it computes.

Letters: B batch, S source, T target, L cache length, H heads, K head width, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from keras_transformer.errors import UserError
from keras_transformer.runtime import bundle as names
from keras_transformer.runtime.bundle import Bundle, Manifest
from keras_transformer.runtime.devices import DEVICES, choose_device, choose_precision, open_session

IntArray: TypeAlias = NDArray[np.integer[Any]]
FloatArray: TypeAlias = NDArray[np.floating[Any]]


class Engine:
    """Runs one precision of a bundle on one device. Threads may share it.

    Attributes:
        device: What truly runs: "cpu" or "cuda".
        device_note: One sentence on why, for people.
        precision: "fp32", "fp16" or "int8".
        manifest: Of the bundle.
    """

    def __init__(
        self,
        encoder: ort.InferenceSession,
        decoder: ort.InferenceSession,
        manifest: Manifest,
        device: str,
        device_note: str,
        precision: str,
    ) -> None:
        self.encoder = encoder
        self.decoder = decoder
        self.manifest = manifest
        self.device = device
        self.device_note = device_note
        self.precision = precision

    @classmethod
    def load(
        cls,
        bundle: Bundle,
        device: str = "auto",
        num_threads: int | None = None,
        *,
        precision: str | None = None,
        allow_spinning: bool = False,
    ) -> "Engine":
        """Open both graphs of a bundle.

        Args:
            bundle: An opened bundle.
            device: "cpu", "cuda" or "auto", which takes CUDA where it works and else the CPU, and says so
                in `device_note`.
            num_threads: Threads of one matrix product on the CPU, at least 1; None leaves it to ONNX
                Runtime (one for each core).
            precision: None takes the fastest that the bundle has: int8, then fp32 on the CPU; fp16, then
                fp32 under CUDA.
            allow_spinning: Let idle threads wait in a busy loop: a little faster, at the price of a core.

        Raises:
            UserError: an unknown device, no CUDA where it was asked for, a precision that is missing.
        """
        if device not in DEVICES:
            raise UserError(f"`device` must be one of {', '.join(DEVICES)}, got {device!r}.")
        if num_threads is not None and num_threads < 1:
            raise UserError(f"`num_threads` must be at least 1, got {num_threads}. Leave it out.")
        chosen, note = choose_device(bundle.manifest, device, precision)
        if chosen == "cuda":
            try:
                return cls._load(bundle, "cuda", note, num_threads, precision, allow_spinning)
            except UserError as error:
                if device == "cuda":
                    raise
                note = f"CPU: {error}"
        return cls._load(bundle, "cpu", note, num_threads, precision, allow_spinning)

    @classmethod
    def _load(
        cls,
        bundle: Bundle,
        device: str,
        note: str,
        num_threads: int | None,
        precision: str | None,
        allow_spinning: bool,
    ) -> "Engine":
        precision = choose_precision(bundle, device, precision)
        graphs = bundle.read_graphs(precision)
        encoder, decoder = (open_session(graph, device, num_threads, allow_spinning) for graph in graphs)
        return cls(encoder, decoder, bundle.manifest, device, note, precision)

    def start(self, source_ids: Sequence[IntArray], max_length: int | None = None) -> "DecodeState":
        """Encode one batch and make room for its targets.

        Args:
            source_ids: B arrays of 1 to `max_length` tokens each, EOS counted; of any lengths.
            max_length: Target positions to make room for, BOS counted; None takes the model's.

        Raises:
            ValueError: no rows, an empty row, one that is longer than the model's `max_length`, or an id
                outside the vocabulary.
        """
        limit = self.manifest.max_length
        if max_length is not None and not 1 <= max_length <= limit:
            raise ValueError(
                f"`max_length` must be from 1 to the model's own ({limit}), got {max_length}. Change it."
            )
        return DecodeState(self, *self._padded(source_ids), max_length or limit)

    def _padded(self, rows: Sequence[IntArray]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Source ids (B, S), right padded, and lengths (B)."""
        limit, vocabulary_size = self.manifest.max_length, self.manifest.vocabulary_size
        if not len(rows):
            raise ValueError("`source_ids` must hold at least one row, got none. Leave out empty batches.")
        lengths = np.array([len(row) for row in rows], np.int32)
        if lengths.min() < 1 or lengths.max() > limit:
            wrong = lengths.min() if lengths.min() < 1 else lengths.max()
            raise ValueError(
                f"`source_ids` must have 1 to {limit} tokens a row (the model's max_length), got {wrong}. "
                "Split the text."
            )
        ids = np.full((len(rows), int(lengths.max())), self.manifest.pad_id, np.int64)
        for row, tokens in zip(ids, rows, strict=True):
            row[: len(tokens)] = tokens
        if ids.min() < 0 or ids.max() >= vocabulary_size:
            raise ValueError(
                f"`source_ids` must be from 0 to {vocabulary_size - 1} (the vocabulary), got "
                f"{ids.min()} to {ids.max()}. Use the bundle's own tokenizer."
            )
        return ids, lengths


class DecodeState:
    """One batch on its way: its encoded source and its caches. A `DecodeStep` of the search.

    Not for several threads at once; one state for each batch.
    """

    def __init__(
        self,
        engine: Engine,
        source_ids: NDArray[np.int64],
        source_lengths: NDArray[np.int32],
        max_length: int,
    ) -> None:
        self._engine = engine
        self._max_length = max_length
        self._batch_size = len(source_ids)
        source = int(source_ids.shape[1])
        self._num_fed = 0
        self._mask = (np.arange(source) < source_lengths[:, None]).astype(np.int32)  # (B, S)
        manifest = engine.manifest
        layers = range(manifest.num_decoder_layers)
        self._cross_names = [name(i) for i in layers for name in (names.cross_key, names.cross_value)]
        self._past_names = [name(i) for i in layers for name in (names.past_key, names.past_value)]
        self._present_names = [name(i) for i in layers for name in (names.present_key, names.present_value)]
        self._cross = [self._buffer((manifest.num_heads, source)) for _ in self._cross_names]
        self._past = [self._buffer((manifest.num_heads, max_length)) for _ in self._past_names]
        binding = engine.encoder.io_binding()
        binding.bind_ortvalue_input(names.SOURCE_IDS, ort.OrtValue.ortvalue_from_numpy(source_ids))
        binding.bind_ortvalue_input(names.SOURCE_LENGTHS, ort.OrtValue.ortvalue_from_numpy(source_lengths))
        for name, buffer in zip(self._cross_names, self._cross, strict=True):
            binding.bind_ortvalue_output(name, buffer.value)
        engine.encoder.run_with_iobinding(binding)
        self._bind()

    @property
    def batch_size(self) -> int:
        """Rows B still in the batch."""
        return self._batch_size

    def __call__(self, token_ids: IntArray, position: int) -> NDArray[np.float32]:
        """Feed token_ids (B,) at `position`, the number of tokens fed before.

        Returns:
            float32 (B, V), the logits of the token that follows; overwritten by the next call.

        Raises:
            ValueError: another number of tokens than rows, or no room left at `position`.
        """
        if token_ids.shape != (self._batch_size,) or not 0 <= position < self._max_length:
            raise ValueError(
                f"`token_ids` must have shape ({self._batch_size},) at a position below "
                f"{self._max_length}, got shape {token_ids.shape} at {position}. "
                "Feed one token a row, and stop at `max_length`."
            )
        self._tokens[:, 0] = token_ids
        self._positions[0] = position
        self._last[:] = position
        self._total[0] = position + 1
        self._num_fed = position + 1
        if self._engine.device != "cpu":
            self._bind_step_inputs(self._binding)
        self._engine.decoder.run_with_iobinding(self._binding)
        return self._logits[:, 0]

    def feed(self, token_ids: IntArray, position: int = 0) -> NDArray[np.float32]:
        """Feed token_ids (B, T) at `position` and after it: a forced prefix, or a whole target to score.

        Returns:
            float32 (B, T, V), a new array.

        Raises:
            ValueError: another number of rows, no tokens, or no room left.
        """
        batch, length = token_ids.shape
        if batch != self._batch_size or length < 1 or not 0 <= position <= self._max_length - length:
            raise ValueError(
                f"`token_ids` must have {self._batch_size} rows that end at or below position "
                f"{self._max_length}, got shape {token_ids.shape} at {position}. Feed fewer tokens."
            )
        if batch > 1 and length > 1 and position > 0:
            # GroupQueryAttention goes on from a filled cache only where B or T is 1 (onnxruntime 1.32).
            steps = [self(token_ids[:, t], position + t).copy() for t in range(length)]
            return np.stack(steps, axis=1)
        tokens = np.ascontiguousarray(token_ids, np.int64)
        positions = np.arange(position, position + length, dtype=np.int64)
        last = np.full(batch, position + length - 1, np.int32)
        total = np.array([position + length], np.int32)
        logits = np.empty((batch, length, self._engine.manifest.vocabulary_size), np.float32)
        self._num_fed = position + length
        self._engine.decoder.run_with_iobinding(self._new_binding(tokens, positions, last, total, logits))
        return logits

    def keep(self, rows: IntArray) -> None:
        """Keep only `rows` (indices into the current batch), in this order, so that the rest costs less.

        Copies what the caches hold of the rows that stay; off the CPU, by way of the host.
        """
        self._batch_size = len(rows)
        self._mask = self._mask[rows]
        source = self._mask.shape[1]
        heads = self._engine.manifest.num_heads
        self._cross = [self._taken(buffer, rows, (heads, source), source) for buffer in self._cross]
        past_shape = (heads, self._max_length)
        self._past = [self._taken(buffer, rows, past_shape, self._num_fed) for buffer in self._past]
        self._bind()

    def _buffer(self, shape: tuple[int, int]) -> "_Buffer":
        """Zeros (B, *shape, K) where the sessions run. Zeros cost nothing until they are written."""
        manifest = self._engine.manifest
        dtype = np.float16 if self._engine.precision == "fp16" else np.float32
        array = np.zeros((self._batch_size, *shape, manifest.cache_head_dim), dtype)
        value = ort.OrtValue.ortvalue_from_numpy(array, self._engine.device, 0)
        return _Buffer(value, array if self._engine.device == "cpu" else None)

    def _taken(self, old: "_Buffer", rows: IntArray, shape: tuple[int, int], filled: int) -> "_Buffer":
        """The same buffer with fewer rows, of which only the first `filled` positions matter."""
        array = old.value.numpy() if old.array is None else old.array
        new = self._buffer(shape)
        if new.array is None:
            new.value.update_inplace(np.ascontiguousarray(array[rows]))
        else:
            new.array[:, :, :filled] = array[rows, :, :filled]
        return new

    def _bind(self) -> None:
        """The buffers of one step, bound once: on the CPU a step is three writes and a run."""
        batch = self._batch_size
        self._tokens = np.zeros((batch, 1), np.int64)
        self._positions = np.zeros(1, np.int64)
        self._last = np.zeros(batch, np.int32)
        self._total = np.ones(1, np.int32)
        self._logits = np.empty((batch, 1, self._engine.manifest.vocabulary_size), np.float32)
        self._binding = self._new_binding(
            self._tokens, self._positions, self._last, self._total, self._logits
        )

    def _new_binding(
        self,
        tokens: NDArray[np.int64],
        positions: NDArray[np.int64],
        last: NDArray[np.int32],
        total: NDArray[np.int32],
        logits: NDArray[np.float32],
    ) -> ort.IOBinding:
        """Bound to the memory of these arrays: the caller keeps them alive."""
        binding = self._engine.decoder.io_binding()
        for name, array in (
            (names.TOKEN_IDS, tokens),
            (names.POSITION_IDS, positions),
            (names.LAST_POSITIONS, last),
            (names.TOTAL_LENGTH, total),
            (names.SOURCE_PADDING_MASK, self._mask),
        ):
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
        for name, buffer in zip(self._cross_names, self._cross, strict=True):
            binding.bind_ortvalue_input(name, buffer.value)
        for past, present, buffer in zip(self._past_names, self._present_names, self._past, strict=True):
            binding.bind_ortvalue_input(past, buffer.value)
            binding.bind_ortvalue_output(present, buffer.value)  # in place: one buffer goes in and comes out
        binding.bind_ortvalue_output(names.LOGITS, ort.OrtValue.ortvalue_from_numpy(logits))
        return binding

    def _bind_step_inputs(self, binding: ort.IOBinding) -> None:
        """Off the CPU, binding copies: bind what a step has changed again."""
        for name, array in (
            (names.TOKEN_IDS, self._tokens),
            (names.POSITION_IDS, self._positions),
            (names.LAST_POSITIONS, self._last),
            (names.TOTAL_LENGTH, self._total),
        ):
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))


class _Buffer(NamedTuple):
    """Keys or values: ONNX Runtime's handle, and on the CPU the NumPy array that owns the memory."""

    value: ort.OrtValue
    array: FloatArray | None
