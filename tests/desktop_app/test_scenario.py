"""An hour of a user in a minute: the shipped model in the real application, by keyboard and mouse only."""

import re
import sqlite3
import time
from pathlib import Path

import pytest

from tests.desktop_app.hands import Hands
from tests.desktop_app.scenario_steps import (
    drops_files,
    manages_models,
    opens_and_saves,
    searches_the_history,
    translates_files,
)
from tests.desktop_app.test_app import (
    needs_bundle,
    posix_only,
    saved_settings,
    start,  # noqa: F401 - a fixture
)

pytestmark = [needs_bundle, posix_only, pytest.mark.system]

LIT = (0xFF, 0xD7, 0x5E)  # of the light palette
LAYOUT = "Good morning {name}.\n\n  - THANK YOU.\n  - 12 €\n\tMy address is ann@example.org.\n"


def test_an_hour_in_a_minute(start, session_root, tmp_path):  # noqa: F811
    corrupt = tmp_path / "keras_transformer" / "window.json"
    corrupt.parent.mkdir()
    corrupt.write_text("{broken", encoding="utf-8")
    began = time.perf_counter()
    app = start("-m", "desktop_app")
    hands = Hands(app, session_root)
    for step in (
        types_while_the_model_loads, keeps_what_is_no_text, looks_at_words, sees_the_attention, edits,
        opens_and_saves, translates_files, drops_files, stops_long_texts, searches_the_history, manages_models,
        meets_errors, changes_the_looks,
    ):  # fmt: skip
        step(hands, tmp_path)
        print(f"{time.perf_counter() - began:5.1f} s {step.__name__}")
    closes_while_it_translates(hands, tmp_path)
    comes_back_as_it_was(start("-m", "desktop_app"), session_root)
    print(f"{time.perf_counter() - began:5.1f} s in all")


def types_while_the_model_loads(hands, folder):
    hands.has_keyboard(".!mainframe*")
    print(f"{time.perf_counter() - hands.app.began:5.2f} s until one can type")
    hands.type("I love you very much.")
    hands.reads(lambda text: text == "Ti amo molto.")
    print(f"{time.perf_counter() - hands.app.began:5.2f} s until the first translation")
    # Settings that could not be read are kept, and told once.
    hands.says("The settings could not be read; they are kept as window.json.bad*")
    assert (folder / "keras_transformer" / "window.json.bad").read_text("utf-8") == "{broken"
    hands.says("CPU · int8 · * s · * words/s")
    hands.press("Copy")  # what is used is kept in the history
    hands.wait(lambda: hands.clipboard() == "Ti amo molto.", "the translation on the clipboard")


def keeps_what_is_no_text(hands, folder):
    hands.paste(LAYOUT)
    first = hands.reads(lambda text: "GRAZIE" in text)
    assert first == "Buongiorno {name}.\n\n  - GRAZIE.\n  - 12 €\n\tIl mio indirizzo è ann@example.org.\n"
    hands.key("ctrl+End")
    hands.type("Thank you.")
    hands.reads(lambda text: text == first + "Grazie.")


def looks_at_words(hands, folder):
    hands.write("Where is the station? Thank you.")
    hands.reads(lambda text: text == "Dov'è la stazione? Grazie.")
    for side, word, other, linked in (
        ("target", "stazione", "source", "station"),
        ("source", "station", "target", "stazione"),
    ):
        hands.point_at(side, word)
        hands.wait(lambda s=side, w=word: hands.lit(s) == [w], f"light on {word}")
        hands.wait(lambda o=other, w=linked: w in hands.lit(o, "link5"), f"the strongest light on {linked}")
    assert LIT in {colour for _, colour in hands.picture().getcolors(1 << 20)}
    # By keyboard: word after word of the translation.
    hands.key("F6")
    hands.has_keyboard(hands.pane("target"))
    hands.key("Right")
    hands.wait(lambda: hands.lit("target") == ["Dov'è"], "light on the first word")
    hands.key("Right", "Right")
    hands.wait(lambda: hands.lit("target") == ["stazione"], "light on the third word")
    # A click: other words, the likeliest first; one of them, and the rest is translated again.
    hands.click_word("stazione")
    menu = hands.menu()
    offered = hands.entries(menu)
    assert 2 <= len(offered) <= 5
    shares = [hands.ask(f"{menu} entrycget {n} -accelerator") for n in range(len(offered))]
    assert all(share.endswith(" %") for share in shares)
    other = next(word for word in offered if word != "stazione")
    hands.take(menu, other)
    changed = hands.reads(lambda text: text.startswith(f"Dov'è la {other}"))
    assert changed.endswith(" Grazie.")  # the other sentence stays
    # Shades, and the line that explains them.
    hands.key("ctrl+k")
    hands.says("Shaded words: *")
    hands.wait(lambda: hands.lit("target", "unsure1 unsure2 unsure3 unsure4 unsure5"), "shades")
    hands.key("ctrl+k")
    hands.wait(lambda: not any(text.startswith("Shaded words") for text in hands.labels()), "no line")
    hands.to_source()


def sees_the_attention(hands, folder):
    window = hands.dialog("ctrl+i", "attentionwindow")
    box = hands.has_keyboard(f"{window}*combobox*")
    cells = lambda: int(hands.ask(f"llength [{hands.widgets('Canvas')[0]} find all]"))  # noqa: E731
    hands.wait(lambda: cells() > 20, "the heat map")
    average = heat(hands)
    hands.choose(box, "Head 2")
    hands.wait(lambda: heat(hands) != average, "another head")
    canvas = hands.widgets("Canvas")[0]
    x, y = hands.middle(canvas)
    hands.app.xdotool("mousemove", str(x), str(y))
    hands.says("* ← *: * %")
    picture = folder / "attention.png"
    hands.press("Save as PNG…")
    hands.file_dialog(picture)
    hands.says("Saved as attention.png")
    from PIL import Image

    with Image.open(picture) as image:
        assert image.format == "PNG"
        assert min(image.size) > 200
    hands.close(window)


def heat(hands):
    """The colours of the heat map's cells that are on the screen, in every tenth row and column of pixels."""
    canvas = hands.widgets("Canvas")[0]
    return hands.ask(
        f"set i [{canvas} itemcget cells -image]; set found {{}}\n"
        "for {set y 0} {$y < [image height $i]} {incr y 10} {for {set x 0} {$x < [image width $i]} {incr x 10} "
        "{lappend found [$i get $x $y]}}; set found"
    )


def edits(hands, folder):
    hands.write("Thank you.")
    hands.reads(lambda text: text == "Grazie.")
    hands.press("Copy")
    hands.wait(lambda: hands.clipboard() == "Grazie.", "the translation on the clipboard")
    hands.to_source()
    hands.key("ctrl+a", "ctrl+c")
    hands.wait(lambda: hands.clipboard() == "Thank you.", "the text on the clipboard")
    hands.key("ctrl+x")
    hands.wait(lambda: hands.text("source") == hands.text("target") == "", "two empty panes")
    hands.key("ctrl+z")
    hands.wait(lambda: hands.text("source") == "Thank you.", "the text again")
    hands.key("ctrl+Return")  # without waiting for the pause
    hands.reads(lambda text: text == "Grazie.")
    hands.press("Clear")
    hands.wait(lambda: hands.text("source") == hands.text("target") == "", "two empty panes")
    hands.says("Type or paste text here")
    hands.key("ctrl+v")
    hands.reads(lambda text: text == "Grazie.")


def stops_long_texts(hands, folder):
    """A megabyte: it comes sentence by sentence, and stops when it is told."""
    text = "".join(
        f"Sentence number {n} asks where the station is and what it costs.\n" for n in range(16_000)
    )
    began = time.perf_counter()
    hands.paste(text)
    print(f"{time.perf_counter() - began:5.2f} s to paste a megabyte")
    hands.wait(lambda: hands.text("target").count("\n") > 40, "the first sentences")
    hands.wait(lambda: hands.widgets("TProgressbar"), "the bar")
    hands.says("CPU · int8 · * s · * words/s")
    begin = time.perf_counter()
    hands.key("Escape")
    hands.says("Cancelled")
    print(f"{1000 * (time.perf_counter() - begin):5.0f} ms to cancel, the key included")
    hands.write("Thank you.")
    hands.reads(lambda text: text == "Grazie.")


def meets_errors(hands, folder):
    broken = folder / "picture.txt"
    broken.write_bytes(b"PK\x00\x00")
    hands.to_source()
    hands.key("ctrl+o")
    hands.file_dialog(broken)
    hands.says("picture.txt could not be opened: it is not a text file")
    hands.press("Details")
    hands.close("." + hands.has_keyboard(".!detailswindow*").split(".")[1])


def changes_the_looks(hands, folder):
    hands.write("Thank you.")
    hands.reads(lambda text: text == "Grazie.")
    size = lambda: hands.ask("font actual TranslatorText -size")  # noqa: E731
    hands.key("ctrl+plus", "ctrl+plus", "ctrl+plus", "ctrl+minus")
    hands.wait(lambda: size() == "14", "larger text")
    window = hands.dialog("ctrl+comma", "settingswindow")
    look, language, *_ = hands.widgets("TCombobox")
    hands.choose(look, "Dark")
    hands.wait(lambda: hands.ask(f"{hands.pane('source')} cget -background") == "#262a30", "the dark pane")
    hands.key("Tab")
    hands.choose(language, "Italiano")
    hands.named("TButton", "Chiudi")
    hands.close(window)
    hands.says("Inglese")
    window = hands.dialog("F1", "helpwindow")
    hands.says("Scambia le lingue")
    hands.says("Ctrl+R")
    hands.close(window)
    hands.app.xdotool("windowsize", "--sync", hands.app.windows()[0], "1000", "560")
    hands.wait(lambda: hands.ask("winfo width .") == "1000", "a larger window")


def closes_while_it_translates(hands, folder):
    hands.paste("".join(f"Sentence number {n} keeps the model busy for a while.\n" for n in range(5000)))
    hands.wait(lambda: hands.text("target").count("\n") > 10, "the first sentences")
    hands.key("ctrl+q")
    code, errors, seconds = hands.app.wait_closed()
    assert code == 0
    assert re.fullmatch(
        r"WARNING desktop_app\.settings: \S+ was set aside as window\.json\.bad: [^\n]+\n", errors
    )
    assert seconds < 2.0
    print(f"{seconds:5.2f} s to close")
    settings = saved_settings(folder)
    chosen = {name: settings[name] for name in ("font_size", "look", "language", "confidence", "history")}
    assert chosen == {
        "font_size": 14,
        "look": "dark",
        "language": "it",
        "confidence": False,
        "history": False,
    }
    (database,) = folder.rglob("history.sqlite*")  # the journal is folded in at the end
    with sqlite3.connect(database) as connection:
        kept = dict(connection.execute("SELECT source, target FROM entries").fetchall())
    assert kept["Thank you."] == "Grazie."
    assert "I love you very much." not in kept  # deleted
    assert "Good morning." not in kept  # the history was off
    assert not list(Path(folder).rglob("crash*.log"))


def comes_back_as_it_was(app, root):
    hands = Hands(app, root)
    hands.has_keyboard(".!mainframe*")
    hands.says("Inglese")
    assert hands.ask("winfo width .") == "1000"
    assert hands.ask("font actual TranslatorText -size") == "14"
    assert hands.ask(f"{hands.pane('source')} cget -background") == "#262a30"
    hands.type("Thank you.")
    hands.reads(lambda text: text == "Grazie.")
    hands.key("ctrl+q")
    assert app.wait_closed()[:2] == (0, "")
