import os
import signal

import pytest

from keras_transformer.training.stopping import LeaveError, Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_remembered_once_there_is_something_to_save(number):
    before = signal.getsignal(number)
    with Signals() as signals:
        signals.patient = True
        assert signals.number is None
        os.kill(os.getpid(), number)
        assert signals.number == number
    assert signal.getsignal(number) is before


def test_before_that_it_leaves_at_once():
    with Signals() as signals:
        with pytest.raises(LeaveError):
            os.kill(os.getpid(), signal.SIGTERM)
        assert signals.number == signal.SIGTERM


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the process ends, so it has to be another one")
def test_the_second_one_ends_the_process():
    child = os.fork()
    if not child:
        with Signals() as signals:
            signals.patient = True
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130
