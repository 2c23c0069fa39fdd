"""Files opened, saved and translated; nothing is read or written on the Tk thread."""

import threading
import time
import tkinter
from pathlib import Path

import pytest

from desktop_app.files import read_text
from desktop_app.service import FileAnswer
from tests.desktop_app.conftest import pump
from tests.desktop_app.driving import press, settled
from tests.desktop_app.scripted_model import scripted_model

TEXT = "One line.\n\n  - perché 😀\n"


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(), b"\xef\xbb\xbf" + TEXT.encode(), TEXT.encode("utf-16"),
        "perché".encode("cp1252"),
    ],
    ids=["utf-8", "utf-8 with mark", "utf-16", "cp1252"],
)  # fmt: skip
def test_text_is_read_in_the_usual_encodings(tmp_path, data):
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    assert read_text(path) in (TEXT, "perché")


def test_what_is_no_text_is_refused(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"PK\x03\x04\x00\x00")
    with pytest.raises(ValueError, match=r"^it is not a text file$"):
        read_text(path)
    path.write_bytes(b"a" * 20_000_001)
    with pytest.raises(ValueError, match=r"^it has 20,000,001 bytes\. Translate it as a file instead$"):
        read_text(path)


def answering(monkeypatch, **answers):
    for name, answer in answers.items():
        monkeypatch.setattr(f"desktop_app.files.filedialog.{name}", lambda answer=answer, **_: str(answer))


def test_a_text_is_opened_translated_and_saved(open_window, monkeypatch, tmp_path):
    source, target = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_text(TEXT, encoding="utf-8")
    answering(monkeypatch, askopenfilename=source, asksaveasfilename=target)
    window = open_window()
    press(window.source.text, "<Control-o>")
    pump(window.root, lambda: window.source.get_text() == TEXT)
    pump(window.root, lambda: window.target.get_text() == TEXT.upper())
    press(window.source.text, "<Control-s>")
    pump(window.root, lambda: window.status.sentence == "Saved as out.txt")
    assert target.read_text(encoding="utf-8") == TEXT.upper()


@pytest.mark.parametrize("keys", ["<Control-o>", "<Control-s>"])
def test_a_dialog_that_is_left_changes_nothing(open_window, monkeypatch, keys):
    answering(monkeypatch, askopenfilename="", asksaveasfilename="")
    window = open_window()
    window.source.set_text("kept")
    pump(window.root, settled(window))
    press(window.source.text, keys)
    assert (window.source.get_text(), window.status.sentence) == ("kept", "Ready")


def test_errors_are_one_sentence_with_the_name_of_the_file(open_window, monkeypatch, tmp_path):
    answering(monkeypatch, askopenfilename=tmp_path / "gone.txt", asksaveasfilename=tmp_path / "no" / "a.txt")
    window = open_window()
    press(window.source.text, "<Control-o>")
    pump(
        window.root,
        lambda: window.status.sentence == "gone.txt could not be opened: No such file or directory",
    )
    window.source.set_text("text")
    pump(window.root, settled(window))
    press(window.source.text, "<Control-s>")
    pump(window.root, lambda: window.status.sentence == "a.txt could not be saved: No such file or directory")
    assert window.status._button.winfo_manager()


class Documents:
    """Copies in capitals, as slowly as it is told."""

    def __init__(self):
        self.go = threading.Event()
        self.error = None
        self.answer = FileAnswer()

    def __call__(self, source, target, cancellation, on_progress):
        on_progress(0.5)
        while not self.go.wait(0.001):
            if cancellation.cancelled:
                raise RuntimeError("cancelled")
        if self.error:
            raise self.error
        target.write_text(source.read_text(encoding="utf-8").upper(), encoding="utf-8")
        return self.answer


@pytest.fixture
def documents():
    return Documents()


@pytest.fixture
def window(open_window, documents, monkeypatch, tmp_path):
    source = tmp_path / "in.txt"
    source.write_text(TEXT, encoding="utf-8")
    answering(monkeypatch, askopenfilename=source, asksaveasfilename=tmp_path / "in.it.txt")
    return open_window(lambda: scripted_model(translate_file=documents, file_types=(".txt", ".docx")))


def test_a_document_is_translated_beside_what_is_typed(window, documents, tmp_path):
    press(window.source.text, "<Control-t>")
    pump(window.root, window.status._bar.winfo_ismapped)
    assert float(str(window.status._bar.cget("value"))) == 0.5
    window.source.set_text("typed meanwhile")
    pump(window.root, lambda: window.target.get_text() == "TYPED MEANWHILE")
    documents.go.set()
    pump(window.root, lambda: window.status.sentence == "in.it.txt is written.")
    assert (tmp_path / "in.it.txt").read_text(encoding="utf-8") == TEXT.upper()
    assert not window.status._bar.winfo_manager()


def test_a_document_is_cancelled_by_escape(window, tmp_path):
    press(window.source.text, "<Control-t>")
    pump(window.root, window.status._bar.winfo_ismapped)
    begin = time.perf_counter()
    press(window.source.text, "<Escape>")
    pump(window.root, lambda: window.status.sentence == "Cancelled")
    assert time.perf_counter() - begin < 0.2
    assert not (tmp_path / "in.it.txt").exists()


def test_what_stayed_as_it_was_is_told_with_its_texts_behind_a_button(window, documents):
    documents.answer = FileAnswer(("cut_loop", "kept"), ("one  {x}", "two"), ("x = 1",))
    documents.go.set()
    press(window.source.text, "<Control-t>")
    pump(
        window.root,
        lambda: (
            window.status.sentence == "in.it.txt is written. Not translated, as it was: 2. "
            "Left as it was (code, formulas, marked parts): 1."
        ),
    )
    window.status._button.invoke()
    (details,) = [one for one in window.root.winfo_children() if isinstance(one, tkinter.Toplevel)]
    (text,) = [one for one in walk(details) if isinstance(one, tkinter.Text)]
    assert (
        text.get("1.0", "end")
        .rstrip()
        .endswith(
            "in.it.txt\nNot translated, as it was: 2.\n    one {x}\n    two\n"
            "Left as it was (code, formulas, marked parts): 1.\n    x = 1"
        )
    )


def walk(widget):
    for child in widget.winfo_children():
        yield child
        yield from walk(child)


def texts_in(folder):
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_several_documents_go_into_a_folder_one_after_the_other(window, documents, monkeypatch, tmp_path):
    sources = [tmp_path / name for name in ("a.txt", "b.txt", "b.docx", "c.pdf")]
    for source in sources:
        source.write_text(source.name, encoding="utf-8")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "a.it.txt").write_text("here before", encoding="utf-8")
    answering(monkeypatch, askdirectory=folder)
    window.files.translate_paths(sources)
    assert window.status.sentence.startswith("c.pdf cannot be translated.")
    pump(window.root, window.status._bar.winfo_ismapped)
    assert float(str(window.status._bar.cget("value"))) == pytest.approx(0.5 / 3)
    documents.go.set()
    pump(window.root, lambda: window.status.sentence == "3 of 3 files are written.")
    assert texts_in(folder) == {
        "a.it.txt": "here before", "a.it (2).txt": "A.TXT", "b.it.txt": "B.TXT", "b.it.docx": "B.DOCX",
    }  # fmt: skip


def test_of_several_documents_the_one_that_fails_is_told_in_the_end(window, documents, monkeypatch, tmp_path):
    sources = [tmp_path / name for name in ("a.txt", "b.txt")]
    sources[1].write_text("b", encoding="utf-8")
    sources[0].write_bytes(b"\xff\xfe")
    answering(monkeypatch, askdirectory=tmp_path)
    documents.go.set()
    window.files.translate_paths(sources)
    pump(window.root, lambda: window.status.sentence == "1 of 2 files are written.")
    assert str(window.status._sentence.cget("style")) == "Error.TLabel"
    assert "a.txt was not translated: " in window.status._details


def test_of_documents_that_all_fail_each_is_told_with_its_reason(window, documents, monkeypatch, tmp_path):
    sources = [tmp_path / name for name in ("a.txt", "b.txt")]
    for source in sources:
        source.write_text("x", encoding="utf-8")
    answering(monkeypatch, askdirectory=tmp_path)
    documents.error = ValueError("no paragraphs")
    documents.go.set()
    window.files.translate_paths(sources)
    pump(window.root, lambda: window.status.sentence == "0 of 2 files are written.")
    assert window.status._details == (
        "a.txt was not translated: no paragraphs\n\nb.txt was not translated: no paragraphs"
    )


def test_a_document_that_is_asked_for_after_escape_is_translated(window, documents, tmp_path):
    press(window.source.text, "<Control-t>")
    pump(window.root, window.status._bar.winfo_ismapped)
    window.files.cancel()
    window.files.translate_paths([tmp_path / "in.txt"])  # the first one has not ended yet
    pump(window.root, lambda: not window.files.documents._waiting)
    documents.go.set()
    pump(window.root, lambda: window.status.sentence == "in.it.txt is written.")
    assert not window.files.busy


def test_escape_leaves_the_report_on_the_documents_that_are_done(window, monkeypatch, tmp_path):
    sources = [tmp_path / name for name in ("a.txt", "b.txt")]
    for source in sources:
        source.write_text("x", encoding="utf-8")

    def translate(source, target, cancellation, on_progress):
        if source.stem == "a":
            return FileAnswer((), ("kept as it was",))
        while not cancellation.cancelled:
            time.sleep(0.001)
        raise RuntimeError("cancelled")

    answering(monkeypatch, askdirectory=tmp_path)
    monkeypatch.setattr(window.live, "model", scripted_model(translate_file=translate, file_types=(".txt",)))
    window.files.translate_paths(sources)
    pump(window.root, lambda: len(window.files.documents._ended) == 1)
    press(window.source.text, "<Escape>")
    sentence = "a.it.txt is written. Not translated, as it was: 1."
    pump(window.root, lambda: window.status.sentence == sentence)


def test_escape_drops_the_documents_that_wait(window, documents, monkeypatch, tmp_path):
    sources = [tmp_path / name for name in ("a.txt", "b.txt")]
    for source in sources:
        source.write_text("x", encoding="utf-8")
    answering(monkeypatch, askdirectory=tmp_path)
    window.files.translate_paths(sources)
    assert window.files.documents.targets == {tmp_path / "a.it.txt", tmp_path / "b.it.txt"}
    press(window.source.text, "<Escape>")
    assert window.files.documents.targets == set()  # the next try takes the same names, and goes on
    pump(window.root, lambda: window.status.sentence == "Cancelled")
    assert not window.files.busy
    assert sorted(path.name for path in tmp_path.glob("*.it.txt")) == []


@pytest.mark.parametrize("name", ["a.pdf", "nowhere.txt", ""])
def test_what_is_no_document_is_refused(window, tmp_path, name):
    (tmp_path / "a.pdf").write_text("x", encoding="utf-8")
    path = tmp_path / name
    window.files.translate_paths([path])
    assert window.status.sentence == (
        f"{path.name} cannot be translated. It must be a file that ends in .txt, .docx."
    )
    assert not window.files.busy


def test_a_document_that_fails_is_said(window, documents):
    documents.error = ValueError("no\nparagraphs")
    documents.go.set()
    press(window.source.text, "<Control-t>")
    pump(window.root, lambda: window.status.sentence == "in.txt was not translated: no paragraphs")


def test_a_model_without_documents_offers_none(open_window):
    window = open_window()
    assert not window.files.can_translate()
    window.files.translate_paths([Path("a.txt")])
    assert window.status.sentence == "No model is loaded that translates files."
    window.status.end_message()
    press(window.source.text, "<Control-t>")
    assert window.status.sentence == "Ready"


def test_two_batches_into_one_folder_do_not_overwrite_each_other(window, documents, monkeypatch, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    answering(monkeypatch, askdirectory=out)
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        sources = [tmp_path / folder / name for name in ("x.txt", "y.txt")]
        for source in sources:
            source.write_text(folder, encoding="utf-8")
        window.files.translate_paths(sources)
    documents.go.set()
    pump(window.root, lambda: window.status.sentence == "4 of 4 files are written.")
    assert texts_in(out) == {
        "x.it.txt": "FIRST", "y.it.txt": "FIRST", "x.it (2).txt": "SECOND", "y.it (2).txt": "SECOND",
    }  # fmt: skip
