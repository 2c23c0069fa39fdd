"""Running batches over a scripted engine: nobody is lost, nobody changes, and everything ends when told to."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_transformer.decoding import Cancellation, Cancelled
from keras_transformer.runtime import scheduler as module
from keras_transformer.runtime.scheduler import Scheduler, SearchOptions
from tests.decoding.trees import BOS, EOS, PAD, Tree, TreeStep

MANIFEST = SimpleNamespace(bos_id=BOS, eos_id=EOS, pad_id=PAD, max_length=24)


class TreeEngine:
    """Sentences are told apart by their first token. Notes what was begun; `delay` seconds a step."""

    shortlist = None
    divides_products = False

    def __init__(self, ending=1.0, delay=0.0):
        self.tree, self.delay = Tree(30, 4, ending=ending), delay
        self.begun: list[list[int]] = []
        self.begun_at_keep: list[int] = []  # sentences begun when the batch shrank
        self.most_rows = 0
        self.steps = 0
        self.threads = set()
        self.fail_at = None
        self.states = weakref.WeakSet()
        self.most_states = 0  # at the same time

    def start(self, sources, max_length, beam_size, cancellation, *, short):
        engine = self
        engine.begun.append([int(source[0]) for source in sources])

        class State(TreeStep):
            def __call__(self, token_ids, positions):
                engine.steps += 1
                engine.most_rows = max(engine.most_rows, len(token_ids))
                engine.threads.add(threading.get_ident())
                assert np.max(positions) < max_length
                if engine.steps == engine.fail_at:
                    raise MemoryError("no room")
                time.sleep(engine.delay)
                return super().__call__(token_ids, positions)

            def keep(self, sentences):
                engine.begun_at_keep.append(sum(map(len, engine.begun)))
                super().keep(sentences)

        state = State(self.tree, [int(source[0]) for source in sources], beam_size)
        self.states.add(state)
        self.most_states = max(self.most_states, len(self.states))
        return state


def sources_of(lengths):
    """Sources that begin with their own number."""
    return [np.array([100 + row, *[5] * (length - 1)]) for row, length in enumerate(lengths)]


def run(sources, options=None, engine=None, num_workers=1, **arguments):
    engine = engine or TreeEngine()
    found = {}

    def take(ended):
        assert ended.row not in found
        found[ended.row] = ended.hypotheses

    Scheduler(engine, MANIFEST, num_workers).run(sources, options or SearchOptions(), take, **arguments)
    return found


def facts(hypotheses):
    return [(one.tokens.tolist(), one.finished, one.cut) for one in hypotheses]


LENGTHS = st.lists(st.integers(1, 16), max_size=60)


@settings(deadline=None, max_examples=40)
@given(LENGTHS, st.sampled_from([SearchOptions(), SearchOptions(beam_size=3, num_hypotheses=2)]),
       st.sampled_from([1, 3]), st.booleans(), st.sampled_from([0.25, 0.9, 1.0]))  # fmt: skip
def test_each_sentence_is_translated_once_and_as_if_alone(lengths, options, num_workers, in_order, rate):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BATCH_SENTENCES", 8)
        patch.setattr(module, "SHRINK_RATE", rate)
        engine = TreeEngine()
        sources = sources_of(lengths)
        found = run(sources, options, engine, num_workers, in_order=in_order)
        assert sorted(found) == list(range(len(lengths)))
        assert sorted(row for batch in engine.begun for row in batch) == [
            100 + r for r in range(len(lengths))
        ]
        assert engine.most_rows <= 8 * options.beam_size
        for row, source in enumerate(sources):
            assert facts(found[row]) == facts(run([source], options)[0])


def test_the_longest_begin_first_and_in_order_the_first(monkeypatch):
    monkeypatch.setattr(module, "BATCH_SENTENCES", 4)
    lengths = [3, 9, 1, 12, 5, 5, 7, 2]
    engine = TreeEngine()
    run(sources_of(lengths), engine=engine)
    begun = [row - 100 for batch in engine.begun for row in batch]
    assert begun == [3, 1, 6, 4, 5, 0, 7, 2]
    engine = TreeEngine()
    run(sources_of(lengths), engine=engine, in_order=True)
    assert [row - 100 for batch in engine.begun for row in batch] == list(range(8))


def test_a_batch_keeps_to_its_padded_tokens(monkeypatch):
    monkeypatch.setattr(module, "BATCH_TOKENS", 40)
    engine = TreeEngine()
    run(sources_of([16] * 9 + [3] * 5), engine=engine)
    assert [len(batch) for batch in engine.begun] == [2, 2, 2, 2, 2, 4]  # 3 · 16 = 48 is more than 40


def test_a_batch_shrinks_as_its_sentences_are_done_and_the_next_begins_after_it(monkeypatch):
    monkeypatch.setattr(module, "BATCH_SENTENCES", 8)
    engine = TreeEngine()
    run(sources_of([6] * 40), engine=engine)
    assert [len(batch) for batch in engine.begun] == [8] * 5
    assert set(engine.begun_at_keep) == {8, 16, 24, 32, 40}  # how many had begun


@pytest.mark.parametrize(("beam_size", "sentences"), [(1, 32), (3, 21), (4, 16), (100, 1)])
def test_wide_beams_run_fewer_sentences_at_a_time(beam_size, sentences):
    engine = TreeEngine()
    run(sources_of([2] * 40), SearchOptions(beam_size), engine)
    assert len(engine.begun[0]) == sentences
    assert engine.most_rows == sentences * beam_size


def test_several_workers_run_on_threads_of_their_own_and_report_in_the_callers(monkeypatch):
    monkeypatch.setattr(module, "BATCH_SENTENCES", 4)
    engine, heard = TreeEngine(delay=0.001), set()
    scheduler = Scheduler(engine, MANIFEST, 3)
    scheduler.run(sources_of([6] * 60), SearchOptions(), lambda ended: heard.add(threading.get_ident()))
    assert heard == {threading.get_ident()}
    assert len(engine.threads) == 3
    assert heard.isdisjoint(engine.threads)
    few = TreeEngine()
    run(sources_of([6] * 3), engine=few, num_workers=3)
    assert few.threads == {threading.get_ident()}  # one batch needs no threads


@pytest.mark.parametrize(
    ("count", "num_workers", "batches"),
    [
        (2, 2, [[0, 1]]),
        (3, 2, [[0, 1, 2]]),
        (4, 2, [[0, 2], [1, 3]]),
        (7, 3, [[0, 3, 6], [1, 4], [2, 5]]),
        (5, 8, [[0, 2, 4], [1, 3]]),
        (8, 2, [[0, 2, 4, 6], [1, 3, 5, 7]]),
        (9, 2, [[0, 1, 2, 3], [4, 5, 6, 7], [8]]),  # too many to begin at once
    ],
)
def test_a_few_sentences_are_dealt_out_among_the_workers(monkeypatch, count, num_workers, batches):
    monkeypatch.setattr(module, "BATCH_SENTENCES", 4)
    engine = TreeEngine()
    run(sources_of(range(16, 16 - count, -1)), engine=engine, num_workers=num_workers)
    assert sorted([row - 100 for row in batch] for batch in engine.begun) == batches


def test_where_products_are_divided_a_few_sentences_stay_together():
    engine = TreeEngine()
    engine.divides_products = True
    run(sources_of([6] * 8), engine=engine, num_workers=2)
    assert [len(batch) for batch in engine.begun] == [8]


@pytest.mark.parametrize("num_workers", [1, 3])
def test_an_error_of_the_engine_ends_all_workers_and_is_raised(monkeypatch, num_workers):
    monkeypatch.setattr(module, "BATCH_SENTENCES", 4)
    engine = TreeEngine(delay=0.001)
    engine.fail_at = 7
    with pytest.raises(MemoryError, match=r"^no room$"):
        run(sources_of([6] * 200), engine=engine, num_workers=num_workers)
    assert engine.steps < 15
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("translate-")]


def test_an_error_of_the_listener_ends_all_workers(monkeypatch):
    monkeypatch.setattr(module, "BATCH_SENTENCES", 4)
    engine = TreeEngine(delay=0.001)

    def fail(ended):
        raise KeyError(ended.row)

    with pytest.raises(KeyError):
        Scheduler(engine, MANIFEST, 3).run(sources_of([6] * 200), SearchOptions(), fail)
    assert engine.steps < 60
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("translate-")]


@pytest.mark.parametrize("num_workers", [1, 3])
def test_cancelled_from_another_thread_it_ends_within_50_ms(monkeypatch, num_workers):
    monkeypatch.setattr(module, "BATCH_SENTENCES", 4)
    engine, cancellation = TreeEngine(ending=-30.0, delay=0.002), Cancellation()
    cancelled = []

    def cancel():
        time.sleep(0.1)
        cancelled.append(time.perf_counter())
        cancellation.cancel()

    threading.Thread(target=cancel).start()
    with pytest.raises(Cancelled, match=r"^The call was cancelled\.$"):
        run(sources_of([16] * 2000), engine=engine, num_workers=num_workers, cancellation=cancellation)
    assert time.perf_counter() - cancelled[0] < 0.05
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("translate-")]


def test_scores_are_there_where_they_were_asked_for():
    sources = sources_of([4, 7])
    assert [found[0].log_probs for found in run(sources).values()] == [None, None]
    scored = run(sources, SearchOptions(scores=True))
    assert [len(found[0].log_probs) for found in scored.values()] == [
        len(found[0].tokens) + found[0].finished for found in scored.values()
    ]


def test_an_endless_output_is_cut():
    class Stuttering(TreeEngine):
        def __init__(self):
            super().__init__()
            self.tree = SimpleNamespace(
                vocabulary=9, logits=lambda sentence, prefix: np.eye(9, dtype=np.float32)[7]
            )

    for options in (SearchOptions(), SearchOptions(beam_size=1, num_hypotheses=1, scores=True)):
        found = run(sources_of([8]), options, Stuttering())
        assert facts(found[0]) == [([7], False, True)]


@pytest.fixture
def _no_collector():
    """What goes, goes by its reference count."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize("options", [SearchOptions(), SearchOptions(beam_size=3)], ids=["greedy", "beam"])
def test_a_batch_goes_before_the_next_one_comes(options):
    engine = TreeEngine()
    run(sources_of([6] * 90), options, engine)
    assert len(engine.begun) > 2
    assert engine.most_states == 1


@pytest.mark.usefixtures("_no_collector")
def test_a_cancelled_call_leaves_no_batch_behind():
    engine, cancellation = TreeEngine(ending=-30.0, delay=0.001), Cancellation()
    threading.Timer(0.05, cancellation.cancel).start()
    with pytest.raises(Cancelled):
        run(sources_of([16] * 200), engine=engine, num_workers=3, cancellation=cancellation)
    assert len(engine.begun) >= 3
    assert len(engine.states) == 0


def test_workers_that_cannot_start_end_those_that_have(monkeypatch):
    started = []

    class Refused(threading.Thread):
        def start(self):
            if len(started) == 2:
                raise RuntimeError("can't start new thread")
            super().start()
            started.append(self)

    monkeypatch.setattr(module.threading, "Thread", Refused)
    engine = TreeEngine(ending=-30.0, delay=0.001)
    with pytest.raises(RuntimeError, match=r"\Acan't start new thread\Z"):
        run(sources_of([16] * 400), engine=engine, num_workers=4)
    assert len(started) == 2
    assert not any(thread.is_alive() for thread in started)
