"""What a run tells while it runs: progress, losses, BLEU and chrF of decoded text, samples."""

import time

import keras
import numpy as np
import sacrebleu

from keras_transformer.training.random_state import seed_update

SAMPLES = 4


class Progress(keras.callbacks.Callback):
    """Counts updates, seeds each, and prints a line every few seconds.

    Args:
        console: rich Console (stderr).
        board: Board that takes the same numbers.
        rate: Update → its learning rate.
        tokens_per_update: Mean real target tokens of a batch.
        start_step, max_steps: The update this call starts after and the run's last.
        seed: Of the run.
        every_seconds: Between two lines.
        rank: Of this process, which draws its own random numbers.
    """

    def __init__(
        self, console, board, rate, tokens_per_update, start_step, max_steps, seed, every_seconds=10.0, rank=0
    ):
        super().__init__()
        self.console, self.board, self.rate = console, board, rate
        self.tokens_per_update, self.max_steps = tokens_per_update, max_steps
        self.seed, self.rank, self.every_seconds = seed, rank, every_seconds
        self.step = start_step
        self.tokens_per_second = 0.0

    def on_train_begin(self, logs=None):
        self.restart_clock()

    def restart_clock(self):
        """Leave out the time since the last line: an evaluation's is not the updates'."""
        self._mark = (time.perf_counter(), self.step)

    def on_train_batch_begin(self, batch, logs=None):
        seed_update(self.seed, self.step + 1, self.rank)

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        now, (then, first) = time.perf_counter(), self._mark
        self.tokens_per_second = (self.step - first) / max(now - then, 1e-9) * self.tokens_per_update
        if now - then < self.every_seconds and self.step < self.max_steps:
            return
        left = (self.max_steps - self.step) * self.tokens_per_update / self.tokens_per_second
        self.console.print(
            f"update {self.step}/{self.max_steps}  loss {logs['token_loss']:.3f}  "
            f"{self.tokens_per_second:,.0f} target tokens/s  {clock(left)} left"
        )
        numbers = {
            "train/loss": logs["token_loss"],
            "train/learning_rate": self.rate(self.step),
            "train/target_tokens_per_second": self.tokens_per_second,
        }
        self.board.numbers(self.step, numbers)
        self.restart_clock()


class Evaluator:
    """Losses and decoded text of the validation pairs.

    Args:
        twin: Compiled float32 `Transformer` with the weights to judge.
        valid_feed: Called for the validation batches, `valid_steps` of them.
        tokenizer: Text of ids.
        texts: Validation pairs (source, reference) to decode.
        max_length: Source length (EOS counted) → longest translation in tokens.
        cancelled: Asked between batches; once true the evaluation is given up.
    """

    def __init__(self, twin, valid_feed, valid_steps, tokenizer, texts, max_length, cancelled):
        self.twin, self.valid_feed, self.valid_steps = twin, valid_feed, valid_steps
        self.tokenizer, self.max_length, self.cancelled = tokenizer, max_length, cancelled
        self.sources, self.references = [source for source, _ in texts], [target for _, target in texts]

    def __call__(self):
        """Metrics and translations, or None where it was given up."""
        valid = self.twin.evaluate(
            self.valid_feed(),
            steps=self.valid_steps,
            verbose=0,
            return_dict=True,
            callbacks=[_GiveUp(self.cancelled)],
        )
        hypotheses = translate_texts(
            self.twin, self.tokenizer, self.sources, self.max_length, cancelled=self.cancelled
        )
        if hypotheses is None:
            return None
        return {
            "valid_loss": round(float(valid["token_loss"]), 4),
            **scores(hypotheses, self.references),
        }, hypotheses

    def samples(self, hypotheses):
        """Some sources with their translations and references, as lines."""
        step = max(1, len(self.sources) // SAMPLES)
        for i in range(0, len(self.sources), step)[:SAMPLES]:
            yield f"  {'source':9} {self.sources[i]}"
            yield f"  {'model':9} {hypotheses[i]}"
            yield f"  {'reference':9} {self.references[i]}"


class _GiveUp(keras.callbacks.Callback):
    def __init__(self, cancelled):
        super().__init__()
        self.cancelled = cancelled

    def on_test_batch_end(self, batch, logs=None):
        self.model.stop_evaluating = self.cancelled()


def translate_texts(model, tokenizer, texts, max_length, batch_size=64, cancelled=lambda: False):
    """Greedy translations of `texts` by the Keras model, sorted by length inside, in order outside.

    None once `cancelled()` is true; it is asked between batches.
    """
    config = model.config
    encoded = [[*ids[: config.max_length - 1], config.eos_id] for ids in tokenizer.encode_batch(list(texts))]
    order = np.argsort([len(ids) for ids in encoded], kind="stable")
    translations = [""] * len(encoded)
    for start in range(0, len(order), batch_size):
        if cancelled():
            return None
        rows = order[start : start + batch_size]
        longest = len(encoded[rows[-1]])
        source_ids = np.full((len(rows), longest), config.pad_id, np.int32)
        for i, row in enumerate(rows):
            source_ids[i, : len(encoded[row])] = encoded[row]
        for row, tokens in zip(rows, model.generate(source_ids, max_length(longest)), strict=True):
            limit = max_length(len(encoded[row]))  # its own, whatever its batch mates have
            translations[row] = tokenizer.decode([int(token) for token in tokens[:limit]])
    return None if cancelled() else translations


def scores(hypotheses, references):
    """BLEU and chrF with sacreBLEU, and the signatures that say how."""
    bleu, chrf = sacrebleu.BLEU(), sacrebleu.CHRF()
    return {
        "bleu": round(bleu.corpus_score(hypotheses, [references]).score, 2),
        "chrf": round(chrf.corpus_score(hypotheses, [references]).score, 2),
        "bleu_signature": str(bleu.get_signature()),
        "chrf_signature": str(chrf.get_signature()),
    }


def clock(seconds):
    """h:mm:ss."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
