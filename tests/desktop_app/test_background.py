"""Jobs beside the window: order, newest wins, failures, the end."""

import logging
import threading
import time

import pytest

from desktop_app.background import Background


@pytest.fixture
def background():
    one = Background("test")
    yield one
    assert one.close(10)


def wait(background, condition):
    end = time.perf_counter() + 10
    while not condition():
        assert time.perf_counter() < end
        background.poll()
        time.sleep(0.001)


def test_work_is_done_elsewhere_and_told_here(background):
    threads, told = [], []
    background.run(
        "",
        threading.current_thread,
        lambda thread: (threads.append(thread), told.append(threading.current_thread())),
    )
    assert background.busy
    wait(background, lambda: told)
    assert threads[0].name == "test"
    assert told == [threading.main_thread()]
    assert not background.busy


def test_the_newest_of_a_key_wins_and_jobs_without_a_key_all_run(background):
    go, ran, told = threading.Event(), [], []

    def work(name):
        ran.append(name)
        assert go.wait(10)
        return name

    background.run("search", lambda: work("first"), told.append)
    while not ran:
        time.sleep(0.001)
    background.run("search", lambda: work("second"), told.append)
    background.run("", lambda: work("saved"), told.append)
    background.run("search", lambda: work("third"), told.append)
    go.set()
    wait(background, lambda: not background.busy)
    assert ran == ["first", "saved", "third"]
    assert told == ["saved", "third"]


def test_what_is_dropped_is_not_told(background):
    told = []
    background.run("look", lambda: 1, told.append)
    background.drop("look")
    wait(background, lambda: not background.busy)
    assert told == []


def test_a_failure_is_told_or_logged_without_its_message(background, caplog):
    told = []

    def fail():
        raise ValueError("a secret text")

    background.run("", fail, failed=told.append)
    with caplog.at_level(logging.WARNING, logger="desktop_app.background"):
        background.run("", fail)
        wait(background, lambda: not background.busy)
    assert str(told[0]) == "a secret text"
    assert "a job of test failed: ValueError" in caplog.text
    assert "secret" not in caplog.text


def test_the_end_waits_for_what_was_to_be_kept_and_drops_the_rest():
    background, go, ran = Background("test"), threading.Event(), []
    background.run("", lambda: go.wait(10))
    background.run("look", lambda: ran.append("look"))
    background.run("", lambda: ran.append("kept"))
    threading.Timer(0.05, go.set).start()
    assert background.close(10)
    assert ran == ["kept"]


def test_the_end_says_when_a_job_hangs():
    background, go = Background("test"), threading.Event()
    background.run("", lambda: go.wait(10))
    assert not background.close(0.05)
    go.set()
    assert background.close(10)
