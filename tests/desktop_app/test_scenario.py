"""An hour of a user in seconds: the shipped model in the real application, by keyboard and mouse only.

What is asked of the application is read where a user would: on the screen, the clipboard and the disk.
"""

import sqlite3
import time

import pytest

from desktop_app.theme import LIGHT
from tests.desktop_app.screenshot import content_box
from tests.desktop_app.test_app import (
    SHIPPED_BUNDLE,
    WAIT_SECONDS,
    copied,
    needs_bundle,
    saved_settings,
    start,  # noqa: F401 - a fixture
)

LIT, UNSURE = (0xFF, 0xD7, 0x5E), (0xF7, 0xC1, 0xB5)  # of the light palette

pytestmark = [needs_bundle, pytest.mark.system]


class Hands:
    """Keyboard, mouse and eyes in front of one application."""

    def __init__(self, app, root):
        self.app, self.root = app, root
        app.wait_open()
        self.window = app.windows()[0]
        left, top, right, bottom = self.wait(lambda: content_box(self.picture(), LIGHT.window), "the window")
        self._place = left, top, right - left, bottom - top

    def key(self, *keys):
        self.app.xdotool("key", "--delay", "30", *keys)

    def choose(self, steps):
        """Open the list of a combobox, go down, and take the entry; at a hand's speed."""
        for key in ("Down", *["Down"] * steps, "Return"):
            self.key(key)
            time.sleep(0.2)

    def type(self, text):
        self.app.xdotool("type", "--delay", "5", text)

    def wait(self, condition, what):
        end = time.perf_counter() + WAIT_SECONDS / 4
        while not (found := condition()):
            if time.perf_counter() > end:
                self.picture().save(self.app.folder / "screen.png")
                raise AssertionError(f"waited in vain for {what}; {self.app.folder / 'screen.png'} shows why")
            time.sleep(0.03)
        return found

    def dialog(self, title):
        """Wait for a dialog that has the keyboard; returns its window."""

        def has_keyboard():
            found = self.app.xdotool("search", "--onlyvisible", "--name", f"^{title}$").split()
            active = self.app.xdotool("getactivewindow").strip()
            return found[0] if found and active == found[0] else None

        return self.wait(has_keyboard, f"the dialog {title}")

    def close(self, title):
        self.key("Escape")
        search = ("search", "--onlyvisible", "--name", f"^{title}$")
        self.wait(lambda: not self.app.xdotool(*search).split(), f"the end of {title}")
        self.wait(lambda: self.app.xdotool("getactivewindow").strip() == self.window, "the window")

    def picture(self):
        from PIL import ImageGrab

        return ImageGrab.grab(xdisplay=self.app.display).convert("RGB")

    def place(self):
        """Left and top edge and size of the window's content."""
        return self._place

    def move(self, x, y):
        self.app.xdotool("mousemove", str(x), str(y))

    def click(self, x, y):
        self.app.xdotool("mousemove", str(x), str(y), "click", "1")

    def colours(self, left_half):
        x, y, width, height = self.place()
        half = width // 2
        box = (x, y, x + half, y + height) if left_half else (x + half, y, x + width, y + height)
        return {colour for _, colour in self.picture().crop(box).getcolors(1 << 20)}

    def translation(self, condition=bool):
        return copied(self.app, self.root, condition)


def find_text_line(hands):
    """Where the first line of the translation stands: the first dark pixels below the pane's upper edge."""
    x, y, width, _ = hands.place()
    picture = hands.picture()
    left = x + width // 2 + 20
    for row in range(y + 85, y + 200):
        dark = [column for column in range(left, left + 60) if sum(picture.getpixel((column, row))) < 200]
        if dark:
            return dark[0] + 3, row + 4
    raise AssertionError("no text on the right")


def test_an_hour_in_seconds(start, session_root, tmp_path):  # noqa: F811
    app = start("-m", "desktop_app", "--model", str(SHIPPED_BUNDLE))
    hands = Hands(app, session_root)

    hands.type("I love you very much.")
    assert hands.translation(lambda text: text == "Ti amo molto.")

    # Look: the pointer on the first word lights where it came from; nothing is lit before.
    hands.move(1, 1)
    hands.wait(lambda: LIT not in hands.colours(left_half=False), "darkness")
    word = find_text_line(hands)
    hands.move(*word)
    hands.wait(lambda: LIT in hands.colours(left_half=False), "light on the word")
    hands.wait(lambda: LIT in hands.colours(left_half=True), "light on where it came from")

    # Change: a click offers words, the keyboard takes the second.
    hands.click(*word)
    time.sleep(0.5)
    hands.key("Down", "Return")
    changed = hands.translation(lambda text: text and text != "Ti amo molto.")
    assert len(changed) > 5

    # Shades, and their line.
    hands.key("ctrl+k")
    hands.wait(lambda: hands.colours(left_half=False) & {UNSURE, (252, 235, 231), (250, 214, 206)}, "shades")

    for keys, title in (
        ("ctrl+i", "Attention"), ("F1", "Keyboard and help"), ("ctrl+h", "History"), ("ctrl+m", "Models"),
    ):  # fmt: skip
        hands.key(keys)
        hands.dialog(title)
        hands.close(title)

    # Files, by their names.
    saved, other = tmp_path / "saved.txt", tmp_path / "other.txt"
    other.write_text("Good morning.\n\n  Where is the station?\n", encoding="utf-8")
    hands.key("ctrl+s")
    hands.dialog("Save As")
    hands.key("ctrl+a")
    hands.type(str(saved))
    hands.key("Return")
    hands.wait(saved.exists, "the file")
    hands.wait(lambda: saved.read_text(encoding="utf-8") == changed, "the translation in the file")
    hands.key("ctrl+o")
    hands.dialog("Open")
    hands.type(str(other))
    hands.key("Return")
    text = hands.translation(lambda text: text.startswith("Buon"))
    assert text.split("\n")[1:3] == ["", "  Dov'è la stazione?"]

    # The mouse: the button that clears.
    x, y, width, _ = hands.place()
    hands.click(x + width // 2 - 110, y + 62)
    hands.wait(lambda: not _dark_text(hands), "an empty window")
    hands.type("Thank you.")
    assert hands.translation(lambda text: text == "Grazie.") == "Grazie."

    # Settings hold at once: Italian, larger, dark.
    hands.key("ctrl+plus", "ctrl+plus")
    hands.key("ctrl+comma")
    hands.dialog("Settings")
    hands.choose(2)  # like the system, light, dark
    hands.wait(lambda: (0x26, 0x2A, 0x30) in hands.colours(left_half=True), "the dark pane")
    hands.key("Tab")
    hands.choose(2)  # like the system, English, Italiano
    hands.wait(lambda: app.xdotool("search", "--onlyvisible", "--name", "^Impostazioni$"), "Italian")
    hands.close("Impostazioni")
    hands.key("F1")
    hands.dialog("Tastiera e aiuto")
    hands.close("Tastiera e aiuto")

    hands.key("ctrl+q")
    code, errors, seconds = app.wait_closed()
    assert (code, errors) == (0, "")
    assert seconds < 2.0
    settings = saved_settings(tmp_path)
    chosen = {name: settings[name] for name in ("font_size", "look", "language", "confidence")}
    assert chosen == {"font_size": 14, "look": "dark", "language": "it", "confidence": True}
    (database,) = tmp_path.rglob("history.sqlite*")  # the journal is folded in at the end
    with sqlite3.connect(database) as connection:
        kept = dict(connection.execute("SELECT source, target FROM entries").fetchall())
    assert kept["Thank you."] == "Grazie."
    assert kept["I love you very much."] == changed


def _dark_text(hands):
    """Whether there is text in the upper half of the left pane."""
    x, y, width, height = hands.place()
    box = (x + 30, y + 90, x + width // 2 - 20, y + height // 2)
    return any(sum(colour) < 200 for _, colour in hands.picture().crop(box).getcolors(1 << 20))
