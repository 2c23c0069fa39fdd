"""The one exception that stands for a user's mistake, and the words for what the system refuses."""

import errno

DISK_FAILURES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}


class UserError(Exception):
    """A mistake in what the user gave: a file, a value, a missing part of the machine.

    The message names the argument or file, the rule, the value and the way out. Commands print it
    as one sentence on stderr and exit with 2; no traceback.
    """


def reason_of(error: OSError) -> str:
    """Why the system refused, as a part of a sentence."""
    return (error.strerror or str(error)).lower()


def failure_of(error: OSError) -> str:
    """A sentence without its end: what the system refused, where, and why."""
    place = f" at {error.filename}" if error.filename else ""
    return f"reading or writing failed{place}: {reason_of(error)}"
