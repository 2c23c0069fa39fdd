"""Two devices on half a batch each learn what one learns on the whole, by each backend's own data parallelism."""

import json
import socket
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.training import runs

# Sums in another order: errors of 1e-7 in weights below 1. A replica that counted its sentences instead of its
# tokens, or clipped before adding up, would be off by a share of the rate: 1e-3 and more.
TOLERANCE = 5e-6
CHANGES = {
    "model__dropout_rate": 0.0,  # each process draws its own
    "data__valid_pairs": 2,
    "train__batch_tokens": 70,
    "train__clip_norm": 0.05,
    "train__ema_decay": 0.5,
    "train__max_steps": 3,
    "train__evaluate_every": 3,
    "train__evaluate_pairs": 1,
    "train__checkpoint_every": 9,
}


def write_corpus(folder):
    """One shape of batches, whose halves differ in tokens and the last of which is filled up."""
    sides = folder / "a.en", folder / "a.it"
    rows = [[*["one", "two", "three", "four"][i % 3 :], str(i)] for i in range(21)]
    sides[0].write_text("".join(" ".join([*row, "five"]) + "\n" for row in rows))
    sides[1].write_text("".join(" ".join(row[i % 2 :]) + "\n" for i, row in enumerate(rows)))
    return [str(side) for side in sides]


def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("localhost", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def two_devices(backend):
    """The beginning of each process's command, and what its environment has."""
    fit = [sys.executable, "-m", "keras_transformer.fit"]
    one, other = free_ports(2)
    if backend == "torch":
        torchrun = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nproc-per-node",
            "2",
            f"--master-port={one}",
        ]
        return [([*torchrun, *fit[1:]], {})]
    if backend == "tensorflow":
        cluster = {"worker": [f"localhost:{one}", f"localhost:{other}"]}
        tasks = [{"cluster": cluster, "task": {"type": "worker", "index": index}} for index in range(2)]
        return [(fit, {"TF_CONFIG": json.dumps(task)}) for task in tasks]
    # One process: JAX compiles for seconds in each.
    return [(fit, {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"})]


@pytest.mark.system
@pytest.mark.parametrize("backend", ["torch", "tensorflow", "jax"])
def test_two_halves_of_a_batch_make_the_update_of_the_whole(tmp_path, backend):
    arguments = [*runs.small(**CHANGES), "--train", *write_corpus(tmp_path)]
    environment = {"KERAS_BACKEND": backend, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    one, two = tmp_path / "one", tmp_path / "two"
    alone = runs.start([*arguments, "--output", str(one)], **environment)
    both = [
        runs.start([*arguments, "--output", str(two)], command, **environment, **more)
        for command, more in two_devices(backend)
    ]
    words = [process.communicate(timeout=280)[1] for process in (alone, *both)]
    assert [process.returncode for process in (alone, *both)] == [0] * (1 + len(both)), words
    assert "2 devices" in words[1]
    assert all("done:" not in told for told in words[2:])  # the first process alone speaks
    rows = [
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (one, two)
    ]
    assert [row["step"] for row in rows[1]] == [3]
    for expected, found in zip(*rows, strict=True):
        for name in ("train_loss", "valid_loss"):
            assert found[name] == pytest.approx(expected[name], abs=2e-4), name  # written with four digits
    states = [load_file(str(run / "checkpoints" / "resume.safetensors")) for run in (one, two)]
    for name, array in states[0].items():
        if not name.startswith("random/"):
            np.testing.assert_allclose(states[1][name], array, atol=TOLERANCE, err_msg=name)
    assert {path.name for path in one.iterdir()} == {path.name for path in two.iterdir()}
