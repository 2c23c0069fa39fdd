"""What one change brings, on a CPU: small models that differ from "base" in one thing each.

    KERAS_TRANSFORMER_DATA=FOLDER KERAS_BACKEND=torch python recipes/en_it/rows.py CORPUS OUTPUT [NAME ...]

CORPUS is what corpus.py wrote; OUTPUT gets a folder for each row (those that stand there are not trained again) and
OUTPUT/rows.md, the table. "distilled" needs WORK, where gpu.py left `all_en` as a teacher translates it. Each row is
`fit` with rows.toml, ten minutes of one core, then `to_onnx.py --precision fp32` and `benchmarks/quality.py`.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from corpus import archaic_pairs, held_out_keys, read_train, spoken_pairs, write_pairs

from keras_transformer.evaluate import read_file
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.text.tokenizer import Tokenizer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LAST_PHASE = (900, 300)  # updates before it and in it

# Name → what differs, as the table says it; the corpus; settings of `fit`.
SPOKEN = "spoken"  # the everyday sources
WIDE = {
    "model.model_dim": 192, "model.feed_forward_dim": 768, "model.num_heads": 6,
    "model.num_encoder_layers": 2, "model.num_decoder_layers": 1,
}  # fmt: skip
AUGMENTED = {
    "data.augment_capitals_rate": 0.05,
    "data.augment_title_case_rate": 0.05,
    "data.augment_no_full_stop_rate": 0.1,
}
ROWS: dict[str, tuple[str, str, dict[str, object]]] = {
    "base": ("base: V 8,000, width 128, 4+2, dropout and label smoothing 0.1", SPOKEN, {}),
    "vocabulary-4000": ("V 4,000", SPOKEN, {"model.vocabulary_size": 4000}),
    "vocabulary-16000": ("V 16,000", SPOKEN, {"model.vocabulary_size": 16000}),
    "depth-3-3": ("3+3 layers", SPOKEN, {"model.num_encoder_layers": 3, "model.num_decoder_layers": 3}),
    "width-192": ("width 192, 2+1 layers", SPOKEN, WIDE),
    "label-smoothing-0": ("no label smoothing", SPOKEN, {"train.label_smoothing": 0.0}),
    "dropout-0": ("no dropout", SPOKEN, {"model.dropout_rate": 0.0}),
    "everyday": ("with 16,000 pairs of the other sources", "everyday", {}),
    "all": ("with all other sources, 206,000 pairs", "all", {}),
    "last-phase": ("all sources first, those of base for the last 300 updates", "all", {}),
    "augmented": ("5 % in capitals, 5 % in title case, 10 % without full stop", SPOKEN, AUGMENTED),
    "uncleaned": (
        "with the Bible of 1649, no rule on lengths",
        "uncleaned",
        {"data.max_length_ratio": 100.0},
    ),
    "distilled": ("a teacher's translations in place of the real ones", "distilled", {}),
}


SCORES = {
    "valid": "valid",
    "flores200_devtest": "FLORES devtest",
    "newssyscomb2009": "newssyscomb2009",
    "embedded test": "embedded",
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ROWS)}; default: all")
    parser.add_argument("--work", type=Path, help='of gpu.py, for the row "distilled"')
    arguments = parser.parse_args()
    folder = os.environ.get("KERAS_TRANSFORMER_DATA")
    if not folder:
        print("error: KERAS_TRANSFORMER_DATA must name the data folder.", file=sys.stderr)
        return 2
    arguments.output.mkdir(parents=True, exist_ok=True)
    names = arguments.names or list(ROWS)
    for name in names:
        if not (arguments.output / name / "summary.md").exists():
            _train(name, arguments.output / name, arguments, Path(folder) / "en-it")
    for name in names:
        _measure("best", arguments.output / name)
    if "base" in names:
        _measure("averaged", arguments.output / "base")
    _write_tables(arguments.output)
    return 0


def _train(name, run, arguments, data):
    _, corpus, settings = ROWS[name]
    stem = arguments.corpus / corpus
    if not stem.with_suffix(".en").exists():
        MADE[corpus](stem, arguments, data)
    if name != "last-phase":
        _fit(run, stem, data, settings)
        return
    before, after = LAST_PHASE
    first = run.with_name(f".{name}")
    _fit(first, stem, data, {"train.max_steps": before, "train.cooldown_steps": 100})
    # The paper's rate at its highest is factor · D^-0.5 · warm-up^-0.5: the same here as when the first part's rate
    # began to fall.
    again = {"train.max_steps": after, "train.cooldown_steps": after - 20, "train.warmup_steps": 20}
    again["train.learning_rate"] = (20 / (before - 100)) ** 0.5
    _fit(run, arguments.corpus / SPOKEN, data, again, "--init-from", str(first))


def _fit(run, stem, data, settings, *more):
    command = [
        sys.executable, "-m", "keras_transformer.fit", str(HERE / "rows.toml"), "--output", str(run),
        "--train", f"{stem}.en", f"{stem}.it", "--valid", str(data / "valid.en"), str(data / "valid.it"), *more,
    ]  # fmt: skip
    for setting, value in settings.items():
        command += ["--set", f"{setting}={value}"]
    if (run / "checkpoints").is_dir():
        command.append("--resume")
    subprocess.run(command, check=True, cwd=ROOT)


def _measure(checkpoint, run):
    """Export a checkpoint and score it on all test sets: run/CHECKPOINT.json, a row."""
    path, bundle = run / f"{checkpoint}.json", run / f"bundle-{checkpoint}"
    if path.exists():
        return
    export = [sys.executable, "export/to_onnx.py", str(run / "checkpoints" / checkpoint)]
    # Whatever a row was trained on, the same sentences are read in parts.
    export += ["--precision", "fp32", "--longest-source", "56", "--output", str(bundle)]
    subprocess.run(export, check=True, cwd=ROOT)
    row = {"tests": quality(bundle), "weights": Bundle.open(bundle).manifest.num_parameters}
    path.write_text(json.dumps(row, indent=2) + "\n", "utf-8")


def quality(bundle):
    """Test set → what benchmarks/quality.py says of a bundle."""
    command = [sys.executable, "benchmarks/quality.py", "--model", str(bundle)]
    lines = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout
    return {row["test"]: row for row in map(json.loads, lines.splitlines())}


def _spoken(stem, arguments, data):
    write_pairs(stem, spoken_pairs(data, read_train(data)), held_out_keys(data))


def _uncleaned(stem, arguments, data):
    write_pairs(stem, _spoken_lines(arguments) + archaic_pairs(read_train(data)), held_out_keys(data))


def _distilled(stem, arguments, data):
    from gpu import made_pairs
    from token_files import load

    if arguments.work is None:
        raise SystemExit('error: the row "distilled" needs --work WORK.')
    tokenizer = Tokenizer.from_file(arguments.work / "tokenizer.json")
    wanted = {english for english, _ in _spoken_lines(arguments)}
    pairs = made_pairs(arguments.work, load(arguments.work / "tokens.npz"), "all_en")
    texts = [tuple(" ".join(tokenizer.decode(ids.tolist()).split()) for ids in pair) for pair in pairs]
    write_pairs(stem, [pair for pair in texts if pair[0] in wanted], held_out_keys(data))


def _spoken_lines(arguments):
    return list(
        zip(*(read_file(arguments.corpus / f"{SPOKEN}.{side}") for side in ("en", "it")), strict=True)
    )


MADE = {"spoken": _spoken, "uncleaned": _uncleaned, "distilled": _distilled}


def _write_tables(output):
    """All rows that were measured: OUTPUT/rows.md."""
    rows = []
    for name, (change, _, _) in ROWS.items():
        for checkpoint, more in (("best", ""), ("averaged", "; mean of the last 5 checkpoints")):
            path = output / name / f"{checkpoint}.json"
            if path.exists():
                rows.append((f"{change}{more}", json.loads(path.read_text("utf-8"))))
    sources = [test for test in rows[0][1]["tests"] if test.startswith("valid:")]
    tables = [
        table(
            ["change", *SCORES.values(), "weights"],
            [
                [
                    change,
                    *(_pair(row, test) for test in SCORES),
                    f"{row['weights'] / 1e6:.1f}M",
                ]
                for change, row in rows
            ],
        ),
        table(
            ["change", *(test.removeprefix("valid: ") for test in sources)],
            [[change, *(_pair(row, test) for test in sources)] for change, row in rows],
        ),
    ]
    (output / "rows.md").write_text("\n".join(tables), "utf-8")


def _pair(row, test):
    return f"{row['tests'][test]['bleu']:.1f} / {row['tests'][test]['chrf']:.1f}"


def table(head, rows):
    """Markdown."""
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [head, ["---"] * len(head), *rows])


if __name__ == "__main__":
    sys.exit(main())
