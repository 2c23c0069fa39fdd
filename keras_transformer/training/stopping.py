"""Why a run ends before its last update: a signal, or something that makes going on pointless."""

import os
import signal


class RunFailedError(Exception):
    """The run cannot go on; what it had is on disk. The command prints the message and exits 1."""


class LeaveError(KeyboardInterrupt):
    """A signal arrived where nothing has to be saved.

    No `Exception`: a library's failure must not be seen in it, and `datasets` removes what it was writing.
    """


class Signals:
    """SIGINT and SIGTERM as a number to look at between updates; the second one ends the process at once.

    A context manager. Until `patient` is set there is nothing to save and the first one raises `LeaveError`.
    """

    def __init__(self):
        self.number = None
        self.patient = False

    def __enter__(self):
        self._before = {
            number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number, frame):
        if self.number is not None:
            os._exit(128 + number)  # no clean-up: files are replaced whole, so nothing is left half
        self.number = number
        if not self.patient:
            raise LeaveError
