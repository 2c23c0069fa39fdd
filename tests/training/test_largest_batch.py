from types import SimpleNamespace

import keras
import numpy as np
import pytest
from rich.console import Console

from keras_transformer import fit
from keras_transformer.config import TrainConfig, load_config
from keras_transformer.errors import UserError
from keras_transformer.training import largest_batch
from keras_transformer.training.data import TokenPairs
from keras_transformer.training.largest_batch import is_out_of_memory, largest_batch_tokens, search
from keras_transformer.training.run import _Run
from tests.helpers import tiny_config
from tests.training import runs


@pytest.mark.parametrize(
    ("held", "first", "most", "found", "tried"),
    [
        # 100 to 800 fit, 1600 does not; then 1200, 1000, 900; nine tenths of the last that did.
        (950, 100, 10**6, 810, [100, 200, 400, 800, 1600, 1200, 1000, 900]),
        (1300, 100, 10**6, 1170, [100, 200, 400, 800, 1600, 1200, 1400, 1300]),
        (10**9, 100, 500, 720, [100, 200, 400, 800]),  # the whole corpus fits
        (100, 100, 10**6, 100, [100, 200, 150, 125, 112]),  # what was asked for fits: not less
        (99, 100, 10**6, 0, [100]),
    ],
)
def test_doubling_then_halving(held, first, most, found, tried):
    calls = []
    assert search(lambda tokens: calls.append(tokens) or tokens <= held, first, most) == found
    assert calls == tried


class ResourceExhaustedError(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ResourceExhaustedError("OOM when allocating tensor"), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 12 bytes."), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("shapes do not match"), False),
    ],
)
def test_what_running_out_of_memory_looks_like(error, told):
    assert is_out_of_memory(error) == told


OUT_OF_MEMORY = RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")


@pytest.fixture
def memory(monkeypatch):
    """A GPU that holds updates of so many tokens, simulated."""
    monkeypatch.setattr(largest_batch, "has_gpu", lambda: True)
    seen = []

    def limit(tokens, error=OUT_OF_MEMORY):
        def train_on_batch(self, x, y, sample_weight):
            assert np.shape(y) == np.shape(sample_weight)
            seen.append(max(np.size(x["source_ids"]), np.size(y)))
            if seen[-1] > tokens:
                raise error

        monkeypatch.setattr(keras.Model, "train_on_batch", train_on_batch)
        return seen

    return limit


def pairs(count):
    rng = np.random.default_rng(0)
    columns = [
        [rng.integers(4, 23, n).astype(np.int32) for n in rng.integers(2, 11, count)] for _ in range(2)
    ]

    class Table(list):
        @property
        def lengths(self):
            return np.array([len(row) for row in self])

    return TokenPairs(Table(columns[0]), Table(columns[1]))


def test_the_largest_batch_by_updates_that_run_out_of_memory(memory):
    seen = memory(500)
    found = largest_batch_tokens(pairs(400), tiny_config(), TrainConfig(batch_tokens=64), Console(quiet=True))
    # 64 to 512 fit; 1024, 768, 640 and 576 make batches of more than 500 tokens; nine tenths of 512.
    assert found == 460
    assert 576 < max(seen) <= 1024


def test_what_is_no_lack_of_memory_is_raised(memory):
    memory(500, ValueError("a mistake"))
    with pytest.raises(ValueError, match="a mistake"):
        largest_batch_tokens(pairs(400), tiny_config(), TrainConfig(batch_tokens=64), Console(quiet=True))


def test_too_little_memory_for_the_first_batch(memory):
    memory(40)
    with pytest.raises(UserError) as caught:
        largest_batch_tokens(pairs(400), tiny_config(), TrainConfig(batch_tokens=64), Console(quiet=True))
    assert str(caught.value) == (
        "train.batch_tokens must fit into the GPU's memory, 64 do not. "
        "Start from less, or compute the batch in parts with train.accumulate_steps."
    )


def test_the_command_trains_with_what_it_found(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_transformer.training.run.largest_batch_tokens", lambda *arguments: 333)
    files, run = runs.write_corpus(tmp_path), tmp_path / "run"
    changes = [*runs.small(train__max_steps=1, train__evaluate_pairs=1), "--train", *files]
    assert fit.main([*changes, "--largest-batch", "--output", str(run)]) == 0
    assert load_config(run / "config.toml").train.batch_tokens == 333
    assert fit.main([*changes, "--set=train.batch_tokens=333", "--output", str(tmp_path / "same")]) == 0
    assert runs.differences(runs.left_by(run), runs.left_by(tmp_path / "same")) == []


def test_several_devices_are_refused():
    replicas = SimpleNamespace(count=3)
    with pytest.raises(
        UserError, match=r"--largest-batch needs one device, got 3\. Find it on one, then set"
    ):
        _Run._enlarge_batches(SimpleNamespace(replicas=replicas))


def test_it_is_refused_where_it_has_no_sense(tmp_path, capsys):
    files = runs.write_corpus(tmp_path)
    command = [*runs.small(), "--train", *files, "--output", str(tmp_path / "run"), "--largest-batch"]
    if not largest_batch.has_gpu():
        assert fit.main(command) == 2
        assert (
            "error: --largest-batch needs a GPU; on a CPU a larger batch is no faster. "
            "Set train.batch_tokens instead."
        ) in capsys.readouterr().err
    assert fit.main(["--resume", "--output", str(tmp_path / "run"), "--largest-batch"]) == 2
    assert (
        "error: --resume must keep the run's train.batch_tokens. Leave --largest-batch out."
        in capsys.readouterr().err
    )


def test_a_run_that_runs_out_of_memory_says_what_to_do(tmp_path, monkeypatch, capsys):
    def fit_out_of_memory(self, *arguments, **options):
        raise OUT_OF_MEMORY

    monkeypatch.setattr(keras.Model, "fit", fit_out_of_memory)
    files, run = runs.write_corpus(tmp_path), tmp_path / "run"
    assert fit.main([*runs.small(), "--train", *files, "--output", str(run)]) == 1
    assert (
        "failed: The device's memory must hold a batch of train.batch_tokens = 256, it does not. Start anew with "
        "less (--largest-batch finds the most that fits), or go on with each batch in parts: "
        f"--resume --output {run} --set train.accumulate_steps=2.\n"
    ) in capsys.readouterr().err
    assert runs.step_of(run) == 0
