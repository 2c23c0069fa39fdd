import re

import pytest

from keras_transformer.config import PRESETS, Config, ModelConfig, config_to_toml, load_config
from keras_transformer.errors import UserError


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_load_and_come_back_from_a_file(preset, tmp_path):
    config = load_config(preset=preset)
    (tmp_path / "config.toml").write_text(config_to_toml(config), "utf-8")
    assert load_config(tmp_path / "config.toml") == config


def test_base_and_big_are_the_papers_table_3():
    base, big = load_config(preset="base"), load_config(preset="big")
    sizes = [
        (c.model.model_dim, c.model.feed_forward_dim, c.model.num_heads, c.model.dropout_rate)
        for c in (base, big)
    ]
    assert sizes == [(512, 2048, 8, 0.1), (1024, 4096, 16, 0.3)]
    assert all(c.model.num_encoder_layers == c.model.num_decoder_layers == 6 for c in (base, big))
    assert (base.train.warmup_steps, base.train.label_smoothing, base.model.norm_placement) == (
        4000,
        0.1,
        "post",
    )


def test_file_over_preset_and_overrides_over_both(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text("[model]\nmodel_dim = 64\nnum_heads = 2\n[train]\nseed = 5\n")
    config = load_config(path, "tiny", ["train.seed=7", "data.source_language=de", "train.learning_rate=2"])
    assert (config.model.model_dim, config.train.seed, config.data.source_language) == (64, 7, "de")
    assert config.train.learning_rate == 2.0
    assert config.model.feed_forward_dim == load_config(preset="tiny").model.feed_forward_dim


def test_everything_may_stand_on_another_configuration():
    base = load_config(preset="small", overrides=["train.seed=9", "data.train=['a', 'b']"])
    config = load_config(overrides=["train.max_steps=7"], base=base)
    assert (config.model, config.data, config.train.seed) == (base.model, base.data, 9)
    assert config.train.max_steps == 7


def test_rules_are_held_against_what_overrides_and_options_make_together():
    enough = {"train": {"max_steps": 100_001}}
    config = load_config(preset="tiny", overrides=["train.cooldown_steps=100001"], options=enough)
    assert config.train.max_steps == config.train.cooldown_steps == 100_001
    message = r"`train\.cooldown_steps` must be at most train\.max_steps \(9\), got 100001\."
    with pytest.raises(UserError, match=message):
        load_config(
            preset="tiny", overrides=["train.cooldown_steps=100001"], options={"train": {"max_steps": 9}}
        )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["seed=1"], "--set must look like section.field=value, got 'seed=1'."),
        (
            ["train.seeds=1"],
            "--set train.seeds=1: train has no field 'seeds'. Its fields are accumulate_steps,",
        ),
        (
            ["trane.seed=1"],
            "--set trane.seed=1: a section must be one of model, data, train, search, got 'trane'.",
        ),
        (["train.seed=1.5"], "`train.seed` must be of type int, got 1.5."),
        (["train.seed=true"], "`train.seed` must be of type int, got True."),
        (["model.num_heads=3"], "`model.model_dim` must be even and a multiple of num_heads (3), got 128."),
        (["model.dropout_rate=1.0"], "`model.dropout_rate` must be in [0, 1), got 1.0."),
        (["model.norm_placement=mid"], '`model.norm_placement` must be "post" or "pre", got \'mid\'.'),
        (["model.activation=tanh"], '`model.activation` must be "relu" or "gelu", got \'tanh\'.'),
        (["model.eos_id=1"], "four different ids below vocabulary_size (4000), got (0, 1, 1, 3)."),
        (["model.num_encoder_layers=0"], "`model.num_encoder_layers` must be at least 1, got 0."),
        (["model.vocabulary_size=4"], "`model.vocabulary_size` must be at least 5, got 4."),
        (["model.max_length=1"], "`model.max_length` must be at least 2, got 1."),
        (["data.max_pieces=128"], "`data.max_pieces` must be below model.max_length (128), which counts one"),
        (["train.batch_tokens=60"], "`train.batch_tokens` must be above data.max_pieces (60)"),
        (["data.train=['a']"], "`data.train` must be two files, source and target, got ['a']."),
        (["data.train=7"], "`data.train` must be a list of strings, got 7."),
        (
            ["data.train=['a', 'b']", "data.dataset=c"],
            "`data.dataset` must be empty where data.train is given",
        ),
        (["data.target_language=en"], "`data.target_language` must differ from source_language, got 'en'."),
        (["data.max_length_ratio=1"], "`data.max_length_ratio` must be above 1, got 1.0."),
        (["data.valid_pairs=0"], "`data.valid_pairs` must be at least 1, got 0."),
        (["train.label_smoothing=1"], "`train.label_smoothing` must be in [0, 1), got 1.0."),
        (["train.learning_rate=0"], "`train.learning_rate` must be above 0, got 0.0."),
        (["data.augment_capitals_rate=-0.1"], "`data.augment_capitals_rate` must be in [0, 1], got -0.1."),
        (["data.augment_title_case_rate=2"], "`data.augment_title_case_rate` must be in [0, 1], got 2.0."),
        (
            ["data.augment_no_full_stop_rate=2"],
            "`data.augment_no_full_stop_rate` must be in [0, 1], got 2.0.",
        ),
        (["train.max_steps=9"], "`train.cooldown_steps` must be at most train.max_steps (9), got 300."),
        (["train.max_shapes=-1"], "`train.max_shapes` must be at least 0, got -1."),
        (["train.clip_norm=-1"], "`train.clip_norm` must be at least 0, got -1.0."),
        (["train.accumulate_steps=0"], "`train.accumulate_steps` must be at least 1, got 0."),
        (["train.checkpoint_every=0"], "`train.checkpoint_every` must be at least 1, got 0."),
        (["train.keep_best=0"], "`train.keep_best` must be at least 1, got 0."),
        (["train.average_last=-1"], "`train.average_last` must be at least 0, got -1."),
        (["train.patience=-1"], "`train.patience` must be at least 0, got -1."),
        (["train.ema_decay=1"], "`train.ema_decay` must be in [0, 1), got 1.0."),
        (["train.best_metric=ter"], "`train.best_metric` must be one of chrf, bleu, loss, got 'ter'."),
        (
            ["train.loggers=['mlflow']"],
            '`train.loggers` must hold "tensorboard", "wandb", both or neither, got [\'mlflow\'].',
        ),
        (["train.max_steps=0"], "`train.max_steps` must be at least 1, got 0."),
        (
            ["train.precision=half"],
            "`train.precision` must be one of auto, float32, mixed_bfloat16, mixed_float16",
        ),
        (["train.jit_compile=yes"], "`train.jit_compile` must be auto, on or off, got 'yes'."),
        (
            ["search.max_length_factor=0"],
            "`search.max_length_factor` must be above 0 and at most 100, got 0.",
        ),
        (["search.max_length_factor=inf"], "`search.max_length_factor` must be a finite number, got inf."),
        (["train.learning_rate=nan"], "`train.learning_rate` must be a finite number, got nan."),
        (["train.beta_2=1.0"], "`train.beta_2` must be in [0, 1), got 1.0."),
        (["train.epsilon=0"], "`train.epsilon` must be above 0, got 0.0."),
        (["train.seed=-1"], "`train.seed` must be in [0, 2^32), got -1."),
        (["train.seed=4294967296"], "`train.seed` must be in [0, 2^32), got 4294967296."),
        (["data.vocabulary_pairs=-5"], "`data.vocabulary_pairs` must be at least 0, got -5."),
        (
            ["model.pad_id=5"],
            "`model.pad_id, bos_id, eos_id, unk_id` must be left as they are: the tokenizer",
        ),
        (["search.max_length_extra=0"], "`search.max_length_extra` must be at least 1, got 0."),
    ],
)
def test_a_broken_rule_names_field_rule_and_value(overrides, message):
    with pytest.raises(UserError, match=re.escape(message)):
        load_config(preset="tiny", overrides=overrides)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="CONFIG must be a TOML file, found none at "):
        load_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[model\n")
    with pytest.raises(UserError, match=r"CONFIG must be TOML, .*bad\.toml is not"):
        load_config(tmp_path / "bad.toml")
    with pytest.raises(UserError, match="--preset must be one of tiny, small, base, big, got 'huge'"):
        load_config(preset="huge")


def test_model_config_round_trip():
    config = ModelConfig(vocabulary_size=99, model_dim=24, num_heads=3)
    assert ModelConfig.from_dict(config.to_dict()) == config
    assert config.head_dim == 8
    with pytest.raises(UserError, match="model has no field 'width'"):
        ModelConfig.from_dict({"width": 3})
    assert Config().to_dict()["model"]["model_dim"] == 512
