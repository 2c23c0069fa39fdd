"""How the exporter's commands end: what they say, and with which exit code."""

import signal
import sys
from collections.abc import Callable

from keras_transformer.errors import UserError, failure_of
from keras_transformer.onnx_export.verify import GateFailure


def run_command(run: Callable[[], str], left: str) -> int:
    """Run a command's body and print the line it returns; a mistake, a failure or a signal is one on stderr.

    SIGTERM ends it as Ctrl-C does, so that no half bundle stays behind.

    Args:
        run: The body.
        left: What there is after a signal, for people.

    Returns:
        0 done, 1 the gate failed, 2 a user's mistake or a disk that refuses, 130 interrupted, 143 terminated.
    """
    received = signal.SIGINT

    def end(number: int, _frame: object) -> None:
        nonlocal received
        received = signal.Signals(number)
        raise KeyboardInterrupt

    earlier = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        line = run()
    except UserError as error:
        progress(f"error: {error}")
        return 2
    except GateFailure as failure:
        progress(f"failed: {failure}. No bundle was written.")
        return 1
    except OSError as error:
        progress(f"error: {failure_of(error)}.")
        return 2
    except KeyboardInterrupt:
        progress(f"{'terminated' if received == signal.SIGTERM else 'interrupted'}: {left}.")
        return 128 + received
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
    sys.stdout.write(line + "\n")
    return 0


def progress(line: str) -> None:
    """A line on stderr, at once."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
