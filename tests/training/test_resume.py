"""The resume point, and real processes killed and resumed: nothing may differ from the run that never stopped."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops
from safetensors import safe_open

from keras_transformer.config import load_config
from keras_transformer.errors import UserError
from keras_transformer.training import resume
from keras_transformer.training.optimization import compiled_model
from keras_transformer.training.stopping import RunFailedError
from tests.helpers import batch, tiny_config
from tests.training import runs

torch_only = pytest.mark.skipif(keras.config.backend() != "torch", reason="forks, which only torch survives")
ALL_KEPT = ["--set=train.average_last=2", "--set=train.keep_best=2"]
ALL_STATE = [*ALL_KEPT, "--set=train.ema_decay=0.8", "--set=train.accumulate_steps=2"]


def played(folder, scene, *more):
    """What `tests.training.runs` found out."""
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.training.runs", str(folder), scene, *more],
        cwd=runs.ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


@torch_only
def test_a_run_killed_at_20_random_moments_is_the_run_that_was_not(tmp_path):
    found = played(tmp_path, "random=20", *ALL_STATE)
    assert found["killed"] == 20
    assert len(set(found["moments"])) >= 4  # at different updates
    assert set(map(tuple, found["wrong"].values())) == {()}, found


@torch_only
def test_a_signal_or_kill_in_an_evaluation_changes_nothing(tmp_path):
    found = played(tmp_path, "evaluation", *ALL_KEPT)
    assert {name: scene["status"] for name, scene in found.items()} == {
        "term1": 143,
        "term3": 143,
        "kill2": -9,
    }
    assert "saved update 4; go on with --resume" in found["term1"]["words"]
    assert "saved update 11; go on with --resume" in found["term3"]["words"]
    assert [scene["wrong"] for scene in found.values()] == [[], [], []]


@torch_only
def test_a_full_disk_ends_the_run_with_nothing_lost(tmp_path):
    found = played(tmp_path, "full", *ALL_KEPT)
    assert {scene["status"] for scene in found.values()} == {1}
    assert len(found) == 5
    for scene in found.values():
        assert "failed: Writing to " in scene["words"]
        assert "failed: No space left on device. Make room and " in scene["words"]
        assert scene["wrong"] == []


@torch_only
@pytest.mark.system
@pytest.mark.timeout(1500)
def test_a_kill_at_any_write_sync_or_rename_changes_nothing(tmp_path):
    # Every fourth operation, which meets all three kinds; "operations=1,1" are all of them, in eight minutes.
    found = played(tmp_path, "operations=1,4", *ALL_KEPT)
    assert len(found) > 25
    assert {scene["status"] for scene in found.values()} == {-9}
    assert {name: scene["wrong"] for name, scene in found.items() if scene["wrong"]} == {}


@torch_only
def test_another_seed_is_another_run(tmp_path):
    # The comparison above sees a difference where there is one.
    files = runs.write_corpus(tmp_path)
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, seed in ((one, 1), (other, 2)):
        process = runs.start(runs.command(files, folder, f"--set=train.seed={seed}", "--max-steps", "2"))
        _, words = process.communicate()
        assert process.returncode == 0, words
    differing = runs.differences(runs.left_by(one), runs.left_by(other))
    assert "checkpoints/resume.safetensors" in differing
    assert "metrics.jsonl" in differing


@pytest.fixture
def model():
    keras.utils.set_random_seed(4)
    return compiled_model(
        tiny_config(num_encoder_layers=1, num_decoder_layers=1, dropout_rate=0.3), settings()
    )


def settings():
    return load_config(overrides=["train.warmup_steps=2", "train.ema_decay=0.7"]).train


def update(model, seed):
    source_ids, inputs, outputs = batch(model.config, seed=seed)
    x = {"source_ids": source_ids, "target_input_ids": inputs}
    keras.utils.set_random_seed(seed)  # torch's generator is seeded before each update
    model.train_on_batch(x, outputs, (outputs != model.config.pad_id).astype("float32"))


def state_of(model):
    variables = (*model.trainable_variables, *model.optimizer.variables, *model.non_trainable_variables)
    return [ops.convert_to_numpy(variable).tobytes() for variable in variables]


def test_what_is_loaded_goes_on_as_what_was_saved(tmp_path, model):
    update(model, 1)
    size = resume.save_resume_point(tmp_path / "r", model, {"step": 1, "note": "è"})
    assert size == (tmp_path / "r").stat().st_size
    again = compiled_model(model.config, settings())
    resume.load_resume_point(tmp_path / "r", again)
    assert state_of(again) == state_of(model)
    assert resume.read_record(tmp_path / "r")["note"] == "è"
    for seed in (2, 3):
        update(model, seed)
        update(again, seed)
    assert state_of(again) == state_of(model)


def test_weights_that_are_not_finite_are_not_saved(tmp_path, model):
    resume.save_resume_point(tmp_path / "r", model, {"step": 1})
    before = (tmp_path / "r").read_bytes()
    table = model.named_weights()["embedding/table"]
    table.assign(ops.convert_to_numpy(table) * np.float32("nan"))
    with pytest.raises(RunFailedError, match=r"embedding/table must stay finite, it is not after update 2\."):
        resume.save_resume_point(tmp_path / "r", model, {"step": 2})
    assert (tmp_path / "r").read_bytes() == before


def test_another_models_state_is_refused_before_a_weight_is_set(tmp_path, model):
    resume.save_resume_point(tmp_path / "r", model, {"step": 1})
    other = compiled_model(tiny_config(num_encoder_layers=1, num_decoder_layers=2), settings())
    before = state_of(other)
    with pytest.raises(UserError, match="must hold this run's state, "):
        resume.load_resume_point(tmp_path / "r", other)
    assert state_of(other) == before


def test_missing_broken_and_foreign_files_are_refused(tmp_path, model):
    with pytest.raises(UserError, match=r"--resume must find .*r, found none\. Start without --resume\."):
        resume.read_record(tmp_path / "r")
    (tmp_path / "r").write_bytes(b"no safetensors")
    with pytest.raises(UserError, match="must be a resume point, it is not: "):
        resume.read_record(tmp_path / "r")
    model.save_safetensors(tmp_path / "r")
    with pytest.raises(UserError, match="must have format 1, got None"):
        resume.read_record(tmp_path / "r")
    resume.save_resume_point(tmp_path / "r", model, {"step": 1})
    with safe_open(tmp_path / "r", framework="numpy") as file:
        assert "weights/embedding/table" in file.keys()  # noqa: SIM118


class FixedBatches:
    target_tokens, max_shapes = 70, 128

    def __len__(self):
        return 3


@pytest.fixture
def corpus(tmp_path):
    for name, text in (("a.en", "one\n"), ("a.it", "uno\n"), ("tokenizer.json", "{}")):
        (tmp_path / name).write_text(text)
    return tmp_path


def config_of(folder, *overrides):
    files = f'data.train=["{folder / "a.en"}", "{folder / "a.it"}"]'
    return load_config(preset="tiny", overrides=[files, *overrides])


def identity_of(folder):
    return resume.identity(config_of(folder), folder / "tokenizer.json", FixedBatches())


def test_the_same_text_may_lie_elsewhere_and_how_long_may_change(corpus):
    before = identity_of(corpus)
    (corpus / "moved").mkdir()
    for name in ("a.en", "a.it"):
        (corpus / name).rename(corpus / "moved" / name)
    resume.check_config(before, config_of(corpus / "moved", "train.max_steps=900", "train.patience=3"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "model.model_dim=64",
            "--resume must keep model.model_dim = 128, got 64. Drop the change or start a",
        ),
        ("data.max_pieces=20", "--resume must keep data.max_pieces = 60, got 20."),
        (
            "data.augment_capitals_rate=0.2",
            "--resume must keep data.augment_capitals_rate = 0.0, got 0.2. Drop the change",
        ),
        ("train.seed=9", "--resume must keep train.seed = 1, got 9."),
        ("train.ema_decay=0.9", "--resume must keep train.ema_decay = 0.0, got 0.9."),
        ("data.source_language=de", "--resume must keep data.source_language = 'en', got 'de'."),
    ],
)
def test_a_change_of_what_is_learnt_is_refused_by_name(corpus, override, message):
    with pytest.raises(UserError) as caught:
        resume.check_config(identity_of(corpus), config_of(corpus, override))
    assert str(caught.value).startswith(message)


def test_changed_text_and_vocabulary_are_refused(corpus):
    before = identity_of(corpus)
    (corpus / "a.it").write_text("due\n")
    with pytest.raises(
        UserError, match=r"--resume must keep the text of data\.train, .*a\.it.* holds another"
    ):
        resume.check_config(before, config_of(corpus))
    (corpus / "a.it").write_text("uno\n")
    resume.check_config(before, config_of(corpus))
    (corpus / "tokenizer.json").write_text("{ }")
    with pytest.raises(UserError, match=r"--resume must keep tokenizer\.json, it was "):
        resume.check_data(before, identity_of(corpus))
    (corpus / "tokenizer.json").write_text("{}")
    shorter = {**identity_of(corpus), "batches": {"target_tokens": 69, "an_epoch": 3}}
    with pytest.raises(UserError, match="--resume must keep the prepared corpus, it was "):
        resume.check_data(before, shorter)
