"""Between two updates a trainer asks the gate, which lets it go on, or answers and waits for the next request."""

import json
import resource
import time
from collections.abc import Callable
from typing import IO, Any


class GateClosedError(Exception):
    """There are no more requests."""


class Gate:
    """Counts the updates and real target tokens of one request after another, one JSON line each.

    A request is {"updates": N}: the answer comes after the last of them.

    Args:
        requests, answers: Text streams.
        started: `time.perf_counter()` of the process's start.
        facts: Said before the first request.
        clock, processor_clock: Wall clock and processor time of this process.
    """

    def __init__(
        self,
        requests: IO[str],
        answers: IO[str],
        started: float,
        facts: dict[str, Any],
        clock: Callable[[], float] = time.perf_counter,
        processor_clock: Callable[[], float] = time.process_time,
    ) -> None:
        self._requests, self._answers = requests, answers
        self._clock, self._processor_clock = clock, processor_clock
        self._say({**facts, "ready_seconds": round(clock() - started, 2)})
        self._next()

    def update(self, tokens: int) -> None:
        """One update with so many real target tokens is done.

        Raises:
            GateClosedError: nobody asks any more.
        """
        self._updates += 1
        self._tokens += tokens
        if self._updates < self._wanted:
            return
        answer = {"updates": self._updates, "tokens": self._tokens, "seconds": self._clock() - self._start}
        answer["processor_seconds"] = self._processor_clock() - self._processor_start
        peak_bytes = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self._say({**answer, "peak_bytes": peak_bytes})
        self._next()

    def _next(self) -> None:
        line = self._requests.readline()
        if not line:
            raise GateClosedError
        self._wanted = json.loads(line)["updates"]
        self._updates = self._tokens = 0
        self._start, self._processor_start = self._clock(), self._processor_clock()

    def _say(self, words: dict[str, Any]) -> None:
        self._answers.write(json.dumps(words) + "\n")
        self._answers.flush()
