"""One worker thread that loads the model and answers the newest request.

Knows neither Tk nor the model: the caller passes a function that loads, the loaded model carries the
functions that translate and look into a sentence, and everything that happens comes back as a value.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from desktop_app.inspection import Inspector, Place

_LOGGER = logging.getLogger(__name__)


class Cancellation(Protocol):
    """What ends a running call from another thread (`keras_transformer.decoding.cancellation`)."""

    def cancel(self) -> None:
        """End the call this was given to."""

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        ...


@dataclass(frozen=True)
class Answer:
    """A translation as the model gave it.

    Attributes:
        text: The translation, with the line breaks of the source.
        flags: What the user should know about this translation (`runtime.translator.Translation.flags`).
        places: Where each translated sentence stands, in order.
    """

    text: str
    flags: tuple[str, ...] = ()
    places: tuple[Place, ...] = ()


# Called by a running translation: the share of the text that is done, in [0, 1], and its translation.
OnProgress = Callable[[float, str], None]


@dataclass(frozen=True)
class FileAnswer:
    """What became of a document.

    Attributes:
        flags: What the user should know (`runtime.translator.Translation.flags`).
        kept: Passages that stayed as they were since no translation of them passed the checks.
        left: Texts that are not there to be translated: code, formulas, what is marked so.
    """

    flags: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class FileTranslation(Protocol):
    """Translates the file `source` to `target`; raises what the user is to read."""

    def __call__(
        self, source: Path, target: Path, cancellation: Cancellation, on_progress: Callable[[float], None]
    ) -> FileAnswer:
        """Return what became of it; `on_progress` is told the share that is done."""
        ...


@dataclass(frozen=True)
class LoadedModel:
    """What `load` returns: functions over the model, and the facts the window shows.

    Attributes:
        translate: Takes the source text, a cancellation and a progress callback; called on the worker
            thread only. It may raise anything once the cancellation is cancelled.
        new_cancellation: Makes the cancellation of a call.
        source_language: Language code, for example "en".
        target_language: Language code, for example "it".
        device: What truly runs, "cpu" or "cuda".
        device_note: Why that device, or "".
        precision: "fp32", "int8" or "fp16".
        name: What the bundle is called.
        folder: Where it lies, None where the caller has no folder.
        inspector: Looks into a translated sentence; None where the model cannot.
        translate_file: Translates a document; None where the model cannot.
        file_types: Endings of the files that `translate_file` takes, for example ".docx".
        instead_of: Why this is not the model that was picked last, None where it is.
    """

    translate: Callable[[str, Cancellation, OnProgress], Answer]
    new_cancellation: Callable[[], Cancellation]
    source_language: str
    target_language: str
    device: str
    device_note: str = ""
    precision: str = ""
    name: str = ""
    folder: Path | None = None
    inspector: Inspector | None = None
    translate_file: FileTranslation | None = None
    file_types: tuple[str, ...] = ()
    instead_of: Exception | None = None


Load = Callable[[], LoadedModel]


@dataclass(frozen=True)
class Loaded:
    """A model is ready."""

    model: LoadedModel


@dataclass(frozen=True)
class LoadFailed:
    """A model could not be loaded; the one before, if there was one, goes on."""

    error: Exception


@dataclass(frozen=True)
class Progressed:
    """Request `request_id` has come so far: `text` is the finished beginning of its translation."""

    request_id: int
    share: float
    text: str
    num_words: float
    seconds: float


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


Outcome = Loaded | LoadFailed | Progressed | Translated | TranslationFailed


@dataclass(frozen=True)
class _Request:
    request_id: int
    text: str


class TranslationService:
    """Translates on one worker thread; the newest request wins.

    A new request replaces the one that waits and cancels the one that runs. A request that is no
    longer the newest leaves no outcome.

    Args:
        load: Loads the first model; called once, on the worker thread.
    """

    def __init__(self, load: Load) -> None:
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._newest_id = 0
        self._pending: _Request | None = None
        self._pending_load: Load | None = load
        self._model: LoadedModel | None = None  # the worker's
        self._running: Cancellation | None = None
        self._progress: Progressed | None = None  # the newest only: the window draws slower than we translate
        self._closed = False
        # A daemon: a load that hangs must not keep the process alive after the window has gone.
        self._worker = threading.Thread(target=self._work, name="translation-worker", daemon=True)

    def start(self) -> None:
        """Start the worker, which begins with the load."""
        self._worker.start()

    def load(self, load: Load) -> None:
        """Load another model in the place of the one there is; what waits or runs is dropped."""
        with self._changed:
            self._pending_load = load
            self._drop()
            self._changed.notify()

    def submit(self, text: str) -> int:
        """Ask for the translation of `text`; earlier requests are dropped. Returns the request's id.

        Requests made while the model still loads wait for it; the newest is answered.
        """
        with self._changed:
            self._drop()
            self._pending = _Request(self._newest_id, text)
            self._changed.notify()
            return self._newest_id

    def cancel(self) -> None:
        """Drop the request that waits and stop the one that runs."""
        with self._changed:
            self._drop()

    def outcomes(self) -> Iterator[Outcome]:
        """Yield what has happened since the last call, oldest first, without waiting."""
        with self._changed:
            progress, self._progress = self._progress, None
        if progress is not None:
            yield progress
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
            self._drop()
            self._changed.notify()
        if self._worker.ident is not None:
            self._worker.join(timeout_seconds)
        return not self._worker.is_alive()

    def _drop(self) -> None:
        """Forget every request made so far. The lock is held."""
        self._newest_id += 1
        self._pending = self._progress = None
        if self._running is not None:
            self._running.cancel()

    def _work(self) -> None:
        while (task := self._next_task()) is not None:
            if not isinstance(task, _Request):
                self._change_model(task)
            elif self._model is not None:
                self._answer(self._model, task)

    def _next_task(self) -> _Request | Load | None:
        """Wait for something to do; None when the service is closed."""
        with self._changed:
            self._changed.wait_for(self._has_task)
            if self._closed:
                return None
            if self._pending_load is not None:
                load, self._pending_load = self._pending_load, None
                return load
            request, self._pending = self._pending, None
            return request

    def _has_task(self) -> bool:
        return (
            self._closed
            or self._pending_load is not None
            or (self._pending is not None and self._model is not None)
        )

    def _change_model(self, load: Load) -> None:
        try:
            self._model = load()
        except Exception as error:  # noqa: BLE001 - a value for the caller, who shows it
            self._outcomes.put(LoadFailed(error))
        else:
            self._outcomes.put(Loaded(self._model))

    def _answer(self, model: LoadedModel, request: _Request) -> None:
        cancellation = model.new_cancellation()
        with self._changed:
            if self._newest_id != request.request_id:
                return
            self._running = cancellation
        begin = time.perf_counter()
        num_words = len(request.text.split())

        def on_progress(share: float, text: str) -> None:
            seconds = time.perf_counter() - begin
            with self._changed:
                if self._newest_id == request.request_id:
                    self._progress = Progressed(request.request_id, share, text, share * num_words, seconds)

        outcome: Outcome
        try:
            answer = model.translate(request.text, cancellation, on_progress)
        except Exception as error:
            if cancellation.cancelled:
                return
            _LOGGER.exception("translating failed")
            outcome = TranslationFailed(request.request_id, error)
        else:
            seconds = time.perf_counter() - begin
            outcome = Translated(request.request_id, answer, num_words, seconds)
        finally:
            with self._changed:
                self._running = None
        with self._changed:
            if self._newest_id == request.request_id:
                self._progress = None
                self._outcomes.put(outcome)
