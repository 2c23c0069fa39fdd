"""What a run publishes: weights, their description and reference outputs, as a folder.

JSON and safetensors only; nothing is ever unpickled.
"""

import json
from pathlib import Path

import numpy as np
from keras import ops
from safetensors.numpy import load_file, save

from keras_transformer.errors import UserError
from keras_transformer.run_folder import MODEL_FILE, checkpoint_in
from keras_transformer.training.durable import write_file, write_folder

FORMAT = 1
WEIGHTS_FILE = "weights.safetensors"
REFERENCE_FILE = "reference.safetensors"


def save_checkpoint(folder, model, description, reference):
    """Write a checkpoint folder whole or not at all.

    Args:
        folder: Path; what was there before is replaced.
        model: The float32 `Transformer` whose weights are published.
        description: What `model.json` holds beside the format and the sizes.
        reference: Named arrays of `reference_outputs`.

    Raises:
        OSError: the disk is full; what was there before still stands.
    """
    text = json.dumps({"format": FORMAT, "model": model.config.to_dict(), **description}, indent=2)
    files = {
        WEIGHTS_FILE: save(_weights(model)),
        REFERENCE_FILE: save(reference),
        MODEL_FILE: (text + "\n").encode(),
    }
    write_folder(folder, files)


def save_weights(path, model):
    """Write the weights alone, for `load_average`.

    Raises:
        OSError: the disk is full.
    """
    write_file(path, save(_weights(model)))


def load_average(paths, model):
    """Set `model`'s weights to the mean of those in `paths`, added up in float64."""
    sums = {}
    for path in paths:
        for name, array in load_file(str(path)).items():
            sums[name] = sums.get(name, 0.0) + array.astype(np.float64)
    for name, variable in model.named_weights().items():
        variable.assign((sums[name] / len(paths)).astype(np.float32))


def _weights(model):
    return {
        name: np.ascontiguousarray(ops.convert_to_numpy(variable.value), np.float32)
        for name, variable in model.named_weights().items()
    }


def find_checkpoint(run):
    """`run` itself if it is a checkpoint, else its best one, else its last.

    Raises:
        UserError: there is none.
    """
    run = Path(run)
    folder = checkpoint_in(run)
    if folder is not None:
        return folder
    raise UserError(
        f"--init-from must be a run or a checkpoint, {run.absolute()} holds no {MODEL_FILE}. Train one with fit."
    )


def read_description(folder):
    """The dictionary of `model.json`.

    Raises:
        UserError: the folder holds none, or one of another format.
    """
    path = Path(folder) / MODEL_FILE
    if not path.is_file():
        raise UserError(f"A checkpoint must hold {MODEL_FILE}, found none at {path}. Train one with fit.")
    try:
        description = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"{path} must be JSON, it is not: {error}. Bring it back or train it anew.") from None
    found = description.get("format") if isinstance(description, dict) else None
    if found != FORMAT:
        raise UserError(f"{path} must have format {FORMAT}, got {found!r}. Train it anew.")
    return description


def reference_outputs(model, sources, targets):
    """Inputs and the model's own outputs, against which the exporter proves its graphs.

    Args:
        model: The float32 `Transformer`.
        sources, targets: Training pairs as token lists without special ids, at least 2.

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
