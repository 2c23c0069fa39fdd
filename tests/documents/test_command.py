"""``translate --file``: what it says, and its exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keras_transformer import translate
from keras_transformer.documents.command import run, summary
from keras_transformer.documents.files import FileReport, SearchChoice
from tests.documents.files import Shouting


def test_a_run_says_how_far_it_is_and_what_stayed(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("A cat.\n{x} friend\n")
    translator = Shouting(lambda text: "" if "friend" in text else text.upper())
    run(translator, tmp_path / "a.txt", tmp_path / "b.txt", SearchChoice())
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.splitlines() == [
        "0 of 2 segments",
        "2 of 2 segments",
        f"{tmp_path / 'b.txt'}: 1 of 2 segments translated",
        "1 stayed as they were, in whole or in part, since no translation passed the checks:",
        "  {x} friend",
    ]


def test_what_is_not_there_to_be_translated_is_told(tmp_path, capsys):
    (tmp_path / "a.html").write_text(
        "<p>Type <code>make  test</code>.</p><pre>x = 1\ny = 2</pre><pre>42</pre>"
    )
    assert run(Shouting(), tmp_path / "a.html", tmp_path / "b.html", SearchChoice()) == 0
    assert capsys.readouterr().err.splitlines()[-4:] == [
        f"{tmp_path / 'b.html'}: 1 of 1 segment translated",
        "2 left as they were (code, formulas, or marked as not to be translated):",
        "  make test",
        "  x = 1 y = 2",
    ]


SLOW = """
import sys, time
from pathlib import Path
from keras_transformer.documents import files
from keras_transformer.documents.command import run
from keras_transformer.documents.files import SearchChoice
from tests.documents.files import Shouting

def speak(text):
    time.sleep(0.002)
    return text.upper()

files._CHARACTERS_AT_ONCE = 300  # seven lines
sys.exit(run(Shouting(speak), Path("a.txt"), Path("b.txt"), SearchChoice()))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of a POSIX system")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_keeps_what_is_done_and_the_same_command_goes_on(tmp_path, number, status):
    text = "".join(f"The {n} cats of number {n} sleep all day long.\n" for n in range(600))
    (tmp_path / "a.txt").write_text(text)
    side = tmp_path / "b.txt.part.jsonl"
    values = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}

    def start():
        return subprocess.Popen(
            [sys.executable, "-c", SLOW], cwd=tmp_path, env=values, stderr=subprocess.PIPE, text=True
        )

    process = start()
    end = time.perf_counter() + 60.0
    while not side.exists() or side.stat().st_size < 2000:
        assert time.perf_counter() < end, "nothing was noted"
        time.sleep(0.005)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    assert errors.endswith("stopped; what is done is kept, and the same command goes on from there\n")
    assert not (tmp_path / "b.txt").exists()
    noted = len(side.read_text().splitlines()) - 1
    assert noted > 0
    process = start()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert f"b.txt: 600 of 600 segments translated, {noted:,} of them by a call before" in errors
    assert (tmp_path / "b.txt").read_text() == text.upper()
    assert not side.exists()


def test_a_summary_is_short():
    report = FileReport(
        1500, 20, (*"abcd", "x" * 100), ("y" * 100,), {"cut_loop": 2, "cut_length": 1, "split": 7}
    )
    assert summary(report, "b.txt").splitlines() == [
        "b.txt: 1,495 of 1,500 segments translated, 20 of them by a call before",
        "5 stayed as they were, in whole or in part, since no translation passed the checks:",
        "  a",
        "  b",
        "  c",
        "  …",
        "1 left as they were (code, formulas, or marked as not to be translated):",
        "  " + "y" * 69 + "…",
        "2 had an endless repetition cut",
        "1 reached the length limit",
    ]


@pytest.mark.parametrize(
    ("arguments", "status"), [(["a.txt", "b.txt"], 0), (["no.txt", "b.txt"], 2), (["a.txt", "b.srt"], 2)]
)
def test_exit_status(tmp_path, monkeypatch, capsys, arguments, status):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("Good morning.\n")
    assert translate.main(["--threads", "1", "--file", *arguments]) == status
    if status == 0:
        assert (tmp_path / "b.txt").read_text() == "Buongiorno.\n"
    else:
        assert capsys.readouterr().err.startswith("error: ")


def test_a_file_goes_with_neither_json_nor_lines(capsys):
    with pytest.raises(SystemExit) as raised:
        translate.main(["--file", "a.txt", "b.txt", "--json"])
    assert raised.value.code == 2
    assert "--file takes neither a FILE beside its own two nor --json" in capsys.readouterr().err
