"""The heat map: its numbers, its picture on the screen, its PNG."""

import dataclasses

import pytest

from desktop_app.heat_map import HeatMap, heat_map, save_png, strength
from desktop_app.inspection import words
from desktop_app.theme import DARK
from tests.desktop_app.conftest import pump
from tests.desktop_app.driving import press, settled
from tests.desktop_app.scripted_model import ScriptedInspector


def test_a_table_has_the_tokens_the_end_and_the_weights_of_a_head():
    attention = ScriptedInspector().attention("one two", "UNO DUE")
    table = heat_map(attention, "one two", "UNO DUE", 1, title="Head 2", end="end")
    assert table.rows == ("UNO", "DUE", "(end)")
    assert table.columns == ("one", "two", "(end)")
    assert table.weights == ((0.0, 0.8, 0.2), (0.0, 0.0, 1.0), (0.0, 0.0, 1.0))
    average = heat_map(attention, "one two", "UNO DUE", None, title="Average", end="end")
    assert average.weights[0] == pytest.approx((0.4, 0.4, 0.2))


def test_strength_grows_from_nothing_to_all():
    assert (strength(0.0), strength(0.25), strength(1.0)) == (0.0, 0.5, 1.0)


def test_the_png_has_a_cell_for_each_weight_and_stronger_is_darker(tmp_path):
    image_module = pytest.importorskip("PIL.Image", reason="Pillow (extra `desktop`) is not installed")
    path = tmp_path / "attention.png"
    table = HeatMap("Average", ("perché", "(end)"), ("why", "not", "?"), ((1.0, 0.25, 0.0), (0.0, 0.04, 1.0)))
    save_png(path, table)
    image = image_module.open(path).convert("L")
    # Cells of 40 pixels end 20 pixels before the right and the lower edge of the table.
    left, top = None, image.height - 20 - 2 * 40
    for x in range(image.width - 1, 0, -1):
        if image.getpixel((x, top + 20)) < 100:  # the full cell, from the right
            left = x - 39
            break
    shades = [[image.getpixel((left + 20 + 40 * c, top + 20 + 40 * r)) for c in range(3)] for r in range(2)]
    assert shades[0][0] < shades[0][1] < shades[0][2] == 255
    assert shades[1][2] == shades[0][0]
    assert shades[1][0] == 255 > shades[1][1] > shades[0][1]


@pytest.fixture
def window(open_window):
    window = open_window()
    window.source.set_text("one two three. four five!")
    pump(window.root, settled(window))
    return window


def opened(window):
    press(window.source.text, "<Control-i>")
    dialog = window.dialogs.open["attention"]
    pump(window.root, lambda: dialog.picture is not None)
    return dialog


def test_it_shows_the_first_sentence_and_follows_the_word_that_is_looked_at(window):
    dialog = opened(window)
    assert dialog.picture.rows == ("ONE", "TWO", "THREE", "(end)")
    for _ in range(4):
        press(window.target.text, "<Right>")
    pump(window.root, lambda: dialog.picture.rows == ("FOUR", "FIVE", "(end)"))


def test_each_head_and_the_average_can_be_chosen(window):
    dialog = opened(window)
    assert dialog.heads.cget("values") == ("Average", "Head 1", "Head 2")
    assert dialog.picture.weights[0] == pytest.approx((0.4, 0.4, 0.0, 0.2))
    dialog.heads.focus_force()
    dialog.heads.current(2)
    dialog.heads.event_generate("<<ComboboxSelected>>")
    assert dialog.picture.weights[0] == (0.0, 0.8, 0.0, 0.2)
    size = [dialog.tk.call("image", side, dialog.cells) for side in ("width", "height")]
    assert size == [4, 4]
    fills = [dialog.tk.call(dialog.cells, "get", column, 0) for column in range(4)]
    assert fills[0] == fills[2] == (255, 255, 255)
    assert len({*fills}) == 3


def test_a_cell_says_its_share(window):
    dialog = opened(window)
    left, top, side = dialog.grid_place
    dialog.canvas.event_generate("<Motion>", x=left - 5, y=top - 5)
    assert dialog._cell.cget("text") == " "
    dialog.canvas.event_generate("<Motion>", x=left + side // 2, y=top + side // 2)
    pump(window.root, lambda: dialog._cell.cget("text") == "ONE ← one: 40 %")


def test_a_long_sentence_is_drawn_with_few_items_and_only_what_is_seen_is_enlarged(open_window):
    window = open_window()
    window.source.set_text(" ".join(["word"] * 120) + ".")
    pump(window.root, settled(window))
    dialog = opened(window)
    assert len(dialog.picture.columns) == 121
    assert len(dialog.canvas.find_all()) < 5 * 121  # and not one for each of 14,641 cells
    shown = [dialog.tk.call("image", side, dialog._visible) for side in ("width", "height")]
    assert shown[0] <= dialog.canvas.winfo_width() + 2 * dialog.grid_place[2]
    assert shown[1] <= dialog.canvas.winfo_height() + 2 * dialog.grid_place[2]
    before = dialog.canvas.coords("cells")
    dialog.canvas.yview_moveto(0.5)
    pump(window.root, lambda: dialog.canvas.coords("cells") != before)


def test_it_is_saved_under_the_name_that_is_asked_for(window, monkeypatch, tmp_path):
    pytest.importorskip("PIL.Image", reason="Pillow (extra `desktop`) is not installed")
    path = tmp_path / "picture.png"
    monkeypatch.setattr("desktop_app.attention_window.filedialog.asksaveasfilename", lambda **_: str(path))
    dialog = opened(window)
    dialog.save_button.invoke()
    pump(window.root, lambda: dialog._cell.cget("text") == "Saved as picture.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_without_a_sentence_it_says_what_to_do(open_window):
    window = open_window()
    press(window.source.text, "<Control-i>")
    dialog = window.dialogs.open["attention"]
    pump(window.root, lambda: dialog.canvas.find_all())
    assert "Put the pointer" in dialog.canvas.itemcget(dialog.canvas.find_all()[0], "text")
    assert dialog.save_button.instate(["disabled"])


def test_a_failed_look_leaves_the_picture_of_the_sentence_before(window):
    dialog = opened(window)
    look = window.live.inspector.attention

    def broken(source, target):
        raise ValueError("no alignment")

    window.live.inspector.attention = broken
    for _ in range(4):
        press(window.target.text, "<Right>")
    pump(window.root, lambda: "no alignment" in window.status.sentence)
    pump(window.root, lambda: not window._background.busy)
    dialog._draw()  # as the window is resized
    assert dialog.picture.rows == ("ONE", "TWO", "THREE", "(end)")
    window.live.inspector.attention = look
    press(window.target.text, "<Right>")
    pump(window.root, lambda: dialog.picture.rows == ("FOUR", "FIVE", "(end)"))


def test_it_follows_a_change_of_theme(window):
    dialog = opened(window)
    window.change(dataclasses.replace(window.settings(), look="dark"))
    assert dialog.cget("background") == DARK.window
    assert dialog.canvas.cget("background") == DARK.pane
    labels = [item for item in dialog.canvas.find_all() if dialog.canvas.type(item) == "text"]
    assert {dialog.canvas.itemcget(item, "fill") for item in labels} == {DARK.text}


@pytest.mark.parametrize("found", [True, False])
def test_without_pillow_nothing_offers_to_save(window, monkeypatch, found):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if found else None)
    assert bool(opened(window).save_button.winfo_manager()) == found


def test_a_closed_dialog_asks_for_nothing_more(window):
    dialog = opened(window)
    press(dialog, "<Escape>")
    asked = len(window.live.inspector.asked)
    window.source.set_text("new text.")
    pump(window.root, settled(window))
    assert len(window.live.inspector.asked) == asked
    assert words("new text.")  # there was something to ask about
