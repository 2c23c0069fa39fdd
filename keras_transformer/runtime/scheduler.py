"""Many sentences, batch by batch: who goes in when.

The longest go first, so that batch mates are of like lengths. As sentences are done their batch shrinks; it is not
filled up again: rows at positions of their own, and sources encoded a few at a time, cost a file 6 to 40 % more
(measured). Several threads may each run such a batch over one engine; where its products run on one thread each, a
few sentences are dealt out among them.

Letters: B sentences of a batch, S source tokens.
"""

from __future__ import annotations

import collections
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from keras_transformer.decoding.beam import BeamSearch, check_beam
from keras_transformer.decoding.cancellation import Cancellation
from keras_transformer.decoding.greedy import GreedySearch
from keras_transformer.decoding.limits import LoopGuard, length_limits
from keras_transformer.decoding.search import run_to_end
from keras_transformer.decoding.slots import SlotOptions, Slots
from keras_transformer.decoding.steps import Ended, IntArray
from keras_transformer.runtime.manifest import Manifest

BATCH_SENTENCES = 32
# Of all beams: with a beam of 4, 16 sentences take half the memory of 32 and are 10 % faster in int8, 4 % slower
# in float32 (measured).
BATCH_ROWS = 64
LEAST_SENTENCES = 2  # of a batch beside others: one each on a thread of its own is no faster
BATCH_TOKENS = 4096  # padded source tokens of a batch
SHRINK_RATE = (
    0.9  # sentences of a batch that are left when it shrinks: 0.5 is 5 to 8 % slower with a beam of 4
)


@dataclass(frozen=True)
class SearchOptions:
    """How to search; see `BeamSearch` for the rules. A `beam_size` of 1 is greedy search."""

    beam_size: int = 1
    length_penalty: float = 0.6
    num_hypotheses: int = 1
    scores: bool = False

    def check(self) -> None:
        """Raise TypeError or ValueError if an option breaks its rule."""
        check_beam(self.beam_size, self.length_penalty, self.num_hypotheses)


class Scheduler:
    """Translates token ids.

    Args:
        engine: What runs; see `sessions.Engine`.
        manifest: Of its bundle.
        num_workers: Batches that run at the same time, each on a thread of its own, at least 1.

    An engine with a shortlist chooses among it, but for sentences that it does not cover: those run in batches of
    their own, with the whole vocabulary.
    """

    def __init__(self, engine: Any, manifest: Manifest, num_workers: int = 1) -> None:
        self._engine = engine
        self._manifest = manifest
        self._num_workers = num_workers

    def run(
        self,
        sources: Sequence[IntArray],
        options: SearchOptions,
        on_ended: Callable[[Ended], None],
        *,
        in_order: bool = False,
        cancellation: Cancellation | None = None,
    ) -> None:
        """Translate `sources`, EOS included.

        Args:
            sources: Each at least 1 token.
            options: How to search.
            on_ended: Called in this thread with each sentence that is done, in whatever order they end;
                `Ended.row` is its number in `sources`.
            in_order: Begin with the first and not with the longest.
            cancellation: Ends the call.

        Raises:
            Cancelled: `cancellation` was cancelled.
        """
        order = list(range(len(sources)))
        if not in_order:
            order.sort(key=lambda row: -len(sources[row]))
        shortlist = self._engine.shortlist
        if shortlist is None:
            self._run_all(order, sources, options, on_ended, cancellation, short=False)
            return
        for short in (False, True):
            some = [row for row in order if shortlist.covers(sources[row]) == short]
            self._run_all(some, sources, options, on_ended, cancellation, short=short)

    def _run_all(
        self,
        order: list[int],
        sources: Sequence[IntArray],
        options: SearchOptions,
        on_ended: Callable[[Ended], None],
        cancellation: Cancellation | None,
        *,
        short: bool,
    ) -> None:
        batches = collections.deque(self._batches(order, sources, options.beam_size))
        num_workers = min(self._num_workers, len(batches))

        def worker(cancellation: Cancellation | None) -> _Worker:
            return _Worker(self, sources, options, batches, cancellation, short=short)

        if num_workers <= 1:
            worker(cancellation).run(on_ended)
        else:
            self._run_threads(num_workers, worker, on_ended, cancellation)

    def _batches(self, order: list[int], sources: Sequence[IntArray], beam_size: int) -> Iterator[list[int]]:
        """Which sentences begin together, one batch after the other."""
        most = min(BATCH_SENTENCES, max(1, BATCH_ROWS // beam_size))
        parts = 1
        # All can begin at once; where products are divided, one batch after the other is faster.
        if len(order) <= most * self._num_workers and not self._engine.divides_products:
            parts = max(1, min(self._num_workers, len(order) // LEAST_SENTENCES))
        for part in range(parts):
            rows, longest = list[int](), 0
            for row in order[part::parts]:
                longest = max(longest, len(sources[row]))
                if rows and (len(rows) == most or longest * (len(rows) + 1) > BATCH_TOKENS):
                    yield rows
                    rows, longest = [], len(sources[row])
                rows.append(row)
            if rows:
                yield rows

    def _run_threads(
        self,
        num_workers: int,
        worker: Callable[[Cancellation], _Worker],
        on_ended: Callable[[Ended], None],
        cancellation: Cancellation | None,
    ) -> None:
        stop = Cancellation()  # of all workers: the caller cancels, one of them fails, or `on_ended` raises
        events: queue.SimpleQueue[Ended | BaseException | None] = queue.SimpleQueue()

        def work() -> None:
            try:
                worker(stop).run(events.put)
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                events.put(error)
            else:
                events.put(None)

        threads = [threading.Thread(target=work, name=f"translate-{i}") for i in range(num_workers)]
        try:
            for thread in threads:
                thread.start()
            if cancellation is None:
                _listen(events, num_workers, on_ended)
            else:
                with cancellation.on_cancel(stop.cancel):
                    _listen(events, num_workers, on_ended)
        finally:
            stop.cancel()
            for thread in threads:
                if thread.ident is not None:  # the system may have refused to start it
                    thread.join()
            # Errors that nobody heard hold frames that hold the queue: a cycle with whole batches in it.
            while not events.empty():
                events.get()

    def start(
        self,
        sources: Sequence[IntArray],
        longest: int,
        options: SearchOptions,
        cancellation: Cancellation | None,
        *,
        short: bool,
    ) -> Any:
        """A decoding state for sentences, with room for outputs of `longest` tokens."""
        return self._engine.start(sources, longest, options.beam_size, cancellation, short=short)

    def search(
        self,
        state: Any,
        rows: list[int],
        max_lengths: IntArray,
        options: SearchOptions,
        sources: Sequence[IntArray],
    ) -> Slots:
        """A search over `state`, which holds these `rows` of `sources`."""
        manifest = self._manifest
        shared: SlotOptions = {
            "bos_id": manifest.bos_id,
            "eos_id": manifest.eos_id,
            "pad_id": manifest.pad_id,
            "find_loop": LoopGuard(sources),
        }
        if options.beam_size == 1 and options.num_hypotheses == 1:
            return GreedySearch(state, rows, max_lengths, scores=options.scores, **shared)
        return BeamSearch(
            state,
            rows,
            max_lengths,
            beam_size=options.beam_size,
            length_penalty=options.length_penalty,
            num_hypotheses=options.num_hypotheses,
            **shared,
        )

    def limits(self, sources: Sequence[IntArray]) -> IntArray:
        """The most output tokens of each source."""
        return length_limits([len(source) for source in sources], self._manifest.max_length)


def _listen(
    events: queue.SimpleQueue[Ended | BaseException | None],
    num_workers: int,
    on_ended: Callable[[Ended], None],
) -> None:
    """Hand on what the workers find until the last of them is through; raise the first error."""
    while num_workers:
        event = events.get()
        if isinstance(event, BaseException):
            try:
                raise event
            finally:
                del event  # it holds this frame: no cycle, so that batches go at once
        if event is None:
            num_workers -= 1
        else:
            on_ended(event)


class _Worker:
    """One running batch after the other, in one thread."""

    def __init__(
        self,
        scheduler: Scheduler,
        sources: Sequence[IntArray],
        options: SearchOptions,
        batches: collections.deque[list[int]],
        cancellation: Cancellation | None,
        *,
        short: bool,
    ) -> None:
        self._short = short
        self._scheduler = scheduler
        self._sources = sources
        self._options = options
        self._batches = batches  # of all workers
        self._cancellation = cancellation
        self._limits = scheduler.limits(sources)

    def run(self, on_ended: Callable[[Ended], None]) -> None:
        """Until no batch waits."""
        while True:
            try:
                rows = self._batches.popleft()
            except IndexError:
                return
            if self._cancellation is not None:
                self._cancellation.check()
            sources, limits = [self._sources[row] for row in rows], self._limits[rows]
            state = self._scheduler.start(
                sources, int(limits.max()), self._options, self._cancellation, short=self._short
            )
            search = self._scheduler.search(state, rows, limits, self._options, self._sources)
            for ended in run_to_end(search, self._cancellation, shrink_rate=SHRINK_RATE):
                on_ended(ended)
            del state, search  # before the next ones are made, or two batches are in memory
