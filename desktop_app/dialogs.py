"""The window's dialogs: each is there once, and opened again it comes to the front."""

from __future__ import annotations

import dataclasses
import tkinter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from desktop_app.actions import Actions
from desktop_app.background import Background
from desktop_app.history import Entry, History
from desktop_app.live import LiveTranslation
from desktop_app.messages import Messages
from desktop_app.models import Models
from desktop_app.settings import WindowSettings
from desktop_app.theme import Theme
from desktop_app.words import Words
from keras_transformer import __version__


@runtime_checkable
class FollowsSettings(Protocol):
    """A dialog with switches that are elsewhere too."""

    def follow(self) -> None:
        """Show what holds now."""


@runtime_checkable
class FollowsModel(Protocol):
    """A dialog that says which model translates."""

    def follow_model(self) -> None:
        """Show which one does now."""


@dataclass(frozen=True)
class Answers:
    """What dialogs ask of the window.

    Attributes:
        settings: What holds now.
        change: Lets other settings hold.
        reuse: Translates an entry of the history again.
        pick: Loads the model of a folder.
        models_changed: Hears that a model was installed or removed.
        failed: Says that a look into a sentence failed.
        actions: What the help sheet lists.
    """

    settings: Callable[[], WindowSettings]
    change: Callable[[WindowSettings], None]
    reuse: Callable[[Entry], None]
    pick: Callable[[Path], None]
    models_changed: Callable[[], None]
    failed: Callable[[Exception], None]
    actions: Callable[[], Actions]


class Dialogs:
    """Opens dialogs. Their modules are imported when they are first asked for: the window starts sooner.

    Args:
        root: Parent of the dialogs.
        theme, say, background: As the window has them.
        live: What is shown.
        words: Which word is looked at.
        history: What the history dialog shows, or None.
        models: What the models dialog shows, or None.
        answers: The window's.
    """

    def __init__(
        self,
        root: tkinter.Tk,
        theme: Theme,
        say: Messages,
        background: Background,
        live: LiveTranslation,
        words: Words,
        history: History | None,
        models: Models | None,
        answers: Answers,
    ) -> None:
        self._root, self._theme, self._say, self._background = root, theme, say, background
        self._live, self._words, self._history, self._models = live, words, history, models
        self._answers = answers
        self.open: dict[str, tkinter.Toplevel] = {}
        say.on_change(self.speak)
        live.on_loaded.append(lambda _: self._follow_model())

    def speak(self) -> None:
        """Close what still speaks the other language; the settings change theirs themselves."""
        for name, window in self._standing():
            if name != "settings":
                window.destroy()

    def follow(self) -> None:
        """Have the dialogs that are open show the settings that hold now."""
        for _, window in self._standing():
            if isinstance(window, FollowsSettings):
                window.follow()

    def _follow_model(self) -> None:
        for _, window in self._standing():
            if isinstance(window, FollowsModel):
                window.follow_model()

    def close(self) -> None:
        """Close every dialog; one that installs a model stops."""
        for _, window in self._standing():
            window.destroy()

    def _standing(self) -> Iterator[tuple[str, tkinter.Toplevel]]:
        for name, window in self.open.items():
            if window.winfo_exists():
                yield name, window

    def show_help(self) -> None:
        """Open the help sheet."""
        from desktop_app.help_window import HelpWindow

        model = self._live.model
        facts = [self._say("title"), __version__, *([model.name, model.device_note] if model else [])]
        about = " · ".join(filter(None, facts))
        self._show(
            "help",
            lambda: HelpWindow(self._root, self._theme, self._say, self._answers.actions(), about),
        )

    def show_settings(self) -> None:
        """Open the settings."""
        from desktop_app.settings_window import SettingsWindow

        answers = self._answers
        self._show(
            "settings",
            lambda: SettingsWindow(self._root, self._theme, self._say, answers.settings, answers.change),
        )

    def show_attention(self) -> None:
        """Open the attention of the sentence that is looked at."""
        from desktop_app.attention_window import AttentionWindow

        self._show(
            "attention",
            lambda: AttentionWindow(
                self._root, self._theme, self._say, self._live, self._words, self._background,
                self._answers.failed,
            ),
        )  # fmt: skip

    def show_history(self) -> None:
        """Open the history."""
        from desktop_app.history_window import HistoryWindow

        history, answers = self._history, self._answers
        if history is not None:
            self._show(
                "history",
                lambda: HistoryWindow(
                    self._root, self._theme, self._say, history, self._background,
                    reuse=answers.reuse, keep=lambda: answers.settings().history, set_keep=self._set_keep,
                ),
            )  # fmt: skip

    def show_models(self) -> None:
        """Open the list of models."""
        from desktop_app.models_window import ModelsWindow

        models, live = self._models, self._live
        if models is not None:
            self._show(
                "models",
                lambda: ModelsWindow(
                    self._root, self._theme, self._say, models, self._background,
                    current=lambda: live.model.folder if live.model is not None else None,
                    pick=self._answers.pick, changed=self._answers.models_changed,
                ),
            )  # fmt: skip

    def _set_keep(self, keep: bool) -> None:
        self._answers.change(dataclasses.replace(self._answers.settings(), history=keep))

    def _show(self, name: str, make: Callable[[], tkinter.Toplevel]) -> None:
        window = self.open.get(name)
        if window is not None and window.winfo_exists():
            window.lift()
            window.focus_set()
        else:
            self.open[name] = make()
