"""What can be done in the window: one table from which menus, keys and the help sheet are made."""

from __future__ import annotations

import tkinter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from desktop_app.messages import Messages
from desktop_app.theme import Theme

# Tk's names of keys; the first is the one that menus and help show.
KEYS: Mapping[str, tuple[str, ...]] = {
    "open": ("Control-o",),
    "save": ("Control-s",),
    "translate_file": ("Control-t",),
    "quit": ("Control-q",),
    "undo": ("Control-z",),
    "redo": ("Control-Shift-Z",),
    "cut": ("Control-x",),
    "copy": ("Control-c",),
    "paste": ("Control-v",),
    "select_all": ("Control-a",),
    "copy_translation": ("Control-Shift-C",),
    "clear": ("Control-l",),
    "swap": ("Control-r",),
    "translate": ("Control-Return", "Control-KP_Enter"),
    "cancel": ("Escape",),
    "zoom_in": ("Control-plus", "Control-equal", "Control-KP_Add"),
    "zoom_out": ("Control-minus", "Control-KP_Subtract"),
    "zoom_reset": ("Control-0", "Control-KP_0"),
    "confidence": ("Control-k",),
    "other_pane": ("F6",),
    "attention": ("Control-i",),
    "alternatives": ("Control-e",),
    "history": ("Control-h",),
    "models": ("Control-m",),
    "settings": ("Control-comma",),
    "help": ("F1",),
}
# "" is a line.
MENUS: Mapping[str, tuple[str, ...]] = {
    "file": ("open", "save", "translate_file", "", "quit"),
    "edit": (
        "undo", "redo", "", "cut", "copy", "paste", "select_all", "", "copy_translation", "clear", "swap",
    ),
    "view": ("zoom_in", "zoom_out", "zoom_reset", "", "confidence", "other_pane"),
    "tools": ("translate", "cancel", "", "attention", "alternatives", "", "history", "models", "settings"),
    "help": ("help",),
}  # fmt: skip
# Text knows these keys itself, and better: the menus only show them.
_OF_THE_TEXT = {"undo", "redo", "cut", "copy", "paste", "select_all"}


@dataclass(frozen=True)
class Action:
    """One thing to do.

    Attributes:
        run: Does it.
        enabled: Asked when a menu opens; a key does nothing while it is False.
        checked: For a switch: whether it is on; `run` turns it.
    """

    run: Callable[[], object]
    enabled: Callable[[], bool] = lambda: True
    checked: Callable[[], bool] | None = None


class Actions:
    """The menu bar and the keys of a window.

    Args:
        root: Gets the menu bar.
        theme: Colours of the menus.
        say: Names of the actions.
        actions: Every name of `KEYS` and what it does; one that is missing appears nowhere.
    """

    def __init__(self, root: tkinter.Tk, theme: Theme, say: Messages, actions: Mapping[str, Action]) -> None:
        self._root = root
        self._theme = theme
        self._say = say
        self._actions = actions
        self._menus: list[tkinter.Menu] = []
        self._bar: tkinter.Menu | None = None
        self.build_menus()
        say.on_change(self.build_menus)
        theme.on_change(self._restyle)

    def bind_keys(self, *widgets: tkinter.Misc) -> None:
        """Have the keys work in `widgets`, before whatever those do with them."""
        command = self._root.tk.call("tk", "windowingsystem") == "aqua"
        for name, action in self._actions.items():
            if name in _OF_THE_TEXT:
                continue
            for key in KEYS[name]:
                for spelling in spellings(key):
                    for widget in widgets:
                        widget.bind(f"<{spelling}>", _handler(action))
                        if command and spelling.startswith("Control"):
                            widget.bind(f"<{spelling.replace('Control', 'Command')}>", _handler(action))

    def build_menus(self) -> None:
        """Make the menu bar, in the language that is spoken."""
        old = self._bar
        bar = self._bar = tkinter.Menu(self._root, tearoff=False)
        self._menus = [bar]
        for name, entries in MENUS.items():
            menu = tkinter.Menu(bar, tearoff=False)
            menu.configure(postcommand=partial(self._refresh, menu, entries))
            self._menus.append(menu)
            for entry in self._present(entries):
                self._add(menu, entry)
            bar.add_cascade(label=self._say(f"menu.{name}"), menu=menu, underline=0)
        self._restyle()
        self._root.configure(menu=bar)
        if old is not None:
            old.destroy()

    def shortcut(self, name: str) -> str:
        """Return the keys of an action as they stand on a keyboard: "Ctrl+Shift+C"."""
        return shortcut_text(KEYS[name][0], self._say)

    def names(self) -> list[str]:
        """Return every action there is, in the order of the menus."""
        return [name for entries in MENUS.values() for name in self._present(entries) if name]

    def _present(self, entries: Iterable[str]) -> list[str]:
        return [entry for entry in entries if not entry or entry in self._actions]

    def _add(self, menu: tkinter.Menu, name: str) -> None:
        if not name:
            menu.add_separator()
            return
        action = self._actions[name]
        label, keys = self._say(f"action.{name}"), self.shortcut(name)
        if action.checked is None:
            menu.add_command(label=label, accelerator=keys, command=action.run)
        else:
            # By name: a `tkinter.Variable` may be collected on another thread, and would call Tk from there.
            menu.add_checkbutton(
                label=label, accelerator=keys, command=action.run, variable=f"action_{name}",  # type: ignore[arg-type]
                onvalue="1", offvalue="0",
            )  # fmt: skip

    def _refresh(self, menu: tkinter.Menu, entries: Iterable[str]) -> None:
        for position, name in enumerate(self._present(entries)):
            if name:
                state = "normal" if self._actions[name].enabled() else "disabled"
                menu.entryconfigure(position, state=state)
                if (checked := self._actions[name].checked) is not None:
                    menu.setvar(f"action_{name}", "1" if checked() else "0")

    def _restyle(self) -> None:
        for menu in self._menus:
            self._theme.style_menu(menu)


def shortcut_text(key: str, say: Messages) -> str:
    """Return "Ctrl+Shift+C" for Tk's "Control-Shift-C"."""
    signs = {"plus": "+", "minus": "−", "comma": ","}
    named = {"Control", "Shift", "Return", "Escape", "Tab"}
    parts = [say(f"key.{part}") if part in named else signs.get(part, part) for part in key.split("-")]
    return "+".join(part.upper() if len(part) == 1 else part for part in parts)


def spellings(key: str) -> list[str]:
    """Return what Tk calls a key with and without Caps Lock."""
    head, _, last = key.rpartition("-")
    if len(last) == 1 and last.isalpha():
        return [f"{head}-{last.lower()}", f"{head}-{last.upper()}"]
    return [key]


def _handler(action: Action) -> Callable[[tkinter.Event[tkinter.Misc]], str]:
    def handle(_event: tkinter.Event[tkinter.Misc]) -> str:
        if action.enabled():
            action.run()
        return "break"  # a text pane must not also act on the key: Ctrl+Enter would insert a line

    return handle
