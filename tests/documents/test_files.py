"""Files from end to end: progress, an end and a new start, what stays untranslated; with and without a model."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from keras_transformer.decoding.cancellation import Cancellation, Cancelled
from keras_transformer.documents import files
from keras_transformer.documents.files import (
    SUFFIXES,
    FileProgress,
    SearchChoice,
    check_paths,
    open_file,
    parse,
    translate_file,
)
from keras_transformer.errors import UserError
from keras_transformer.runtime.translator import Translator
from tests.documents.files import Shouting, word_document

LINES = "".join(f"The cat number {number} sleeps.\n" for number in range(1, 21))


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(files, "_CHARACTERS_AT_ONCE", 96)  # four lines


def test_a_file_is_translated_and_reported(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfA cat.\r\n\r\n  42\r\nTwo dogs.")
    report = translate_file(Shouting(), tmp_path / "a.txt", tmp_path / "b.txt")
    assert (tmp_path / "b.txt").read_bytes() == b"\xef\xbb\xbfA CAT.\r\n\r\n  42\r\nTWO DOGS."
    assert (report.segments, report.resumed, report.kept, report.flags) == (2, 0, (), {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt"]


def test_progress_goes_from_nothing_to_all(tmp_path, small_batches):
    (tmp_path / "a.txt").write_text(LINES)
    seen = []
    translate_file(Shouting(), tmp_path / "a.txt", tmp_path / "b.txt", on_progress=seen.append)
    assert seen[0] == FileProgress(0, 20)
    assert seen[-1] == FileProgress(20, 20)
    assert seen == sorted(seen)
    assert len(seen) > 4


def test_an_ended_call_goes_on_where_it_stopped(tmp_path, small_batches):
    (tmp_path / "a.txt").write_text(LINES)
    paths = (tmp_path / "a.txt", tmp_path / "b.txt")
    with pytest.raises(KeyboardInterrupt):
        translate_file(Shouting(fail_after=10), *paths)
    assert not paths[1].exists()
    second = Shouting()
    report = translate_file(second, *paths)
    assert report.resumed == 8  # two whole batches of four
    assert len(second.texts) == 12
    assert paths[1].read_text() == LINES.upper()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt"]


@pytest.mark.parametrize("what", ["source", "model", "search", "damaged", "cut", "shape"])
def test_what_was_done_is_used_for_the_same_file_and_model_only(tmp_path, small_batches, what):
    (tmp_path / "a.txt").write_text(LINES)
    paths = (tmp_path / "a.txt", tmp_path / "b.txt")
    with pytest.raises(KeyboardInterrupt):
        translate_file(Shouting(fail_after=10), *paths)
    side = tmp_path / "b.txt.part.jsonl"
    translator, search, resumed, text = Shouting(), SearchChoice(), 0, LINES
    if what == "source":
        text = LINES.replace("cat", "dog")
        paths[0].write_text(text)
    elif what == "model":
        translator.fingerprint = "another"
    elif what == "search":
        search = SearchChoice(beam_size=4)
    elif what == "damaged":
        side.write_text("{" + side.read_text())
    elif what == "shape":
        lines = side.read_text().splitlines(keepends=True)
        side.write_text("".join([*lines[:4], '["a", null]\n', *lines[5:]]))
        resumed = 3
    else:
        side.write_text(side.read_text()[:-5])
        resumed = 7
    assert translate_file(translator, *paths, search=search).resumed == resumed
    assert paths[1].read_text() == text.upper()


def test_a_cancelled_call_keeps_what_it_did(tmp_path, small_batches):
    (tmp_path / "a.txt").write_text(LINES)
    paths = (tmp_path / "a.txt", tmp_path / "b.txt")
    cancellation = Cancellation()

    def stop(progress):
        if progress.done == 8:
            cancellation.cancel()

    with pytest.raises(Cancelled):
        translate_file(Shouting(), *paths, cancellation=cancellation, on_progress=stop)
    assert len((tmp_path / "b.txt.part.jsonl").read_text().splitlines()) == 9
    assert translate_file(Shouting(), *paths).resumed == 8


def test_what_stays_untranslated_is_reported(tmp_path):
    (tmp_path / "a.html").write_text("<p>Hello <b>my</b> friend {x}.</p><p>A dog.</p>")
    report = translate_file(
        Shouting(lambda text: "" if "friend" in text else text.upper()),
        tmp_path / "a.html",
        tmp_path / "b.html",
    )
    assert report.kept == ("Hello <g1>my</g1> friend {x}.",)
    assert report.flags == {"kept": 1}
    assert (tmp_path / "b.html").read_text() == "<p>Hello <b>my</b> friend {x}.</p><p>A DOG.</p>"


def test_a_translation_that_lost_a_code_is_not_used_and_reported(tmp_path):
    class Careless(Shouting):
        def _translate(self, text):
            return super()._translate(text.replace("<g1>", ""))

    (tmp_path / "a.html").write_text("<p>Hello <b>my</b> friend.</p>")
    report = translate_file(Careless(), tmp_path / "a.html", tmp_path / "b.html")
    assert (report.kept, report.flags) == (("Hello <g1>my</g1> friend.",), {"kept": 1})
    assert (tmp_path / "b.html").read_text() == (tmp_path / "a.html").read_text()


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (
            "a.pdf",
            "b.pdf",
            r"^the name of a file to translate must end in \.txt, .*, \.docx, got 'a\.pdf'\. Save it",
        ),
        (
            "a.txt",
            "b.html",
            r"^the translation must be a \.txt like its source, got 'b\.html'\. Name it b\.txt\.$",
        ),
        (
            "a.txt",
            "a.txt",
            r"^the translation must be another file than its source, got .*a\.txt\. Name a new file\.$",
        ),
        (
            "no.txt",
            "b.txt",
            r"^cannot read .*no\.txt: no such file or directory\. Name a file to translate\.$",
        ),
        ("a.txt", "b" * 300 + ".txt", r"^cannot write .*: file name too long\. Name another file\.$"),
        ("a" * 300 + ".txt", "b.txt", r"^cannot read .*: file name too long\. Name a file to translate\.$"),
        ("a.txt", "", r"^the translation must be a file, got the folder .*\. Name a new file\.$"),
        ("a.txt", "/", r"^the translation must be a file, got the folder .*\. Name a new file\.$"),
        ("a.txt", "..", r"^the translation must be a file, got the folder .*\.\.\. Name a new file\.$"),
        ("a.txt", "no/b.txt", r"^cannot write .*b\.txt: no such file or directory\. Name another file\.$"),
    ],
)
def test_mistakes_in_the_names(tmp_path, source, target, message):
    (tmp_path / "a.txt").write_text("A cat.")
    with pytest.raises(UserError, match=message):
        translate_file(Shouting(), tmp_path / source, tmp_path / target)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_suffixes_may_be_in_capitals(tmp_path):
    (tmp_path / "A.TXT").write_text("A cat.")
    check_paths(tmp_path / "A.TXT", tmp_path / "b.txt")
    assert [segment.text for segment in open_file(tmp_path / "A.TXT").segments] == ["A cat."]


PARAGRAPH = (
    '<w:p><w:r><w:t xml:space="preserve">This is </w:t></w:r><w:r><w:rPr><w:b/></w:rPr><w:t>very</w:t></w:r>'
    '<w:r><w:t xml:space="preserve"> important.</w:t></w:r></w:p>'
)
FILES = {
    ".txt": b"This is very important.\n\n42\n",
    ".srt": b"1\n00:00:01,000 --> 00:00:02,000\nThis is <i>very</i>\nimportant.\n",
    ".vtt": b"WEBVTT\n\n00:01.000 --> 00:02.000\nThis is <i>very</i> important.\n",
    ".html": b"<p>This is <b>very</b> important.</p><p>42</p>",
    ".htm": b"<p>This is <b>very</b> important.</p>",
    ".docx": word_document(PARAGRAPH),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_each_format_with_the_shipped_model(tmp_path, suffix):
    source, target = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    source.write_bytes(FILES[suffix])
    report = translate_file(Translator.from_pretrained(num_threads=1), source, target)
    assert (report.segments, report.kept) == (1, ())
    before, after = open_file(source).segments[0].text, open_file(target).segments[0].text
    marks = [mark for mark in ("<i>", "</i>", "<g1>", "</g1>") if mark in before]
    assert all(after.count(mark) == 1 for mark in marks)
    words = after
    for mark in marks:
        words = words.replace(mark, "")
    assert words == "Questo è molto importante."


def test_the_side_file_holds_json_lines(tmp_path, small_batches):
    (tmp_path / "a.txt").write_text(LINES)
    with pytest.raises(KeyboardInterrupt):
        translate_file(Shouting(fail_after=5), tmp_path / "a.txt", tmp_path / "b.txt")
    key, *lines = map(json.loads, (tmp_path / "b.txt.part.jsonl").read_text().splitlines())
    assert key["model"] == "shouting"
    assert lines[0] == ["THE CAT NUMBER 1 SLEEPS.", []]


@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix != ".docx"])
def test_an_empty_file_is_an_empty_file(suffix):
    file = parse(b"", suffix, "x")
    assert (file.segments, file.to_bytes()) == ([], b"")


@pytest.mark.parametrize(
    "line", ["5", "[1, 2]", '["a", null]', '["a", [1]]', '["a"]', "{}", "null", '["a", [], 1]']
)
def test_a_damaged_note_counts_for_nothing(tmp_path, small_batches, line):
    (tmp_path / "a.txt").write_text(LINES)
    paths = (tmp_path / "a.txt", tmp_path / "b.txt")
    side = tmp_path / "b.txt.part.jsonl"
    with pytest.raises(KeyboardInterrupt):
        translate_file(Shouting(fail_after=0), *paths)
    side.write_text(side.read_text() + '["FIRST", []]\n' + line + '\n["THIRD", []]\n')
    with pytest.raises(KeyboardInterrupt):
        translate_file(Shouting(fail_after=5), *paths)
    assert "THIRD" not in side.read_text()
    assert translate_file(Shouting(), *paths).resumed == 5  # the first, and a batch of four behind it


def test_a_folder_is_no_translation(tmp_path):
    (tmp_path / "a.txt").write_text("A cat.")
    (tmp_path / "b.txt").mkdir()
    translator = Shouting()
    with pytest.raises(
        UserError, match=r"^the translation must be a file, got the folder .*b\.txt\. Name a new file"
    ):
        translate_file(translator, tmp_path / "a.txt", tmp_path / "b.txt")
    assert translator.texts == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt"]


def test_files_beside_the_translation_stay(tmp_path):
    (tmp_path / "a.txt").write_text("A cat.")
    (tmp_path / "b.txt.new").write_text("mine")
    translate_file(Shouting(), tmp_path / "a.txt", tmp_path / "b.txt")
    assert (tmp_path / "b.txt.new").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt", "b.txt.new"]


@pytest.mark.skipif(os.name != "posix", reason="links and modes of a POSIX system")
def test_a_link_and_the_rights_of_what_is_replaced_stay(tmp_path):
    (tmp_path / "a.txt").write_text("A cat.")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "real.txt").write_text("old")
    (tmp_path / "folder" / "real.txt").chmod(0o640)
    (tmp_path / "b.txt").symlink_to(tmp_path / "folder" / "real.txt")
    translate_file(Shouting(), tmp_path / "a.txt", tmp_path / "b.txt")
    assert (tmp_path / "b.txt").is_symlink()
    assert (tmp_path / "folder" / "real.txt").read_text() == "A CAT."
    assert (tmp_path / "folder" / "real.txt").stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["real.txt"]


def test_a_path_without_a_name_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("A cat.")
    for target in (".", ""):
        with pytest.raises(
            UserError, match=r"^the translation must be a file, got the folder \.\. Name a new"
        ):
            check_paths(Path("a.txt"), Path(target))


def test_a_source_that_changes_meanwhile_is_noted_as_it_was_read(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("A cat.")
    read, times = Path.read_bytes, []

    def noted(path):
        times.append(path.name)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", noted)
    translate_file(Shouting(), tmp_path / "a.txt", tmp_path / "b.txt")
    assert times == ["a.txt"]


def test_a_side_file_that_cannot_be_removed_is_no_failure(tmp_path, monkeypatch):
    def refuse(path, missing_ok=False):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.txt").write_text("A cat.")
    monkeypatch.setattr(Path, "unlink", refuse)
    assert translate_file(Shouting(), tmp_path / "a.txt", tmp_path / "b.txt").segments == 1
    assert (tmp_path / "b.txt").read_text() == "A CAT."


def test_bytes_that_are_no_utf_8_survive_the_shipped_model(tmp_path):
    page = '<meta charset="utf-8"><p title="A caf\udce9.">I like this caf\udce9 very much. It is good.</p>'
    source, target = tmp_path / "a.html", tmp_path / "b.html"
    source.write_bytes(page.encode("utf-8", "surrogateescape"))
    translate_file(Translator.from_pretrained(num_threads=1), source, target)
    new = target.read_bytes()
    assert new.count(b"caf\xe9") == 2
    assert "Mi piace" in new.decode("utf-8", "replace")
    assert "È".encode() in new  # what is new is in the page's encoding
