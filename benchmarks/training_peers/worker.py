"""One trainer in a process of its own: reads one request a line, writes one answer a line, both JSON (`gate.Gate`).

python worker.py SYSTEM FOLDER CORES
"""

import sys
import time

STARTED = time.perf_counter()

import os  # noqa: E402 - the clock comes first
from pathlib import Path  # noqa: E402

sys.path.insert(0, str(Path(__file__).absolute().parents[2]))

from benchmarks.training_peers.cells import OURS  # noqa: E402
from benchmarks.training_peers.gate import Gate, GateClosedError  # noqa: E402


def main() -> None:
    system, folder = sys.argv[1], Path(sys.argv[2])
    os.sched_setaffinity(0, [int(core) for core in sys.argv[3].split(",")])
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    if system in OURS:  # as the command `fit` begins
        from keras_transformer.training.allocator import share_one_arena

        share_one_arena()
    from benchmarks.training_peers.corpus import load

    corpus = load(folder)

    def open_gate(facts):
        return Gate(sys.stdin, answers, STARTED, facts)

    try:
        if system in OURS:
            from benchmarks.training_peers import ours

            ours.train(corpus, open_gate)
        elif system == "plain-torch":
            from benchmarks.training_peers import plain_torch

            plain_torch.train(corpus, open_gate)
        else:
            from benchmarks.training_peers import joeynmt_trainer

            joeynmt_trainer.train(corpus, folder, folder / system, system == "joeynmt-own-batches", open_gate)
    except GateClosedError:
        pass


if __name__ == "__main__":
    main()
