"""``translate --file``: what it says, and its exit status."""

from __future__ import annotations

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
        f"{tmp_path / 'b.txt'}: 2 segments translated",
        "1 stayed as they were, in whole or in part:",
        "  {x} friend",
    ]


def test_a_summary_is_short():
    report = FileReport(1500, 20, (*"abcd", "x" * 100), {"cut_loop": 2, "cut_length": 1, "split": 7})
    assert summary(report, "b.txt").splitlines() == [
        "b.txt: 1,500 segments translated, 20 of them by a call before",
        "5 stayed as they were, in whole or in part:",
        "  a",
        "  b",
        "  c",
        "  …",
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
