"""One training run: corpus → batches → `model.fit` → checkpoints, scores and curves in the run folder."""

import shutil
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import filelock
import keras
from rich.markdown import Markdown

from keras_transformer.config import VALID_FILE, config_to_toml
from keras_transformer.errors import DISK_FAILURES, UserError
from keras_transformer.training.account import Account
from keras_transformer.training.allocator import keep_freed_memory
from keras_transformer.training.checkpoint import WEIGHTS_FILE, reference_outputs
from keras_transformer.training.compile_ahead import compiled_ahead
from keras_transformer.training.data import prepare
from keras_transformer.training.durable import write_file
from keras_transformer.training.feeds import feed
from keras_transformer.training.inputs import make_batches, source_checkpoint
from keras_transformer.training.keeper import Keeper
from keras_transformer.training.largest_batch import is_out_of_memory, largest_batch_tokens
from keras_transformer.training.milestones import Milestones
from keras_transformer.training.monitor import Evaluator, Progress
from keras_transformer.training.optimization import compiled_model, float32_twin, schedule
from keras_transformer.training.random_state import seed_layers
from keras_transformer.training.ranking import Ranking
from keras_transformer.training.replicas import join
from keras_transformer.training.report import SUMMARY_FILE, Board, Metrics, check_loggers, summary_table
from keras_transformer.training.resume import (
    FILE,
    check_config,
    check_data,
    identity,
    load_resume_point,
    read_record,
)
from keras_transformer.training.stopping import LeaveError, RunFailedError, Signals

NEW = {"step": 0, "evaluated_step": 0, "train_loss": [0.0, 0.0], "seconds": 0.0, "recent": []}
LOCK_FILE = ".lock"  # in the run's folder; the system frees it with the process, however that ends
VALIDATION_PAIRS = 1000  # for the exporter, which measures by them what int8 costs


def train(config, folder, console, resume=False, largest_batch=False):
    """Train as `config` says, in `folder`.

    Args:
        config: Config; `model.vocabulary_size` is an upper bound for the tokenizer.
        folder: The run's folder; made if missing.
        console: rich Console for people (stderr).
        resume: Go on from checkpoints/resume.safetensors.
        largest_batch: Set train.batch_tokens to the most that the GPU holds.

    Returns:
        The number of the signal that ended the run, or None.

    Raises:
        UserError: a corpus, a value or a folder that cannot be used.
        RunFailedError: the loss is not finite, or the disk or the device's memory is full; what was saved before is
            whole.
    """
    replicas = join()
    console.quiet = console.quiet or not replicas.is_first
    with Signals() as signals, tempfile.TemporaryDirectory() as scratch, ExitStack() as held:
        try:
            if replicas.is_first:
                check_loggers(config.train.loggers)
                if Path(folder).is_dir() or not resume:
                    held.enter_context(_locked(Path(folder)))
            _Run(config, Path(folder), console, resume, signals, replicas, Path(scratch)).go(largest_batch)
        except LeaveError:
            console.print("interrupted before the first update of this call: nothing to save")
        except (UserError, RunFailedError) as error:
            if replicas.is_first:
                raise
            raise SystemExit(2 if isinstance(error, UserError) else 1) from error  # the first one says it
        except OSError as error:
            if error.errno not in DISK_FAILURES:
                raise
            saved = (Path(folder) / "checkpoints" / FILE).is_file()
            raise RunFailedError(
                f"Writing to {folder} failed: {error.strerror}. Make room and "
                + (
                    f"go on with --resume --output {folder}: what was saved is whole."
                    if saved
                    else "start again."
                )
            ) from error
        return signals.number


def _locked(folder):
    """A lock on the run's folder, made if missing: two processes would remove each other's checkpoints.

    Raises:
        UserError: another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return filelock.FileLock(folder / LOCK_FILE).acquire(blocking=False)
    except filelock.Timeout:
        raise UserError(
            f"--output must be a folder that no other process trains in, one trains in {folder}. "
            "Wait for its end or name another folder."
        ) from None


def _refuse_a_run(folder):
    """A new run would remove the checkpoints of one that lies in its folder, with a resume point or without."""
    checkpoints = folder / "checkpoints"
    if (checkpoints / FILE).exists() or any(checkpoints.glob("*/*.safetensors")):
        raise UserError(
            f"--output must be a folder without a run, {folder} holds one. "
            "Go on with it (--resume) or name another folder."
        )


class _Run:
    """The parts of one call of `train`, made in order."""

    def __init__(self, config, folder, console, resume, signals, replicas, scratch):
        self.started = time.monotonic()
        self.config, self.shared, self.console, self.signals = config, folder, console, signals
        self.replicas, self.folder = replicas, folder if replicas.is_first else scratch / folder.name
        self.resume, self.before = resume, NEW
        resume_file = folder / "checkpoints" / FILE
        if resume:
            self.before = read_record(resume_file)
            check_config(self.before, config)
            if config.train.max_steps < self.before["step"]:
                raise UserError(
                    f"train.max_steps must be at least {self.before['step']}, the updates that the run has, "
                    f"got {config.train.max_steps}. Raise --max-steps."
                )
        else:
            _refuse_a_run(folder)
        self.ranking = Ranking(config.train.best_metric, config.train.keep_best)
        if resume:
            self.ranking.restore(self.before["ranking"])

    def go(self, largest_batch):
        """All of the call."""
        self._read(largest_batch)
        self._build()
        loggers = self.config.train.loggers if self.replicas.is_first else ()
        with closing(Board(loggers, self.folder, self.before["step"], self.config.to_dict())) as board:
            self._train(self._milestones(board), self.before["step"])
        self.replicas.any((False,))  # the others stay until the first has finished
        self.replicas.close()

    def _train(self, milestones, start):
        """The updates, and the files that begin and end them."""
        milestones.set_model(self.model)
        pending = milestones.due(start) and milestones.evaluated_step < start
        if milestones.ended(start) and not pending and (self.folder / SUMMARY_FILE).is_file():
            raise UserError(
                f"--resume must have something left to do, the run ended at update {start}. "
                "Raise --max-steps (or train.patience, if it stopped early)."
            )
        (self.folder / SUMMARY_FILE).unlink(missing_ok=True)
        write_file(self.folder / "config.toml", config_to_toml(self.config).encode())
        self.signals.patient = True
        if not self.resume:
            size = milestones.save()  # the first one, to know its size
            if self.replicas.is_first:
                self.keeper.check_room(size)
        try:
            self._update(milestones, start, pending)
        except Exception as error:
            if isinstance(error, RunFailedError) or not is_out_of_memory(error):
                raise  # the former may quote a sentence that has those words
            train = self.config.train
            raise RunFailedError(
                f"The device's memory must hold a batch of train.batch_tokens = {train.batch_tokens:,}, it does not. "
                "Start anew with less (--largest-batch finds the most that fits), or go on with each batch in parts: "
                f"--resume --output {self.folder} --set train.accumulate_steps={2 * train.accumulate_steps}."
            ) from error

    def _update(self, milestones, start, pending):
        if pending:  # it was given up, for a signal
            milestones.on_epoch_begin(0)
            milestones.evaluate()
            milestones.train_loss = NEW["train_loss"]
        remaining = self.config.train.max_steps - start
        if not (milestones.interrupted or milestones.ended(start)):
            with compiled_ahead(self.model, self.batches.buckets, remaining, self.replicas):
                self.model.fit(
                    feed(lambda: self.batches.stream(start), self.replicas),
                    steps_per_epoch=remaining,
                    callbacks=[self.progress, milestones],
                    shuffle=False,
                    verbose=0,
                )
        if milestones.interrupted:
            self.console.print(
                f"saved update {milestones.saved_step}; go on with --resume --output {self.folder}"
            )
        elif self.replicas.is_first:
            with self.replicas.alone():
                self._finish(milestones)

    def _read(self, largest_batch):
        """Corpus, vocabulary and batches."""
        config, folder = self.config, self.folder
        folder.mkdir(parents=True, exist_ok=True)
        keras.utils.set_random_seed(config.train.seed)
        self.source = None
        if not self.replicas.is_first:
            self.replicas.any((False,))  # wait: the first process fills the caches and learns the vocabulary
            if (self.shared / "tokenizer.json").is_file():
                shutil.copyfile(self.shared / "tokenizer.json", folder / "tokenizer.json")
        if config.train.init_from and not self.resume:
            self.source = source_checkpoint(config, folder)
        # An earlier call that failed may have left a vocabulary of other text.
        keep = self.resume or self.source is not None or not self.replicas.is_first
        self.prepared = prepare(config, folder, self.console, keep_vocabulary=keep)
        if self.replicas.is_first:
            self.replicas.any((False,))
        if largest_batch:
            self._enlarge_batches()
            config = self.config
        shown = self.prepared.valid_texts[:VALIDATION_PAIRS]
        lines = ["\t".join(" ".join(text.split()) for text in pair) for pair in shown]
        write_file(folder / VALID_FILE, "".join(f"{line}\n" for line in lines).encode())
        # A run that goes on under another backend keeps its batches, and so its place in the corpus.
        self.batches = make_batches(
            self.prepared.train, self.prepared.model_config, config.train, self.before.get("max_shapes")
        )
        self.identity = identity(config, folder / "tokenizer.json", self.batches, self.replicas.count)
        if self.resume:
            check_data(self.before, self.identity)
            for name, word in (("backend", "under"), ("devices", "on devices:")):
                before, now = self.before.get(name, 1), self.identity[name]
                if before != now:
                    self.console.print(f"begun {word} {before}, now {now}: right, but not to the last bit")

    def _enlarge_batches(self):
        """The largest batch from here on; the weights are drawn as if it had been configured."""
        if self.replicas.count > 1:
            raise UserError(
                f"--largest-batch needs one device, got {self.replicas.count}. "
                "Find it on one, then set train.batch_tokens to that times the devices."
            )
        tokens = largest_batch_tokens(
            self.prepared.train, self.prepared.model_config, self.config.train, self.console
        )
        self.console.print(f"train.batch_tokens = {tokens}")
        self.config = replace(self.config, train=replace(self.config.train, batch_tokens=tokens))
        keras.utils.set_random_seed(self.config.train.seed)

    def _build(self):
        """Model, twin, and what keeps their files."""
        keep_freed_memory()
        config, prepared, before = self.config, self.prepared, self.before
        self.model = compiled_model(prepared.model_config, config.train, self.replicas)
        with self.replicas.alone():
            self.twin = float32_twin(prepared.model_config, config.train)
        self.keeper = Keeper(
            self.folder / "checkpoints",
            config.train,
            self.model,
            self.twin,
            self.ranking,
            before["recent"],
            lambda metrics: self.account.describe(self.progress.step, metrics),
            lambda: reference_outputs(self.twin, *prepared.train.first(64)),
        )
        if self.resume:
            self.keeper.recover()
            load_resume_point(self.shared / "checkpoints" / FILE, self.model)
        elif self.source:
            self.model.load_safetensors(self.source / WEIGHTS_FILE)
        seed_layers(self.model, self.replicas.rank)
        self.account = Account(config, prepared, self.batches, self.model, self.replicas.count, self._seconds)
        self.console.print(self.account.heading())

    def _milestones(self, board):
        config, prepared, start = self.config, self.prepared, self.before["step"]
        train = config.train
        rates = schedule(prepared.model_config, train)
        self.progress = Progress(
            self.console,
            board,
            lambda step: float(keras.ops.convert_to_numpy(rates(step - 1))),
            self.account.tokens_per_update,
            start,
            train.max_steps,
            train.seed,
            rank=self.replicas.rank,
        )
        valid_batches = make_batches(prepared.valid, prepared.model_config, train)
        self.evaluator = Evaluator(
            twin=self.twin,
            valid_feed=lambda: feed(lambda: valid_batches.epoch(0)),
            valid_steps=len(valid_batches),
            tokenizer=prepared.tokenizer,
            texts=prepared.valid_texts[: train.evaluate_pairs],
            max_length=lambda length: min(
                prepared.model_config.max_length,
                int(config.search.max_length_factor * length) + config.search.max_length_extra,
            ),
            cancelled=lambda: self.signals.number is not None,
        )
        return Milestones(
            config=config,
            console=self.console,
            board=board,
            metrics=Metrics(self.folder, self.before["evaluated_step"] if self.replicas.is_first else 0),
            progress=self.progress,
            evaluator=self.evaluator,
            keeper=self.keeper,
            signals=self.signals,
            replicas=self.replicas,
            record=lambda step: {**self.identity, "step": step, "seconds": round(self._seconds(), 1)},
            where=self.account.where,
            deadline=self.started + 60 * train.max_minutes if train.max_minutes else None,
            evaluated_step=self.before["evaluated_step"],
            train_loss=self.before["train_loss"],
        )

    def _finish(self, milestones):
        """The mean of the last checkpoints, and the summary."""
        rows = {row["step"]: row for row in milestones.metrics.rows}
        best = self.ranking.steps()[:1]  # none where every score was NaN
        results = {**({"best": rows[best[0]]} if best else {}), "last": milestones.metrics.rows[-1]}
        count = self.keeper.average()
        if count:
            outcome = self.evaluator()
            if outcome is None:  # a signal: --resume comes back here
                self.console.print(
                    f"interrupted before the average; go on with --resume --output {self.folder}"
                )
                return
            results["averaged"] = {"step": self.progress.step, **outcome[0]}
            self.keeper.publish_average(results["averaged"])
        table = summary_table(self.account.facts(self.progress.step, count), results)
        self.console.print(Markdown(table))
        write_file(self.folder / SUMMARY_FILE, f"# {self.folder.name}\n\n{table}".encode())

    def _seconds(self):
        return self.before["seconds"] + time.monotonic() - self.started
