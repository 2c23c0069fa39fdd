"""The command `evaluate`: scores of a bundle on a test set."""

from __future__ import annotations

import gzip
import json
import sys
from types import SimpleNamespace

import pytest
import sacrebleu

from keras_transformer import evaluate
from keras_transformer.errors import UserError
from keras_transformer.runtime.translator import Translation
from tests.onnx_export import runs

SOURCES = ["the cat sleeps on the table", "a small red house", "42", "the table is red today"]
OUTPUTS = ["il gatto dorme sul tavolo", "una piccola casa rossa", "42", "la tavola è rossa oggi"]
REFERENCES = ["il gatto dorme sul tavolo", "una casa rossa e piccola", "42", "il tavolo è rosso oggi"]


def scripted():
    by_source = dict(zip(SOURCES, OUTPUTS, strict=True))
    flags = {"42": ("copied",), SOURCES[0]: ("cut_loop", "split"), SOURCES[1]: ("split",)}

    asked = []

    def translate(texts, **options):
        asked.append(options)
        return [Translation(by_source[text], text, flags.get(text, ())) for text in texts]

    return SimpleNamespace(name="scripted", precision="int8", device="cpu", translate=translate, asked=asked)


def test_the_scores_are_sacrebleus_own():
    result = evaluate.evaluate(scripted(), SOURCES, REFERENCES)
    assert result.bleu == round(sacrebleu.corpus_bleu(OUTPUTS, [REFERENCES]).score, 2)
    assert result.chrf == round(sacrebleu.corpus_chrf(OUTPUTS, [REFERENCES]).score, 2)
    assert 20 < result.bleu < result.chrf < 100
    assert result.bleu_signature.startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert result.chrf_signature.startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")


def test_flags_speed_and_names_are_reported():
    result = evaluate.evaluate(scripted(), SOURCES, REFERENCES)
    assert result.flags == {"copied": 1, "cut_loop": 1, "split": 2}
    assert (result.model, result.precision, result.device, result.num_sentences) == (
        "scripted", "int8", "cpu", 4,
    )  # fmt: skip
    assert result.sentences_per_second > 0


def test_the_search_is_passed_on_and_reported():
    translator = scripted()
    result = evaluate.evaluate(translator, SOURCES, REFERENCES, 4, 0.8)
    assert translator.asked == [{"beam_size": 4, "length_penalty": 0.8}]
    assert (result.beam_size, result.length_penalty) == (4, 0.8)
    assert "search beam of 4, length penalty 0.8" in evaluate.table(result)
    greedy = evaluate.evaluate(scripted(), SOURCES, REFERENCES)
    assert (greedy.beam_size, greedy.length_penalty) == (1, None)
    assert "search greedy" in evaluate.table(greedy)


def test_a_perfect_translation_scores_100():
    result = evaluate.evaluate(scripted(), SOURCES, OUTPUTS)
    assert (result.bleu, result.chrf) == (100.0, 100.0)


def test_unequal_counts_are_refused():
    message = (
        r"^source and reference must have as many lines, got 4 and 3\. "
        r"Line N of one belongs to line N of the other\.$"
    )
    with pytest.raises(UserError, match=message):
        evaluate.evaluate(scripted(), SOURCES, REFERENCES[:3])


def test_nothing_to_score_is_refused():
    message = r"^source and reference are empty\. Name files with at least one line\.$"
    with pytest.raises(UserError, match=message):
        evaluate.evaluate(scripted(), [], [])


def test_without_sacrebleu_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    message = (
        r"^scoring needs sacrebleu, which is not installed\. "
        r"Run: pip install 'keras_transformer\[evaluate\]'$"
    )
    with pytest.raises(UserError, match=message):
        evaluate.evaluate(scripted(), SOURCES, REFERENCES)


def test_files_are_read_plain_or_packed(tmp_path):
    text = "uno\r\n\ndue\u2028tre\n".encode()
    plain, packed = tmp_path / "a.it", tmp_path / "a.it.GZ"
    plain.write_bytes(text)
    packed.write_bytes(gzip.compress(text))
    assert evaluate.read_file(plain) == evaluate.read_file(packed) == ["uno", "", "due\u2028tre"]


@pytest.mark.parametrize("harm", ["no gzip", "cut", "flipped"])
def test_a_packed_file_that_is_damaged_is_named(tmp_path, capsys, harm):
    path = tmp_path / "a.gz"
    packed = bytearray(gzip.compress(b"not so short a line of text\n"))
    packed[12] ^= 0xFF
    path.write_bytes({"no gzip": b"not packed\n", "cut": bytes(packed[:20]), "flipped": bytes(packed)}[harm])
    assert evaluate.main(["--source", str(path), "--reference", str(path)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"error: cannot read {path}: ")


def test_a_line_that_is_not_utf8_is_named(tmp_path, capsys):
    path = tmp_path / "a.en"
    path.write_bytes(b"a\nb\xff\n")
    assert evaluate.main(["--source", str(path), "--reference", str(path)]) == 2
    expected = (
        f"error: {path}, line 2: not UTF-8 (byte 2 is 0xff). Convert it first, for example with iconv.\n"
    )
    assert capsys.readouterr().err == expected


@pytest.fixture(scope="module")
def bundle_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    config = runs.config(max_length=64)
    runs.write_bundle(folder, config, runs.weights_of(config))
    return folder


@pytest.fixture
def command(bundle_folder, tmp_path):
    (tmp_path / "a.en").write_text("\n".join(SOURCES) + "\n")
    (tmp_path / "a.it").write_text("\n".join(REFERENCES) + "\n")
    (tmp_path / "short.it").write_text("\n".join(REFERENCES[:2]) + "\n")

    def run(reference, *arguments):
        files = ["--source", str(tmp_path / "a.en"), "--reference", str(tmp_path / reference)]
        return evaluate.main(
            ["--model", str(bundle_folder), "--device=cpu", "--threads=1", *files, *arguments]
        )

    return run


def test_the_command_writes_one_json_object(command, capsys):
    assert command("a.it", "--json") == 0
    output = capsys.readouterr()
    result = json.loads(output.out)
    assert output.err == ""
    assert (result["num_sentences"], result["precision"], result["device"]) == (4, "fp32", "cpu")
    assert result["flags"]["copied"] == 1
    assert 0 <= result["bleu"] < 50  # random weights


def test_the_command_writes_a_table(command, capsys):
    assert command("a.it") == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == ["model", "search", "BLEU", "chrF", "speed", "flags"]
    assert rows[0].endswith("test (fp32, cpu)")


def test_the_command_refuses_unequal_counts(command, capsys):
    assert command("short.it") == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: source and reference must have as many lines, got 4 and 2.")
