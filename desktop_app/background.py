"""One thread for what must not hold up the window: a look into a sentence, the history, files. Knows no Tk.

Jobs run one after the other; what came of them waits in a queue until the window asks for it.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

_LOGGER = logging.getLogger(__name__)
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class _Job:
    number: int
    key: str
    work: Callable[[], Any]
    done: Callable[[Any], None]
    failed: Callable[[Exception], None]


@dataclass(frozen=True)
class _Finished:
    job: _Job
    result: Any = None
    error: Exception | None = None


class Background:
    """Runs jobs on one thread of its own, and their callbacks on the thread that calls `poll`.

    `run`, `drop` and `poll` are called on one thread, the window's.

    Args:
        name: Name of the thread, for crash reports.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._waiting: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._finished: queue.SimpleQueue[_Finished] = queue.SimpleQueue()
        self._newest: dict[str, int] = {}
        self._count = 0
        self._open = 0  # jobs that `poll` has not yet seen
        self._closed = False
        # A daemon: a disk that hangs must not keep the process alive after the window has gone.
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a job has not yet been handed over by `poll`."""
        return self._open > 0

    def run(
        self,
        key: str,
        work: Callable[[], _Result],
        done: Callable[[_Result], None] | None = None,
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        """Run `work` on the thread after the jobs that wait.

        Args:
            key: Jobs of one key other than "" replace each other: an older one that has not begun is
                dropped, and of one that runs the callbacks are.
            work: The job.
            done: Called by `poll` with what `work` returned.
            failed: Called by `poll` with what `work` raised; without it the failure is logged.
        """
        self._count += 1
        self._open += 1
        if key:
            self._newest[key] = self._count
        self._waiting.put(_Job(self._count, key, work, done or _ignore, failed or self._log))

    def drop(self, key: str) -> None:
        """Forget what waits or runs under `key`."""
        self._newest[key] = 0

    def poll(self) -> None:
        """Call the callbacks of every job that has finished since the last call."""
        while True:
            try:
                finished = self._finished.get_nowait()
            except queue.Empty:
                return
            self._open -= 1
            job = finished.job
            if self._is_stale(job):
                continue
            if finished.error is None:
                job.done(finished.result)
            else:
                job.failed(finished.error)

    def close(self, timeout_seconds: float = 2.0) -> bool:
        """Let the jobs without a key finish, drop the others, and return whether the thread ended in time."""
        self._closed = True
        self._waiting.put(None)
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _is_stale(self, job: _Job) -> bool:
        return bool(job.key) and (self._closed or self._newest[job.key] != job.number)

    def _work(self) -> None:
        while (job := self._waiting.get()) is not None:
            if self._is_stale(job):
                self._finished.put(_Finished(job))
                continue
            try:
                finished = _Finished(job, job.work())
            except Exception as error:  # noqa: BLE001 - a value for the caller, who shows it
                finished = _Finished(job, error=error)
            self._finished.put(finished)

    def _log(self, error: Exception) -> None:
        # The kind alone: a message may hold the user's text.
        _LOGGER.warning("a job of %s failed: %s", self._name, type(error).__name__)


def _ignore(_result: object) -> None:
    """Where nobody waits for what came of a job."""
