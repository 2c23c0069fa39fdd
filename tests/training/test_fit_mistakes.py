"""What the command says of a user's mistakes: the same under every backend."""

import json
import os
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import datasets
import pytest

from keras_transformer import fit
from keras_transformer.text.tokenizer import train_tokenizer
from keras_transformer.training import report
from keras_transformer.training import run as run_module
from keras_transformer.training.stopping import RunFailedError
from tests.training import runs

SMALL = runs.OPEN_ENDED


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("tokenizer.json", None, "--init-from must be a run with its vocabulary, found none at {}."),
        ("tokenizer.json", "{", "{}"),
        ("checkpoints/last/model.json", "{", "{} must be JSON, it is not: "),
        (
            "checkpoints/last/model.json",
            "[]",
            "{} must have format 1, got None.",
        ),
        ("checkpoints/last/weights.safetensors", "junk", "{} must be whole, it is not: "),
    ],
)
def test_a_damaged_run_to_start_from_is_told(tmp_path, files, capsys, file, text, message):
    first = tmp_path / "first"
    assert fit.main([*SMALL, "--train", *files, "--output", str(first), "--max-steps", "1"]) == 0
    shutil.rmtree(first / "checkpoints" / "best")
    (first / file).unlink()
    if text is not None:
        (first / file).write_text(text)
    capsys.readouterr()
    command = ["--train", *files, "--init-from", str(first), "--output", str(tmp_path / "second")]
    assert fit.main(command) == 2
    error = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert error.startswith("error: " + message.format(first / file))


def test_a_call_that_failed_leaves_no_vocabulary_to_the_next(tmp_path, files, monkeypatch):
    run = tmp_path / "run"
    command = [*SMALL, "--train", *files, "--output", str(run)]
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
        assert fit.main(command) == 2
    learnt = (run / "tokenizer.json").read_bytes()
    train_tokenizer(["of other text"], 600).save(run / "tokenizer.json")
    assert fit.main([*command, "--max-steps", "1"]) == 0
    assert (run / "tokenizer.json").read_bytes() == learnt


@pytest.mark.parametrize("left", ["step_4/weights", "best/weights", "recent/4"])
def test_checkpoints_without_a_resume_point_are_a_run_too(tmp_path, files, capsys, left):
    kept = tmp_path / "checkpoints" / f"{left}.safetensors"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"days of work")
    assert fit.main([*SMALL, "--train", *files, "--output", str(tmp_path)]) == 2
    assert (
        f"error: --output must be a folder without a run, {tmp_path} holds one. "
        "Go on with it (--resume) or name another folder."
    ) in capsys.readouterr().err
    assert kept.read_bytes() == b"days of work"


@pytest.mark.parametrize("resume", [[], ["--resume"]])
def test_a_folder_that_a_process_trains_in_is_left_alone(tmp_path, files, capsys, monkeypatch, resume):
    run = tmp_path / "run"
    other = [sys.executable, "-m", "keras_transformer.fit", *resume, "--output", str(run)]
    second = []
    prepare = run_module.prepare

    def while_another_starts(*arguments, **options):
        second.append(subprocess.run(other, capture_output=True, text=True, check=False))
        return prepare(*arguments, **options)

    command = [*SMALL, "--train", *files, "--output", str(run)]
    if resume:
        assert fit.main([*command, "--max-steps", "1"]) == 0
    monkeypatch.setattr(run_module, "prepare", while_another_starts)
    assert fit.main([*command, *resume, "--max-steps", "2"]) == 0
    (refused,) = second
    assert refused.returncode == 2
    assert refused.stderr == (
        f"error: --output must be a folder that no other process trains in, one trains in {run}. "
        "Wait for its end or name another folder.\n"
    )
    monkeypatch.undo()
    assert fit.main([*command, "--resume", "--max-steps", "3"]) == 0  # it is free again


def test_a_viewer_that_is_not_installed_is_told_before_the_corpus_is_read(
    tmp_path, files, capsys, monkeypatch
):
    find = report.importlib.util.find_spec
    monkeypatch.setattr(
        report.importlib.util, "find_spec", lambda *name: None if name == ("wandb",) else find(*name)
    )
    command = [*SMALL, "--train", *files, "--output", str(tmp_path / "run")]
    assert fit.main([*command, '--set=train.loggers=["wandb"]']) == 2
    assert "error: train.loggers names 'wandb', which needs wandb: " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_hub_is_read_is_no_mistake(tmp_path, capsys, monkeypatch, number):
    def interrupted(*arguments, **options):
        os.kill(os.getpid(), number)

    monkeypatch.setattr(datasets, "load_dataset", interrupted)
    assert fit.main(["--dataset", "someone/something", "--output", str(tmp_path / "run")]) == 128 + number
    words = capsys.readouterr().err
    assert "interrupted before the first update of this call: nothing to save" in words
    assert "error: " not in words


@pytest.mark.parametrize("option", ["--resume", "--largest-batch"])
def test_a_dry_run_refuses_what_it_would_not_do(tmp_path, capsys, option):
    assert fit.main(["--dry-run", option, "--output", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"error: --dry-run must be a new run with batches as configured, got {option}. Leave one of them out.\n"
    )


def test_a_dry_run_sends_nothing_to_viewers(files, monkeypatch):
    seen = []
    monkeypatch.setattr(run_module, "train", lambda config, *arguments: seen.append(config.train.loggers))
    assert fit.main([*SMALL, "--train", *files, "--dry-run", '--set=train.loggers=["wandb"]']) == 0
    assert seen == [()]


def test_a_dry_run_that_does_not_work_says_so(tmp_path, files, capsys, monkeypatch):
    def interrupted(*arguments):
        return signal.SIGTERM

    monkeypatch.setattr(run_module, "train", interrupted)
    assert fit.main([*SMALL, "--train", *files, "--dry-run"]) == 143

    def failed(*arguments):
        raise RunFailedError("The loss is not finite")

    monkeypatch.setattr(run_module, "train", failed)
    assert fit.main([*SMALL, "--train", *files, "--dry-run"]) == 1
    words = capsys.readouterr().err
    assert "failed: The loss is not finite" in words
    assert "dry run" not in words


def backend_of(monkeypatch, named, configured, installed, home):
    """What `fit` leaves in KERAS_BACKEND."""
    monkeypatch.setenv("KERAS_HOME", str(home))
    monkeypatch.delenv("KERAS_BACKEND")
    if named:
        monkeypatch.setenv("KERAS_BACKEND", named)
    (home / "keras.json").write_text(configured)
    monkeypatch.setattr(fit.importlib.util, "find_spec", lambda name: name in installed or None)
    fit._choose_backend()
    return os.environ.get("KERAS_BACKEND")


@pytest.mark.parametrize(
    ("named", "configured", "installed", "chosen"),
    [
        ("", '{"backend": "tensorflow"}', {"torch", "jax"}, "torch"),
        ("", '{"backend": "tensorflow"}', {"jax"}, "jax"),
        ("", '{"backend": "tensorflow"}', {"torch", "tensorflow"}, None),  # Keras takes it
        ("", '{"backend": "jax"}', {"torch", "jax"}, None),
        ("", "{", {"torch"}, "torch"),
        ("", "{}", {}, None),  # that none is installed is told where it is imported
        ("jax", '{"backend": "tensorflow"}', {"torch"}, "jax"),
    ],
)
def test_a_backend_that_is_installed_is_found(tmp_path, monkeypatch, named, configured, installed, chosen):
    assert backend_of(monkeypatch, named, configured, installed, tmp_path) == chosen


def test_a_backend_that_cannot_train_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("KERAS_BACKEND", "numpy")
    assert fit.main([]) == 2
    message = "error: KERAS_BACKEND must be one of torch, tensorflow, jax, got 'numpy'."
    assert capsys.readouterr().err.startswith(message)


def test_mistakes_exit_2_in_one_sentence(tmp_path, files, capsys):
    short = tmp_path / "short.it"
    short.write_text("uno\n")
    assert fit.main([*SMALL, "--train", files[0], str(short), "--output", str(tmp_path / "run")]) == 2
    assert f"{short}, line 2: must have as many lines as" in capsys.readouterr().err
    assert fit.main([*SMALL, "--target-lang", "de", "--output", str(tmp_path / "run")]) == 2
    assert "'de'" in capsys.readouterr().err  # the embedded sentences are English and Italian
    (tmp_path / "file").write_text("")
    for output in ("file", "file/run"):
        assert fit.main([*SMALL, "--train", *files, "--output", str(tmp_path / output)]) == 2
        assert f"error: {tmp_path / output} cannot be used: " in capsys.readouterr().err
    assert fit.main(["--resume", "--output", str(tmp_path / "none")]) == 2
    assert f"--resume must find {tmp_path}/none/config.toml, found none." in capsys.readouterr().err
    assert fit.main([*SMALL, "--train", *files, "--valid", *files, "--output", str(tmp_path / "run")]) == 2
    assert (
        "The train corpus must hold at least one usable pair, cleaning left none: see "
        in capsys.readouterr().err
    )
    assert json.loads((tmp_path / "run" / "data_report.json").read_text())["train"]["dropped"]["held_out"]
    assert fit.main(["--resume"]) == 2
    assert "--resume needs --output RUN" in capsys.readouterr().err
    assert fit.main(["--resume", "--output", str(tmp_path / "none"), "--preset", "tiny"]) == 2
    assert (
        f"--resume must find {tmp_path}/none/checkpoints/resume.safetensors, found none."
        in capsys.readouterr().err
    )
