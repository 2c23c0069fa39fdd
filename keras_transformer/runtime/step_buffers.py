"""The buffers that the decoder reads and writes: bound once, so that a step is four small writes and a run.

Letters: B sentences, R = B·beam_size rows, T target, H heads, K head width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from keras_transformer.runtime import names
from keras_transformer.runtime.memory import new_array

if TYPE_CHECKING:
    from keras_transformer.runtime.sessions import Engine

IntArray: TypeAlias = NDArray[np.integer[Any]]
Outputs: TypeAlias = dict[str, NDArray[Any]]

_CHANGING = (names.TOKEN_IDS, names.POSITION_IDS, names.LAST_POSITIONS)
_DTYPES: dict[str, Any] = {names.ROUNDED_HIDDEN: np.uint8, names.LIKELIEST: np.int64}  # others: float32
_PROJECTED = {names.LOGITS, names.SCREENED_LOGITS}
# They live as long as the process: a binding holds their memory and not them.
_YES_NO = [np.array(False), np.array(True)]
_ROWS = [np.array([0]), np.array([np.iinfo(np.int64).max])]
_NO, _YES, _NONE, _ALL = (ort.OrtValue.ortvalue_from_numpy(array) for array in _YES_NO + _ROWS)


class Memory(NamedTuple):
    """What a batch keeps: self-attention's caches, the keys and values of its sources, their mask (B, S)."""

    past: Any
    cross: Any
    mask: NDArray[np.int32]


class Step(NamedTuple):
    """A step bound to its buffers."""

    binding: ort.IOBinding
    results: list[NDArray[Any]]


class StepBuffers:
    """Inputs and outputs of steps over a batch, as long as its rows and memory stay where they are.

    Args:
        engine: What runs.
        memory: Of the batch.
        beam_size: Rows of a sentence.
        outputs: Arrays of earlier buffers by name, to write into; new ones are added.
    """

    def __init__(self, engine: Engine, memory: Memory, beam_size: int, outputs: Outputs) -> None:
        self._engine = engine
        self._memory = memory
        self._num_rows = num_rows = memory.past.num_rows
        self._beam_size = beam_size
        self._outputs = outputs
        self._tokens = np.zeros((num_rows, 1), np.int64)
        self._positions = np.zeros((num_rows, 1), np.int64)
        self._last = np.zeros(num_rows, np.int32)  # position of each row's newest token
        self._total = np.ones(1, np.int32)  # stays in CPU memory, where the kernel reads it
        self._shapes = self._shapes_of(1)
        self._steps: dict[tuple[str, ...], Step] = {}
        device = engine.memory_device
        arrays = () if device is None else (self._tokens, self._positions, self._last)
        self._on_device = [(ort.OrtValue.ortvalue_from_numpy(one, device, 0), one) for one in arrays]

    def write(self, token_ids: IntArray, position: int) -> None:
        """Set what the next step is fed: one token a row."""
        self._tokens[:, 0] = token_ids
        self._positions.fill(position)
        self._last.fill(position)
        self._total.fill(position + 1)
        for value, array in self._on_device:
            value.update_inplace(array)

    def step(self, outputs: tuple[str, ...]) -> Step:
        """A step that writes these outputs, which come without their axis T."""
        step = self._steps.get(outputs)
        if step is None:
            arrays = {name: self._output(name) for name in outputs}
            inputs = (self._tokens, self._positions, self._total)
            binding = self._new_binding(inputs, self._shapes, arrays)
            for name, (value, _) in zip(_CHANGING, self._on_device, strict=False):
                binding.bind_ortvalue_input(name, value)
            step = self._steps[outputs] = Step(binding, [array[:, 0] for array in arrays.values()])
        return step

    def feed(self, token_ids: IntArray, position: int, outputs: Outputs) -> tuple[ort.IOBinding, Any]:
        """A single run over token_ids (R, T) at `position` and after it, and what must live until it is over."""
        rows, length = token_ids.shape
        tokens = np.ascontiguousarray(token_ids, np.int64)
        positions = np.tile(np.arange(position, position + length, dtype=np.int64), (rows, 1))
        self._last[:] = position + length - 1
        inputs = (tokens, positions, np.array([position + length], np.int32))
        shapes = self._shapes_of(length)
        return self._new_binding(inputs, shapes, outputs), (inputs, shapes)

    def _output(self, name: str) -> NDArray[Any]:
        """An output's array, for as many rows as there ever were."""
        rows, manifest = self._num_rows, self._engine.manifest
        if name not in self._outputs or len(self._outputs[name]) < rows:
            widths = {
                names.LIKELIEST: (),
                names.LARGEST: (),
                names.SCREEN_UNITS: (1,),
                names.HIDDEN: (manifest.model_dim,),
                names.ROUNDED_HIDDEN: (manifest.model_dim,),
            }
            width = widths.get(name, (manifest.vocabulary_size,))
            self._outputs[name] = new_array((rows, 1, *width), _DTYPES.get(name, np.float32))
        return self._outputs[name][:rows]

    def _shapes_of(self, length: int) -> NDArray[np.int64]:
        """The cross-attention's query shape, and that of its rows: (2, 3)."""
        manifest, rows = self._engine.manifest, self._num_rows
        width = manifest.num_heads * manifest.cache_head_dim
        beams = [rows // self._beam_size, self._beam_size * length, width]
        return np.array([beams, [rows, length, width]], np.int64)

    def _new_binding(
        self, inputs: tuple[NDArray[Any], ...], shapes: NDArray[np.int64], outputs: Outputs
    ) -> ort.IOBinding:
        """Bound to the memory of these arrays: the caller keeps them alive. Off the CPU binding copies."""
        engine, (past, cross, mask) = self._engine, self._memory
        tokens, positions, total = inputs
        layers = engine.manifest.num_decoder_layers
        binding = engine.decoder.io_binding()
        for name, array in (
            (names.TOKEN_IDS, tokens),
            (names.POSITION_IDS, positions),
            (names.LAST_POSITIONS, self._last),
            (names.TOTAL_LENGTH, total),
            (names.SOURCE_PADDING_MASK, mask),
            (names.CROSS_SHAPE, shapes[0]),
            (names.ROW_SHAPE, shapes[1]),
        ):
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
        if engine.may_screen:
            whole = _NO if names.SCREENED_LOGITS in outputs else _YES
            binding.bind_ortvalue_input(names.WHOLE_LOGITS, whole)
        if engine.may_project_less:
            count = _NONE if _PROJECTED.isdisjoint(outputs) else _ALL
            binding.bind_ortvalue_input(names.PROJECTED_ROWS, count)
        for part, name in enumerate(names.cross_names(layers)):
            cross.bind_part(binding.bind_input, name, part)
        for part, name in enumerate(names.past_names(layers)):
            past.bind_part(binding.bind_input, name, part)
        for part, name in enumerate(names.present_names(layers)):
            past.bind_part(binding.bind_output, name, part)  # in place: one buffer goes in and comes out
        for name, output in outputs.items():
            binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(output))
        return binding
