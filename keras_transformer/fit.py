"""Command: train a translator.

KERAS_BACKEND=torch python -m keras_transformer.fit --preset small --train a.en a.it
"""

import argparse
import dataclasses
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path

from keras_transformer.config import PRESETS, Config, DataConfig, ModelConfig, load_config
from keras_transformer.errors import UserError
from keras_transformer.run_folder import MODEL_FILE, checkpoint_in, run_of
from keras_transformer.training.allocator import share_one_arena

BACKENDS = ("torch", "tensorflow", "jax")
EPILOG = """\
Without arguments it trains the preset `tiny` on the embedded English–Italian sentences.
Every field of the configuration can be set: --set train.batch_tokens=8192.
The run folder holds config.toml, tokenizer.json, valid.tsv, metrics.jsonl, curves.png, summary.md, tensorboard/ and
checkpoints/ (best, last, averaged; resume.safetensors to go on from); then: python export/to_onnx.py RUN

Exit status: 0 done, 1 failed (loss not finite, disk or memory full), 2 a mistake in the arguments or the corpus,
130 interrupted and 143 terminated (both after saving; go on with --resume). A second signal exits at once."""


def parser():
    """The command's arguments."""
    made = argparse.ArgumentParser(
        prog="python -m keras_transformer.fit",
        description="Train a Transformer translator on parallel text, through Keras's model.fit. "
        "KERAS_BACKEND chooses torch, tensorflow or jax. Several devices: see docs/training.md.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("config", nargs="?", metavar="CONFIG.toml", help="fields over the preset's")
    made.add_argument("--preset", choices=PRESETS, help="size of the model (tiny where there is no CONFIG)")
    text = made.add_mutually_exclusive_group()
    text.add_argument(
        "--train", nargs=2, metavar=("SRC", "TGT"), help="two files, a sentence a line, plain or .gz"
    )
    text.add_argument(
        "--dataset", metavar="NAME_OR_PATH", help="a TSV, CSV, JSONL, Parquet file or a hub name"
    )
    made.add_argument("--subset", help="the hub data set's configuration, such as en-it")
    made.add_argument("--valid", nargs=2, metavar=("SRC", "TGT"), help="validation files (else held out)")
    made.add_argument("--source-lang", metavar="CODE", help="source language or its column (en)")
    made.add_argument("--target-lang", metavar="CODE", help="target language or its column (it)")
    made.add_argument("--output", metavar="RUN", type=Path, help="the run's folder (runs/<preset>)")
    made.add_argument("--set", action="append", default=[], metavar="section.field=value", help="any field")
    made.add_argument("--max-steps", type=int, metavar="N", help="updates in all")
    made.add_argument(
        "--max-minutes", type=float, metavar="M", help="stop, evaluate and save after M minutes"
    )
    made.add_argument("--resume", action="store_true", help="go on as if the run had never stopped")
    made.add_argument(
        "--largest-batch",
        action="store_true",
        help="set train.batch_tokens to the most that the GPU holds, found before the first update",
    )
    made.add_argument(
        "--init-from",
        metavar="RUN",
        help="start from the vocabulary and weights of another run or checkpoint (fine-tuning)",
    )
    made.add_argument(
        "--dry-run",
        action="store_true",
        help="two updates, an evaluation and a checkpoint in a scratch folder",
    )
    return made


def resolve(arguments):
    """Config and run folder of parsed arguments.

    Raises:
        UserError: a field breaks its rule.
    """
    output = arguments.output
    for option in ("resume", "largest_batch"):
        if arguments.dry_run and getattr(arguments, option):
            flag = "--" + option.replace("_", "-")
            raise UserError(
                f"--dry-run must be a new run with batches as configured, got {flag}. Leave one of them out."
            )
    config_path, preset = arguments.config, arguments.preset
    if arguments.resume:
        if output is None:
            raise UserError("--resume needs --output RUN: the folder of the run to go on with.")
        if arguments.largest_batch:
            raise UserError("--resume must keep the run's train.batch_tokens. Leave --largest-batch out.")
        if config_path is None and preset is None:
            config_path = output / "config.toml"
            if not config_path.is_file():
                raise UserError(f"--resume must find {config_path}, found none. Name the folder of a run.")
    base = None
    if config_path is None and preset is None:
        base = _config_of(arguments.init_from)
        preset = None if base else "tiny"
    data = {
        "train": tuple(arguments.train) if arguments.train else None,
        "dataset": arguments.dataset,
        "subset": arguments.subset,
        "valid": tuple(arguments.valid) if arguments.valid else None,
        "source_language": arguments.source_lang,
        "target_language": arguments.target_lang,
    }
    train = {
        "max_steps": arguments.max_steps,
        "max_minutes": arguments.max_minutes,
        "init_from": arguments.init_from,
    }
    options = {"data": _given(data), "train": _given(train)}
    config = load_config(config_path, preset, arguments.set, base, options)
    return config, output or Path("runs") / (preset or Path(config_path or "fine-tuned").stem)


def _config_of(run):
    """How the run or checkpoint that `--init-from` names was trained, without its text; None if it does not say."""
    if run is None:
        return None
    run = Path(run).absolute()
    for folder in (run, run_of(run)):
        if (folder / "config.toml").is_file():
            config = load_config(folder / "config.toml")
            data = dataclasses.replace(config.data, train=(), valid=(), dataset="", subset="")
            return dataclasses.replace(config, data=data)
    checkpoint = checkpoint_in(run)
    return None if checkpoint is None else _config_of_checkpoint(checkpoint / MODEL_FILE)


def _config_of_checkpoint(path):
    """The sizes and languages of a checkpoint that came without its run; None where `train` will refuse it."""
    try:
        description = json.loads(path.read_text("utf-8"))
        model = ModelConfig.from_dict(description["model"])
        data = DataConfig(
            source_language=description["source_language"],
            target_language=description["target_language"],
            max_pieces=min(DataConfig.max_pieces, model.max_length - 1),
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return Config(model=model, data=data)


def main(argv=None):
    """Run the command; returns the exit status."""
    share_one_arena()
    arguments = parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        _choose_backend()
        config, folder = resolve(arguments)
        return _train(config, folder, arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except (PermissionError, FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        print(f"error: {error.filename} cannot be used: {error.strerror}.", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:  # before `train` looks after signals
        return 130


def _choose_backend():
    """Keras takes TensorFlow where nobody chose a backend: where that is not installed, another one that is.

    Raises:
        UserError: KERAS_BACKEND names none that trains.
    """
    named = os.environ.get("KERAS_BACKEND")
    if named and named not in BACKENDS:
        raise UserError(f"KERAS_BACKEND must be one of {', '.join(BACKENDS)}, got {named!r}.")
    installed = [name for name in BACKENDS if importlib.util.find_spec(name)]
    if installed and not named and _configured_backend() not in installed:
        os.environ["KERAS_BACKEND"] = installed[0]


def _configured_backend():
    """What Keras's own file says; Keras writes it with "tensorflow" at its first import."""
    home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    try:
        return json.loads((home / "keras.json").read_text("utf-8"))["backend"]
    except (OSError, ValueError, TypeError, KeyError):
        return "tensorflow"


def _train(config, folder, arguments):
    from rich.console import Console

    try:
        from keras_transformer.training.run import train
        from keras_transformer.training.stopping import RunFailedError
    except ModuleNotFoundError as error:
        raise UserError(
            f"training needs {error.name}, which is not installed. "
            "Install a backend: pip install 'keras_transformer[torch]' (or tensorflow, or jax)."
        ) from None

    # No markup: a path or a sentence may hold square brackets.
    console = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)
    try:
        if arguments.dry_run:
            few = dataclasses.replace(
                config.train, max_steps=2, cooldown_steps=0, evaluate_pairs=4, loggers=()
            )
            with tempfile.TemporaryDirectory() as scratch:
                signal_number = train(dataclasses.replace(config, train=few), Path(scratch) / "run", console)
            end = "dry run: reading, updating, evaluating and saving work"
        else:
            signal_number = train(config, folder, console, arguments.resume, arguments.largest_batch)
            end = f"done: {folder}. Next: python export/to_onnx.py {folder}"
    except RunFailedError as error:
        print(f"failed: {error}", file=sys.stderr)  # noqa: T201
        return 1
    if signal_number is not None:
        return 128 + signal_number
    console.print(end)
    return 0


def _given(values):
    return {name: value for name, value in values.items() if value is not None}


if __name__ == "__main__":
    sys.exit(main())
