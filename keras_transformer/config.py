"""What a run is: four frozen sections, read from TOML, overridden by flags, written into the run folder."""

import dataclasses
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from keras_transformer.errors import UserError

PRESETS = ("tiny", "small", "base", "big")
VALID_FILE = "valid.tsv"  # in a run's folder: a source, a tab and its translation a line, for the exporter


@dataclass(frozen=True)
class ModelConfig:
    """Shape of the Transformer (Vaswani et al. 2017, section 3 and table 3).

    Args:
        vocabulary_size: Joint vocabulary V, special ids included.
        model_dim: Width D (d_model), even and a multiple of `num_heads`.
        feed_forward_dim: Inner width F (d_ff).
        num_heads: Attention heads H; each has width K = D / H.
        num_encoder_layers, num_decoder_layers: Depth of each stack (N).
        max_length: Positions in the table; the longest source (EOS counted) and target (BOS counted).
        dropout_rate: On embeddings and each sub-layer's output, in [0, 1).
        attention_dropout_rate: On attention weights, in [0, 1); 0 keeps the fused kernel.
        norm_placement: "post" is the paper's LN(x + f(x)); "pre" is x + f(LN(x)) with a final norm.
        activation: "relu" (the paper) or "gelu" (exact, erf).
        pad_id, bos_id, eos_id, unk_id: Special ids, all different.

    Raises:
        UserError: a field breaks its rule.
    """

    vocabulary_size: int = 8000
    model_dim: int = 512
    feed_forward_dim: int = 2048
    num_heads: int = 8
    num_encoder_layers: int = 6
    num_decoder_layers: int = 6
    max_length: int = 256
    dropout_rate: float = 0.1
    attention_dropout_rate: float = 0.0
    norm_placement: str = "post"
    activation: str = "relu"
    pad_id: int = 0
    bos_id: int = 1
    eos_id: int = 2
    unk_id: int = 3

    def __post_init__(self) -> None:
        for name in ("feed_forward_dim", "num_heads", "num_encoder_layers", "num_decoder_layers"):
            _require(getattr(self, name) >= 1, f"model.{name}", "be at least 1", getattr(self, name))
        _require(self.vocabulary_size >= 5, "model.vocabulary_size", "be at least 5", self.vocabulary_size)
        _require(self.max_length >= 2, "model.max_length", "be at least 2", self.max_length)
        _require(
            self.model_dim >= 2 and self.model_dim % 2 == 0 and self.model_dim % self.num_heads == 0,
            "model.model_dim",
            f"be even and a multiple of num_heads ({self.num_heads})",
            self.model_dim,
        )
        for name in ("dropout_rate", "attention_dropout_rate"):
            _require(0.0 <= getattr(self, name) < 1.0, f"model.{name}", "be in [0, 1)", getattr(self, name))
        _require(
            self.norm_placement in ("post", "pre"),
            "model.norm_placement",
            'be "post" or "pre"',
            self.norm_placement,
        )
        _require(
            self.activation in ("relu", "gelu"), "model.activation", 'be "relu" or "gelu"', self.activation
        )
        special = (self.pad_id, self.bos_id, self.eos_id, self.unk_id)
        _require(
            len(set(special)) == 4 and all(0 <= i < self.vocabulary_size for i in special),
            "model.pad_id, bos_id, eos_id, unk_id",
            f"be four different ids below vocabulary_size ({self.vocabulary_size})",
            special,
        )

    @property
    def head_dim(self) -> int:
        """Width K of one head."""
        return self.model_dim // self.num_heads

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON or TOML."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
        """Inverse of `to_dict`; an unknown field is a UserError."""
        return _section_from(cls, "model", values)


@dataclass(frozen=True)
class DataConfig:
    """Where the parallel text comes from and what cleaning keeps.

    Args:
        train: Two files (source, target); empty means `dataset` or, without one, the embedded corpus.
        valid: Two files; empty means a held-out part of the corpus.
        dataset: A TSV, CSV, JSONL or Parquet file, or a hub name.
        subset: The hub data set's configuration, such as "en-it".
        source_language, target_language: Codes, also the column names of a data set.
        valid_pairs: Pairs held out for validation where `valid` is empty, at most a tenth of the corpus.
        exclude_held_out: Drop training pairs which share a sentence with the embedded test split too (those of
            the validation text are always dropped).
        max_pieces: Longest side kept, in tokens.
        max_length_ratio: Longest side over shortest, in tokens, beyond 10 tokens of difference.
        vocabulary_pairs: Pairs shown to the tokenizer's training; 0 means all.
        augment_capitals_rate: Share of the cleaned training pairs, in [0, 1], that is there once more IN CAPITALS
            on both sides.
        augment_title_case_rate: The same In Title Case.
        augment_no_full_stop_rate: The same without the final full stop, where both sides have one.
    """

    train: tuple[str, ...] = ()
    valid: tuple[str, ...] = ()
    dataset: str = ""
    subset: str = ""
    source_language: str = "en"
    target_language: str = "it"
    valid_pairs: int = 1000
    exclude_held_out: bool = False
    max_pieces: int = 128
    max_length_ratio: float = 3.0
    vocabulary_pairs: int = 0
    augment_capitals_rate: float = 0.0
    augment_title_case_rate: float = 0.0
    augment_no_full_stop_rate: float = 0.0

    def __post_init__(self) -> None:
        for name in ("train", "valid"):
            files = getattr(self, name)
            _require(len(files) in (0, 2), f"data.{name}", "be two files, source and target", list(files))
        _require(
            not (self.train and self.dataset),
            "data.dataset",
            "be empty where data.train is given",
            self.dataset,
        )
        _require(self.max_pieces >= 1, "data.max_pieces", "be at least 1", self.max_pieces)
        _require(self.max_length_ratio > 1, "data.max_length_ratio", "be above 1", self.max_length_ratio)
        _require(self.vocabulary_pairs >= 0, "data.vocabulary_pairs", "be at least 0", self.vocabulary_pairs)
        _require(self.valid_pairs >= 1, "data.valid_pairs", "be at least 1", self.valid_pairs)
        for name in ("augment_capitals_rate", "augment_title_case_rate", "augment_no_full_stop_rate"):
            _require(0 <= getattr(self, name) <= 1, f"data.{name}", "be in [0, 1]", getattr(self, name))
        _require(
            self.source_language != self.target_language,
            "data.target_language",
            "differ from source_language",
            self.target_language,
        )


@dataclass(frozen=True)
class TrainConfig:
    """How the weights are found (section 5 of the paper).

    Args:
        max_steps: Updates in all.
        max_minutes: Wall-clock limit of one call of the command; 0 means none.
        batch_tokens: Target tokens an update, padding counted (the source side obeys the same budget).
        max_shapes: Most different shapes (B, S, T) of batches; 0: 128, or 48 where each is compiled (JAX, XLA).
        accumulate_steps: Parts that a batch is computed in, one after another: the same update, less memory.
        learning_rate: Factor on D^-0.5 · min(step^-0.5, step · warmup^-1.5); 1 is the paper.
        warmup_steps: Updates of linear warm-up.
        cooldown_steps: The last updates before `max_steps` fall linearly to 0; 0 keeps the paper's curve.
        label_smoothing: ε of section 5.4, in [0, 1).
        clip_norm: Largest global gradient norm; 0 means no clipping.
        beta_2, epsilon: Adam's; β1 is 0.9.
        ema_decay: What is evaluated and published is a moving average of the weights with this decay; 0: none.
        average_last: At the end the mean of this many last checkpoints goes to checkpoints/averaged; 0: none.
        precision: "float32", "mixed_bfloat16", "mixed_float16", or "auto": bfloat16 where the GPU has
            it, float32 on a CPU.
        jit_compile: XLA: "auto" means on a GPU and under JAX.
        evaluate_every: Updates between evaluations (losses, BLEU, chrF, samples, published checkpoints).
        evaluate_pairs: Validation pairs that are decoded at an evaluation.
        checkpoint_every: Updates between resume points; there is one at each evaluation too.
        best_metric: "chrf", "bleu" or "loss" (of the validation pairs): says which checkpoint is best.
        patience: Stop after this many evaluations without a better one; 0: never.
        keep_best: With 2 or more this many best checkpoints stay, as checkpoints/step_N.
        init_from: A run or checkpoint whose vocabulary and weights are the start (fine-tuning); "": none.
        loggers: Any of "tensorboard" and "wandb".
        seed: Of weights, order and dropout.
    """

    max_steps: int = 100_000
    max_minutes: float = 0.0
    batch_tokens: int = 4096
    max_shapes: int = 0
    accumulate_steps: int = 1
    learning_rate: float = 1.0
    warmup_steps: int = 4000
    cooldown_steps: int = 0
    label_smoothing: float = 0.1
    clip_norm: float = 1.0
    beta_2: float = 0.98
    epsilon: float = 1e-9
    ema_decay: float = 0.0
    average_last: int = 0
    precision: str = "auto"
    jit_compile: str = "auto"
    evaluate_every: int = 1000
    evaluate_pairs: int = 500
    checkpoint_every: int = 1000
    best_metric: str = "chrf"
    patience: int = 0
    keep_best: int = 1
    init_from: str = ""
    loggers: tuple[str, ...] = ("tensorboard",)
    seed: int = 1

    def __post_init__(self) -> None:
        counts = ("max_steps", "batch_tokens", "accumulate_steps", "warmup_steps")
        every = ("evaluate_every", "evaluate_pairs", "checkpoint_every", "keep_best")
        for name in (*counts, *every):
            _require(getattr(self, name) >= 1, f"train.{name}", "be at least 1", getattr(self, name))
        for name in ("max_shapes", "max_minutes", "clip_norm", "cooldown_steps", "average_last", "patience"):
            _require(getattr(self, name) >= 0, f"train.{name}", "be at least 0", getattr(self, name))
        _require(
            self.cooldown_steps <= self.max_steps,
            "train.cooldown_steps",
            f"be at most train.max_steps ({self.max_steps})",
            self.cooldown_steps,
        )
        _require(0 <= self.beta_2 < 1, "train.beta_2", "be in [0, 1)", self.beta_2)
        _require(self.epsilon > 0, "train.epsilon", "be above 0", self.epsilon)
        _require(0 <= self.seed < 2**32, "train.seed", "be in [0, 2^32)", self.seed)
        _require(0 <= self.ema_decay < 1, "train.ema_decay", "be in [0, 1)", self.ema_decay)
        metrics = ("chrf", "bleu", "loss")
        _require(
            self.best_metric in metrics,
            "train.best_metric",
            f"be one of {', '.join(metrics)}",
            self.best_metric,
        )
        _require(
            set(self.loggers) <= {"tensorboard", "wandb"},
            "train.loggers",
            'hold "tensorboard", "wandb", both or neither',
            list(self.loggers),
        )
        _require(0 <= self.label_smoothing < 1, "train.label_smoothing", "be in [0, 1)", self.label_smoothing)
        _require(self.learning_rate > 0, "train.learning_rate", "be above 0", self.learning_rate)
        kinds = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
        _require(self.precision in kinds, "train.precision", f"be one of {', '.join(kinds)}", self.precision)
        _require(
            self.jit_compile in ("auto", "on", "off"),
            "train.jit_compile",
            "be auto, on or off",
            self.jit_compile,
        )


@dataclass(frozen=True)
class SearchConfig:
    """How a translation is looked for while training.

    Args:
        max_length_factor, max_length_extra: A translation has at most factor · S + extra tokens.
    """

    max_length_factor: float = 2.0
    max_length_extra: int = 10

    def __post_init__(self) -> None:
        _require(
            0 < self.max_length_factor <= 100,
            "search.max_length_factor",
            "be above 0 and at most 100",
            self.max_length_factor,
        )
        _require(
            self.max_length_extra >= 1, "search.max_length_extra", "be at least 1", self.max_length_extra
        )


@dataclass(frozen=True)
class Config:
    """A whole run. `vocabulary_size` in `model` is what the tokenizer is trained to, at most."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    search: SearchConfig = field(default_factory=SearchConfig)

    def __post_init__(self) -> None:
        special = (self.model.pad_id, self.model.bos_id, self.model.eos_id, self.model.unk_id)
        _require(
            special == (0, 1, 2, 3),
            "model.pad_id, bos_id, eos_id, unk_id",
            "be left as they are: the tokenizer sets them",
            special,
        )
        _require(
            self.data.max_pieces + 1 <= self.model.max_length,
            "data.max_pieces",
            f"be below model.max_length ({self.model.max_length}), which counts one special id",
            self.data.max_pieces,
        )
        _require(
            self.train.batch_tokens > self.data.max_pieces,
            "train.batch_tokens",
            f"be above data.max_pieces ({self.data.max_pieces}): a batch holds the longest pair",
            self.train.batch_tokens,
        )

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Plain values by section."""
        return dataclasses.asdict(self)


_SECTIONS = {"model": ModelConfig, "data": DataConfig, "train": TrainConfig, "search": SearchConfig}
_Section = TypeVar("_Section")


def load_config(
    path: str | Path | None = None,
    preset: str | None = None,
    overrides: list[str] | None = None,
    base: Config | None = None,
    options: dict[str, dict[str, Any]] | None = None,
) -> Config:
    """Preset, then the file's fields over it, then `section.field=value` overrides over both, then `options`.

    Args:
        path: A TOML file with any of the sections model, data, train, search.
        preset: One of tiny, small, base, big; without one the file stands on the fields' defaults.
        overrides: Values in TOML's spelling; a bare word is a string.
        base: What all of them stand on, instead of the defaults.
        options: The command's own, by section and field. Rules are held against what all of them make together.

    Raises:
        UserError: an unknown preset, section or field, a wrong type or a broken rule.
    """
    tree: dict[str, dict[str, Any]] = base.to_dict() if base is not None else {}
    if preset is not None:
        if preset not in PRESETS:
            raise UserError(f"--preset must be one of {', '.join(PRESETS)}, got {preset!r}.")
        text = resources.files("keras_transformer").joinpath(f"presets/{preset}.toml").read_text("utf-8")
        _merge(tree, tomllib.loads(text), f"preset {preset}")
    if path is not None:
        _merge(tree, _read_toml(Path(path)), str(path))
    for override in overrides or []:
        _merge(tree, _parse_override(override), f"--set {override}")
    _merge(tree, options or {}, "options")
    return config_from_dict(tree)


def config_from_dict(tree: dict[str, dict[str, Any]]) -> Config:
    """Config from plain values by section; missing fields take their defaults."""
    sections: dict[str, Any] = {
        name: _section_from(cls, name, tree.get(name, {})) for name, cls in _SECTIONS.items()
    }
    return Config(**sections)


def config_to_toml(config: Config) -> str:
    """The resolved configuration as text; `load_config` of a file that holds it gives it back."""
    import tomli_w  # an extra of training: translating never writes a configuration

    text: str = tomli_w.dumps(config.to_dict())
    return text


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"CONFIG must be a TOML file, found none at {path}. Try --preset tiny.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        raise UserError(f"CONFIG must be TOML, {path} is not: {error}.") from None


def _parse_override(override: str) -> dict[str, Any]:
    key, separator, text = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (separator and dot and section and name):
        raise UserError(f"--set must look like section.field=value, got {override!r}.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    return {section: {name: value}}


def _merge(tree: dict[str, dict[str, Any]], more: dict[str, Any], origin: str) -> None:
    for section, values in more.items():
        if section not in _SECTIONS or not isinstance(values, dict):
            raise UserError(f"{origin}: a section must be one of {', '.join(_SECTIONS)}, got {section!r}.")
        known = {f.name for f in dataclasses.fields(_SECTIONS[section])}
        for name in values:
            if name not in known:
                raise UserError(
                    f"{origin}: {section} has no field {name!r}. Its fields are {', '.join(sorted(known))}."
                )
        tree.setdefault(section, {}).update(values)


def _section_from(cls: type[_Section], section: str, values: dict[str, Any]) -> _Section:
    hints = get_type_hints(cls)
    typed: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            raise UserError(f"{section} has no field {name!r}. Its fields are {', '.join(sorted(hints))}.")
        typed[name] = _typed(f"{section}.{name}", hints[name], value)
    return cls(**typed)


def _typed(name: str, hint: Any, value: Any) -> Any:
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        _require(abs(value) < float("inf"), name, "be a finite number", value)  # NaN is not below either
        return float(value)
    if hint in (int, float, str, bool):
        _require(type(value) is hint, name, f"be of type {hint.__name__}", value)
        return value
    _require(
        isinstance(value, list | tuple) and all(isinstance(item, str) for item in value),
        name,
        "be a list of strings",
        value,
    )
    return tuple(value)


def _require(holds: bool, name: str, rule: str, value: object) -> None:
    if not holds:
        raise UserError(f"`{name}` must {rule}, got {value!r}. Change it in the configuration or with --set.")
