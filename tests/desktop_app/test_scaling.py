"""At every scale of the desktop, in both languages, each word has the room it needs."""

from tkinter import ttk

import pytest

from desktop_app.history import History
from desktop_app.models import Models
from tests.desktop_app.conftest import pump, pump_for
from tests.desktop_app.test_files import walk

DIALOGS = ("help", "settings", "attention", "history", "models")


@pytest.fixture
def scaled(root):
    """A function that has the desktop ask for another scale."""
    before = root.tk.call("tk", "scaling")
    yield lambda scale: root.tk.call("tk", "scaling", scale * 96 / 72)
    root.tk.call("tk", "scaling", before)


def cut(top):
    """The widgets with words on them that have less room than these need, or reach out of their window."""
    found = []
    for widget in walk(top):
        has_words = isinstance(widget, ttk.Label | ttk.Button | ttk.Checkbutton | ttk.Combobox)
        if not has_words or not widget.winfo_viewable() or widget.winfo_toplevel() is not top:
            continue
        x, y = widget.winfo_rootx() - top.winfo_rootx(), widget.winfo_rooty() - top.winfo_rooty()
        width, height = widget.winfo_width(), widget.winfo_height()
        wraps = isinstance(widget, ttk.Label) and int(str(widget.cget("wraplength") or 0)) > 0
        is_cut = height < widget.winfo_reqheight() or (width < widget.winfo_reqwidth() and not wraps)
        if is_cut or min(x, y) < 0 or x + width > top.winfo_width() or y + height > top.winfo_height():
            found.append((str(widget), str(widget.cget("text")) if "text" in widget.configure() else ""))
    return found


@pytest.mark.parametrize("language", ["en", "it"])
@pytest.mark.parametrize("scale", [1.0, 1.5, 2.0])
def test_no_word_is_cut(open_window, scaled, tmp_path, scale, language):
    scaled(scale)
    window = open_window(language=language, history=History(None), models=Models(tmp_path / "models"))
    root = window.root
    window.source.set_text("One. Two.")
    pump(root, lambda: window.target.get_text() == "ONE. TWO.")
    window._toggle_confidence()
    assert window._theme.pixels(100) == round(100 * scale)
    pump_for(root, 0.1)
    assert cut(root) == []
    panes = window.source.winfo_width(), window.target.winfo_width()
    assert abs(panes[0] - panes[1]) <= 2
    for name in DIALOGS:
        getattr(window.dialogs, f"show_{name}")()
        dialog = window.dialogs.open[name]
        pump(root, dialog.winfo_viewable)
        pump(root, lambda: not window._background.busy)
        pump_for(root, 0.1)
        assert cut(dialog) == [], name
        dialog.destroy()
    root.update()
