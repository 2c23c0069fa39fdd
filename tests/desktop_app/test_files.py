"""Files opened, saved and translated; nothing is read or written on the Tk thread."""

import threading
import time

import pytest

from desktop_app.files import read_text
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

    def __call__(self, source, target, cancellation, on_progress):
        on_progress(0.5)
        while not self.go.wait(0.001):
            if cancellation.cancelled:
                raise RuntimeError("cancelled")
        if self.error:
            raise self.error
        target.write_text(source.read_text(encoding="utf-8").upper(), encoding="utf-8")
        return ()


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


def test_a_document_that_fails_is_said(window, documents):
    documents.error = ValueError("no\nparagraphs")
    documents.go.set()
    press(window.source.text, "<Control-t>")
    pump(window.root, lambda: window.status.sentence == "in.txt was not translated: no paragraphs")


def test_a_model_without_documents_offers_none(open_window):
    window = open_window()
    assert not window.files.can_translate()
    press(window.source.text, "<Control-t>")
    assert window.status.sentence == "Ready"
