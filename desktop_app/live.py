"""Translate as you type: when to ask, what of the answers to show, and where each sentence stands."""

from __future__ import annotations

import bisect
import tkinter
from collections.abc import Callable
from dataclasses import dataclass

from desktop_app.inspection import Inspector, Place
from desktop_app.messages import Messages
from desktop_app.panes import TextPane
from desktop_app.plain_text import clean_text
from desktop_app.service import (
    Answer,
    Load,
    Loaded,
    LoadedModel,
    LoadFailed,
    Outcome,
    Progressed,
    Translated,
    TranslationFailed,
    TranslationService,
)
from desktop_app.status_line import StatusLine

DEBOUNCE_MS = 350  # after the last key; 300 to 500 feels like "as you type" without wasted work
_STREAM_SECONDS = 0.3  # between two looks at a text in the making; what is done sooner is shown at once


@dataclass(frozen=True, eq=False)
class Shown:
    """The translation on the screen, and the text it belongs to."""

    source: str
    target: str
    places: tuple[Place, ...]

    def place_at(self, offset: int, *, in_target: bool) -> Place | None:
        """Return the sentence around a character of one side."""
        begins = [place.begin(in_target=in_target) for place in self.places]
        position = bisect.bisect_right(begins, offset) - 1
        if position < 0 or offset >= self.places[position].end(in_target=in_target):
            return None
        return self.places[position]

    def sentences(self, place: Place) -> tuple[str, str]:
        """Return the sentence at a place, and its translation."""
        return (
            self.source[place.source_begin : place.source_end],
            self.target[place.target_begin : place.target_end],
        )

    def with_sentence(self, place: Place, target: str) -> Shown:
        """Return the same with another translation of one sentence."""
        longer = len(target) - (place.target_end - place.target_begin)
        text = self.target[: place.target_begin] + target + self.target[place.target_end :]
        places = []
        for other in self.places:
            begin = other.target_begin + (longer if other.target_begin > place.target_begin else 0)
            end = other.target_end + (longer if other.target_begin >= place.target_begin else 0)
            flags = () if other is place else other.flags
            places.append(other._replace(target_begin=begin, target_end=end, flags=flags))
        return Shown(self.source, text, tuple(places))


class LiveTranslation:
    """Joins the two panes and the status line with the service. The newest text wins.

    Args:
        service: Answers.
        source: Where the user writes.
        target: Where the translation stands.
        status: Says what goes on.
        say: The window's sentences.
    """

    def __init__(
        self,
        service: TranslationService,
        source: TextPane,
        target: TextPane,
        status: StatusLine,
        say: Messages,
    ) -> None:
        self._service, self._source, self._target = service, source, target
        self._status, self._say = status, say
        self.model: LoadedModel | None = None
        self.load_error: Exception | None = None  # why there is no model
        self.shown: Shown | None = None  # None while what stands on the right belongs to an earlier text
        self.on_shown: list[Callable[[], None]] = []  # called when `shown` has changed
        self.on_loaded: list[Callable[[LoadedModel], None]] = []
        self.on_load_failed: list[Callable[[Exception], None]] = []
        self._loading = True
        self._awaited_id: int | None = None  # the only request whose outcome is shown
        self._asked = ""
        self._streamed = 0.0  # when, in seconds of the request, its beginning was shown
        self._timer = ""
        self._facts: tuple[float, float] | None = None  # words and seconds of the last translation
        source.text.bind("<<Modified>>", lambda _: self._source_changed(), add=True)
        status.show_state(say("loading"))
        say.on_change(self.speak)

    @property
    def busy(self) -> bool:
        """Whether an outcome is waited for."""
        return self._loading or self._awaited_id is not None

    @property
    def inspector(self) -> Inspector | None:
        """What looks into a sentence, None where there is nothing to look with."""
        return None if self.model is None else self.model.inspector

    def load(self, load: Load) -> None:
        """Change to another model; the text is translated again."""
        self._loading = True
        self._drop()
        self._status.show_state(self._say("loading"))
        self._service.load(load)

    def translate_now(self) -> None:
        """Translate the source text without waiting for a pause in typing."""
        self._cancel_timer()
        text = self._source.get_text()
        if not text.strip():
            self._forget()
            return
        if self.model is None and not self._loading:
            return  # the load failed, and the status line says why
        self._asked, self._streamed = text, 0.0
        self._awaited_id = self._service.submit(text)
        self._set_shown(None)
        self.show_rest()

    def finished(self) -> str | None:
        """Return the translation of the text on the left; where there is none (yet), say so and return None."""
        if self.shown is not None and self.shown.target:
            return self._target.get_text()
        empty = self.shown is not None or is_empty(self._source.text)
        self._status.show_message(self._say("nothing_to_copy" if empty else "not_finished"))
        return None

    def cancel(self) -> None:
        """Stop what is being translated; what is there of it stays."""
        if self._awaited_id is not None or self._timer:
            self._drop()
            self._status.show_state(self._say("cancelled"))

    def clear(self) -> None:
        """Empty both panes and drop what is being translated."""
        self._source.set_text("")
        if self.inspector is not None:
            self.inspector.forget()
        self._forget()

    def replace_sentence(self, place: Place, target: str) -> None:
        """Show another translation of one sentence."""
        if self.shown is not None and place in self.shown.places:
            shown = self.shown.with_sentence(place, target)
            self._target.set_text(shown.target)
            self._set_shown(shown)

    def close(self) -> None:
        """Drop everything; no outcome is shown any more."""
        self._drop()

    def speak(self) -> None:
        """Say the state in the language that is spoken."""
        if self.load_error is None:
            self.show_rest()
            self._show_facts()

    # ---- the source ----------------------------------------------------------------------------

    def _source_changed(self) -> None:
        text = self._source.text
        if not text.edit_modified():  # Tk reports the reset below as a change too
            return
        text.edit_modified(False)
        self._drop()
        if is_empty(text):
            self._forget()
            return
        self._set_shown(None)
        self._timer = self._source.after(DEBOUNCE_MS, self.translate_now)

    def _drop(self) -> None:
        """Forget what runs: it belongs to an earlier text."""
        self._cancel_timer()
        self._awaited_id = None
        self._service.cancel()
        self._status.show_progress(None)

    def _forget(self) -> None:
        """Empty the right side."""
        self._drop()
        self._target.set_text("")
        self._set_shown(Shown("", "", ()))
        self.show_rest()

    def _cancel_timer(self) -> None:
        if self._timer:
            self._source.after_cancel(self._timer)
            self._timer = ""

    # ---- the service's outcomes ----------------------------------------------------------------

    def show_outcome(self, outcome: Outcome) -> None:
        """Show what has happened, unless it belongs to an earlier text."""
        match outcome:
            case Loaded(model):
                self._show_loaded(model)
            case LoadFailed(error):
                self._show_load_failed(error)
            case Progressed(request_id, share, text, num_words, seconds) if request_id == self._awaited_id:
                if seconds - self._streamed >= _STREAM_SECONDS:
                    self._streamed = seconds
                    self._target.set_text(text)
                    self._target.set_muted(False)
                    self._status.show_progress(share)
                    self._facts = (num_words, seconds)
                    self._show_facts()
            case Translated(request_id, answer, num_words, seconds) if request_id == self._awaited_id:
                self._facts = (num_words, seconds)
                self._show_answer(answer)
            case TranslationFailed(request_id, error) if request_id == self._awaited_id:
                self._forget()
                self._status.show_error(self._say.failure(error), error)
            case _:
                pass  # an earlier text's outcome

    def _show_loaded(self, model: LoadedModel) -> None:
        self.model, self.load_error, self._loading, self._facts = model, None, False, None
        self.show_rest()
        self._show_facts()
        for listener in self.on_loaded:
            listener(model)
        if self._awaited_id is None:  # else the text waits in the service already
            self.translate_now()

    def _show_load_failed(self, error: Exception) -> None:
        self._loading = False
        sentence = self._say("error.load", reason=error)
        if self.model is None:
            self.load_error = error
            self._status.show_error(sentence, error)
        else:
            self._status.show_notice(sentence, error, error=True)  # the model before goes on
            self.show_rest()
            if self.shown is None:
                self.translate_now()  # the load has dropped it
        for listener in self.on_load_failed:
            listener(error)

    def _show_answer(self, answer: Answer) -> None:
        self._awaited_id = None
        self._target.set_text(answer.text)
        # Tk holds no lone surrogates and no NUL: then the places would be those of another text.
        places = answer.places if clean_text(answer.text) == answer.text else ()
        self._set_shown(Shown(self._asked, answer.text, places))
        self._status.show_progress(None)
        self._status.show_state(self._say.note(answer.flags) or self._say("ready"))
        self._show_facts()

    def _set_shown(self, shown: Shown | None) -> None:
        self.shown = shown
        self._target.set_muted(shown is None)
        for listener in self.on_shown:
            listener()

    def show_rest(self) -> None:
        """Say how it stands, where nothing in particular has happened."""
        if self._loading:
            self._status.show_state(self._say("loading"))
        elif self._awaited_id is not None:
            self._status.show_state(self._say("translating"))
        elif self.load_error is None:
            self._status.show_state(self._say("ready"))

    def _show_facts(self) -> None:
        if self.model is None:
            return
        facts = self._say.engine_facts(self.model.device, self.model.precision)
        if self._facts is not None:
            facts = f"{facts} · {self._say.speed(*self._facts)}"
        self._status.show_facts(facts)


def is_empty(text: tkinter.Text) -> bool:
    """Return whether a text widget holds nothing."""
    return bool(text.compare("end-1c", "==", "1.0"))
