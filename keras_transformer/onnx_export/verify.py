"""The parity gate: a bundle is published only if it says what the Keras model says.

Every precision is opened as a user would open it, through `runtime.sessions`, and held against the
outputs that the Keras model itself wrote into its checkpoint:

1. logits of whole targets, ragged batches, a batch of one, an empty and a long source;
2. one token at a time over the caches, against the whole target at once;
3. greedy output, token for token, in batches, alone and among other batch mates;
4. a source and a target of the greatest length give finite numbers.

Letters: B batch, T target, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_transformer.config import ModelConfig
from keras_transformer.decoding.search import greedy_search
from keras_transformer.onnx_export.checkpoint import Checkpoint, IntArray, LogitCase
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.runtime.sessions import Engine

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Bounds:
    """What one precision may differ by.

    Attributes:
        logit_error: Largest |difference| of a logit, as a share of the largest |logit| (but of no less
            than 1).
        mean_divergence: Mean Kullback-Leibler divergence of the next-token distributions, nats a token.
        changed_choices: Share of positions where the likeliest token is one that the Keras model finds
            less than half as likely as its own.
        same_tokens: Whether greedy output must equal the Keras model's, token for token.
    """

    logit_error: float
    mean_divergence: float
    changed_choices: float
    same_tokens: bool


BOUNDS = {
    # Two float32 engines that sum in another order: 7e-7 measured on a trained model of 6+2 layers.
    "fp32": Bounds(1e-5, 1e-6, 0.0, same_tokens=True),
    # 11 bits of mantissa are 5e-4 a rounding, and some fifty roundings add up.
    "fp16": Bounds(2e-2, 1e-3, 5e-3, same_tokens=False),
    # 7-bit weights, 8-bit activations. Its worth is a matter of BLEU and chrF (evaluate).
    "int8": Bounds(0.5, 5e-2, 5e-2, same_tokens=False),
}


class GateFailure(Exception):  # noqa: N818 - a verdict, named as the documents name it
    """What differed: precision, tensor, where, by how much, and what was allowed."""


def verify_bundle(bundle: Bundle, checkpoint: Checkpoint, precision: str) -> dict[str, Any]:
    """Hold one precision of a bundle against the checkpoint, on the CPU.

    Returns:
        What was measured, and the bounds, as plain values.

    Raises:
        GateFailure: the precision breaks one of its bounds.
    """
    engine = Engine.load(bundle, "cpu", precision=precision)
    bounds = BOUNDS[precision]
    gate = _Gate(engine, checkpoint.config, bounds)
    _check_coverage(checkpoint)
    for case in checkpoint.logit_cases:
        gate.check_logits(case)
    gate.check_shares()
    gate.check_greatest_length()
    for greedy in checkpoint.greedy_cases:
        rows = _rows(greedy.source_ids, checkpoint.config.pad_id)
        expected = _rows(greedy.output_ids, checkpoint.config.pad_id)
        gate.check_greedy(greedy.name, rows, expected, greedy.max_length)
    gate.check_batch_mates(
        [row for case in checkpoint.greedy_cases for row in _rows(case.source_ids, checkpoint.config.pad_id)],
        max(case.max_length for case in checkpoint.greedy_cases),
    )
    return gate.results()


class _Gate:
    """Measures one engine, adds up, and raises at the first broken bound."""

    def __init__(self, engine: Engine, config: ModelConfig, bounds: Bounds) -> None:
        self._engine = engine
        self._config = config
        self._bounds = bounds
        self._positions = 0
        self._divergence = 0.0
        self._changed = 0
        self._same = 0
        self._worst_error = 0.0
        self._worst_cached_error = 0.0
        self._rows = 0
        self._equal_rows = 0
        self._ties = 0
        self._longest = 0

    def check_logits(self, case: LogitCase) -> None:
        """Points 1 and 2: whole targets against Keras, and the caches against whole targets."""
        config, rows = self._config, _rows(case.source_ids, self._config.pad_id)
        self._longest = max(self._longest, max(len(row) for row in rows))
        real = case.target_input_ids != config.pad_id  # (B, T)
        whole = self._engine.start(rows).feed(case.target_input_ids)
        error = self._compare(f"logits of {case.name}", case.logits, whole, real)
        self._worst_error = max(self._worst_error, error)
        cached = self._step_by_step(rows, case.target_input_ids)
        error = self._compare(f"cached-step logits of {case.name}", whole, cached, real)
        self._worst_cached_error = max(self._worst_cached_error, error)

        expected, got = case.logits[real].astype(np.float64), whole[real].astype(np.float64)  # (N, V)
        expected_log, got_log = _log_softmax(expected), _log_softmax(got)
        self._positions += len(expected)
        self._divergence += float((np.exp(expected_log) * (expected_log - got_log)).sum())
        choice = np.take_along_axis(expected_log, got.argmax(axis=1)[:, None], axis=1)[:, 0]
        self._changed += int((choice < expected_log.max(axis=1) - np.log(2.0)).sum())
        self._same += int((got.argmax(axis=1) == expected.argmax(axis=1)).sum())

    def check_shares(self) -> None:
        """The bounds on averages over all cases of point 1."""
        for what, value, bound in (
            ("mean divergence (nats a token)", self._mean_divergence(), self._bounds.mean_divergence),
            ("share of changed choices", self._changed / self._positions, self._bounds.changed_choices),
        ):
            if not value <= bound:
                self._fail(
                    f"the {what} from the Keras model is {value:.3g} over {self._positions} positions; "
                    f"at most {bound:g} is allowed"
                )

    def check_greatest_length(self) -> None:
        """Point 4, with every ordinary token in turn."""
        config = self._config
        special = {config.pad_id, config.bos_id, config.eos_id, config.unk_id}
        words = np.array([i for i in range(config.vocabulary_size) if i not in special])
        tokens = np.resize(words, config.max_length)
        logits = self._engine.start([tokens, tokens[:1]]).feed(np.stack([tokens, tokens]))
        if not np.isfinite(logits).all():
            self._fail(f"logits at the greatest length ({config.max_length}) are not all finite")

    def check_greedy(
        self, name: str, sources: list[IntArray], expected: list[IntArray], max_length: int
    ) -> None:
        """Point 3, against the Keras model: the batch as it was, and each row alone."""
        batch = self._greedy(sources, max_length)
        self._rows += len(sources)
        self._equal_rows += sum(np.array_equal(a, b) for a, b in zip(batch, expected, strict=True))
        if not self._bounds.same_tokens:
            return
        for row, source in enumerate(sources):
            alone = self._greedy([source], max_length)[0]
            for how, tokens in (("in its batch", batch[row]), ("alone", alone)):
                self._same_tokens(
                    f"{name}, row {row} {how}", source, expected[row], tokens, "the Keras model"
                )

    def check_batch_mates(self, sources: list[IntArray], max_length: int) -> None:
        """Point 3, against itself: alone, all together, and all in the reverse order."""
        together = self._greedy(sources, max_length)
        reverse = self._greedy(sources[::-1], max_length)[::-1]
        for row, source in enumerate(sources):
            alone = self._greedy([source], max_length)[0]
            for how, tokens in (("one batch of all", together[row]), ("the reverse order", reverse[row])):
                self._same_tokens(f"{how}, row {row}", source, alone, tokens, "the row alone")

    def results(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        bounds = self._bounds
        return {
            "positions": self._positions,
            "logit_error": _short(self._worst_error),
            "logit_error_bound": bounds.logit_error,
            "cached_step_error": _short(self._worst_cached_error),
            "mean_divergence": _short(self._mean_divergence()),
            "mean_divergence_bound": bounds.mean_divergence,
            "changed_choices": _short(self._changed / self._positions),
            "changed_choices_bound": bounds.changed_choices,
            "same_choices": _short(self._same / self._positions),
            "greedy_rows": self._rows,
            "greedy_rows_equal": self._equal_rows,
            "greedy_must_be_equal": bounds.same_tokens,
            "ties": self._ties,
            "longest_source": self._longest,
        }

    def _mean_divergence(self) -> float:
        return max(0.0, self._divergence / self._positions)

    def _compare(self, what: str, expected: Logits, got: Logits, real: NDArray[np.bool_]) -> float:
        """Largest |difference| at real positions, as a share of the scale; (B, T, V) each."""
        if expected.shape != got.shape:
            self._fail(f"{what} must have shape {expected.shape}, they have {got.shape}")
        difference = np.where(real[:, :, None], np.abs(expected - got), np.float32(0.0))
        error = difference / max(1.0, float(np.abs(expected[real]).max()))
        worst = np.unravel_index(int(np.argmax(np.where(np.isfinite(error), error, np.inf))), error.shape)
        value = float(error[worst])
        if not value <= self._bounds.logit_error:
            row, position, token = (int(i) for i in worst)
            self._fail(
                f"{what} differ most at row {row}, position {position}, token {token}: "
                f"{float(got[worst]):.6g} for {float(expected[worst]):.6g}, {value:.3g} of the "
                f"largest logit; at most {self._bounds.logit_error:g} is allowed"
            )
        return value

    def _step_by_step(self, rows: list[IntArray], target_input_ids: IntArray) -> Logits:
        length = target_input_ids.shape[1]
        state = self._engine.start(rows, length)
        return np.stack([state(target_input_ids[:, t], t).copy() for t in range(length)], axis=1)

    def _greedy(self, sources: Sequence[IntArray], max_length: int) -> list[IntArray]:
        config = self._config
        result = greedy_search(
            self._engine.start(sources, max_length),
            bos_id=config.bos_id,
            eos_id=config.eos_id,
            pad_id=config.pad_id,
            max_lengths=np.full(len(sources), max_length),
        )
        return [
            _trimmed(np.append(tokens, config.eos_id) if finished else tokens, config.pad_id)
            for tokens, finished in zip(result.tokens, result.finished, strict=True)
        ]

    def _same_tokens(
        self, what: str, source: IntArray, expected: IntArray, got: IntArray, whose: str
    ) -> None:
        """Token for token; only two tokens that the engine itself finds equally likely may be swapped."""
        if np.array_equal(expected, got):
            return
        end = self._config.eos_id
        common = min(len(expected), len(got))
        differs = np.flatnonzero(expected[:common] != got[:common])
        at = int(differs[0]) if len(differs) else common
        wanted = int(expected[at]) if at < len(expected) else end
        found = int(got[at]) if at < len(got) else end
        prefix = np.concatenate([[self._config.bos_id], expected[:at]])[None]
        if prefix.shape[1] <= self._config.max_length:
            logits = self._engine.start([source]).feed(prefix)[0, -1]
            gap = abs(float(logits[wanted]) - float(logits[found]))
            allowed = 0.0 if self._engine.precision == "int8" else self._bounds.logit_error
            if gap <= 2 * allowed * max(1.0, float(np.abs(logits).max())):
                self._ties += 1
                return
        self._fail(
            f"greedy output of {what} differs from {whose} at token {at}: {found} for {wanted}; "
            "equal tokens are required"
        )

    def _fail(self, message: str) -> None:
        raise GateFailure(f"{self._engine.precision}: {message}")


def _check_coverage(checkpoint: Checkpoint) -> None:
    config = checkpoint.config
    rows = [row for case in checkpoint.logit_cases for row in _rows(case.source_ids, config.pad_id)]
    if not any(len(row) == 1 and row[0] == config.eos_id for row in rows):
        raise GateFailure("the reference outputs hold no empty source; write the checkpoint again")
    if not any(len(case.source_ids) == 1 for case in checkpoint.logit_cases):
        raise GateFailure("the reference outputs hold no batch of one; write the checkpoint again")


def _rows(ids: IntArray, pad_id: int) -> list[IntArray]:
    """Rows of (B, S) without the padding at their ends."""
    return [_trimmed(row, pad_id) for row in ids]


def _trimmed(row: IntArray, pad_id: int) -> IntArray:
    real = np.flatnonzero(row != pad_id)
    return np.asarray(row[: int(real[-1]) + 1 if len(real) else 0], np.int64)


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def _short(value: float) -> float:
    return float(f"{value:.3g}")
