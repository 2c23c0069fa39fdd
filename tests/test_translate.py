"""The command `translate`: lines in, lines out."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from keras_transformer import translate
from keras_transformer.errors import UserError
from keras_transformer.runtime.translator import ScoredText, Translation, Translator
from tests.onnx_export import runs

ROOT = Path(__file__).resolve().parents[1]


def shout(lines):
    return [Translation(line.upper(), line, ("split",) if "+" in line else ()) for line in lines]


class Slices(io.RawIOBase):
    """A stream that hands out one given piece at each read."""

    def __init__(self, *pieces):
        self.pieces = list(pieces)

    def read1(self, size):
        return self.pieces.pop(0) if self.pieces else b""


def lines_of(*pieces):
    return list(translate.read_lines(Slices(*pieces), "stdin"))


def test_lines_come_as_they_arrive():
    assert lines_of(b"one\n", b"tw", b"o\nthr", b"ee\nfour\n", b"five") == [
        ["one"],
        ["two"],
        ["three", "four"],
        ["five"],
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a\n\n\nb\n", ["a", "", "", "b"]),
        (b"a\nb", ["a", "b"]),
        (b"a\r\nb\r\n", ["a\r", "b\r"]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", ["a", "\ufeffb"]),
        ("a\u2028b\x0bc\x85d\re\n".encode(), ["a\u2028b\x0bc\x85d\re"]),
    ],
)
def test_a_line_ends_at_a_line_feed_and_nowhere_else(data, expected):
    assert [line for lines in lines_of(data) for line in lines] == expected
    one_by_one = lines_of(*(bytes([byte]) for byte in data))
    assert [line for lines in one_by_one for line in lines] == expected


def test_bytes_that_are_not_utf8_name_the_line_and_the_lines_before_go_out():
    found = []

    def read():
        for lines in translate.read_lines(Slices(b"a\nb\nc", b"\nper\xe8 no\nd\n"), "stdin"):
            found.extend(lines)

    message = r"^stdin, line 4: not UTF-8 \(byte 4 is 0xe8\)\. Convert it first, for example with iconv\.$"
    with pytest.raises(UserError, match=message):
        read()
    assert found == ["a", "b", "c"]


def test_each_chunk_is_written_and_flushed_before_the_next_is_read():
    events = []

    class Output(io.BytesIO):
        def write(self, data):
            events.append(data)
            return len(data)

        def flush(self):
            events.append("flush")

    def chunks():
        for lines in (["a", "b"], ["c"]):
            events.append("read")
            yield lines

    translate.translate_lines(shout, chunks(), Output(), as_json=False)
    assert events == ["read", b"A\n", b"B\n", "flush", "read", b"C\n", "flush"]


def test_carriage_returns_stay_and_are_no_part_of_the_text():
    seen = []

    def noted(lines):
        seen.extend(lines)
        return shout(lines)

    output = io.BytesIO()
    translate.translate_lines(noted, [["a\r", "", "\r"]], output, as_json=False)
    assert output.getvalue() == b"A\r\n\n\r\n"
    assert seen == ["a", "", ""]


def test_json_lines():
    output = io.BytesIO()
    translate.translate_lines(shout, [["è +", "b"]], output, as_json=True)
    assert "È".encode() in output.getvalue()
    assert [json.loads(line) for line in output.getvalue().splitlines()] == [
        {"source": "è +", "text": "È +", "flags": ["split"]},
        {"source": "b", "text": "B", "flags": []},
    ]


def test_a_record_holds_scores_and_hypotheses_where_they_were_asked_for():
    best, second = ScoredText("B", -0.25), ScoredText("C", -0.123456)
    assert translate.as_record(Translation("B", "b", score=-0.25, hypotheses=(best, second))) == {
        "source": "b",
        "text": "B",
        "score": -0.25,
        "hypotheses": [{"text": "B", "score": -0.25}, {"text": "C", "score": -0.1235}],
        "flags": [],
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--n-best=2", "--json"], "argument --n-best: must be at most --beam-size (1), got 2"),
        (["--scores"], "--scores and --n-best need --json"),
        (["--beam-size=3", "--n-best=2"], "--scores and --n-best need --json"),
        (["--length-penalty=-1"], "argument --length-penalty: must be a number from 0 to 10, got '-1'"),
        (["--length-penalty=nan"], "argument --length-penalty: must be a number from 0 to 10, got 'nan'"),
        (["--length-penalty=1000"], "argument --length-penalty: must be a number from 0 to 10, got '1000'"),
        (["--beam-size=257"], "argument --beam-size: must be at most 256, got '257'"),
    ],
)
def test_search_arguments_that_make_no_sense_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        translate.main(arguments)
    assert exit_.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.endswith(f"error: {message}\n")


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "²"])
def test_threads_must_be_a_positive_number(value, capsys):
    with pytest.raises(SystemExit) as exit_:
        translate.main([f"--threads={value}"])
    assert exit_.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert f"argument --threads: must be a whole number of at least 1, got {value!r}" in output.err


def test_more_threads_than_any_machine_has_cores_are_refused(capsys):
    with pytest.raises(SystemExit) as exit_:
        translate.build_parser().parse_args(["--threads=1025"])  # nothing is loaded
    assert exit_.value.code == 2
    assert "argument --threads: must be at most 1024, got '1025'" in capsys.readouterr().err
    assert translate.build_parser().parse_args(["--threads=1024"]).threads == 1024


@pytest.mark.parametrize("name", ["letter.docx", "page.HTML", "film.srt"])
def test_a_document_is_sent_to_the_option_for_documents(name, tmp_path, capsys):
    (tmp_path / name).write_bytes(b"PK\xff")
    assert translate.main([str(tmp_path / name)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    path = tmp_path / name
    assert output.err == (
        f"error: FILE must be a text to translate line by line, got the document {path}. "
        f"Translate it with --file {path} OUT{path.suffix}.\n"
    )


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_a_file_that_cannot_be_read_is_named(kind, tmp_path, capsys):
    path, reason = (tmp_path / "no.txt", "no such file or directory")
    if kind == "folder":
        path, reason = tmp_path, "is a directory"
    assert translate.main([str(path)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == f"error: cannot read {path}: {reason}. Name a UTF-8 text file.\n"


def test_a_bundle_that_is_none_is_named(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("a\n")
    assert translate.main(["--model", str(tmp_path / "none"), str(tmp_path / "a.txt")]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert re.fullmatch(r"error: .*none.*\n", output.err)


def test_a_full_disk_is_one_sentence(monkeypatch, capsys):
    def fill():
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(translate, "_drop_stdout", lambda: None)
    assert translate.run_command(fill) == 1
    assert capsys.readouterr().err == "error: reading or writing failed: no space left on device.\n"


@pytest.mark.parametrize("stream", ["stdin", "stdout"])
def test_a_closed_stream_is_named(stream, monkeypatch, capsys):
    monkeypatch.setattr(sys, stream, None)
    assert translate.main([]) == 2
    assert capsys.readouterr().err.startswith(f"error: {stream} must be open, it is closed. ")


# The command as a process, over a bundle of random weights.


@pytest.fixture(scope="module")
def bundle_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    config = runs.config(max_length=64)
    runs.write_bundle(folder, config, runs.weights_of(config))
    return folder


def start(bundle_folder, *arguments):
    command = [sys.executable, "-m", "keras_transformer.translate", "--model", str(bundle_folder)]
    return subprocess.Popen(
        [*command, "--threads=1", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


TEXT = "the cat sleeps. a red house\n\n  42\na small house\n🙂\nthe cat sleeps. a red house\n\n"


@pytest.mark.parametrize("from_file", [True, False])
def test_as_many_lines_out_as_in_and_the_translators_own(bundle_folder, tmp_path, from_file):
    arguments = []
    if from_file:
        (tmp_path / "a.txt").write_text(TEXT)
        arguments = [str(tmp_path / "a.txt")]
    process = start(bundle_folder, *arguments)
    out, err = process.communicate(b"" if from_file else TEXT.encode())
    assert (process.returncode, err) == (0, b"")
    translator = Translator.from_pretrained(bundle_folder, "cpu", 1)
    expected = [translator.translate(line).text for line in TEXT.split("\n")[:-1]]
    assert out.decode().split("\n") == [*expected, ""]
    assert expected[1:3] == ["", "  42"]


def test_a_beam_gives_scores_and_as_many_hypotheses_as_asked_for(bundle_folder):
    process = start(bundle_folder, "--json", "--beam-size=3", "--n-best=2", "--length-penalty=1")
    out, err = process.communicate(b"the old cat\n42\n")
    assert (process.returncode, err) == (0, b"")
    found, copied = map(json.loads, out.splitlines())
    translator = Translator.from_pretrained(bundle_folder, "cpu", 1)
    expected = translator.translate("the old cat", beam_size=3, num_hypotheses=2, length_penalty=1.0)
    assert [one["text"] for one in found["hypotheses"]] == [one.text for one in expected.hypotheses]
    assert found["text"] == found["hypotheses"][0]["text"] == expected.text
    assert found["score"] == found["hypotheses"][0]["score"] < 0
    assert (copied["text"], copied["score"], copied["flags"]) == ("42", 0.0, ["copied"])


def test_a_dialogue_is_answered_line_by_line_and_ctrl_c_ends_it_quietly(bundle_folder):
    process = start(bundle_folder, "--json")
    for line in ("the cat", "", "a red house"):
        process.stdin.write(line.encode() + b"\n")
        process.stdin.flush()
        assert (
            json.loads(process.stdout.readline())["source"] == line
        )  # a hang here meets the suite's timeout
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out, err) == (130, b"", b"")


def test_a_reader_that_leaves_ends_it_quietly(bundle_folder):
    process = start(bundle_folder)
    process.stdin.write(b"the cat\n")
    process.stdin.flush()
    assert process.stdout.readline()
    process.stdout.close()
    process.stdin.write(b"a red house\n")
    process.stdin.close()
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(), err) == (1, b"")


def test_a_bad_line_ends_it_after_the_good_ones(bundle_folder):
    process = start(bundle_folder)
    out, err = process.communicate(b"the cat\n42\nper\xe8\na house\n")
    assert process.returncode == 2
    assert out.count(b"\n") == 2
    assert err == (
        b"error: stdin, line 3: not UTF-8 (byte 4 is 0xe8). Convert it first, for example with iconv.\n"
    )
