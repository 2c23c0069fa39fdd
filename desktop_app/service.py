"""One worker thread that loads the model and answers the newest request.

Knows neither Tk nor the model: the caller passes a function that loads, the loaded model carries the
function that translates, and everything that happens comes back as a value in a queue.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_LOGGER = logging.getLogger(__name__)

ShouldStop = Callable[[], bool]


@dataclass(frozen=True)
class Answer:
    """A translation as the model gave it.

    Attributes:
        text: The translation, with the line breaks of the source.
        note: One sentence the user should know about this translation, or "".
    """

    text: str
    note: str = ""


TranslateFunction = Callable[[str, ShouldStop], Answer]


@dataclass(frozen=True)
class LoadedModel:
    """What `load` returns: the function that translates, and the facts the window shows.

    Attributes:
        translate: Takes the source text and `should_stop`; called on the worker thread only. It may
            raise anything once `should_stop()` is true.
        source_language: Language code, for example "en".
        target_language: Language code, for example "it".
        device: What truly runs, "cpu" or "cuda".
        device_note: Why that device, or "".
        precision: "fp32", "int8" or "fp16".
    """

    translate: TranslateFunction
    source_language: str
    target_language: str
    device: str
    device_note: str = ""
    precision: str = ""


@dataclass(frozen=True)
class Loaded:
    """The model is ready."""

    model: LoadedModel


@dataclass(frozen=True)
class LoadFailed:
    """The model could not be loaded; the worker has ended."""

    error: Exception


@dataclass(frozen=True)
class Translated:
    """The answer to request `request_id`; `seconds` is the time spent translating."""

    request_id: int
    answer: Answer
    num_words: int
    seconds: float


@dataclass(frozen=True)
class TranslationFailed:
    """Request `request_id` raised; the worker goes on with the next one."""

    request_id: int
    error: Exception


Outcome = Loaded | LoadFailed | Translated | TranslationFailed


@dataclass(frozen=True)
class _Request:
    request_id: int
    text: str


class TranslationService:
    """Translates on one worker thread; the newest request wins.

    A new request replaces the one that waits and cancels the one that runs. A request that is no
    longer the newest leaves no outcome.

    Args:
        load: Loads the model; called once, on the worker thread.
    """

    def __init__(self, load: Callable[[], LoadedModel]) -> None:
        self._load = load
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._newest_id = 0
        self._pending: _Request | None = None
        self._closed = False
        # A daemon: a load that hangs must not keep the process alive after the window has gone.
        self._worker = threading.Thread(target=self._work, name="translation-worker", daemon=True)

    def start(self) -> None:
        """Start the worker, which begins with the load."""
        self._worker.start()

    def submit(self, text: str) -> int:
        """Ask for the translation of `text`; earlier requests are dropped. Returns the request's id.

        Requests made while the model still loads wait for it; the newest is answered.
        """
        with self._changed:
            self._newest_id += 1
            self._pending = _Request(self._newest_id, text)
            self._changed.notify()
            return self._newest_id

    def cancel(self) -> None:
        """Drop the request that waits and stop the one that runs."""
        with self._changed:
            self._newest_id += 1
            self._pending = None

    def outcomes(self) -> Iterator[Outcome]:
        """Yield what has happened since the last call, oldest first, without waiting."""
        while True:
            try:
                yield self._outcomes.get_nowait()
            except queue.Empty:
                return

    def close(self, timeout_seconds: float = 2.0) -> bool:
        """Cancel everything and end the worker.

        Args:
            timeout_seconds: How long to wait for a worker inside a call that cannot be cancelled.

        Returns:
            Whether the worker has ended.
        """
        with self._changed:
            self._closed = True
            self._newest_id += 1
            self._pending = None
            self._changed.notify()
        if self._worker.ident is not None:
            self._worker.join(timeout_seconds)
        return not self._worker.is_alive()

    def _work(self) -> None:
        try:
            model = self._load()
        except Exception as error:  # noqa: BLE001 - a value for the caller, who shows it
            self._outcomes.put(LoadFailed(error))
            return
        self._outcomes.put(Loaded(model))
        while (request := self._next_request()) is not None:
            self._answer(model.translate, request)

    def _next_request(self) -> _Request | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._pending is not None)
            request, self._pending = self._pending, None
            return request

    def _answer(self, translate: TranslateFunction, request: _Request) -> None:
        def is_stale() -> bool:
            return self._newest_id != request.request_id

        begin = time.perf_counter()
        outcome: Outcome
        try:
            answer = translate(request.text, is_stale)
        except Exception as error:
            if is_stale():
                return
            _LOGGER.exception("translating failed")
            outcome = TranslationFailed(request.request_id, error)
        else:
            seconds = time.perf_counter() - begin
            outcome = Translated(request.request_id, answer, len(request.text.split()), seconds)
        if not is_stale():
            self._outcomes.put(outcome)
