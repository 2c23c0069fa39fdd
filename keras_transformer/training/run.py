"""One training run: corpus → batches → `model.fit` → checkpoints, scores and curves in the run folder."""

import errno
import time
from pathlib import Path

import keras
from rich.markdown import Markdown

from keras_transformer.config import VALID_FILE, save_config
from keras_transformer.errors import UserError
from keras_transformer.training.checkpoint import WEIGHTS_FILE, reference_outputs
from keras_transformer.training.data import prepare
from keras_transformer.training.durable import write_file
from keras_transformer.training.feeds import feed
from keras_transformer.training.inputs import make_batches, source_checkpoint
from keras_transformer.training.keeper import Keeper
from keras_transformer.training.milestones import Milestones
from keras_transformer.training.monitor import Evaluator, Progress, clock
from keras_transformer.training.optimization import compiled_model, float32_twin, precision, schedule
from keras_transformer.training.ranking import Ranking
from keras_transformer.training.report import SUMMARY_FILE, Board, Metrics, summary_table
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
DISK_FAILURES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
VALIDATION_PAIRS = 1000  # for the exporter, which measures by them what int8 costs


def train(config, folder, console, resume=False):
    """Train as `config` says, in `folder`.

    Args:
        config: Config; `model.vocabulary_size` is an upper bound for the tokenizer.
        folder: The run's folder; made if missing.
        console: rich Console for people (stderr).
        resume: Go on from checkpoints/resume.safetensors.

    Returns:
        The number of the signal that ended the run, or None.

    Raises:
        UserError: a corpus, a value or a folder that cannot be used.
        RunFailedError: the loss is not finite or the disk is full; what was saved before is whole.
    """
    with Signals() as signals:
        try:
            _Run(config, Path(folder), console, resume, signals).go()
        except LeaveError:
            console.print("interrupted before the first update of this call: nothing to save")
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


class _Run:
    """The parts of one call of `train`, made in order."""

    def __init__(self, config, folder, console, resume, signals):
        self.started = time.monotonic()
        self.config, self.folder, self.console, self.signals = config, folder, console, signals
        self.resume, self.before = resume, NEW
        resume_file = folder / "checkpoints" / FILE
        if resume:
            self.before = read_record(resume_file)
            check_config(self.before, config)
        elif resume_file.exists():
            raise UserError(
                f"--output must be a folder without a run, {folder} holds one. "
                "Go on with it (--resume) or name another folder."
            )
        self.ranking = Ranking(config.train.best_metric, config.train.keep_best)
        if resume:
            self.ranking.restore(self.before["ranking"])

    def go(self):
        """All of the call."""
        self._read()
        self._build()
        milestones = self._milestones()
        milestones.set_model(self.model)
        start = self.before["step"]
        pending = milestones.due(start) and milestones.evaluated_step < start
        if milestones.ended(start) and not pending and (self.folder / SUMMARY_FILE).is_file():
            raise UserError(
                f"--resume must have something left to do, the run ended at update {start}. "
                "Raise --max-steps (or train.patience, if it stopped early)."
            )
        (self.folder / SUMMARY_FILE).unlink(missing_ok=True)
        save_config(self.config, self.folder / "config.toml")
        self.signals.patient = True
        if not self.resume:
            self.keeper.check_room(milestones.save())  # which writes the first one to know its size
        try:
            self._update(milestones, start, pending)
        finally:
            self.board.close()

    def _update(self, milestones, start, pending):
        if pending:  # it was given up, for a signal
            milestones.on_epoch_begin(0)
            milestones.evaluate()
            milestones.train_loss = NEW["train_loss"]
        remaining = self.config.train.max_steps - start
        if not (milestones.interrupted or milestones.ended(start)):
            self.model.fit(
                feed(lambda: self.batches.stream(start)),
                steps_per_epoch=remaining,
                callbacks=[self.progress, milestones],
                shuffle=False,
                verbose=0,
            )
        if milestones.interrupted:
            self.console.print(
                f"saved update {milestones.saved_step}; go on with --resume --output {self.folder}",
                highlight=False,
            )
            return
        self._finish(milestones)

    def _read(self):
        """Corpus, vocabulary and batches."""
        config, folder = self.config, self.folder
        folder.mkdir(parents=True, exist_ok=True)
        keras.utils.set_random_seed(config.train.seed)
        self.source = None
        if config.train.init_from and not self.resume:
            self.source = source_checkpoint(config, folder)
        self.prepared = prepare(config, folder, self.console)
        shown = self.prepared.valid_texts[:VALIDATION_PAIRS]
        lines = ["\t".join(" ".join(text.split()) for text in pair) for pair in shown]
        write_file(folder / VALID_FILE, "".join(f"{line}\n" for line in lines).encode())
        # A run that goes on under another backend keeps its batches, and so its place in the corpus.
        self.batches = make_batches(
            self.prepared.train, self.prepared.model_config, config.train, self.before.get("max_shapes")
        )
        self.identity = identity(config, folder / "tokenizer.json", self.batches)
        if self.resume:
            check_data(self.before, self.identity)
            if self.before["backend"] != self.identity["backend"]:
                self.console.print(
                    f"begun under {self.before['backend']}, going on under {self.identity['backend']}: "
                    "right, but not to the last bit"
                )

    def _build(self):
        """Model, twin, and what keeps their files."""
        config, prepared, before = self.config, self.prepared, self.before
        self.model = compiled_model(prepared.model_config, config.train)
        self.twin = float32_twin(prepared.model_config, config.train)
        self.keeper = Keeper(
            self.folder / "checkpoints",
            config.train,
            self.model,
            self.twin,
            self.ranking,
            before["recent"],
            self._describe,
            lambda: reference_outputs(self.twin, *prepared.train.first(64)),
        )
        self.keeper.recover()
        if self.resume:
            load_resume_point(self.keeper.resume_file, self.model)
        elif self.source:
            self.model.load_safetensors(self.source / WEIGHTS_FILE)
        self.tokens_per_update = self.batches.target_tokens / len(self.batches)
        self.console.print(
            f"{self.model.count_params():,} weights, {keras.config.backend()}, {self.model.dtype_policy.name}; "
            f"{len(prepared.train.sources):,} pairs, {self.batches.target_tokens:,} target tokens, "
            f"{len(self.batches):,} batches an epoch in {len(self.batches.buckets)} shapes, "
            f"{self.batches.padding_share():.1%} padding",
            highlight=False,
        )

    def _milestones(self):
        config, prepared, start = self.config, self.prepared, self.before["step"]
        train = config.train
        rates = schedule(prepared.model_config, train)
        self.board = Board(train.loggers, self.folder, start, config.to_dict())  # closed at the end of `go`
        self.progress = Progress(
            self.console,
            self.board,
            lambda step: float(keras.ops.convert_to_numpy(rates(step - 1))),
            self.tokens_per_update,
            start,
            train.max_steps,
            train.seed,
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
            board=self.board,
            metrics=Metrics(self.folder, self.before["evaluated_step"]),
            progress=self.progress,
            evaluator=self.evaluator,
            keeper=self.keeper,
            signals=self.signals,
            record=lambda step: {**self.identity, "step": step, "seconds": round(self._seconds(), 1)},
            where=self._where,
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
        facts = {
            "pairs": f"{len(self.prepared.train.sources):,} {self.config.data.source_language}–"
            f"{self.config.data.target_language}, {self.batches.target_tokens:,} target tokens",
            "model": f"{self.model.count_params():,} weights, {self.model.dtype_policy.name}, "
            f"Keras {keras.__version__} on {keras.config.backend()}",
            "updates": f"{self.progress.step:,}, {self.progress.step / len(self.batches):,.1f} epochs",
            "time": f"{clock(self._seconds())}, "
            f"{self.progress.step * self.tokens_per_update / self._seconds():,.0f} target tokens/s in all",
            "averaged": f"{count} checkpoints" if count else "none",
            "seed": self.config.train.seed,
        }
        table = summary_table(facts, results)
        self.console.print(Markdown(table))
        write_file(self.folder / SUMMARY_FILE, f"# {self.folder.name}\n\n{table}".encode())

    def _seconds(self):
        return self.before["seconds"] + time.monotonic() - self.started

    def _describe(self, metrics):
        config = self.config
        return {
            "source_language": config.data.source_language,
            "target_language": config.data.target_language,
            "training": {
                "steps": self.progress.step,
                "seconds": round(self._seconds(), 1),
                "target_tokens": round(self.progress.step * self.tokens_per_update),
                "precision": precision(config.train),
                "backend": keras.config.backend(),
                "keras": keras.__version__,
                "data": self.prepared.report["source"],
                "pairs": len(self.prepared.train.sources),
                "init_from": config.train.init_from,
            },
            "scores": {"valid": metrics},
            "licences": self.prepared.report["licences"],
        }

    def _where(self, step):
        """Words for the batch of update `step`."""
        epoch, position = divmod(step - 1, len(self.batches))
        batch = next(iter(self.batches.stream(step - 1)))
        ids = [int(token) for token in batch.source_ids[0] if token != self.prepared.model_config.pad_id]
        first = self.prepared.tokenizer.decode(ids[:-1])
        return (
            f"batch {position + 1} of {len(self.batches)} in epoch {epoch + 1}, "
            f"{len(batch.source_ids)} pairs, the first {first!r}"
        )
