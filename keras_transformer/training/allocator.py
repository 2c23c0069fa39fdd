"""Memory that one update gives back serves the next.

glibc returns blocks of 32 MB and more to the system at once, and has each anew page by page, filled with zeros. Under
TensorFlow and JAX, whose arrays come and go with each update, a small model's training spent 45 and 20 % of its time
there (measured). torch keeps its blocks below that size.
"""

import ctypes
import os
import platform

# Parameters of mallopt(3), each with the environment variable that sets it too: what the user says there stands.
_ARENA_MAX = (-8, "MALLOC_ARENA_MAX")
_MMAP_MAX = (-4, "MALLOC_MMAP_MAX_")
_TRIM_THRESHOLD = (-1, "MALLOC_TRIM_THRESHOLD_")


def share_one_arena():
    """All threads take their memory from one place; to be called before there is a second one.

    A thread's own arena has pieces of 64 MB and maps all that is larger anew, whatever else is asked: JAX computes in
    a thread.
    """
    _ask(_ARENA_MAX, 1)


def keep_freed_memory():
    """Take no mapping for a block, and give none back."""
    _ask(_MMAP_MAX, 0)
    _ask(_TRIM_THRESHOLD, -1)


def _ask(option, value):
    parameter, variable = option
    if platform.libc_ver()[0] == "glibc" and variable not in os.environ:
        ctypes.CDLL(None).mallopt(parameter, value)
