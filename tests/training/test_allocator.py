"""glibc keeps what is freed, in a process of its own."""

import os
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys, threading
from keras_transformer.training.allocator import keep_freed_memory, share_one_arena

if "share" in sys.argv:
    share_one_arena()
import numpy as np
if "keep" in sys.argv:
    keep_freed_memory()

def update():
    first, second = np.ones(20_000_000, np.uint8), np.ones(100_000_000, np.uint8)

def updates():
    update()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        update()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

if "thread" in sys.argv:
    thread = threading.Thread(target=updates)
    thread.start()
    thread.join()
else:
    updates()
"""


def page_faults(*arguments, **environment):
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**{name: value for name, value in os.environ.items() if "MALLOC" not in name}, **environment},
    )
    return int(process.stdout)


pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
MANY, FEW = 200, 20  # 600 MB are 150,000 pages of 4 KiB, or 300 of 2 MiB


def test_arrays_that_come_and_go_are_not_mapped_anew():
    assert page_faults() > MANY
    assert page_faults("keep") < FEW


def test_nor_those_of_a_thread():
    assert page_faults("thread", "keep") > MANY
    assert page_faults("thread", "keep", "share") < FEW


def test_what_the_environment_says_stands():
    assert page_faults("keep", MALLOC_MMAP_MAX_="65536", MALLOC_TRIM_THRESHOLD_="131072") > MANY
    assert page_faults("thread", "keep", "share", MALLOC_ARENA_MAX="4") > MANY
