"""The command: what it prints, what it leaves, how it ends."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from keras_transformer.errors import UserError
from keras_transformer.evaluate import evaluate
from keras_transformer.onnx_export.add_shortlist import add_shortlist
from keras_transformer.onnx_export.checkpoint import find_checkpoint, load_checkpoint
from keras_transformer.onnx_export.export import export_bundle
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.runtime.translator import Translator
from tests.onnx_export import runs

ROOT = Path(__file__).resolve().parents[2]


def to_onnx(*arguments, folder=ROOT):
    command = [sys.executable, str(ROOT / "export" / "to_onnx.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=120)


def test_a_run_becomes_a_bundle(tmp_path):
    run = runs.write_run(tmp_path / "run", licences=["CC BY 2.0 FR (Tatoeba)"])
    done = to_onnx(run, "--licence", "Apache-2.0")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        f"{run}/checkpoints/best -> {run}/bundle",
        "int8: no validation text (--valid): BLEU and chrF are not checked",
        "fp32: writing",
        "int8: writing",
        "fp32: checking against the Keras model",
        "int8: checking against the Keras model",
    ]
    assert done.stdout.startswith(f"{run}/bundle: fp32 0.4 MB (logits within ")
    assert "greedy equal in 7 of 7 rows); int8 0.1 MB" in done.stdout
    assert done.stdout.count("\n") == 1
    bundle = Bundle.open(run / "bundle")
    assert bundle.manifest.licences == ("CC BY 2.0 FR (Tatoeba)", "Apache-2.0")
    assert bundle.manifest.training == {"steps": 12, "data": "four sentences"}
    assert bundle.manifest.scores == {"valid": {"bleu": 1.5}}
    assert bundle.manifest.name == "en-it run"
    assert oct((run / "bundle").stat().st_mode)[-3:] == "755"
    card = (run / "bundle" / "README.md").read_text("utf-8")
    assert "pipeline_tag: translation" in card
    assert "license: other" in card
    assert "- CC BY 2.0 FR (Tatoeba)" in card


@pytest.mark.parametrize(("arguments", "expected"), [((), 57), (("--longest-source", "44"), 44)])
def test_the_bundle_knows_which_sentences_to_read_in_parts(tmp_path, arguments, expected):
    run = runs.write_run(tmp_path / "run", longest_source=57)
    done = to_onnx(run, "--precision", "fp32", *arguments)
    assert done.returncode == 0, done.stderr
    assert Bundle.open(run / "bundle").manifest.longest_source == expected
    card = (run / "bundle" / "README.md").read_text("utf-8")
    assert f"A sentence of more than {expected} tokens is read in parts." in card


def test_notes_and_test_sets_go_into_the_card(tmp_path):
    run = runs.write_run(tmp_path / "run")
    (run / "model_card.md").write_text("It knows four sentences.\n", "utf-8")
    for side, lines in (("en", runs.SENTENCES[1::2]), ("it", runs.SENTENCES[::2])):
        (tmp_path / side).write_text("".join(f"{line}\n" for line in lines), "utf-8")
    done = to_onnx(
        run, "--precision", "int8", "--output", tmp_path / "deep" / "out", "--name", "ours",
        "--hub-licence", "cc-by-4.0", "--test", "cats", tmp_path / "en", tmp_path / "it",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "int8: scoring 2 pairs of cats" in done.stderr
    bundle = Bundle.open(tmp_path / "deep" / "out")
    score = bundle.manifest.scores["tests"]["cats"]
    translator = Translator.from_pretrained(tmp_path / "deep" / "out", "cpu")
    expected = evaluate(translator, runs.SENTENCES[1::2], runs.SENTENCES[::2])
    assert (score["pairs"], score["precision"]) == (2, "int8")
    assert (score["bleu"], score["chrf"]) == (expected.bleu, expected.chrf)
    card = (tmp_path / "deep" / "out" / "README.md").read_text("utf-8")
    assert "license: cc-by-4.0" in card
    assert "\n\nIt knows four sentences.\n\n" in card
    assert f"| cats | 2 | int8 | {expected.bleu} | {expected.chrf} |" in card
    assert list(bundle.manifest.precisions) == ["int8"]
    assert bundle.manifest.name == "ours"
    assert not (run / "bundle").exists()


def test_without_a_run_the_newest_is_taken(tmp_path):
    for age, name in ((200, "old"), (100, "new")):
        run = runs.write_run(tmp_path / "runs" / name)
        path = run / "checkpoints" / "best" / "model.json"
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    done = to_onnx("--precision", "fp32", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tmp_path}/runs/new/bundle: ")


def test_a_failed_gate_leaves_the_older_bundle_alone_and_nothing_else(tmp_path):
    config = runs.config()
    arrays = runs.reference_arrays(config, runs.weights_of(config))
    good = runs.write_run(tmp_path / "good", arrays=arrays)
    arrays["reference_1/logits"] = arrays["reference_1/logits"] + np.float32(0.5)
    bad = runs.write_run(tmp_path / "bad", arrays=arrays)

    first = to_onnx(bad, "--output", tmp_path / "out")
    assert first.returncode == 1
    assert first.stdout == ""
    assert first.stderr.splitlines()[-1].startswith(
        "failed: fp32: logits of reference_1 differ most at row 0"
    )
    assert first.stderr.endswith(". No bundle was written.\n")
    assert "Traceback" not in first.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "good"]

    assert to_onnx(good, "--output", tmp_path / "out").returncode == 0
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    assert to_onnx(bad, "--output", tmp_path / "out").returncode == 1
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before
    Bundle.open(tmp_path / "out")


def test_neither_a_framework_nor_the_model_is_imported(tmp_path):
    run = runs.write_run(tmp_path / "run")
    code = (
        "import sys, runpy\n"
        f"sys.argv = ['to_onnx.py', {str(run)!r}, '--precision', 'int8']\n"
        "try:\n"
        f"    runpy.run_path({str(ROOT / 'export' / 'to_onnx.py')!r}, run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0, end.code\n"
        "frameworks = {'keras', 'torch', 'tensorflow', 'jax'}\n"
        "found = frameworks & {name.split('.')[0] for name in sys.modules}\n"
        "found |= {'keras_transformer.model', 'keras_transformer.layers'} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert done.returncode == 0, done.stderr


def edited(run, **changes):
    path = run / "checkpoints" / "best" / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), "utf-8")


def with_another_width(run):
    edited(run, model=runs.config(model_dim=40).to_dict())


def with_a_vocabulary_of(size):
    def harm(run):
        config = runs.config(vocabulary_size=size)
        edited(run, model=config.to_dict())
        save_file(runs.weights_of(config), str(run / "checkpoints" / "best" / "weights.safetensors"))

    return harm


def unlinked(name):
    return lambda run: (run / name).unlink()


def rewritten(name, text):
    return lambda run: (run / name).write_text(text, "utf-8")


BEST = "checkpoints/best"
CROSS = "cross_attention/key_value/kernel"


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            unlinked("tokenizer.json"),
            "RUN must hold tokenizer.json, found none at {run}/tokenizer.json. Train one",
        ),
        (
            rewritten(f"{BEST}/weights.safetensors", "junk"),
            "{best}/weights.safetensors must be whole, it is not:",
        ),
        (
            unlinked(f"{BEST}/weights.safetensors"),
            "A checkpoint must hold weights.safetensors, found none at {best}/weights.safetensors.",
        ),
        (rewritten(f"{BEST}/model.json", "{"), "{best}/model.json must be readable JSON, it is not:"),
        (
            lambda run: (run / "model_card.md").write_bytes(b"Modello \xe8 buono\n"),
            "{run}/model_card.md must be readable UTF-8 text, it is not:",
        ),
        (lambda run: edited(run, format=7), "{best}/model.json must have format 1, got 7."),
        (
            lambda run: edited(run, source_language=None),
            "{best}/model.json must hold 'source_language', got None.",
        ),
        (
            with_another_width,
            (
                "{best}/weights.safetensors: embedding/table must be float32 (418, 40) for the sizes in "
                "model.json, got float32 (418, 30)."
            ),
        ),
        (
            lambda run: edited(run, model=runs.config(num_decoder_layers=2).to_dict()),
            f"{{best}}/weights.safetensors must hold no weight decoder_layers/2/{CROSS} for its sizes.",
        ),
        (
            lambda run: edited(run, model=runs.config(num_decoder_layers=4).to_dict()),
            f"{{best}}/weights.safetensors must hold the weight decoder_layers/3/{CROSS} for its sizes.",
        ),
        (
            with_a_vocabulary_of(400),
            (
                "{run}/tokenizer.json must fit the model (400 tokens, special ids (0, 1, 2, 3)), "
                "got 418 tokens and (0, 1, 2, 3)."
            ),
        ),
        (
            with_a_vocabulary_of(430),
            (
                "{run}/tokenizer.json must fit the model (430 tokens, special ids (0, 1, 2, 3)), "
                "got 418 tokens and (0, 1, 2, 3)."
            ),
        ),
    ],
)
def test_a_damaged_run_is_a_sentence_and_exit_code_2(tmp_path, harm, message):
    run = runs.write_run(tmp_path / "run")
    harm(run)
    done = to_onnx(run)
    assert done.returncode == 2
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: " + message.format(run=run, best=run / "checkpoints" / "best"))
    assert not (run / "bundle").exists()
    assert "checking" not in done.stderr  # told before the work


def test_usage(tmp_path):
    twice = to_onnx(tmp_path, "--test", "a", "b", "c", "--test", "a", "d", "e")
    assert twice.returncode == 2
    assert "error: --test must name each set once, got 'a' 2 times. Rename one." in twice.stderr
    nowhere = to_onnx(tmp_path / "no")
    assert nowhere.returncode == 2
    assert nowhere.stderr.startswith("error: RUN must hold checkpoints/best or checkpoints/last, ")
    assert to_onnx(folder=tmp_path).stderr.startswith(
        f"error: RUN must be given where {tmp_path}/runs holds no"
    )
    assert to_onnx("--precision", "fp64").returncode == 2
    wrong = to_onnx("--longest-source", "0")
    assert wrong.returncode == 2
    assert "--longest-source: must be a number of tokens, at least 1, got '0'" in wrong.stderr
    shown = to_onnx("--help")
    assert shown.returncode == 0
    assert "exit codes: 0 done, 1 the check failed, 2 wrong usage or input" in shown.stdout


def test_a_folder_with_something_else_is_not_overwritten(tmp_path):
    run = runs.write_run(tmp_path / "run")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work", "utf-8")
    done = to_onnx(run, "--output", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"error: --output must be a new folder or an older bundle, {tmp_path}/out is neither. "
        "Choose another folder."
    )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_a_shortlist_comes_with_the_export_or_later(tmp_path):
    run = runs.write_run(tmp_path / "run")
    text = []
    for side, lines in (("en", runs.SENTENCES[1::2]), ("it", runs.SENTENCES[::2])):
        text.append(tmp_path / f"{side}.gz")
        text[-1].write_bytes(gzip.compress("".join(f"{line}\n" for line in lines * 5).encode()))
    done = to_onnx(run, "--precision", "int8", "--shortlist", *text)
    assert done.returncode == 0, done.stderr
    assert "shortlist: learning from 10 pairs" in done.stderr.splitlines()
    data = (run / "bundle" / "shortlist.npz").read_bytes()
    plain = tmp_path / "plain"
    assert to_onnx(run, "--precision", "int8", "--output", plain).returncode == 0
    assert Bundle.open(plain).manifest.shortlist is None
    command = [sys.executable, str(ROOT / "export" / "add_shortlist.py"), str(plain), *map(str, text)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, f"{plain}: shortlist.npz, 0.0 MB\n")
    assert Bundle.open(plain).read_shortlist().to_bytes() == data
    with_it = Translator.from_pretrained(plain, "cpu", 1, shortlist=True)
    assert with_it.translate(runs.SENTENCES[1]).text
    done = subprocess.run(
        [*command[:2], str(tmp_path), *command[3:]], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: A model must be a folder with a manifest.json")


PAIRS = [(runs.SENTENCES[1], runs.SENTENCES[0]), (runs.SENTENCES[3], runs.SENTENCES[2])] * 5


def test_the_folder_of_the_process_may_be_exported_into_and_given_a_shortlist(tmp_path, monkeypatch):
    checkpoint = load_checkpoint(find_checkpoint(runs.write_run(tmp_path / "run")))
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    bundle = export_bundle(checkpoint, Path("."), ["fp32"])
    assert bundle.folder == tmp_path / "out"
    monkeypatch.chdir(tmp_path / "out")
    (tmp_path / "out" / "mine.txt").write_text("", "utf-8")
    assert add_shortlist(Path("."), PAIRS).manifest.shortlist is not None
    assert (tmp_path / "out" / "mine.txt").exists()  # a shortlist takes nothing away


def test_a_text_of_no_use_for_a_shortlist_is_told_before_the_work(tmp_path):
    checkpoint = load_checkpoint(find_checkpoint(runs.write_run(tmp_path / "run")))
    lines = []
    with pytest.raises(
        UserError, match=r"\AA text to learn a shortlist from must hold sentence pairs of 1 to "
    ):
        export_bundle(
            checkpoint,
            tmp_path / "out",
            ["fp32"],
            training_text=[("cat " * 101, "gatto")],
            report=lines.append,
        )
    assert lines == ["shortlist: learning from 1 pairs"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(("place", "name"), [("checkpoints", "best"), ("checkpoints/best", ".")])
def test_a_checkpoint_finds_its_run_from_wherever_it_is_named(tmp_path, monkeypatch, place, name):
    run = runs.write_run(tmp_path / "run")
    monkeypatch.chdir(run / place)
    assert load_checkpoint(find_checkpoint(Path(name))).run == run
