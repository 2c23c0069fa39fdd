"""Cancelling a call from another thread."""

from __future__ import annotations

import threading
import time

import pytest

from keras_transformer.decoding.cancellation import Cancellation, Cancelled


def test_check_raises_only_after_cancel():
    cancellation = Cancellation()
    cancellation.check()
    assert not cancellation.cancelled
    cancellation.cancel()
    assert cancellation.cancelled
    with pytest.raises(Cancelled, match=r"^The call was cancelled\.$"):
        cancellation.check()


def test_callbacks_run_at_once_in_order_and_only_the_first_time():
    cancellation, heard = Cancellation(), []
    with cancellation.on_cancel(lambda: heard.append(1)), cancellation.on_cancel(lambda: heard.append(2)):
        cancellation.cancel()
        assert heard == [1, 2]
        cancellation.cancel()
    assert heard == [1, 2]


def test_one_callback_registered_twice_ends_each_on_its_own():
    cancellation, heard = Cancellation(), []

    def callback():
        heard.append(1)

    with cancellation.on_cancel(callback):
        with cancellation.on_cancel(callback):
            pass
        cancellation.cancel()
    assert heard == [1]


def test_after_its_block_a_callback_is_silent_even_where_the_block_raised():
    cancellation, heard = Cancellation(), []
    with pytest.raises(KeyError), cancellation.on_cancel(lambda: heard.append(1)):
        raise KeyError
    cancellation.cancel()
    assert heard == []


def test_registered_after_cancel_it_runs_at_once():
    cancellation, heard = Cancellation(), []
    cancellation.cancel()
    with cancellation.on_cancel(lambda: heard.append(1)):
        assert heard == [1]


def test_a_callback_may_cancel_again_and_register():
    cancellation, heard = Cancellation(), []

    def callback():
        cancellation.cancel()
        with cancellation.on_cancel(lambda: heard.append(1)):
            pass

    with cancellation.on_cancel(callback):
        cancellation.cancel()
    assert heard == [1]


def test_a_block_ends_only_when_its_running_callback_has():
    cancellation, events = Cancellation(), []
    entered = threading.Event()

    def callback():
        entered.set()
        time.sleep(0.05)
        events.append("callback")

    with cancellation.on_cancel(callback):
        thread = threading.Thread(target=cancellation.cancel)
        thread.start()
        assert entered.wait(5)
    events.append("block")
    thread.join()
    assert events == ["callback", "block"]
