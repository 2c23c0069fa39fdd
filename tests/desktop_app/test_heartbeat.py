"""A heartbeat on the Tk thread is never late, whatever the window does; measured with the shipped model."""

import time
from collections import defaultdict

import pytest

from desktop_app import adapter
from desktop_app.history import History
from desktop_app.messages import Messages
from desktop_app.service import TranslationService
from desktop_app.settings import WindowSettings
from tests.desktop_app.test_app import needs_bundle

BEAT_MS = 10
LATE_MS = 100.0

LINES = "".join(f"Sentence number {n} asks where the station is and what it costs.\n" for n in range(16_000))
ONE_LINE = LINES.replace("\n", " ")
NO_SENTENCE = "parole senza fine " * 60_000


class Heart:
    """Beats every ten milliseconds and notes how late each beat is, by what was going on."""

    def __init__(self, window, script):
        self.window, self.script = window, script(window)
        self.late = defaultdict(float)
        self.phase, self.condition = next(self.script)
        self.began = self.last = time.perf_counter()
        window.root.after(BEAT_MS, self.beat)

    def beat(self):
        now = time.perf_counter()
        self.late[self.phase] = max(self.late[self.phase], 1000 * (now - self.last) - BEAT_MS)
        if now - self.began > 60:
            self.window.quit()
            raise AssertionError(f"{self.phase} took too long")
        self.last = now
        if self.condition():
            try:
                self.phase, self.condition = next(self.script)
            except StopIteration:
                self.window.quit()
                return
        self.window.root.after(BEAT_MS, self.beat)


def after(seconds):
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() > end


def measured(root, tmp_path, text):
    """One run through everything that takes long; returns the latest beat of each phase, in milliseconds."""
    from desktop_app.rooms import Rooms
    from desktop_app.theme import Theme
    from desktop_app.window import Window

    history = History(tmp_path / "history.sqlite")
    for n in range(0 if history.count() else 300):
        history.add(f"{n} where is the station " * 20, f"{n} dov'è la stazione " * 20, "en", "it")

    def load():
        return adapter.load_bundle(None, "cpu")

    service = TranslationService(load)
    window = Window(
        root, service, Theme(root, dark=False), Messages("en"), WindowSettings(look="light"),
        Rooms(lambda folder: load, history),
    )  # fmt: skip

    def script(window):
        pane = window.source.text
        service.start()
        yield "load", lambda: window.live.model is not None
        root.clipboard_clear()
        root.clipboard_append(text)
        root.after_idle(lambda: pane.event_generate("<<Paste>>"))
        yield "paste", after(0.3)
        yield "translate", after(3.0)
        root.after_idle(lambda: pane.event_generate("<Escape>"))
        yield "cancel", after(0.3)
        root.after_idle(window.dialogs.show_history)
        yield "history", after(0.5)
        query = window.dialogs.open["history"].query
        for letters in ("s", "st", "sta", "29"):
            query.delete(0, "end")
            query.insert(0, letters)
            query.event_generate("<KeyRelease>")
            yield "history search", after(0.25)
        window.dialogs.open["history"].destroy()
        root.after_idle(window.clear)
        yield "clear", after(0.3)

    heart = Heart(window, script)
    window.run()
    assert window.close(5.0)
    assert service.close(5.0)
    for child in root.winfo_children():
        child.destroy()
    return heart.late


@needs_bundle
@pytest.mark.system
@pytest.mark.parametrize("text", [LINES, ONE_LINE, NO_SENTENCE], ids=["lines", "one line", "no sentence"])
def test_a_beat_is_never_late_by_more_than_100_ms(root, tmp_path, text):
    assert len(text) > 1_000_000 * 0.9
    runs = []
    for _ in range(3):  # the machine itself may be busy for a moment: each phase counts at its best
        runs.append(measured(root, tmp_path, text))
        best = {phase: min(run[phase] for run in runs) for phase in runs[0]}
        if max(best.values()) <= LATE_MS:
            break
    print({phase: round(late) for phase, late in best.items()})
    assert len(best) == 7
    assert max(best.values()) <= LATE_MS, best
