import json
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_transformer.config import TrainConfig
from keras_transformer.errors import UserError
from keras_transformer.training import keeper as module
from keras_transformer.training.optimization import compiled_model, float32_twin, publish_weights
from keras_transformer.training.ranking import Ranking
from keras_transformer.training.resume import read_record
from tests.helpers import tiny_config, to_numpy

CONFIG = tiny_config(num_encoder_layers=1, num_decoder_layers=1)


@pytest.fixture
def keeper(tmp_path):
    keras.utils.set_random_seed(1)
    settings = TrainConfig(average_last=2, checkpoint_every=10, keep_best=2)
    return module.Keeper(
        tmp_path / "checkpoints",
        settings,
        compiled_model(CONFIG, settings),
        float32_twin(CONFIG, settings),
        Ranking("chrf", 2),
        [],
        lambda metrics: {"scores": metrics},
        lambda: {"greedy": np.zeros(3, np.int32)},
    )


def evaluated(keeper, step, chrf):
    metrics = {"step": step, "chrf": chrf}
    keeper.publish(metrics, keeper.ranking.add(step, metrics))
    keeper.commit({"step": step})


def names(keeper):
    return {path.name for path in keeper.folder.iterdir()}


def step_of(keeper, name):
    return json.loads((keeper.folder / name / "model.json").read_text())["scores"]["step"]


def test_best_last_and_the_best_ones_by_hand(keeper):
    for step, chrf in ((5, 3.0), (10, 9.0), (15, 1.0), (20, 4.0)):
        evaluated(keeper, step, chrf)
    assert names(keeper) == {"best", "last", "step_10", "step_20", "recent", "resume.safetensors"}
    assert (step_of(keeper, "best"), step_of(keeper, "last")) == (10, 20)
    assert read_record(keeper.resume_file)["ranking"] == {"best": [[9.0, 10], [4.0, 20]], "stale": 2}


def test_the_resume_point_never_names_what_is_gone(keeper, monkeypatch):
    evaluated(keeper, 10, 1.0)
    evaluated(keeper, 20, 2.0)
    # A crash right before the resume point of update 30: what the one of 20 names is still there.
    monkeypatch.setattr(module, "save_resume_point", lambda *_: (_ for _ in ()).throw(OSError("crash")))
    with pytest.raises(OSError, match="crash"):
        evaluated(keeper, 30, 3.0)
    record = read_record(keeper.resume_file)
    assert (record["step"], record["recent"]) == (20, [10, 20])
    assert {f"step_{step}" for _, step in record["ranking"]["best"]} <= names(keeper)
    assert {"10.safetensors", "20.safetensors"} <= {p.name for p in (keeper.folder / "recent").iterdir()}


def test_the_average_is_of_the_last_ones_on_the_grid(keeper):
    table = keeper.model.named_weights()["embedding/table"]
    for step, value in ((10, 1.0), (20, 2.0), (25, 50.0), (30, 4.0)):
        table.assign(np.full(table.shape, value, np.float32))
        keeper.commit({"step": step})
    assert keeper.recent == [20, 30]
    assert keeper.average() == 2
    assert np.unique(to_numpy(keeper.twin.named_weights()["embedding/table"])).tolist() == [3.0]
    keeper.publish_average({"step": 30})
    assert step_of(keeper, "averaged") == 30


def test_nothing_is_averaged_where_nothing_waits(keeper):
    publish_weights(keeper.model, keeper.twin)
    before = to_numpy(keeper.twin.named_weights()["embedding/table"]).copy()
    assert keeper.average() == 0
    np.testing.assert_array_equal(to_numpy(keeper.twin.named_weights()["embedding/table"]), before)


def test_an_average_that_is_no_longer_asked_for_leaves_no_weights(keeper):
    for step in (10, 20):
        keeper.commit({"step": step})
    keeper.train_config = replace(keeper.train_config, average_last=1)
    keeper.commit({"step": 25})
    assert keeper.recent == [20]
    keeper.train_config = replace(keeper.train_config, average_last=0)
    assert keeper.average() == 0  # those of before are not the end of this run
    keeper.commit({"step": 30})
    assert keeper.recent == list((keeper.folder / "recent").iterdir()) == []


def test_room_for_every_checkpoint_is_asked_for(keeper, monkeypatch):
    (keeper.folder / "earlier").mkdir(parents=True)
    size = keeper.commit({"step": 0})
    weights = 4 * keeper.twin.count_params()
    # best, last, averaged, two of the best, two that wait and one being written; logits of 400 positions.
    wanted = size + 5 * (weights + 4 * 23 * 400) + 3 * weights
    for free in (wanted, wanted - 1):
        monkeypatch.setattr(module.shutil, "disk_usage", lambda path, free=free: SimpleNamespace(free=free))
        if free == wanted:
            keeper.check_room(size)
            assert keeper.resume_file.is_file()
        else:
            with pytest.raises(UserError, match=r"--output must have room for .* MiB of checkpoints"):
                keeper.check_room(size)
            assert names(keeper) == {"earlier"}  # nothing but its own resume point is removed


def test_what_a_crash_left_is_put_right(keeper):
    evaluated(keeper, 10, 1.0)
    (keeper.folder / "best").rename(keeper.folder / "best.replaced")
    (keeper.folder / "last.writing").mkdir()
    (keeper.folder / "step_7").mkdir()
    (keeper.folder / "recent" / "7.safetensors").write_bytes(b"")
    keeper.recover()
    assert names(keeper) == {"best", "last", "step_10", "recent", "resume.safetensors"}
    assert {path.name for path in (keeper.folder / "recent").iterdir()} == {"10.safetensors"}
    assert step_of(keeper, "best") == 10
