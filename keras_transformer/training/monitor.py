"""What a run tells: progress, BLEU and chrF of decoded text, samples, curves, checkpoints."""

import json
import time

import keras
import numpy as np
import sacrebleu
from keras import ops

SAMPLES = 4


class Progress(keras.callbacks.Callback):
    """A line every few seconds: update, loss, target tokens a second, time left.

    Args:
        console: rich Console (stderr).
        tokens_per_update: Mean real target tokens of a batch.
        start_step, max_steps: This call's first update and the run's last.
        every_seconds: Between two lines.
    """

    def __init__(self, console, tokens_per_update, start_step, max_steps, every_seconds=10.0):
        super().__init__()
        self.console, self.tokens_per_update, self.max_steps = console, tokens_per_update, max_steps
        self.every_seconds = every_seconds
        self.step = start_step
        self.tokens_per_second = 0.0

    def on_train_begin(self, logs=None):
        self._mark = (time.perf_counter(), self.step)

    def on_epoch_begin(self, epoch, logs=None):
        self._mark = (time.perf_counter(), self.step)  # the time of an evaluation is not the updates'

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        now, (then, first) = time.perf_counter(), self._mark
        if now - then < self.every_seconds and self.step < self.max_steps:
            return
        rate = (self.step - first) / max(now - then, 1e-9)
        self.tokens_per_second = rate * self.tokens_per_update
        loss = float(ops.convert_to_numpy(self.model.token_loss.result()))
        left = (self.max_steps - self.step) / rate
        self.console.print(
            f"update {self.step}/{self.max_steps}  loss {loss:.3f}  "
            f"{self.tokens_per_second:,.0f} target tokens/s  {_clock(left)} left",
            highlight=False,
        )
        self._mark = (now, self.step)


class Evaluation(keras.callbacks.Callback):
    """At the end of each Keras epoch (an evaluation interval): decode, score, show, draw, save.

    Args:
        console: rich Console (stderr).
        folder: The run's folder; metrics.jsonl, curves.png go there.
        twin: Compiled float32 `Transformer` that takes the trained weights, is decoded and saved.
        valid_feed: Called for the validation batches, `valid_steps` of them.
        tokenizer: Text of ids.
        texts: Validation pairs (source, reference) to decode.
        max_length: Source length (EOS counted) → longest translation in tokens.
        progress: The run's `Progress`, which counts updates.
        interrupt: The run's `Interrupt`; after a signal the weights are saved without an evaluation.
        save: Called with (metrics or None, is_best) to write checkpoints.
        best: chrF of the best checkpoint so far.
    """

    def __init__(
        self,
        console,
        folder,
        twin,
        valid_feed,
        valid_steps,
        tokenizer,
        texts,
        max_length,
        progress,
        interrupt,
        save,
        best,
    ):
        super().__init__()
        self.console, self.folder, self.twin = console, folder, twin
        self.valid_feed, self.valid_steps = valid_feed, valid_steps
        self.tokenizer, self.max_length = tokenizer, max_length
        self.sources, self.references = [source for source, _ in texts], [target for _, target in texts]
        self.progress, self.interrupt, self.save, self.best = progress, interrupt, save, best

    def on_epoch_end(self, epoch, logs=None):
        copy_weights(self.model, self.twin)
        if self.interrupt.signal_number is not None:
            self.save(None, False)
            return
        started = time.perf_counter()
        valid = self.twin.evaluate(self.valid_feed(), steps=self.valid_steps, verbose=0, return_dict=True)
        hypotheses = translate_texts(self.twin, self.tokenizer, self.sources, self.max_length)
        metrics = {
            "step": self.progress.step,
            "train_loss": round(float(logs["token_loss"]), 4),
            "valid_loss": round(float(valid["token_loss"]), 4),
            **scores(hypotheses, self.references),
        }
        metrics["tokens_per_second"] = round(self.progress.tokens_per_second, 1)
        metrics["evaluation_seconds"] = round(time.perf_counter() - started, 2)
        metrics["time"] = round(time.time(), 1)
        is_best = metrics["chrf"] > self.best
        self.best = max(self.best, metrics["chrf"])
        with open(self.folder / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")
        self._show(metrics, hypotheses, is_best)
        draw_curves(self.folder)
        self.save(metrics, is_best)

    def _show(self, metrics, hypotheses, is_best):
        self.console.print(
            f"update {metrics['step']}: valid loss {metrics['valid_loss']:.3f}  BLEU {metrics['bleu']:.2f}  "
            f"chrF {metrics['chrf']:.2f}{'  (best)' if is_best else ''}  [{metrics['bleu_signature']}]",
            highlight=False,
            markup=False,
        )
        step = max(1, len(self.sources) // SAMPLES)
        for i in range(0, len(self.sources), step)[:SAMPLES]:
            for kind, text in (
                ("source", self.sources[i]),
                ("model", hypotheses[i]),
                ("reference", self.references[i]),
            ):
                self.console.print(f"  {kind:9} {text}", highlight=False, markup=False)


def copy_weights(model, twin):
    """Give `twin` the weights of `model`; both are built from one configuration."""
    for variable, value in zip(twin.trainable_variables, model.trainable_variables, strict=True):
        # A copy even where nothing is cast: JAX gives the model's own buffers away at its next update.
        variable.assign(ops.copy(ops.cast(value.value, "float32")))


def translate_texts(model, tokenizer, texts, max_length, batch_size=64):
    """Greedy translations of `texts` by the Keras model, sorted by length inside, in order outside."""
    config = model.config
    encoded = [[*ids[: config.max_length - 1], config.eos_id] for ids in tokenizer.encode_batch(list(texts))]
    order = np.argsort([len(ids) for ids in encoded], kind="stable")
    translations = [""] * len(encoded)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        longest = len(encoded[rows[-1]])
        source_ids = np.full((len(rows), longest), config.pad_id, np.int32)
        for i, row in enumerate(rows):
            source_ids[i, : len(encoded[row])] = encoded[row]
        for row, tokens in zip(rows, model.generate(source_ids, max_length(longest)), strict=True):
            translations[row] = tokenizer.decode([int(token) for token in tokens])
    return translations


def scores(hypotheses, references):
    """BLEU and chrF with sacreBLEU, and the signatures that say how."""
    bleu, chrf = sacrebleu.BLEU(), sacrebleu.CHRF()
    return {
        "bleu": round(bleu.corpus_score(hypotheses, [references]).score, 2),
        "chrf": round(chrf.corpus_score(hypotheses, [references]).score, 2),
        "bleu_signature": str(bleu.get_signature()),
        "chrf_signature": str(chrf.get_signature()),
    }


def draw_curves(folder):
    """curves.png from metrics.jsonl: loss on the left, BLEU and chrF on the right."""
    from matplotlib.figure import Figure

    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, names, label in (
        (left, ("train_loss", "valid_loss"), "nats a token"),
        (right, ("bleu", "chrf"), "score"),
    ):
        for name in names:
            axes.plot([row["step"] for row in rows], [row[name] for row in rows], marker=".", label=name)
        axes.set_xlabel("updates")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(folder / "curves.png", dpi=120)


def _clock(seconds):
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
