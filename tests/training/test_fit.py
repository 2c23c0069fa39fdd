import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import load_file

from keras_transformer import fit
from keras_transformer.config import load_config

SMALL = [
    f"--set={item}"
    for item in (
        "model.model_dim=16", "model.feed_forward_dim=24", "model.num_heads=2", "model.num_encoder_layers=1",
        "model.num_decoder_layers=1", "model.vocabulary_size=600", "train.cooldown_steps=0",
        "train.batch_tokens=256", "train.evaluate_every=3", "train.evaluate_pairs=3", "data.valid_pairs=8",
        "search.max_length_factor=1",
    )
]  # fmt: skip


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    words = {"one": "uno", "two": "due", "three": "tre", "four": "quattro", "five": "cinque"}
    sides = [tmp_path / "a.en", tmp_path / "a.it"]
    rows = [rng.choice(list(words), rng.integers(2, 7)) for _ in range(300)]
    sides[0].write_text("".join(" ".join(row) + "\n" for row in rows))
    sides[1].write_text("".join(" ".join(words[word] for word in row) + "\n" for row in rows))
    return [str(side) for side in sides]


def test_a_run_leaves_what_the_readme_names_and_goes_on(tmp_path, files, capsys):
    run = tmp_path / "run"
    command = [*SMALL, "--train", *files, "--output", str(run)]
    assert fit.main([*command, "--max-steps", "4"]) == 0
    assert capsys.readouterr().out == ""  # people read stderr
    names = {
        "config.toml",
        "tokenizer.json",
        "data_report.json",
        "metrics.jsonl",
        "curves.png",
        "checkpoints",
    }
    assert {path.name for path in run.iterdir()} == names
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [3, 4]
    assert {"bleu", "chrf", "bleu_signature", "train_loss", "valid_loss"} <= rows[0].keys()
    assert (run / "curves.png").read_bytes()[:4] == b"\x89PNG"
    report = json.loads((run / "data_report.json").read_text())
    assert report["train"]["dropped"]["held_out"] + report["train"]["dropped"]["duplicate"] > 0
    description = json.loads((run / "checkpoints" / "last" / "model.json").read_text())
    assert (description["training"]["steps"], description["source_language"]) == (4, "en")

    assert fit.main([*command, "--max-steps", "6"]) == 2
    assert "--output must be a folder without a run" in capsys.readouterr().err
    assert fit.main(["--resume", "--output", str(run), "--max-steps", "4"]) == 2
    assert "--max-steps must be above the 4 updates already made, got 4" in capsys.readouterr().err
    assert fit.main(["--resume", "--output", str(run), "--max-steps", "6", "--set", "train.seed=9"]) == 2
    assert "--resume must keep train.seed = 1, got 9" in capsys.readouterr().err

    before = load_file(str(run / "checkpoints" / "last" / "weights.safetensors"))
    assert fit.main(["--resume", "--output", str(run), "--max-steps", "6"]) == 0
    description = json.loads((run / "checkpoints" / "last" / "model.json").read_text())
    assert description["training"]["steps"] == 6
    after = load_file(str(run / "checkpoints" / "last" / "weights.safetensors"))
    moved = max(np.abs(after[name] - before[name]).max() for name in before)
    assert 0 < moved < 0.05  # it went on from the weights, not from new ones


def test_sigterm_saves_and_exits_143(tmp_path, files):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "keras_transformer.fit", *SMALL, "--train", *files, "--output", str(run)]
    command += ["--max-steps", "100000", "--set=train.evaluate_every=100000"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        for line in process.stderr:
            if "weights, " in line:
                break
        time.sleep(3)  # into the updates
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
    assert process.returncode == 143, rest
    assert "go on with --resume" in rest
    assert json.loads((run / "checkpoints" / "last" / "model.json").read_text())["training"]["steps"] >= 1


def test_dry_run_leaves_nothing(tmp_path, files, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fit.main([*SMALL, "--train", *files, "--dry-run"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"a.en", "a.it"}


def test_mistakes_exit_2_in_one_sentence(tmp_path, files, capsys):
    short = tmp_path / "short.it"
    short.write_text("uno\n")
    assert fit.main([*SMALL, "--train", files[0], str(short), "--output", str(tmp_path / "run")]) == 2
    assert f"{short}, line 2: must have as many lines as" in capsys.readouterr().err
    assert fit.main([*SMALL, "--target-lang", "de", "--output", str(tmp_path / "run")]) == 2
    assert "'de'" in capsys.readouterr().err  # the embedded sentences are English and Italian
    assert fit.main(["--resume"]) == 2
    assert "--resume needs --output RUN" in capsys.readouterr().err
    assert fit.main(["--resume", "--output", str(tmp_path / "none"), "--preset", "tiny"]) == 2
    assert "--resume must find checkpoints/last" in capsys.readouterr().err


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
