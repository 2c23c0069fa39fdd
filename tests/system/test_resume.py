"""Runs under TensorFlow and JAX, killed and resumed: nothing may differ from the run that never stopped."""

import os
import signal
import time

import pytest

from tests.training import runs

ALL_STATE = ["--set=train.average_last=2", "--set=train.ema_decay=0.8", "--set=train.accumulate_steps=2"]


def finished(arguments, backend):
    process = runs.start(arguments, KERAS_BACKEND=backend)
    words = process.communicate()[1]
    assert process.returncode == 0, words


@pytest.mark.system
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_killed_run_is_the_run_that_was_not(tmp_path, backend):
    files = runs.write_corpus(tmp_path)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finished(runs.command(files, whole, *ALL_STATE), backend)
    arguments = runs.command(files, killed, *ALL_STATE)
    for step in (2, 4, 8):  # between two evaluations and right after one
        process = runs.start(arguments, KERAS_BACKEND=backend)
        while runs.step_of(killed) < step:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        arguments = ["--resume", "--output", str(killed)]
    assert not (killed / "summary.md").is_file()
    finished(arguments, backend)
    assert runs.differences(runs.left_by(whole), runs.left_by(killed)) == []
