"""Files dragged from another program's window, by the mouse and the desktop's own protocol."""

import logging
import subprocess
import sys
import time
from pathlib import Path
from tkinter import ttk

import pytest

from desktop_app.dropping import Dropping, local_path
from desktop_app.service import FileAnswer
from tests.desktop_app.conftest import pump, pump_for
from tests.desktop_app.driving import settled, type_keys
from tests.desktop_app.scripted_model import scripted_model
from tests.desktop_app.test_app import REPOSITORY, environment
from tests.desktop_app.test_files import answering, walk


class Dragging:
    """Another program with files, and the mouse that drags them."""

    def __init__(self, display, folder, root, *files):
        self.root = root
        self.environment = environment(folder, display)
        command = [sys.executable, "-m", "tests.desktop_app.drag_source", "1100", "700", *map(str, files)]
        self.process = subprocess.Popen(
            command, cwd=REPOSITORY, env=self.environment, stdout=subprocess.PIPE, text=True
        )
        (self.window,) = self.wait(
            lambda: self.xdotool("search", "--onlyvisible", "--name", "^Files$").split()
        )

    def xdotool(self, *arguments):
        """Run a command while the window under test goes on."""
        process = subprocess.Popen(
            ["xdotool", *arguments], env=self.environment, stdout=subprocess.PIPE, text=True
        )
        pump(self.root, lambda: process.poll() is not None)
        return process.communicate()[0]

    def wait(self, condition, seconds=20.0):
        end = time.perf_counter() + seconds
        while not (found := condition()):
            assert time.perf_counter() < end, self.said()
            pump_for(self.root, 0.05)
        return found

    def said(self):
        return [str(one.cget("text")) for one in walk(self.root) if isinstance(one, ttk.Label)]

    def press(self):
        self.xdotool("mousemove", "--window", self.window, "40", "40", "mousedown", "1")

    def drag_to(self, x, y):
        """Move in steps, as a hand does: a source sees that a drag begins by a first, small one."""
        self.xdotool("mousemove_relative", "--", "-12", "-12")
        for step in range(4):
            self.xdotool("mousemove", str(x + 3 * step), str(y + 3 * step))
            pump_for(self.root, 0.02)

    def release(self):
        self.xdotool("mouseup", "1")

    def end(self):
        """Return what the other program hears of its files."""
        self.wait(lambda: self.process.poll() is not None)
        return self.process.stdout.read().strip()


@pytest.fixture
def drag(display, session_root, tmp_path):
    opened = []

    def start(*files):
        opened.append(Dragging(display, tmp_path, session_root, *files))
        return opened[-1]

    yield start
    for one in opened:
        one.xdotool("mouseup", "1")
        one.process.kill()
        one.process.communicate()


def copying(source, target, cancellation, on_progress):
    target.write_text(source.read_text(encoding="utf-8").upper(), encoding="utf-8")
    return FileAnswer()


@pytest.fixture
def window(open_window):
    pytest.importorskip("tkinterdnd2", reason="tkinterdnd2 is not installed")
    window = open_window(
        lambda: scripted_model(translate_file=copying, file_types=(".txt", ".srt", ".vtt", ".html", ".docx"))
    )
    window.root.geometry("900x500+10+40")
    pump(window.root, lambda: window.dropping.works)
    return window


def middle(widget):
    return (
        widget.winfo_rootx() + widget.winfo_width() // 2,
        widget.winfo_rooty() + widget.winfo_height() // 2,
    )


@pytest.mark.parametrize("pane", ["source", "target"])
def test_a_dropped_document_is_translated(window, drag, monkeypatch, tmp_path, pane):
    source, target = tmp_path / "una città.docx", tmp_path / "result.docx"
    source.write_text("a letter", encoding="utf-8")
    answering(monkeypatch, asksaveasfilename=target)
    hand = drag(source)
    hand.press()
    hand.drag_to(*middle(getattr(window, pane).text))
    hand.wait(lambda: window.status.sentence.startswith("Drop the files here"))
    border = str(window.source.text.cget("highlightbackground"))
    assert border == window.source.theme.palette.accent
    hand.release()
    hand.wait(lambda: window.status.sentence == "result.docx is written.")
    assert target.read_text(encoding="utf-8") == "A LETTER"
    assert str(window.source.text.cget("highlightbackground")) != border
    assert hand.end() == "copy"


def test_files_that_leave_again_change_nothing(window, drag, tmp_path):
    (tmp_path / "a.txt").write_text("x", encoding="utf-8")
    hand = drag(tmp_path / "a.txt")
    hand.press()
    hand.drag_to(*middle(window.source.text))
    hand.wait(lambda: window.status.sentence.startswith("Drop the files here"))
    hand.drag_to(1200, 620)  # the empty screen
    hand.wait(lambda: window.status.sentence == "Ready")
    hand.release()
    assert hand.end() == "refuse_drop"
    assert not window.files.busy
    assert [path.name for path in tmp_path.glob("*.txt")] == ["a.txt"]


def test_what_cannot_be_translated_is_said(window, drag, tmp_path):
    (tmp_path / "a.pdf").write_text("x", encoding="utf-8")
    hand = drag(tmp_path / "a.pdf")
    hand.press()
    hand.drag_to(*middle(window.target.text))
    hand.wait(lambda: window.status.sentence.startswith("Drop the files here"))
    hand.release()
    hand.wait(lambda: window.status.sentence.startswith("a.pdf cannot be translated"))


def test_a_dialog_that_waits_for_an_answer_keeps_files_away(window, drag, monkeypatch, tmp_path):
    (tmp_path / "a.txt").write_text("x", encoding="utf-8")
    answering(monkeypatch, asksaveasfilename=tmp_path / "b.txt")
    tk = window.root.tk
    tk.call("toplevel", ".waiting")  # as Tk's dialogs for files are: no widget of tkinter
    tk.call("tkwait", "visibility", ".waiting")
    tk.call("grab", "set", ".waiting")
    hand = drag(tmp_path / "a.txt")
    hand.press()
    hand.drag_to(*middle(window.target.text))
    hand.release()
    assert hand.end() == "refuse_drop"
    tk.call("destroy", ".waiting")
    assert window.status.sentence == "Ready"
    assert not (tmp_path / "b.txt").exists()


def test_without_the_library_the_window_works(open_window, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "tkinterdnd2", None)
    window = open_window()
    with caplog.at_level(logging.INFO, "desktop_app.dropping"):
        window.dropping.enable()
    assert not window.dropping.works
    assert "files cannot be dropped on the window" in caplog.text
    type_keys(window, "A cat.")
    pump(window.root, settled(window))


def test_a_platform_the_library_does_not_know_is_no_error(root, monkeypatch, caplog):
    library = pytest.importorskip("tkinterdnd2", reason="tkinterdnd2 is not installed")

    def refuse(_root):
        raise RuntimeError("Unable to load tkdnd library.")

    monkeypatch.setattr(library.TkinterDnD, "_require", refuse)
    dropping = Dropping(root, lambda _: None, lambda _: None)
    with caplog.at_level(logging.INFO, "desktop_app.dropping"):
        dropping.enable()
    assert not dropping.works
    assert caplog.messages == ["files cannot be dropped on the window: Unable to load tkdnd library."]


@pytest.mark.parametrize(
    ("item", "path"),
    [
        ("/a/b c.txt", "/a/b c.txt"),
        ("file:/a/b%20c.txt", "/a/b c.txt"),
        ("file:///a/%C3%A8.txt", "/a/è.txt"),
        ("file://localhost/a.txt", "/a.txt"),
        ("localhost/a.txt", "/a.txt"),
        ("file://elsewhere/a.txt", None),
        ("https://example.org/a.txt", None),
    ],
)
def test_local_paths(item, path):
    assert local_path(item) == (None if path is None else Path(path))
