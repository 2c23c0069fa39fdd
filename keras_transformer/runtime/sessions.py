"""The engine: two ONNX Runtime sessions over one bundle, which start a decoding state for each batch.

Several states may run at once over one engine: ONNX Runtime releases the interpreter lock while it computes.
"""

import functools
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from keras_transformer.decoding.cancellation import Cancellation
from keras_transformer.errors import UserError
from keras_transformer.runtime import names
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.runtime.decode_state import DecodeState
from keras_transformer.runtime.device_memory import DeviceMover
from keras_transformer.runtime.devices import (
    DEVICES,
    MOST_THREADS,
    PROVIDERS,
    choose_device,
    choose_precision,
    open_session,
)
from keras_transformer.runtime.external_data import read_weights
from keras_transformer.runtime.manifest import Manifest
from keras_transformer.runtime.memory import MemoryPool, give_back_freed
from keras_transformer.runtime.ranking import EstimateRanking, Ranking
from keras_transformer.runtime.screen import Screen
from keras_transformer.runtime.short_projection import BatchShortlist, ShortProjection
from keras_transformer.runtime.shortlist import Shortlist

IntArray: TypeAlias = NDArray[np.integer[Any]]

# A narrower model's products are not worth dividing: on one thread each, with batches on threads of their own, files
# and eight sentences are 1.1 to 1.4 times as fast on two cores (AVX2), one sentence alone up to a quarter slower.
DIVIDED_DIM = 512


class Engine:
    """Runs one precision of a bundle on one device. Threads may share it.

    Attributes:
        device: What truly runs: "cpu" or "cuda".
        device_note: One sentence on why, for people.
        precision: "fp32", "fp16" or "int8".
        manifest: Of the bundle.
        screen: Finds the likeliest token without computing every logit; None where the graph cannot.
        cache_dtype: What self-attention's keys and values are kept in.
        pool: Where the keys and values of a batch get their memory.
        shortlist: Which target tokens a sentence may be translated with; None where it was not asked for.
        may_screen: Whether the decoder asks which of its ends to compute.
        may_project_less: Whether the decoder can do without its projection.
        may_choose: Whether the decoder finds the likeliest tokens by itself.
    """

    def __init__(
        self,
        encoder: ort.InferenceSession,
        decoder: ort.InferenceSession,
        manifest: Manifest,
        device: str,
        device_note: str,
        precision: str,
        screen: Screen | None = None,
        pool: MemoryPool | DeviceMover | None = None,
    ) -> None:
        self.encoder = encoder
        self.decoder = decoder
        self.manifest = manifest
        self.device = device
        self.device_note = device_note
        self.precision = precision
        outputs = {item.name for item in decoder.get_outputs()}
        # Bundles of before have estimates with one unit for all rows: they do without.
        self.screen = screen if names.SCREEN_UNITS in outputs else None
        inputs = {item.name: item.type for item in decoder.get_inputs()}
        self.cache_dtype = np.int8 if inputs[names.past_key(0)] == "tensor(int8)" else self.dtype
        self.may_screen = names.WHOLE_LOGITS in inputs
        self.may_project_less = names.PROJECTED_ROWS in inputs
        self.may_choose = names.LIKELIEST in outputs
        if pool is None and device == "cpu":
            pool = MemoryPool()
        self.pool = pool or DeviceMover(device, PROVIDERS[device], self.dtype, self.cache_dtype)
        self.shortlist: Shortlist | None = None
        self._short_projection: ShortProjection | None = None
        self._shared: Any = None

    @classmethod
    def load(
        cls,
        bundle: Bundle,
        device: str = "auto",
        num_threads: int | None = None,
        *,
        precision: str | None = None,
        shortlist: bool = False,
    ) -> "Engine":
        """Open both graphs of a bundle.

        Args:
            bundle: An opened bundle.
            device: "cpu", "cuda" or "auto", which takes CUDA where it works and else the CPU, and says so
                in `device_note`.
            num_threads: Threads of one matrix product on the CPU, at least 1; None leaves it to ONNX
                Runtime (one for each core). One where the model is narrower than `DIVIDED_DIM`.
            precision: None takes the fastest that the bundle has: int8, then fp32 on the CPU; fp16, then
                fp32 under CUDA.
            shortlist: Load the bundle's shortlist, for batches that ask for it.

        Raises:
            UserError: an unknown device, no CUDA where it was asked for, a precision that is missing, or no
                shortlist where one was asked for.
        """
        if device not in DEVICES:
            raise UserError(f"`device` must be one of {', '.join(DEVICES)}, got {device!r}.")
        if num_threads is not None and not 1 <= num_threads <= MOST_THREADS:
            raise UserError(
                f"`num_threads` must be from 1 to {MOST_THREADS}, got {num_threads}. Leave it out."
            )
        chosen, note = choose_device(bundle.manifest, device, precision)
        if chosen == "cuda":
            try:
                return cls._load(bundle, "cuda", note, num_threads, precision, shortlist)
            except UserError as error:
                if device == "cuda":
                    raise
                note = f"CPU: {error}"
        return cls._load(bundle, "cpu", note, num_threads, precision, shortlist)

    @classmethod
    def _load(
        cls,
        bundle: Bundle,
        device: str,
        note: str,
        num_threads: int | None,
        precision: str | None,
        shortlist: bool,
    ) -> "Engine":
        precision = choose_precision(bundle, device, precision)
        if bundle.manifest.model_dim < DIVIDED_DIM:
            num_threads = 1
        candidates = bundle.read_shortlist() if shortlist else None
        graph = bundle.read_graph(precision, "decoder")
        shared, screen = _shared_weights(graph) if device == "cpu" else ({}, None)
        weights = _short_weights(graph, shared) if candidates is not None else {}
        values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in shared.items()}
        decoder = open_session(graph, device, num_threads, values)
        del graph  # never both in memory
        give_back_freed()
        graph = bundle.read_graph(precision, "encoder")
        encoder = open_session(graph, device, num_threads, values)
        engine = cls(encoder, decoder, bundle.manifest, device, note, precision, screen)
        engine._shared = shared, values  # the sessions read this memory
        if candidates is not None:
            engine._use_shortlist(candidates, weights)
        del graph
        give_back_freed()
        return engine

    @functools.cached_property
    def ranking(self) -> Ranking:
        """What turns a step's logits into what beam search asks for."""
        return Ranking(self.manifest.vocabulary_size, self._num_threads)

    @functools.cached_property
    def estimate_ranking(self) -> EstimateRanking | None:
        """The same of a step's estimates; None where the graph gives none or they cannot be ranked."""
        if self.screen is None or not EstimateRanking.ranks(self.manifest.vocabulary_size):
            return None
        return EstimateRanking(self.screen.table, self._num_threads)

    @property
    def _num_threads(self) -> int:
        """Of one matrix product; 0 leaves it to ONNX Runtime."""
        return int(self.decoder.get_session_options().intra_op_num_threads)

    @property
    def divides_products(self) -> bool:
        """Whether several threads share a matrix product."""
        return self._num_threads != 1

    @property
    def memory_device(self) -> str | None:
        """The device in whose own memory keys, values and a step's inputs lie; None for the CPU's arrays."""
        return self.pool.device if isinstance(self.pool, DeviceMover) else None

    @property
    def dtype(self) -> type[np.floating[Any]]:
        """Of activations, and of the sources' keys and values."""
        return np.float16 if self.precision == "fp16" else np.float32

    def _use_shortlist(self, shortlist: Shortlist, weights: dict[str, NDArray[Any]]) -> None:
        if names.TABLE not in weights or not self.may_project_less:
            raise UserError(
                f"`shortlist` must run with a decoder that can do without its projection, {self.precision} on "
                f"{self.device} cannot. Take int8 or fp32 on the CPU, or export the model again."
            )
        self.shortlist, self._short_projection = shortlist, ShortProjection(weights, self._num_threads)

    def batch_shortlist(self, sources: Sequence[IntArray], beam_size: int) -> BatchShortlist:
        """The shortlists of a batch's sources.

        Raises:
            ValueError: the engine was loaded without one.
        """
        if self.shortlist is None or self._short_projection is None:
            raise ValueError(
                "`short` must be False where the engine has no shortlist, got True. Load it with `shortlist`."
            )
        return BatchShortlist(self.shortlist, self._short_projection, sources, beam_size)

    def start(
        self,
        source_ids: Sequence[IntArray],
        max_length: int | None = None,
        beam_size: int = 1,
        cancellation: Cancellation | None = None,
        *,
        short: bool = False,
    ) -> DecodeState:
        """Encode one batch and make room for its targets.

        Args:
            source_ids: B arrays of 1 to `max_length` tokens each, EOS counted; of any lengths.
            max_length: Target positions to make room for, BOS counted; None takes the model's.
            beam_size: Rows of each sentence, at least 1.
            cancellation: Ends this call, and later those of the state, within some milliseconds.
            short: Whether steps choose among the sentences' shortlists alone, which must cover them.

        Raises:
            ValueError: no rows, an empty row, one that is longer than the model's `max_length`, an id
                outside the vocabulary, or a size that breaks its rule.
            Cancelled: `cancellation` was cancelled.
        """
        limit = self.manifest.max_length
        if max_length is not None and not 1 <= max_length <= limit:
            raise ValueError(
                f"`max_length` must be from 1 to the model's own ({limit}), got {max_length}. Change it."
            )
        if beam_size < 1:
            raise ValueError(f"`beam_size` must be at least 1, got {beam_size}. One is greedy search.")
        ids, lengths = self._padded(source_ids)
        return DecodeState(self, ids, lengths, max_length or limit, beam_size, cancellation, short)

    def _padded(self, rows: Sequence[IntArray]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Source ids (B, S), right padded, and lengths (B).

        Raises:
            ValueError: `rows` breaks a rule of `start`.
        """
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


def _shared_weights(decoder: bytes) -> tuple[dict[str, NDArray[np.float32]], Screen | None]:
    """The table, which both graphs and the screen read from one place, and the screen; of a float32 table."""
    found = read_weights(decoder, (names.SCREEN_NORMS,))
    if names.SCREEN_NORMS not in found:
        return {}, None
    table = read_weights(decoder, (names.TABLE,))
    return table, Screen(table[names.TABLE], found[names.SCREEN_NORMS])


def _short_weights(decoder: bytes, shared: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What a `ShortProjection` reads; a table that is in memory already serves it too."""
    wanted = {names.TABLE, names.TABLE_SCALES, names.INPUT_SCALE, names.INPUT_ZERO_POINT} - shared.keys()
    try:
        return {**read_weights(decoder, wanted), **shared}
    except ValueError:  # float16, which no CPU multiplies: `Engine` says so
        return {}
