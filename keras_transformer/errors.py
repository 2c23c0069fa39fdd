"""The one exception that stands for a user's mistake."""


class UserError(Exception):
    """A mistake in what the user gave: a file, a value, a missing part of the machine.

    The message names the argument or file, the rule, the value and the way out. Commands print it
    as one sentence on stderr and exit with 2; no traceback.
    """
