"""Reads what training left: the model's shape, its weights and its own outputs. No Keras."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from keras_transformer.config import ModelConfig
from keras_transformer.errors import UserError
from keras_transformer.run_folder import MODEL_FILE, checkpoint_in, run_of

FORMAT = 1
WEIGHTS_FILE = "weights.safetensors"
REFERENCE_FILE = "reference.safetensors"
TOKENIZER_FILE = "tokenizer.json"
NOTES_FILE = "model_card.md"  # what the exporter puts into the card, in the words of whoever trained
_TRAIN_ONE = "Train one with: python -m keras_transformer.fit"

IntArray = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class LogitCase:
    """One batch and the Keras model's logits for it."""

    name: str
    source_ids: IntArray  # (B, S)
    target_input_ids: IntArray  # (B, T)
    logits: NDArray[np.float32]  # (B, T, V)


@dataclass(frozen=True)
class GreedyCase:
    """One batch and the Keras model's greedy output for it, EOS included, padding behind."""

    name: str
    source_ids: IntArray  # (B, S)
    output_ids: IntArray  # (B, T)
    max_length: int


@dataclass(frozen=True)
class Checkpoint:
    """A trained model as NumPy arrays.

    Attributes:
        folder: Where model.json lies.
        run: The run folder that it belongs to, with the tokenizer.
        config: Shape of the model.
        description: All of model.json.
        weights: By their published names.
        logit_cases, greedy_cases: The Keras model's own outputs.
        calibration: Source and target input ids (N, S), (N, T) for activation scales.
    """

    folder: Path
    run: Path
    config: ModelConfig
    description: dict[str, Any]
    weights: dict[str, NDArray[np.float32]]
    logit_cases: list[LogitCase]
    greedy_cases: list[GreedyCase]
    calibration: tuple[IntArray, IntArray]

    @property
    def tokenizer_path(self) -> Path:
        """tokenizer.json of the run."""
        return self.run / TOKENIZER_FILE


def newest_run(runs: Path) -> Path:
    """The run folder under `runs` whose checkpoint was written last.

    Raises:
        UserError: there is none.
    """
    found = sorted(runs.glob(f"*/checkpoints/*/{MODEL_FILE}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UserError(f"RUN must be given where {runs.absolute()} holds no trained run. {_TRAIN_ONE}")
    return found[-1].parents[2]


def find_checkpoint(run: Path) -> Path:
    """`run` itself if it is a checkpoint, else its best one, else its last.

    Raises:
        UserError: there is none.
    """
    folder = checkpoint_in(run)
    if folder is not None:
        return folder
    raise UserError(f"RUN must hold checkpoints/best or checkpoints/last, {run} has none. {_TRAIN_ONE}")


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint folder whole.

    Raises:
        UserError: a file is missing, broken or of another format, or weights do not fit the sizes.
    """
    description = _read_description(folder / MODEL_FILE)
    config = ModelConfig.from_dict(description["model"])
    weights = _load_arrays(folder / WEIGHTS_FILE)
    _check_weights(folder / WEIGHTS_FILE, config, weights)
    arrays = _load_arrays(folder / REFERENCE_FILE)
    try:
        logit_cases = [
            LogitCase(name, group["source_ids"], group["target_input_ids"], group["logits"])
            for name, group in _groups(arrays, "reference_")
        ]
        greedy_cases = [
            GreedyCase(name, group["source_ids"], group["output_ids"], int(group["max_length"]))
            for name, group in _groups(arrays, "greedy_")
        ]
        calibration = arrays["calibration/source_ids"], arrays["calibration/target_input_ids"]
    except KeyError as error:
        raise UserError(f"{folder / REFERENCE_FILE} must hold {error}, it does not. Train it anew.") from None
    if not logit_cases or not greedy_cases:
        raise UserError(
            f"{folder / REFERENCE_FILE} must hold reference_0 and greedy_0, it does not: nothing proves the "
            "export. Train it anew."
        )
    run = run_of(folder)
    if not (run / TOKENIZER_FILE).is_file():
        raise UserError(f"RUN must hold {TOKENIZER_FILE}, found none at {run / TOKENIZER_FILE}. {_TRAIN_ONE}")
    return Checkpoint(folder, run, config, description, weights, logit_cases, greedy_cases, calibration)


def weight_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Published name and shape of every weight."""
    width, inner = config.model_dim, config.feed_forward_dim
    shapes: dict[str, tuple[int, ...]] = {"embedding/table": (config.vocabulary_size, width)}

    def add_norm(name: str) -> None:
        shapes[f"{name}/gamma"] = shapes[f"{name}/beta"] = (width,)

    for side, count in (("encoder", config.num_encoder_layers), ("decoder", config.num_decoder_layers)):
        for index in range(count):
            layer = f"{side}_layers/{index}"
            shapes[f"{layer}/self_attention/query_key_value/kernel"] = (width, 3 * width)
            shapes[f"{layer}/self_attention/output/kernel"] = (width, width)
            add_norm(f"{layer}/self_attention_norm")
            if side == "decoder":
                shapes[f"{layer}/cross_attention/query/kernel"] = (width, width)
                shapes[f"{layer}/cross_attention/key_value/kernel"] = (width, 2 * width)
                shapes[f"{layer}/cross_attention/output/kernel"] = (width, width)
                add_norm(f"{layer}/cross_attention_norm")
            shapes[f"{layer}/feed_forward/inner/kernel"] = (width, inner)
            shapes[f"{layer}/feed_forward/inner/bias"] = (inner,)
            shapes[f"{layer}/feed_forward/outer/kernel"] = (inner, width)
            shapes[f"{layer}/feed_forward/outer/bias"] = (width,)
            add_norm(f"{layer}/feed_forward_norm")
        if config.norm_placement == "pre":
            add_norm(f"{side}_norm")
    return shapes


def _read_description(path: Path) -> dict[str, Any]:
    try:
        description = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"A checkpoint must hold {MODEL_FILE}, found none at {path}. {_TRAIN_ONE}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} must be readable JSON, it is not: {error}. Train it anew.") from None
    version = description.get("format") if isinstance(description, dict) else None
    if version != FORMAT:
        raise UserError(f"{path} must have format {FORMAT}, got {version!r}. Use the version that wrote it.")
    for name, kind in (("model", dict), ("source_language", str), ("target_language", str)):
        if not isinstance(description.get(name), kind):
            raise UserError(f"{path} must hold {name!r}, got {description.get(name)!r}. Train it anew.")
    return dict(description)


def _load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        return dict(load_file(path))
    except FileNotFoundError:
        raise UserError(f"A checkpoint must hold {path.name}, found none at {path}. {_TRAIN_ONE}") from None
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} must be whole, it is not: {error}. Train it anew.") from None


def _check_weights(path: Path, config: ModelConfig, weights: dict[str, NDArray[Any]]) -> None:
    expected = weight_shapes(config)
    for name in sorted(expected.keys() ^ weights.keys()):
        rule = f"hold the weight {name}" if name in expected else f"hold no weight {name}"
        raise UserError(f"{path} must {rule} for its sizes. Use files of one checkpoint.")
    for name, shape in expected.items():
        array = weights[name]
        if array.shape != shape or array.dtype != np.float32:
            raise UserError(
                f"{path}: {name} must be float32 {shape} for the sizes in {MODEL_FILE}, got {array.dtype} "
                f"{array.shape}. Use the two files of one checkpoint."
            )
        if not np.isfinite(array).all():
            raise UserError(f"{path}: {name} must be finite, it holds infinities or NaN. Train it anew.")


def _groups(arrays: dict[str, NDArray[Any]], prefix: str) -> list[tuple[str, dict[str, NDArray[Any]]]]:
    """("reference_0", {"logits": …}), … in the order of their numbers."""
    groups: dict[str, dict[str, NDArray[Any]]] = {}
    for key, array in arrays.items():
        name, _, part = key.partition("/")
        if name.startswith(prefix):
            groups.setdefault(name, {})[part] = array
    return sorted(groups.items(), key=lambda item: int(item[0].removeprefix(prefix)))
