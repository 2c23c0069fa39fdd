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
        record: Step → plain values for the resume point.
        where: Step → words for that batch's place in the corpus.
        deadline: `time.monotonic()` at which to evaluate and stop, or None.
        evaluated_step: The last update that was evaluated.
        train_loss: Sum and tokens of the losses since then.

    Attributes:
        interrupted: A signal ended the run.
    """

    def __init__(
        self, *, config, console, board, metrics, progress, evaluator, keeper, signals, record, where, deadline,
        evaluated_step, train_loss,
    ):  # fmt: skip
        super().__init__()
        self.config, self.console, self.board, self.metrics = config, console, board, metrics
        self.progress, self.evaluator, self.keeper, self.signals = progress, evaluator, keeper, signals
        self.record, self.where, self.deadline = record, where, deadline
        self.evaluated_step, self.train_loss = evaluated_step, train_loss
        self.interrupted = False

    def on_epoch_begin(self, epoch, logs=None):
        # Keras has just set its metrics to 0; the interval since the last evaluation goes on.
        for variable, value in zip(self.model.token_loss.variables, self.train_loss, strict=True):
            variable.assign(value)

    def on_train_batch_end(self, batch, logs=None):
        step, train = self.progress.step, self.config.train
        if not math.isfinite(logs["token_loss"]):
            raise RunFailedError(
                f"The loss of update {step} is not finite: {self.where(step)}. The weights of update "
                f"{self.saved_step} are in {self.keeper.resume_file}, the best ones in best/ beside it. "
                "Start anew with a lower train.learning_rate or a train.clip_norm (--init-from keeps the weights)."
            )
        late = self.deadline is not None and time.monotonic() >= self.deadline
        if self.signals.number is None and (late or self.due(step)):
            self.evaluate()
        elif self.signals.number is not None or step % train.checkpoint_every == 0:
            self.save()
        if self.signals.number is not None:
            self.interrupted = True
        if (
            self.interrupted or late or self.ended(step)
        ):  # under JAX the mere word `self.model` moves the state
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
        step, started = self.progress.step, time.perf_counter()
        sync_state(self.model)
        publish_weights(self.model, self.keeper.twin)
        outcome = self.evaluator()
        if outcome is None:
            self.interrupted = True
            self.save()
            return
        scores, hypotheses = outcome
        row = {
            "step": step,
            "train_loss": round(float(self.model.token_loss.result()), 4),
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
        self.evaluated_step = step
        self.model.token_loss.reset_state()
        self.save()
        self.progress.restart_clock()

    def save(self):
        """Write the resume point of this update; returns its size in bytes."""
        sync_state(self.model)
        self.train_loss = [float(keras.ops.convert_to_numpy(v)) for v in self.model.token_loss.variables]
        size = self.keeper.commit(
            {
                **self.record(self.progress.step),
                "evaluated_step": self.evaluated_step,
                "train_loss": self.train_loss,
            }
        )
        self.saved_step = self.progress.step
        return size

    def _show(self, row, hypotheses, is_best):
        self.console.print(
            f"update {row['step']}: valid loss {row['valid_loss']:.3f}  BLEU {row['bleu']:.2f}  "
            f"chrF {row['chrf']:.2f}{'  (best)' if is_best else ''}  [{row['bleu_signature']}]",
            highlight=False,
            markup=False,
        )
        samples = list(self.evaluator.samples(hypotheses))
        for line in samples:
            self.console.print(line, highlight=False, markup=False)
        names = ("train_loss", "valid_loss", "bleu", "chrf", "learning_rate", "tokens_per_second")
        self.board.numbers(row["step"], {f"evaluation/{name}": row[name] for name in names})
        self.board.text(row["step"], "samples", samples)
        draw_curves(self.keeper.folder.parent, self.metrics.rows)
