"""When a run evaluates, saves and stops: a function of the update's number, so that a resumed run does the same."""

import math
import time

import keras

from keras_transformer.training.optimization import publish_weights, sync_state
from keras_transformer.training.report import draw_curves
from keras_transformer.training.stopping import RunFailedError


class Milestones(keras.callbacks.Callback):
    """After each update: is the loss finite, is it time to evaluate, to save, to stop?

    Args:
        config: Config.
        console: rich Console (stderr).
        board: Board.
        metrics: Metrics.
        progress: The run's `Progress`, which counts updates; it stands before this one in the list.
        evaluator: Evaluator of the twin.
        keeper: Keeper.
        signals: Signals.
        replicas: Replicas, which agree on when to stop; the first evaluates and saves.
        record: Step → plain values for the resume point.
        where: Step → words for that batch's place in the corpus.
        deadline: `time.monotonic()` at which to evaluate and stop, or None.
        evaluated_step: The last update that was evaluated.
        train_loss: Sum and tokens of the losses since then.

    Attributes:
        interrupted: A signal ended the run.
        saved_step: Update of the resume point.
    """

    def __init__(
        self, *, config, console, board, metrics, progress, evaluator, keeper, signals, replicas, record, where,
        deadline, evaluated_step, train_loss,
    ):  # fmt: skip
        super().__init__()
        self.config, self.console, self.board, self.metrics = config, console, board, metrics
        self.progress, self.evaluator, self.keeper, self.signals = progress, evaluator, keeper, signals
        self.replicas, self.record, self.where, self.deadline = replicas, record, where, deadline
        self.evaluated_step, self.train_loss = evaluated_step, train_loss
        self.interrupted, self.saved_step = False, progress.step

    def on_epoch_begin(self, epoch, logs=None):
        # Keras has just set its metrics to 0; the interval since the last evaluation goes on.
        self.replicas.write(self.model.token_loss.variables, self.train_loss)

    def on_train_batch_end(self, batch, logs=None):
        step, train = self.progress.step, self.config.train
        late = self.deadline is not None and time.monotonic() >= self.deadline
        flags = (not math.isfinite(logs["token_loss"]), self.signals.number is not None, late)
        infinite, asked, late = self.replicas.any(flags)
        if infinite:
            best = ", the best ones in best/ beside it" if self.keeper.ranking.steps() else ""
            raise RunFailedError(
                f"The loss of update {step} is not finite: {self.where(step)}. The weights of update "
                f"{self.saved_step} are in {self.keeper.resume_file}{best}. "
                "Start anew with a lower train.learning_rate or a train.clip_norm (--init-from keeps the weights)."
            )
        evaluates, stops = not asked and (late or self.due(step)), asked or late or self.ended(step)
        if evaluates:
            self.evaluate()
        elif asked or step % train.checkpoint_every == 0:
            self.save()
        if self.saved_step == step:
            # What the first process has scored, and a signal of this moment, only some of them know.
            self.interrupted = self.interrupted or asked or self.signals.number is not None
            self.interrupted, stops = self.replicas.any((self.interrupted, stops or self.ended(step)))
        if self.interrupted or stops:  # under JAX the mere word `self.model` moves the state
            self.model.stop_training = True

    def due(self, step):
        """Whether update `step` is one to evaluate after."""
        return step % self.config.train.evaluate_every == 0 or step == self.config.train.max_steps

    def ended(self, step):
        """Whether there is nothing left to train."""
        patience = self.config.train.patience
        return step >= self.config.train.max_steps or 0 < patience <= self.keeper.ranking.stale

    def evaluate(self):
        """Score, show, draw and publish the weights of this update, then save; a signal gives it up and saves."""
        sync_state(self.model)
        self._read_loss()
        if self.replicas.is_first:
            with self.replicas.alone():
                self.interrupted = not self._score()
        (given_up,) = self.replicas.any((self.interrupted,))
        if not given_up:
            self.evaluated_step, self.train_loss = self.progress.step, [0.0, 0.0]
            self.replicas.write(self.model.token_loss.variables, self.train_loss)
        self._commit()
        self.interrupted = given_up
        self.progress.restart_clock()

    def save(self):
        """Write the resume point of this update; returns its size in bytes, None where another process writes."""
        sync_state(self.model)
        self._read_loss()
        return self._commit()

    def _read_loss(self):
        self.train_loss = self.replicas.read(self.model.token_loss.variables)

    def _score(self):
        """Whether the evaluation was made, and not given up for a signal."""
        step, started = self.progress.step, time.perf_counter()
        publish_weights(self.model, self.keeper.twin)
        outcome = self.evaluator()
        if outcome is None:
            return False
        scores, hypotheses = outcome
        total, tokens = self.train_loss
        row = {
            "step": step,
            "train_loss": round(total / tokens, 4) if tokens else 0.0,
            **scores,
            "learning_rate": self.progress.rate(step),
            "tokens_per_second": round(self.progress.tokens_per_second, 1),
            "evaluation_seconds": round(time.perf_counter() - started, 2),
            "time": round(time.time(), 1),
        }
        is_best = self.keeper.ranking.add(step, row)
        self.metrics.add(row)
        self._show(row, hypotheses, is_best)
        self.keeper.publish(row, is_best)
        return True

    def _commit(self):
        step, size = self.progress.step, None
        if self.replicas.is_first:
            loss = {"evaluated_step": self.evaluated_step, "train_loss": self.train_loss}
            size = self.keeper.commit({**self.record(step), **loss})
        self.saved_step = step
        return size

    def _show(self, row, hypotheses, is_best):
        self.console.print(
            f"update {row['step']}: valid loss {row['valid_loss']:.3f}  BLEU {row['bleu']:.2f}  "
            f"chrF {row['chrf']:.2f}{'  (best)' if is_best else ''}  [{row['bleu_signature']}]"
        )
        samples = list(self.evaluator.samples(hypotheses))
        for line in samples:
            self.console.print(line)
        names = ("train_loss", "valid_loss", "bleu", "chrf", "learning_rate", "tokens_per_second")
        self.board.numbers(row["step"], {f"evaluation/{name}": row[name] for name in names})
        self.board.text(row["step"], "samples", samples)
        draw_curves(self.keeper.folder.parent, self.metrics.rows)
