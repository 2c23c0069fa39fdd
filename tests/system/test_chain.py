"""The three commands on a language of ten words, under each backend: train, export, translate."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
WORDS = dict(
    zip(
        ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"],
        ["uno", "due", "tre", "quattro", "cinque", "sei", "sette", "otto", "nove", "dieci"],
        strict=True,
    )
)
UNSEEN = 300
SIZES = [
    f"--set={item}"
    for item in (
        "model.model_dim=64", "model.feed_forward_dim=128", "model.num_heads=2", "model.num_encoder_layers=1",
        "model.num_decoder_layers=1", "model.vocabulary_size=500", "model.dropout_rate=0.0", "train.warmup_steps=60",
        "train.cooldown_steps=300", "train.batch_tokens=512", "train.evaluate_every=700", "train.evaluate_pairs=20",
        "train.learning_rate=0.7", "train.label_smoothing=0.0", "data.valid_pairs=60",
    )
]  # fmt: skip


def run(arguments, **environment):
    finished = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=280,
        env={**os.environ, **environment}, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.mark.system
@pytest.mark.parametrize("backend", ["torch", "tensorflow", "jax"])
def test_train_export_translate(tmp_path, backend):
    rng = np.random.default_rng(0)
    every = dict.fromkeys(" ".join(rng.choice(list(WORDS), rng.integers(3, 5))) for _ in range(5000))
    rows = [sentence.split() for sentence in rng.permutation(list(every))]
    rows, new = rows[UNSEEN:], rows[:UNSEEN]
    # Reversed, so that attention has to find the place: copying along the diagonal is not enough.
    sides = [" ".join(row) for row in rows], [" ".join(WORDS[word] for word in row[::-1]) for row in rows]
    files = [str(tmp_path / "a.en"), str(tmp_path / "a.it")]
    for path, lines in zip(files, sides, strict=True):
        Path(path).write_text("\n".join(lines) + "\n", "utf-8")
    train = [
        "-m",
        "keras_transformer.fit",
        "--preset",
        "tiny",
        "--train",
        *files,
        "--output",
        str(tmp_path / "run"),
    ]
    run([*train, *SIZES, "--max-steps", "700"], KERAS_BACKEND=backend)
    run(["export/to_onnx.py", str(tmp_path / "run"), "--precision", "fp32,int8"])

    (tmp_path / "new.en").write_text("\n".join(" ".join(row) for row in new) + "\n", "utf-8")
    translated = run(
        [
            "-m",
            "keras_transformer.translate",
            "--model",
            str(tmp_path / "run" / "bundle"),
            str(tmp_path / "new.en"),
        ]
    ).splitlines()
    right = [
        line == " ".join(WORDS[word] for word in row[::-1]) for row, line in zip(new, translated, strict=True)
    ]
    assert sum(right) >= 0.99 * UNSEEN, list(zip(new, translated, strict=True))[:5]
