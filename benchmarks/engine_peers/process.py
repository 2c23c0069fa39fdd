"""The parent's end of a worker: a process that stands still unless it is asked something."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WORKER = Path(__file__).absolute().parent / "worker.py"


class WorkerError(Exception):
    """A worker ended instead of answering."""


class Worker:
    """One engine's process, stopped while it waits: threads that spin would slow the engine being measured.

    Args:
        arguments: Of `worker.py`.
        threads: For the libraries that read it from the environment.
        environment: More variables.
        python: Interpreter; None takes this one.
        script: What it runs.

    Attributes:
        first: What the worker said of its start, with `first_seconds` from process start to the first
            translation.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        threads: int,
        environment: dict[str, str] | None = None,
        python: Path | None = None,
        script: Path = WORKER,
    ) -> None:
        self._name = " ".join(arguments)
        variables = {"OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)}
        started = time.perf_counter()
        self._process = subprocess.Popen(
            [str(python or sys.executable), str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **variables, **(environment or {})},
            text=True,
        )
        self.first = self._read()
        self.first["first_seconds"] = time.perf_counter() - started
        self._process.send_signal(signal.SIGSTOP)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send one request and wait for its answer."""
        assert self._process.stdin is not None
        self._process.send_signal(signal.SIGCONT)
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        reply = self._read()
        self._process.send_signal(signal.SIGSTOP)
        return reply

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"worker {self._name} ended with {self._process.wait()}")
        return dict(json.loads(line))
