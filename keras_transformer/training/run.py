"""One training run: corpus → batches → `model.fit` → checkpoints, scores and curves in the run folder."""

import signal
import time
from pathlib import Path

import keras

from keras_transformer.config import load_config, save_config
from keras_transformer.errors import UserError
from keras_transformer.model import build_transformer
from keras_transformer.training.batches import Batches
from keras_transformer.training.checkpoint import (
    WEIGHTS_FILE,
    find_checkpoint,
    load_optimizer,
    read_description,
    reference_outputs,
    save_checkpoint,
)
from keras_transformer.training.data import prepare
from keras_transformer.training.feeds import feed, has_gpu
from keras_transformer.training.losses import LabelSmoothedCrossEntropy
from keras_transformer.training.monitor import Evaluation, Progress
from keras_transformer.training.schedule import WarmupInverseSquareRoot

# Fields that may change when a run goes on: how long, how often, not what is learnt.
RESUMABLE = {
    ("train", "max_steps"),
    ("train", "max_minutes"),
    ("train", "cooldown_steps"),
    ("train", "evaluate_every"),
    ("train", "evaluate_pairs"),
}


class Interrupt(keras.callbacks.Callback):
    """Ends `fit` after the current update: at a signal, at the time limit or at the last update.

    Args:
        deadline: `time.monotonic()` at which to stop, or None.
        progress: The run's `Progress`, which counts updates; it stands before this one in the list.
        max_steps: The run's last update.
    """

    def __init__(self, deadline, progress, max_steps):
        super().__init__()
        self.deadline, self.progress, self.max_steps = deadline, progress, max_steps
        self.signal_number = None

    def on_train_begin(self, logs=None):
        self._before = {
            number: signal.signal(number, self._remember) for number in (signal.SIGINT, signal.SIGTERM)
        }

    def on_train_end(self, logs=None):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def on_train_batch_end(self, batch, logs=None):
        late = self.deadline is not None and time.monotonic() >= self.deadline
        if self.signal_number or late or self.progress.step >= self.max_steps:
            self.model.stop_training = True

    def _remember(self, number, frame):
        if self.signal_number is not None:  # the second one does not wait
            raise KeyboardInterrupt
        self.signal_number = number


def train(config, folder, console, resume=False):
    """Train as `config` says, in `folder`.

    Args:
        config: Config; `model.vocabulary_size` is an upper bound for the tokenizer.
        folder: The run's folder; made if missing.
        console: rich Console for people (stderr).
        resume: Go on from checkpoints/last.

    Returns:
        The number of the signal that ended the run, or None.

    Raises:
        UserError: a corpus, a value or a folder that cannot be used.
    """
    started = time.monotonic()
    folder = Path(folder)
    last = _check_folder(config, folder, resume)
    facts = {"steps": 0, "seconds": 0.0, "target_tokens": 0, "best_chrf": -1.0}
    if resume:
        facts |= read_description(last)["training"]
    start_step, max_steps = facts["steps"], config.train.max_steps
    if start_step >= max_steps:
        raise UserError(
            f"--max-steps must be above the {start_step} updates already made, got {max_steps}. "
            "Raise it to go on."
        )
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(config.train.seed)
    prepared = prepare(config, folder, console)
    save_config(config, folder / "config.toml")

    model = compiled_model(prepared.model_config, config.train)
    if resume:
        model.load_safetensors(last / WEIGHTS_FILE)
        load_optimizer(last, model.optimizer, model.trainable_variables)
    batches = _batches(prepared.train, prepared.model_config, config.train)
    console.print(
        f"{model.count_params():,} weights, {keras.config.backend()}, {model.dtype_policy.name}; "
        f"{len(prepared.train.sources):,} pairs, {batches.target_tokens:,} target tokens, "
        f"{len(batches):,} batches an epoch in {len(batches.buckets)} shapes, "
        f"{batches.padding_share():.1%} padding",
        highlight=False,
    )

    tokens_per_update = batches.target_tokens / len(batches)
    progress = Progress(console, tokens_per_update, start_step, max_steps)
    deadline = started + 60 * config.train.max_minutes if config.train.max_minutes else None
    interrupt = Interrupt(deadline, progress, max_steps)
    twin = _float32_twin(prepared.model_config, config.train)
    valid_batches = _batches(prepared.valid, prepared.model_config, config.train)

    def save(metrics, is_best):
        facts["steps"] = progress.step
        facts["target_tokens"] = round(progress.step * tokens_per_update)
        seconds = facts["seconds"] + time.monotonic() - started
        if is_best:
            facts["best_chrf"] = metrics["chrf"]
        description = {
            "source_language": config.data.source_language,
            "target_language": config.data.target_language,
            "training": {**facts, "seconds": round(seconds, 1), **_how(config, prepared)},
            "scores": {"valid": metrics} if metrics else {},
            "licences": prepared.report["licences"],
        }
        reference = reference_outputs(twin, *prepared.train.first(64))
        if is_best:
            save_checkpoint(folder / "checkpoints" / "best", twin, description, reference)
        save_checkpoint(folder / "checkpoints" / "last", twin, description, reference, model.optimizer)

    evaluation = Evaluation(
        console=console,
        folder=folder,
        twin=twin,
        valid_feed=lambda: feed(lambda: valid_batches.epoch(0)),
        valid_steps=len(valid_batches),
        tokenizer=prepared.tokenizer,
        texts=prepared.valid_texts[: config.train.evaluate_pairs],
        max_length=lambda length: min(
            prepared.model_config.max_length,
            int(config.search.max_length_factor * length) + config.search.max_length_extra,
        ),
        progress=progress,
        interrupt=interrupt,
        save=save,
        best=facts["best_chrf"],
    )
    every = min(config.train.evaluate_every, max_steps - start_step)
    model.fit(
        feed(lambda: batches.stream(start_step)),
        epochs=-(-(max_steps - start_step) // every),
        steps_per_epoch=every,
        callbacks=[progress, interrupt, evaluation],
        shuffle=False,
        verbose=0,
    )
    return interrupt.signal_number


def compiled_model(model_config, train_config):
    """A built and compiled `Transformer` with the paper's optimizer, loss and schedule."""
    model = build_transformer(model_config, dtype=_precision(train_config.precision))
    schedule = WarmupInverseSquareRoot(
        model_config.model_dim,
        train_config.warmup_steps,
        factor=train_config.learning_rate,
        max_steps=train_config.max_steps,
        cooldown_steps=train_config.cooldown_steps,
    )
    model.compile(
        optimizer=keras.optimizers.Adam(
            schedule,
            beta_1=0.9,
            beta_2=train_config.beta_2,
            epsilon=train_config.epsilon,
            global_clipnorm=train_config.clip_norm or None,
        ),
        loss=LabelSmoothedCrossEntropy(train_config.label_smoothing, model_config.pad_id),
        jit_compile=_jit(train_config.jit_compile),
    )
    return model


def _float32_twin(model_config, train_config):
    # What is decoded, scored and saved is computed in float32, however the weights are trained.
    twin = build_transformer(model_config, dtype="float32")
    twin.compile(
        loss=LabelSmoothedCrossEntropy(train_config.label_smoothing, model_config.pad_id),
        jit_compile=_jit(train_config.jit_compile),
    )
    return twin


def _batches(pairs, model_config, train_config):
    return Batches(
        pairs.sources,
        pairs.targets,
        batch_tokens=train_config.batch_tokens,
        pad_id=model_config.pad_id,
        bos_id=model_config.bos_id,
        eos_id=model_config.eos_id,
        seed=train_config.seed,
    )


def _precision(precision):
    if precision != "auto":
        return precision
    return "mixed_bfloat16" if has_gpu() else "float32"


def _jit(jit_compile):
    if jit_compile != "auto":
        return jit_compile == "on"
    backend = keras.config.backend()
    return backend == "jax" or (backend == "tensorflow" and has_gpu())


def _how(config, prepared):
    return {
        "precision": _precision(config.train.precision),
        "backend": keras.config.backend(),
        "keras": keras.__version__,
        "data": prepared.report["source"],
        "pairs": len(prepared.train.sources),
    }


def _check_folder(config, folder, resume):
    """checkpoints/last to go on from, or None for a new run."""
    last = find_checkpoint(folder / "checkpoints" / "last")
    if not resume:
        if last is not None:
            raise UserError(
                f"--output must be a folder without a run, {folder} holds one. "
                "Go on with it (--resume) or name another folder."
            )
        return None
    if last is None:
        raise UserError(
            f"--resume must find checkpoints/last in {folder}, found none. Start without --resume."
        )
    before, now = load_config(folder / "config.toml").to_dict(), config.to_dict()
    for section, values in now.items():
        for name, value in values.items():
            if (section, name) not in RESUMABLE and before[section][name] != value:
                raise UserError(
                    f"--resume must keep {section}.{name} = {before[section][name]!r}, got {value!r}. "
                    "Drop the change or start a new run."
                )
    return last
