import json
import os
import re
import shutil
import signal
import time
from collections import namedtuple

import numpy as np
import pytest
from safetensors.numpy import load_file

from keras_transformer import fit
from keras_transformer.config import load_config
from keras_transformer.text.tokenizer import train_tokenizer
from keras_transformer.training import milestones, report
from keras_transformer.training.inputs import source_checkpoint
from tests.training import runs

SMALL = runs.OPEN_ENDED


def test_a_run_leaves_what_the_readme_names_and_goes_on(tmp_path, files, capsys):
    run = tmp_path / "[small]run"
    command = [*SMALL, "--train", *files, "--output", str(run)]
    assert fit.main([*command, "--max-steps", "5"]) == 0
    told = capsys.readouterr()
    assert told.out == ""  # people read stderr
    assert f"done: {run}. Next: python export/to_onnx.py {run}\n" in told.err
    names = {
        "config.toml",
        "tokenizer.json",
        "data_report.json",
        "metrics.jsonl",
        "curves.png",
        "summary.md",
        "valid.tsv",
        ".lock",
    }
    assert {path.name for path in run.iterdir()} == names | {"checkpoints", "tensorboard"}
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best", "last", "resume.safetensors"}
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [4, 5]
    assert {"bleu", "chrf", "bleu_signature", "train_loss", "valid_loss", "learning_rate"} <= rows[0].keys()
    assert (run / "curves.png").read_bytes()[:4] == b"\x89PNG"
    report = json.loads((run / "data_report.json").read_text())
    assert report["train"]["dropped"]["held_out"] + report["train"]["dropped"]["duplicate"] > 0
    description = json.loads((run / "checkpoints" / "last" / "model.json").read_text())
    assert (description["training"]["steps"], description["source_language"]) == (5, "en")
    assert f"| last | 5 | {rows[1]['valid_loss']:.4f} | " in (run / "summary.md").read_text()

    assert fit.main([*command, "--max-steps", "7"]) == 2
    assert "--output must be a folder without a run" in capsys.readouterr().err
    assert fit.main(["--resume", "--output", str(run), "--max-steps", "4"]) == 2
    assert (
        "train.max_steps must be at least 5, the updates that the run has, got 4." in capsys.readouterr().err
    )
    assert fit.main(["--resume", "--output", str(run), "--max-steps", "5"]) == 2
    assert "--resume must have something left to do, the run ended at update 5." in capsys.readouterr().err
    assert fit.main(["--resume", "--output", str(run), "--max-steps", "7", "--set", "train.seed=9"]) == 2
    assert "--resume must keep train.seed = 1, got 9" in capsys.readouterr().err

    before = load_file(str(run / "checkpoints" / "last" / "weights.safetensors"))
    replaced = ("config.toml", "data_report.json")  # whole, and not written over
    for name in replaced:
        os.link(run / name, tmp_path / name)
    assert fit.main(["--resume", "--output", str(run), "--max-steps", "7"]) == 0
    assert runs.step_of(run) == 7
    assert not any((run / name).samefile(tmp_path / name) for name in replaced)
    after = load_file(str(run / "checkpoints" / "last" / "weights.safetensors"))
    moved = [np.abs(after[name] - before[name]).max() for name in before]
    assert min(moved) > 0  # no weight is frozen
    assert max(moved) < 0.05  # it went on from the weights, not from new ones
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [4, 5, 7]


def in_the_updates(run, process):
    """Wait until `process` has saved an update of `run`."""
    while runs.step_of(run) < 2:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path, files, number):
    run = tmp_path / "run"
    process = runs.start(
        [*SMALL, "--train", *files, "--output", str(run), "--set=train.evaluate_every=100000"]
    )
    in_the_updates(run, process)
    process.send_signal(number)
    rest = process.communicate()[1]
    assert process.returncode == 128 + number, rest
    assert f"saved update {runs.step_of(run)}; go on with --resume --output {run}" in rest


def test_a_second_signal_ends_the_process_at_once(tmp_path, files, monkeypatch):
    run = tmp_path / "run"
    hang = tmp_path / "sitecustomize.py"  # an evaluation that does not end by itself, nor at the first signal
    hang.write_text(
        "import sys, time\n"
        "class Hook:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.endswith('training.run'):\n"
        "            import keras_transformer.training.monitor as monitor\n"
        "            def hang(*arguments, **options):\n"
        "                print('hanging', file=sys.stderr, flush=True)\n"
        "                while True:\n"
        "                    time.sleep(0.01)\n"
        "            monitor.translate_texts = hang\n"
        "sys.meta_path.insert(0, Hook())\n"
    )
    command = [*SMALL, "--train", *files, "--output", str(run), "--set=train.evaluate_every=1"]
    process = runs.start(command, PYTHONPATH=str(tmp_path))
    for line in process.stderr:
        if line == "hanging\n":
            break
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None  # it waits for the evaluation to give up
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 143


def test_a_loss_that_is_not_finite_ends_the_run_and_names_the_batch(tmp_path, files, capsys, monkeypatch):
    run = tmp_path / "run"
    infinite = ["--set=train.learning_rate=1e38", "--set=train.warmup_steps=1", "--set=train.clip_norm=0"]
    assert fit.main([*SMALL, *infinite, "--train", *files, "--output", str(run), "--max-steps", "90"]) == 1
    words = capsys.readouterr().err
    assert re.search(
        r"failed: The loss of update 2 is not finite: batch 2 of \d+ in epoch 1, \d+ pairs, ", words
    )
    place = run / "checkpoints" / "resume.safetensors"
    assert f"The weights of update 0 are in {place}. Start anew with " in words  # none is the best yet
    saved = load_file(str(run / "checkpoints" / "resume.safetensors"))
    assert all(np.isfinite(array).all() for name, array in saved.items() if name.startswith("weights/"))


def test_too_small_a_disk_is_told_before_the_first_update(tmp_path, files, capsys, monkeypatch):
    closed = []
    monkeypatch.setattr(report.Board, "close", lambda board: closed.append(board))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 0))
    assert fit.main([*SMALL, "--train", *files, "--output", str(tmp_path / "run")]) == 2
    words = capsys.readouterr().err
    assert "error: --output must have room for " in words
    assert "has 0 MiB free. Free some or choose another disk." in words
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []  # the same command may be given again
    assert len(closed) == 1


def test_it_stops_when_no_evaluation_is_better(tmp_path, files, monkeypatch):
    run = tmp_path / "run"
    patient = ["--set=train.evaluate_every=1", "--set=train.patience=2", "--set=train.best_metric=loss"]
    losses = iter([5.0, 4.0, 4.5, 4.0, 3.0])
    monkeypatch.setattr(
        milestones.Milestones, "evaluate", _with_losses(milestones.Milestones.evaluate, losses)
    )
    assert fit.main([*SMALL, *patient, "--train", *files, "--output", str(run), "--max-steps", "9"]) == 0
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["valid_loss"] for row in rows] == [5.0, 4.0, 4.5, 4.0]  # an equal one is not better
    best = json.loads((run / "checkpoints" / "best" / "model.json").read_text())
    assert best["scores"]["valid"]["step"] == 2
    assert fit.main(["--resume", "--output", str(run)]) == 2  # it stays stopped


def _with_losses(evaluate, losses):
    def evaluated(self):
        outcome, hypotheses = self.evaluator()
        outcome["valid_loss"] = next(losses)
        evaluator, self.evaluator = self.evaluator, _Fixed(outcome, hypotheses)
        evaluate(self)
        self.evaluator = evaluator

    return evaluated


class _Fixed:
    def __init__(self, *outcome):
        self.outcome = outcome

    def __call__(self):
        return self.outcome

    def samples(self, hypotheses):
        return hypotheses


def test_the_last_checkpoints_are_averaged_and_the_best_ones_stay(tmp_path, files, capsys):
    run = tmp_path / "run"
    kept = ["--set=train.average_last=3", "--set=train.checkpoint_every=2", "--set=train.keep_best=2"]
    command = [*SMALL, *kept, "--train", *files, "--output", str(run), "--set=train.evaluate_every=2"]
    assert fit.main([*command, "--max-steps", "8"]) == 0
    checkpoints = run / "checkpoints"
    assert {path.name for path in (checkpoints / "recent").iterdir()} == {
        f"{n}.safetensors" for n in (4, 6, 8)
    }
    parts = [load_file(str(path)) for path in (checkpoints / "recent").iterdir()]
    averaged = load_file(str(checkpoints / "averaged" / "weights.safetensors"))
    for name, array in averaged.items():
        # float32 keeps 24 bits; values are below 4.
        np.testing.assert_allclose(array, np.mean([part[name] for part in parts], axis=0), atol=1e-6)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    best = sorted(rows, key=lambda row: (-row["chrf"], row["step"]))[:2]
    assert {path.name for path in checkpoints.glob("step_*")} == {f"step_{row['step']}" for row in best}
    scores = json.loads((checkpoints / "averaged" / "model.json").read_text())["scores"]["valid"]
    assert f"| averaged | 8 | {scores['valid_loss']:.4f} |" in (run / "summary.md").read_text()


def test_fine_tuning_starts_from_the_weights_and_vocabulary_of_another_run(tmp_path, files, capsys):
    first, second = tmp_path / "first", tmp_path / "second"
    assert fit.main([*SMALL, "--train", *files, "--output", str(first), "--max-steps", "4"]) == 0
    tune = ["--train", *files, "--output", str(second), "--init-from", str(first), "--max-steps", "1"]
    tune += ["--set=train.learning_rate=1e-9", "--set=train.seed=5"]
    assert fit.main(tune) == 0
    assert (first / "tokenizer.json").read_bytes() == (second / "tokenizer.json").read_bytes()
    one, other = (load_file(str(run / "checkpoints/last/weights.safetensors")) for run in (first, second))
    for name, array in one.items():
        np.testing.assert_allclose(other[name], array, atol=1e-8)
    assert load_config(second / "config.toml").model == load_config(first / "config.toml").model
    assert fit.main(["--resume", "--output", str(second), "--max-steps", "2"]) == 0

    capsys.readouterr()
    assert fit.main([*tune[:-6], "--output", str(tmp_path / "third"), "--init-from", str(first), *tune[-4:],
                     "--preset", "tiny", "--set", "train.cooldown_steps=0"]) == 2  # fmt: skip
    words = capsys.readouterr().err
    assert "error: --init-from needs model." in words
    assert "Leave --preset and CONFIG out, or give it the same sizes." in words
    assert fit.main(["--init-from", str(tmp_path / "none"), "--output", str(tmp_path / "third")]) == 2
    assert "--init-from must be a run or a checkpoint, " in capsys.readouterr().err


def test_a_checkpoint_without_its_run_has_its_sizes_and_languages(tmp_path, monkeypatch):
    first = tmp_path / "first"
    first.mkdir()
    sizes = {**load_config(preset="tiny").model.to_dict(), "model_dim": 24, "num_heads": 3, "max_length": 9}
    described = {"format": 1, "model": sizes, "source_language": "fr", "target_language": "de"}
    (first / "model.json").write_text(json.dumps(described))
    train_tokenizer(["of other text"], 600).save(first / "tokenizer.json")
    (tmp_path / "config.toml").write_text("[model]\nmodel_dim = 768\nnum_heads = 12\n")  # a stranger's
    arguments = ["--init-from", str(first), "--target-lang", "nl"]
    config, folder = fit.resolve(fit.parser().parse_args(arguments))
    assert config.model.to_dict() == sizes
    assert (config.data.source_language, config.data.target_language) == ("fr", "nl")
    assert (config.data.max_pieces, str(folder)) == (8, "runs/fine-tuned")
    (tmp_path / "second").mkdir()
    assert source_checkpoint(config, tmp_path / "second") == first

    best = tmp_path / "run" / "checkpoints" / "best"  # of a run it is the run's own
    best.mkdir(parents=True)
    (tmp_path / "run" / "config.toml").write_text("[model]\nmodel_dim = 64\n")
    monkeypatch.chdir(best.parent)
    for path in (str(best), "best"):
        config, _ = fit.resolve(fit.parser().parse_args(["--init-from", path]))
        assert config.model.model_dim == 64


def test_dry_run_leaves_nothing(tmp_path, files, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fit.main([*SMALL, "--train", *files, "--dry-run"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"a.en", "a.it"}


def test_flags_become_the_configuration():
    hub = ["--dataset", "Helsinki-NLP/opus_books", "--subset", "en-it"]
    arguments = fit.parser().parse_args(
        [*hub, "--source-lang", "it", "--target-lang", "en", "--max-minutes", "2"]
    )
    config, folder = fit.resolve(arguments)
    assert (config.data.dataset, config.data.subset) == ("Helsinki-NLP/opus_books", "en-it")
    assert (config.data.source_language, config.data.target_language) == ("it", "en")
    assert config.train.max_minutes == 2.0
    assert str(folder) == "runs/tiny"
    assert fit.resolve(fit.parser().parse_args([]))[0] == load_config(preset="tiny")
