"""What a run leaves on disk: weights, their description, reference outputs, and the optimizer's state.

JSON and safetensors only; nothing is ever unpickled.
"""

import json
import os
import shutil
from pathlib import Path

import numpy as np
from keras import ops
from safetensors.numpy import load_file, save_file

from keras_transformer.errors import UserError

FORMAT = 1
WEIGHTS_FILE = "weights.safetensors"
MODEL_FILE = "model.json"
REFERENCE_FILE = "reference.safetensors"
OPTIMIZER_FILE = "optimizer.safetensors"


def save_checkpoint(folder, model, description, reference, optimizer=None):
    """Write a checkpoint folder whole or not at all: a temporary name, fsync, then a rename.

    Args:
        folder: Path; what was there before is replaced.
        model: The float32 `Transformer` whose weights are published.
        description: What `model.json` holds beside the format and the sizes.
        reference: Named arrays of `reference_outputs`.
        optimizer: Keras optimizer; its variables are saved for `load_optimizer`.
    """
    folder = Path(folder)
    writing = folder.with_name(folder.name + ".writing")
    shutil.rmtree(writing, ignore_errors=True)
    writing.mkdir(parents=True)
    model.save_safetensors(writing / WEIGHTS_FILE)
    save_file(reference, str(writing / REFERENCE_FILE))
    if optimizer is not None:
        state = {
            f"{i:05d}": np.array(ops.convert_to_numpy(variable.value))
            for i, variable in enumerate(optimizer.variables)
        }
        save_file(state, str(writing / OPTIMIZER_FILE))
    text = json.dumps({"format": FORMAT, "model": model.config.to_dict(), **description}, indent=2)
    (writing / MODEL_FILE).write_text(text + "\n", "utf-8")
    for path in writing.iterdir():
        _fsync(path)
    replaced = folder.with_name(folder.name + ".replaced")
    shutil.rmtree(replaced, ignore_errors=True)
    if folder.exists():
        folder.rename(replaced)
    writing.rename(folder)
    _fsync(folder.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def find_checkpoint(folder):
    """`folder`, or its complete predecessor where a crash fell between the two renames; None if neither."""
    folder = Path(folder)
    for candidate in (folder, folder.with_name(folder.name + ".replaced")):
        if (candidate / MODEL_FILE).is_file():
            return candidate
    return None


def read_description(folder):
    """The dictionary of `model.json`.

    Raises:
        UserError: the folder holds none, or one of another format.
    """
    path = Path(folder) / MODEL_FILE
    if not path.is_file():
        raise UserError(f"A checkpoint must hold {MODEL_FILE}, found none at {path}. Train one with fit.")
    description = json.loads(path.read_text("utf-8"))
    if description.get("format") != FORMAT:
        raise UserError(
            f"{path} must have format {FORMAT}, got {description.get('format')!r}. Train it anew."
        )
    return description


def load_optimizer(folder, optimizer, variables):
    """Set the optimizer's variables from a checkpoint of the same model.

    Raises:
        UserError: the checkpoint has no optimizer state, or another optimizer's.
    """
    path = Path(folder) / OPTIMIZER_FILE
    if not path.is_file():
        raise UserError(f"--resume must find {OPTIMIZER_FILE} in {folder}. Only checkpoints/last has it.")
    optimizer.build(variables)
    state = load_file(str(path))
    shapes = [tuple(variable.shape) for variable in optimizer.variables]
    if [state[name].shape for name in sorted(state)] != shapes:
        raise UserError(
            f"{path} must be this optimizer's state. Resume with the arguments of the first call."
        )
    for name, variable in zip(sorted(state), optimizer.variables, strict=True):
        variable.assign(state[name])


def reference_outputs(model, sources, targets):
    """Inputs and the model's own outputs, against which the exporter proves its graphs.

    Args:
        model: The float32 `Transformer`.
        sources, targets: Token lists without special ids, at least 2 pairs.

    Returns:
        Named arrays: reference_i (a ragged batch with an empty source, a batch of one, a source near the
        longest), greedy_i (the same sources with the model's cached greedy output) and calibration.
    """
    config = model.config
    pairs = [(list(s), list(t)) for s, t in zip(sources, targets, strict=True)]
    room = config.max_length - 1
    # Whole sentences one after another: the longest input is text, not noise.
    long_source = [token for source, _ in pairs for token in source][:room]
    long_target = [token for _, target in pairs for token in target][: min(room, 40)]
    groups = [[*pairs[:5], ([], [])], pairs[5:6] or pairs[:1], [(long_source, long_target), pairs[0]]]
    arrays = {}
    for i, group in enumerate(groups):
        source_ids = _padded([[*s, config.eos_id] for s, _ in group], config.pad_id)
        target_ids = _padded([[config.bos_id, *t] for _, t in group], config.pad_id)
        logits = model({"source_ids": source_ids, "target_input_ids": target_ids}, training=False)
        arrays[f"reference_{i}/source_ids"] = source_ids
        arrays[f"reference_{i}/target_input_ids"] = target_ids
        arrays[f"reference_{i}/logits"] = np.array(ops.convert_to_numpy(logits), np.float32)
        max_length = min(config.max_length, 48)
        tokens = model.generate(source_ids, max_length)
        ended = [[*t, config.eos_id] if len(t) < max_length else list(t) for t in tokens]
        arrays[f"greedy_{i}/source_ids"] = source_ids
        arrays[f"greedy_{i}/output_ids"] = _padded(ended, config.pad_id)
        arrays[f"greedy_{i}/max_length"] = np.array(max_length, np.int32)
    shown = pairs[:64]
    arrays["calibration/source_ids"] = _padded([[*s, config.eos_id] for s, _ in shown], config.pad_id)
    arrays["calibration/target_input_ids"] = _padded([[config.bos_id, *t] for _, t in shown], config.pad_id)
    return arrays


def _padded(rows, pad_id):
    padded = np.full((len(rows), max(len(row) for row in rows)), pad_id, np.int32)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return padded


def _fsync(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
