"""The settings: what is changed here holds at once."""

from __future__ import annotations

import dataclasses
import tkinter
from collections.abc import Callable
from tkinter import ttk

from desktop_app.messages import LANGUAGE_NAMES, Messages
from desktop_app.settings import FONT_SIZES, LANGUAGES, LOOKS, WindowSettings
from desktop_app.theme import Theme


class SettingsWindow(tkinter.Toplevel):
    """Look, language, text size, and the switches.

    Args:
        parent: The window it belongs to.
        theme: Fonts and lengths.
        say: The window's sentences.
        settings: Says what holds now.
        change: Called with what shall hold from now on.
    """

    def __init__(
        self,
        parent: tkinter.Misc,
        theme: Theme,
        say: Messages,
        settings: Callable[[], WindowSettings],
        change: Callable[[WindowSettings], None],
    ) -> None:
        super().__init__(parent)
        theme.dress(self)
        self.resizable(False, False)
        self._theme, self._say, self._settings, self._change = theme, say, settings, change
        self._named: list[tuple[ttk.Label | ttk.Button | ttk.Checkbutton, str]] = []  # and their sentence
        self._choices: list[
            tuple[ttk.Combobox, str, tuple[str, ...]]
        ] = []  # and their setting and its values
        self._switches: list[str] = []
        self._body = ttk.Frame(self, padding=theme.pixels(24))
        self._body.pack(fill="both", expand=True)
        first = self._choice(0, "look", LOOKS)
        self._choice(1, "language", LANGUAGES)
        self._font_size(2)
        self._switch(3, "confidence")
        self._switch(4, "history")
        close = ttk.Button(self._body, command=self.destroy)
        self._named.append((close, "close"))
        close.grid(row=5, column=0, columnspan=2, sticky="e", pady=(theme.pixels(12), 0))
        self.relabel()
        say.on_change(self.relabel)
        first.focus_set()

    def relabel(self) -> None:
        """Write every word, in the language that is spoken."""
        if not self.winfo_exists():
            return
        say = self._say
        self.title(say("settings.title"))
        for widget, key in self._named:
            widget.configure(text=say(key))
        for box, name, values in self._choices:
            box.configure(
                values=[LANGUAGE_NAMES.get(value) or say(f"settings.{name}.{value}") for value in values]
            )
        self.follow()

    def follow(self) -> None:
        """Show what holds now; it may have been changed elsewhere."""
        settings = self._settings()
        for box, name, values in self._choices:
            box.current(values.index(getattr(settings, name)))
        self._size.set(settings.font_size)
        for name in self._switches:
            self.setvar(f"settings_{name}", "1" if getattr(settings, name) else "0")

    def _label(self, row: int, name: str) -> None:
        label = ttk.Label(self._body)
        self._named.append((label, f"settings.{name}"))
        label.grid(
            row=row, column=0, sticky="w", padx=(0, self._theme.pixels(24)), pady=self._theme.pixels(4)
        )

    def _choice(self, row: int, name: str, values: tuple[str, ...]) -> ttk.Combobox:
        self._label(row, name)
        box = ttk.Combobox(self._body, state="readonly", width=20)
        self._choices.append((box, name, values))
        box.bind("<<ComboboxSelected>>", lambda _: self._set(name, values[box.current()]))
        box.grid(row=row, column=1, sticky="ew", pady=self._theme.pixels(2))
        return box

    def _font_size(self, row: int) -> None:
        self._label(row, "font_size")
        box = ttk.Spinbox(
            self._body, from_=min(FONT_SIZES), to=max(FONT_SIZES), width=5,
            command=lambda: self._set_font_size(box.get()),
        )  # fmt: skip
        self._size = box
        box.bind("<Return>", lambda _: self._set_font_size(box.get()))
        box.bind("<FocusOut>", lambda _: self._set_font_size(box.get()))
        box.grid(row=row, column=1, sticky="w", pady=self._theme.pixels(2))

    def _switch(self, row: int, name: str) -> None:
        # By name: a `tkinter.Variable` may be collected on another thread, and would call Tk from there.
        variable = f"settings_{name}"
        self._switches.append(name)
        button = ttk.Checkbutton(
            self._body,
            variable=variable,  # type: ignore[arg-type]
            onvalue="1",
            offvalue="0",
            command=lambda: self._set(name, self.getvar(variable) == "1"),
        )
        self._named.append((button, f"settings.{name}"))
        button.grid(row=row, column=0, columnspan=2, sticky="w", pady=(self._theme.pixels(4), 0))

    def _set_font_size(self, text: str) -> None:
        if text.isdecimal() and int(text) in FONT_SIZES:
            self._set("font_size", int(text))

    def _set(self, name: str, value: object) -> None:
        settings = self._settings()
        if getattr(settings, name) != value:
            self._change(dataclasses.replace(settings, **{name: value}))  # type: ignore[arg-type]
