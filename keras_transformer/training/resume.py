"""The resume point: one file that holds all that a run needs to go on as if it had never stopped.

Weights as they are trained, the optimizer's variables (moments, moving average, loss scale, counter), the
random states that live in the model, and the run's own record as JSON. Safetensors; nothing is unpickled.
"""

import hashlib
import json
import os
from pathlib import Path

import keras
import numpy as np
from keras import ops
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from keras_transformer.config import config_from_dict
from keras_transformer.errors import UserError
from keras_transformer.training.durable import write_file
from keras_transformer.training.stopping import RunFailedError

FORMAT = 1
FILE = "resume.safetensors"
# Fields that may change when a run goes on: how long, how often, how it is told; not what is learnt.
RESUMABLE = {
    *("max_steps", "max_minutes", "cooldown_steps", "accumulate_steps", "loggers"),
    *("evaluate_every", "evaluate_pairs", "checkpoint_every", "patience", "keep_best", "average_last"),
}
# Compared by what is in the files, wherever they lie.
CORPORA = ("train", "valid", "dataset")


def save_resume_point(path, model, record):
    """Write `model`'s state and `record` (plain values); returns the file's size in bytes.

    Raises:
        RunFailedError: a weight is not finite; the file before still stands.
        OSError: the disk is full.
    """
    state = {name: _numpy(variable) for name, variable in _variables(model).items()}
    for name, array in state.items():
        if name.startswith("weights/") and not np.isfinite(array).all():
            raise RunFailedError(
                f"{name.removeprefix('weights/')} must stay finite, it is not after update {record['step']}. "
                "Start anew with a lower train.learning_rate or a train.clip_norm (--init-from keeps the weights)."
            )
    text = json.dumps({"format": FORMAT, **record}, ensure_ascii=False)
    data = save(state, metadata={"record": text})
    write_file(path, data)
    return len(data)


def read_record(path):
    """The record of a resume point.

    Raises:
        UserError: there is none, or it is broken or of another format.
    """
    if not Path(path).is_file():
        raise UserError(f"--resume must find {path}, found none. Start without --resume.")
    if not os.access(path, os.R_OK):  # safetensors would say that there is none
        raise UserError(f"--resume must be allowed to read {path}, it is not. Change its permissions.")
    try:
        with safe_open(path, framework="numpy") as file:
            record = json.loads((file.metadata() or {}).get("record", "{}"))
    except (OSError, SafetensorError, ValueError) as error:
        raise UserError(f"{path} must be a resume point, it is not: {error}. Start a new run.") from None
    if record.get("format") != FORMAT:
        raise UserError(
            f"{path} must have format {FORMAT}, got {record.get('format')!r}. Resume it with the version that "
            "wrote it."
        )
    return record


def load_resume_point(path, model):
    """Set all of `model`'s state from a resume point.

    Raises:
        UserError: it is of another model or optimizer.
    """
    variables = _variables(model)
    with safe_open(path, framework="numpy") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        for name in sorted(shapes.keys() | variables.keys()):
            found, wanted = shapes.get(name), name in variables and tuple(variables[name].shape)
            if found != wanted:
                raise UserError(
                    f"{path} must hold this run's state, {name} differs ({found} and {wanted}). "
                    "Resume with the arguments of the first call."
                )
        for name, variable in variables.items():
            variable.assign(file.get_tensor(name))


def _variables(model):
    named = {f"weights/{name}": variable for name, variable in model.named_weights().items()}
    for kind, variables in (
        ("optimizer", model.optimizer.variables),
        ("random", model.non_trainable_variables),
    ):
        named |= {f"{kind}/{i:05d}": variable for i, variable in enumerate(variables)}
    return named


def _numpy(variable):
    return np.asarray(ops.convert_to_numpy(variable.value), order="C")  # keeps a scalar a scalar


def identity(config, tokenizer_path, batches, devices=1):
    """What must be the same when a run goes on: configuration, text by its content, vocabulary."""
    return {
        "config": config.to_dict(),
        "corpora": corpora(config),
        "tokenizer": _digest(tokenizer_path),
        "batches": {"target_tokens": batches.target_tokens, "an_epoch": len(batches)},
        "max_shapes": batches.max_shapes,
        "backend": keras.config.backend(),
        "devices": devices,
    }


def corpora(config):
    """SHA-256 of each file that the data section names, by field; a data set of the hub has none."""
    found = {}
    for field in CORPORA:
        value = getattr(config.data, field)
        paths = [Path(path) for path in ((value,) if isinstance(value, str) else value)]
        found[field] = [_digest(path) for path in paths if path.is_file()]
    return found


def check_config(before, config):
    """Refuse a configuration or text that would make it another run; before any text is read.

    Args:
        before: The `identity` of the run so far.
        config: Config of this call.

    Raises:
        UserError: the first difference, by name.
    """
    same_text = {
        field
        for field, digests in corpora(config).items()
        if digests and digests == before["corpora"].get(field)
    }
    # Through Config, so that a field which is younger than the run has its default.
    old = config_from_dict(before["config"]).to_dict()
    for section, values in config.to_dict().items():
        for name, value in values.items():
            if name in {"train": RESUMABLE, "data": same_text}.get(section, ()):
                continue
            if old[section][name] != value:
                raise UserError(
                    f"--resume must keep {section}.{name} = {old[section][name]!r}, got {value!r}. "
                    "Drop the change or start a new run."
                )
    for field, digests in corpora(config).items():
        if digests != before["corpora"][field]:
            raise UserError(
                f"--resume must keep the text of data.{field}, {getattr(config.data, field)!r} holds another now. "
                "Bring the files back or start a new run."
            )


def check_data(before, now):
    """Refuse another vocabulary or corpus, once they are read.

    Raises:
        UserError: the first difference, by name.
    """
    for name, place in (("tokenizer", "tokenizer.json"), ("batches", "the prepared corpus")):
        if before[name] != now[name]:
            raise UserError(
                f"--resume must keep {place}, it was {before[name]} and is {now[name]}. "
                "Bring it back or start a new run."
            )


def _digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
