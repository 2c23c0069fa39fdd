"""Steps of the scenario: files, the history, models. Each gets the hands and the folder of the test."""

import contextlib
import json
import shutil
import zipfile
from pathlib import Path

from tests.desktop_app.hands import dragged
from tests.documents.files import read_word, word_document

WAY_BACK = Path(__file__).parents[2] / "models" / "it-en.zip"
PARAGRAPH = "<w:p><w:r><w:rPr><w:b/></w:rPr><w:t>Good morning.</w:t></w:r></w:p>"
FORMULA = '<w:p><m:oMath xmlns:m="m"><m:r><m:t>mass = energy</m:t></m:r></m:oMath></w:p>'
SUBTITLES = "1\n00:00:01,000 --> 00:00:02,000\nThank you.\n"


def opens_and_saves(hands, folder):
    source, target = folder / "letter.txt", folder / "saved.txt"
    source.write_text("Good morning.\r\n\r\n  Where is the station?\r\n", encoding="utf-8", newline="")
    hands.key("ctrl+o")
    hands.file_dialog(source)
    hands.says("Opened letter.txt")
    hands.reads(lambda text: text.startswith("Buongiorno.\n\n  Dov'è la "))
    hands.key("ctrl+s")
    hands.file_dialog(target)
    hands.says("Saved as saved.txt")
    assert target.read_text("utf-8") == hands.text("target")


def translates_files(hands, folder):
    """A document by the menu; a long one is stopped, and goes on where it was."""
    source, target = folder / "in.docx", folder / "out.docx"
    source.write_bytes(word_document(PARAGRAPH + FORMULA))
    hands.to_source()
    hands.key("alt+f")
    menu = hands.menu()
    hands.take(menu, "Translate a file…")
    hands.file_dialog(source)
    hands.file_dialog(target)
    hands.says("out.docx is written. Left as it was (code, formulas, marked parts): 1.")
    assert read_word(target.read_bytes()) == read_word(source.read_bytes()).replace(
        "Good morning.", "Buongiorno."
    )
    hands.press("Details")
    details = hands.has_keyboard(".!detailswindow*")
    assert "mass = energy" in hands.ask("[lindex [winfo children .!detailswindow.!frame] 2] get 1.0 end")
    hands.close("." + details.split(".")[1])

    source, target = folder / "long.txt", folder / "long.it.txt"
    lines = [
        f"The {number} red cats of my brother sleep in house number {number}.\n" for number in range(1000)
    ]
    source.write_text("".join(lines), encoding="utf-8")
    noted = folder / "long.it.txt.part.jsonl"
    for is_first in (True, False):
        hands.key("ctrl+t")
        hands.file_dialog(source)
        hands.file_dialog(target)
        if is_first:
            hands.wait(lambda: noted.exists() and noted.stat().st_size > 2000, "what is noted")
            hands.wait(lambda: hands.widgets("TProgressbar"), "the bar")
            hands.key("Escape")
            hands.says("Cancelled")
            assert not target.exists()
            done = noted.read_text("utf-8").split("\n")[1:3]
            shutil.copy(noted, folder / "noted")
    hands.says("long.it.txt is written.*")
    written = target.read_text("utf-8").split("\n")
    assert len(written) == 1001
    assert written[: len(done)] == [json.loads(line)[0] for line in done]
    assert all(str(number) in line for number, line in enumerate(written[:-1]))
    assert not noted.exists()


def drops_files(hands, folder):
    """One file gets a name, several go into a folder."""
    source, target = folder / "due città.srt", folder / "dropped.srt"
    source.write_text(SUBTITLES, encoding="utf-8")
    with dropped(hands, source):
        hands.file_dialog(target)
        hands.says("dropped.srt is written.")
    assert target.read_text("utf-8") == SUBTITLES.replace("Thank you.", "Grazie.")
    page, there = folder / "page.html", folder / "there"
    page.write_text("<p>Thank <b>you</b>.</p><pre>make test</pre>", encoding="utf-8")
    there.mkdir()
    with dropped(hands, source, page):
        hands.folder_dialog(there)
        hands.says("2 of 2 files are written. Left as it was (code, formulas, marked parts): 1.")
    assert (there / "due città.it.srt").read_text("utf-8") == target.read_text("utf-8")
    assert (there / "page.it.html").read_text("utf-8").endswith("<pre>make test</pre>")
    hands.key("Escape")  # the notice has been read
    hands.says("Ready")


@contextlib.contextmanager
def dropped(hands, *files):
    """Drag files out of another program's window and let them go over the translation."""
    x, y = hands.middle(hands.pane("target"))
    with dragged(hands, *files) as process:
        for step in range(4):
            hands.app.xdotool("mousemove", str(x + step), str(y + step))
        hands.says("Drop the files here: *")
        hands.app.xdotool("mouseup", "1")
        yield
        hands.wait(lambda: process.poll() is not None, "the end of the drag")
        assert process.stdout.read() == "copy\n"
    hands.app.xdotool("windowactivate", "--sync", hands.app.windows()[0])
    hands.has_keyboard(".!mainframe*")


def searches_the_history(hands, folder):
    window = hands.dialog("ctrl+h", "historywindow")
    hands.says("* found")
    hands.type("very mu")
    hands.says("1 found")
    hands.key("Down")
    hands.has_keyboard(f"{window}*treeview")
    hands.key("Return")
    hands.closed(window)
    hands.reads(lambda text: text == "Ti amo molto.")

    window = hands.dialog("ctrl+h", "historywindow")
    hands.says("* found")
    exported = folder / "history.csv"
    hands.press("Export…")
    hands.file_dialog(exported)
    hands.says("* translations are written to history.csv.")
    assert "I love you very much.,Ti amo molto." in exported.read_text("utf-8-sig")
    entry = hands.widgets("TEntry")[0]
    hands.click(entry)
    hands.has_keyboard(entry)
    hands.type("very mu")
    hands.says("1 found")
    hands.key("Down")
    hands.has_keyboard(f"{window}*treeview")
    hands.key("Delete")
    hands.says("Nothing found.")
    hands.click(hands.named("TCheckbutton", "Keep a history on this computer"))
    hands.close(window)
    hands.write("Good morning.")
    hands.reads(lambda text: text == "Buongiorno.")
    hands.press("Copy")
    hands.wait(lambda: hands.clipboard() == "Buongiorno.", "the translation on the clipboard")


def manages_models(hands, folder):
    """A model for the way back is installed, used, and removed; a damaged zip is refused."""
    good, bad = WAY_BACK, folder / "bad.zip"
    with zipfile.ZipFile(good) as sound, zipfile.ZipFile(bad, "w") as damaged:
        for info in sound.infolist():
            data = sound.read(info)
            damaged.writestr(info, data if info.filename == "manifest.json" else data[:-1] + b"?")
    assert hands.ask(f"{hands.named('TButton', 'Swap')} cget -state") == "disabled"
    window = hands.dialog("ctrl+m", "modelswindow")
    hands.says("Models: 1")
    hands.wait(lambda: "BLEU" in card(hands), "the model card")
    hands.key("Insert")
    hands.file_dialog(bad)
    hands.says("*damaged*")
    hands.has_keyboard(f"{window}*treeview")
    hands.key("Insert")
    hands.file_dialog(good)
    hands.says("it-en-small is installed.")
    hands.close(window)
    hands.wait(
        lambda: hands.ask(f"{hands.named('TButton', 'Swap')} cget -state") == "normal", "swapping allowed"
    )
    hands.press("Swap")
    hands.wait(lambda: [text for text in hands.labels() if text in ("English", "Italian")] == ["Italian", "English"],
               "the languages swapped")  # fmt: skip
    hands.wait(lambda: hands.text("source") == "Buongiorno.", "the translation on the left")
    hands.reads(lambda text: text == "Good morning.")
    hands.to_source()
    hands.key("ctrl+r")
    hands.wait(lambda: [text for text in hands.labels() if text in ("English", "Italian")] == ["English", "Italian"],
               "the languages as before")  # fmt: skip
    hands.says("Ready")
    window = hands.dialog("ctrl+m", "modelswindow")
    hands.says("Models: 2")
    hands.has_keyboard(f"{window}*treeview")
    hands.key("Up")
    hands.wait(lambda: "it-en-small" in row(hands), "the installed model chosen")
    hands.key("Delete")
    hands.press("Yes")
    hands.says("it-en-small is removed.")
    hands.close(window)
    hands.wait(
        lambda: hands.ask(f"{hands.named('TButton', 'Swap')} cget -state") == "disabled", "no swapping"
    )


def card(hands):
    texts = [path for path in hands.widgets("Text") if "modelswindow" in path]
    return hands.ask(f"{texts[0]} get 1.0 end") if texts else ""


def row(hands):
    (table,) = [path for path in hands.widgets("Treeview") if "modelswindow" in path]
    return hands.ask(f"{table} set [{table} selection]")
