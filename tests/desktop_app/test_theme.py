"""Colours, lengths and fonts."""

import pytest

from desktop_app.theme import DARK, LIGHT, Theme, blend


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_text_stands_out_from_its_ground(colours):
    for text, ground in [
        (colours.text, colours.pane), (colours.text, colours.window), (colours.text, colours.control),
        (colours.text, colours.control_active), (colours.text, colours.selection),
        (colours.text, colours.lit), (colours.text, colours.unsure),
        (colours.muted, colours.window), (colours.muted, colours.pane), (colours.error, colours.window),
    ]:  # fmt: skip
        assert contrast(text, ground) >= 4.5, (text, ground)  # WCAG 2.1, level AA


def test_blending():
    assert blend("#000000", "#ffffff", 0.0) == "#000000"
    assert blend("#000000", "#ffffff", 1.0) == "#ffffff"
    assert blend("#102030", "#302010", 0.5) == "#202020"


@pytest.mark.parametrize("share", [1.0, 1.5, 2.0])
def test_lengths_and_fonts_grow_with_the_screen(root, share):
    before = root.tk.call("tk", "scaling")
    try:
        theme = Theme(root, dark=False, dpi=96)
        heights = theme.text_font.metrics("linespace"), theme.heading_font.metrics("linespace")
        theme = Theme(root, dark=False, dpi=96 * share)
        assert theme.pixels(10) == 10 * share
        grown = theme.text_font.metrics("linespace"), theme.heading_font.metrics("linespace")
        for small, large in zip(heights, grown, strict=True):
            assert large / small == pytest.approx(share, rel=0.1)  # fonts come in whole pixels
    finally:
        root.tk.call("tk", "scaling", before)


def test_listeners_hear_of_another_look_once(root):
    class Pane:
        heard = 0

        def restyle(self):
            self.heard += 1

    theme, pane = Theme(root, dark=False), Pane()
    theme.on_change(pane.restyle)
    theme.set_dark(True)
    theme.set_dark(True)
    assert theme.dark
    assert pane.heard == 1


def test_light_comes_back_where_light_controls_are_the_desktops(root):
    import tkinter
    from tkinter import ttk

    theme = Theme(root, dark=True)
    theme.windowing_system = "win32"
    text, menu = tkinter.Text(root), tkinter.Menu(root)
    if "vista" not in ttk.Style(root).theme_names():
        ttk.Style(root).theme_create("vista", parent="default")
    for dark, colours in ((True, DARK), (False, LIGHT)):
        theme.set_dark(dark)
        theme.style_text(text)
        theme.style_menu(menu)
        assert text.cget("background") == colours.pane
        assert [str(one.cget("background")) for one in (root, menu)] == [colours.window] * 2
    assert ttk.Style(root).theme_use() == "vista"
