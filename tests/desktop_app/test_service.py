"""The service alone: threads and queues, no Tk, no model."""

import logging
import subprocess
import sys
import threading
import time

import pytest

from desktop_app.service import (
    Answer,
    Loaded,
    LoadFailed,
    Translated,
    TranslationFailed,
    TranslationService,
)
from keras_transformer.decoding.cancellation import Cancellation
from tests.desktop_app.scripted_model import scripted_model

WAIT_SECONDS = 10.0  # only a hang takes that long


def model(translate):
    return scripted_model(translate, precision="fp32")


def next_outcome(service):
    end = time.perf_counter() + WAIT_SECONDS
    while time.perf_counter() < end:
        for outcome in service.outcomes():
            return outcome
        time.sleep(0.001)
    raise AssertionError("no outcome in time")


@pytest.fixture
def start():
    services = []

    def start_one(translate, load=None):
        service = TranslationService(load or (lambda: model(translate)))
        services.append(service)
        service.start()
        return service

    yield start_one
    for service in services:
        assert service.close(WAIT_SECONDS)


class Gate:
    """A translation that stops at a gate: the test sees it enter and lets it go."""

    def __init__(self):
        self.entered = threading.Semaphore(0)
        self.go = threading.Event()
        self.texts = []
        self.stopped = []

    def __call__(self, text, cancellation, on_progress):
        self.texts.append(text)
        self.entered.release()
        while not self.go.wait(0.001):
            if cancellation.cancelled:
                self.stopped.append(text)
                raise RuntimeError("cancelled between steps")
        return Answer(f"<{text}>")

    def wait_entered(self):
        assert self.entered.acquire(timeout=WAIT_SECONDS)


def test_the_load_runs_on_the_worker_and_its_facts_come_back(start):
    threads = []

    def load():
        threads.append(threading.current_thread())
        return model(lambda text, *_: Answer(text))

    service = start(None, load)
    outcome = next_outcome(service)
    assert isinstance(outcome, Loaded)
    assert (outcome.model.source_language, outcome.model.device) == ("en", "cpu")
    assert threads[0] is not threading.main_thread()


def test_a_request_is_answered_on_the_worker_with_its_id_words_and_time(start):
    threads = []

    def translate(text, cancellation, on_progress):
        threads.append(threading.current_thread())
        time.sleep(0.02)
        return Answer(text.upper(), "a note")

    service = start(translate)
    assert isinstance(next_outcome(service), Loaded)
    request_id = service.submit("three small words")
    outcome = next_outcome(service)
    assert isinstance(outcome, Translated)
    assert outcome.request_id == request_id
    assert outcome.answer == Answer("THREE SMALL WORDS", "a note")
    assert outcome.num_words == 3
    assert 0.02 <= outcome.seconds < WAIT_SECONDS
    assert threads[0] is not threading.main_thread()


def test_of_requests_made_during_the_load_only_the_newest_is_answered(start):
    loading = threading.Event()
    gate = Gate()
    gate.go.set()

    def load():
        assert loading.wait(WAIT_SECONDS)
        return model(gate)

    service = start(None, load)
    service.submit("one")
    service.submit("two")
    newest = service.submit("three")
    loading.set()
    assert isinstance(next_outcome(service), Loaded)
    outcome = next_outcome(service)
    assert (outcome.request_id, outcome.answer.text) == (newest, "<three>")
    assert gate.texts == ["three"]


def test_a_newer_request_cancels_the_running_one_and_replaces_the_waiting_one(start):
    gate = Gate()
    service = start(gate)
    assert isinstance(next_outcome(service), Loaded)
    service.submit("running")
    gate.wait_entered()
    service.submit("waiting")
    newest = service.submit("newest")
    gate.wait_entered()
    gate.go.set()
    outcome = next_outcome(service)
    assert (outcome.request_id, outcome.answer.text) == (newest, "<newest>")
    assert gate.stopped[0] == "running"
    assert "waiting" not in gate.texts or "waiting" in gate.stopped
    assert list(service.outcomes()) == []


def test_a_result_that_comes_too_late_leaves_no_outcome(start):
    gate = Gate()

    def ignores_cancellation(text, cancellation, on_progress):
        return gate(text, Cancellation(), on_progress)

    service = start(ignores_cancellation)
    assert isinstance(next_outcome(service), Loaded)
    service.submit("old")
    gate.wait_entered()
    newest = service.submit("new")
    gate.go.set()
    outcome = next_outcome(service)
    assert (outcome.request_id, outcome.answer.text) == (newest, "<new>")
    assert gate.texts == ["old", "new"]


def test_cancel_stops_the_running_request_without_an_outcome(start):
    gate = Gate()
    service = start(gate)
    assert isinstance(next_outcome(service), Loaded)
    service.submit("running")
    gate.wait_entered()
    service.cancel()
    end = time.perf_counter() + WAIT_SECONDS
    while not gate.stopped and time.perf_counter() < end:
        time.sleep(0.001)
    assert gate.stopped == ["running"]
    gate.go.set()
    after = service.submit("after")
    assert next_outcome(service).request_id == after


def test_a_failure_is_a_value_is_logged_and_the_worker_goes_on(start, caplog):
    error = ValueError("no such word")

    def translate(text, cancellation, on_progress):
        if text == "bad":
            raise error
        return Answer(text)

    service = start(translate)
    assert isinstance(next_outcome(service), Loaded)
    with caplog.at_level(logging.ERROR, logger="desktop_app.service"):
        bad = service.submit("bad")
        assert next_outcome(service) == TranslationFailed(bad, error)
    assert "no such word" in caplog.text  # the traceback
    good = service.submit("good")
    assert next_outcome(service).request_id == good


def test_a_failed_load_is_a_value_and_ends_the_worker():
    error = OSError("the disk is gone")

    def load():
        raise error

    service = TranslationService(load)
    service.start()
    assert next_outcome(service) == LoadFailed(error)
    service.submit("asked in vain")
    assert service.close(WAIT_SECONDS)
    assert list(service.outcomes()) == []


def test_close_ends_a_running_translation_promptly(start):
    gate = Gate()
    service = start(gate)
    assert isinstance(next_outcome(service), Loaded)
    service.submit("endless")
    gate.wait_entered()
    begin = time.perf_counter()
    assert service.close(WAIT_SECONDS)
    assert time.perf_counter() - begin < 1.0
    assert gate.stopped == ["endless"]
    assert list(service.outcomes()) == []


def test_close_says_so_when_the_worker_hangs(start):
    hang = threading.Event()

    def load():
        hang.wait(WAIT_SECONDS)
        return model(lambda text, *_: Answer(text))

    service = start(None, load)
    assert not service.close(0.05)
    hang.set()
    assert service.close(WAIT_SECONDS)


def test_close_before_start_returns_at_once():
    assert TranslationService(lambda: model(lambda text, *_: Answer(text))).close(0.0)


def test_many_requests_end_with_the_answer_to_the_last(start):
    service = start(lambda text, *_: Answer(text))
    assert isinstance(next_outcome(service), Loaded)
    newest = 0
    for number in range(2000):
        newest = service.submit(str(number))
    seen = [next_outcome(service)]
    while seen[-1].request_id != newest:
        seen.append(next_outcome(service))
    ids = [outcome.request_id for outcome in seen]
    assert ids == sorted(set(ids))
    assert seen[-1].answer.text == "1999"


def test_the_service_needs_the_standard_library_only():
    code = (
        "import sys, desktop_app.service as service\n"
        "roots = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*sorted(roots - sys.stdlib_module_names - {'desktop_app', '__main__'}))\n"
        "print('tkinter' in roots)"
    )
    # -S: without site, so that what an editable install loads at start-up does not count.
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines() == ["", "False"]
