"""Sampling: each token is drawn by its probability, from all of them or from the likeliest few.

Letters: B sentences, V vocabulary; a sentence has one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Unpack

import numpy as np

from keras_transformer.decoding.greedy import GreedySearch
from keras_transformer.decoding.slots import SlotOptions
from keras_transformer.decoding.steps import DecodeStep, IntArray


class SamplingSearch(GreedySearch):
    """Draws the tokens of each sentence from a stream of its own: batch mates never change what is drawn.

    Args:
        step: The decoder.
        sentences, max_lengths: See `Slots`.
        seed: With a sentence's number it decides what is drawn, at least 0.
        temperature: Logits are divided by it, above 0; below 1 the likely tokens become likelier.
        top_k: Only this many likeliest tokens may be drawn (Fan et al. 2018), at least 1; None: all.
        top_p: Only the likeliest tokens up to the one with which their probabilities exceed this share may be drawn
            (Holtzman et al. 2020), in (0, 1]; None: all.
        options: See `SlotOptions`.

    Raises:
        ValueError: an argument breaks its rule.
    """

    def __init__(
        self,
        step: DecodeStep,
        sentences: Iterable[int],
        max_lengths: Sequence[int] | IntArray,
        *,
        seed: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        **options: Unpack[SlotOptions],
    ) -> None:
        rules = (
            (seed >= 0, "seed", "be at least 0", seed),
            (temperature > 0, "temperature", "be above 0", temperature),
            (top_k is None or top_k >= 1, "top_k", "be at least 1", top_k),
            (top_p is None or 0 < top_p <= 1, "top_p", "be in (0, 1]", top_p),
        )
        for holds, name, rule, value in rules:
            if not holds:
                raise ValueError(f"`{name}` must {rule}, got {value}. Choose a value there.")
        # With scores, so that a step hands out its logits.
        super().__init__(step, sentences, max_lengths, scores=True, **options)
        self._temperature, self._top_k, self._top_p = temperature, top_k, top_p
        self._streams = {number: np.random.default_rng((seed, number)) for number in self._sentences}

    def _choose(self, logits: Any) -> IntArray:
        logits = self._checked(logits).astype(np.float64)
        self._check_finite(logits.max(axis=1))
        chosen = np.full(len(logits), self._pad_id, np.int64)
        for slot in self._running:
            stream = self._streams[self._sentences[slot]]
            tokens, kept = candidates(softmax(logits[slot] / self._temperature), self._top_k, self._top_p)
            place = np.searchsorted(np.cumsum(kept), stream.random() * kept.sum(), side="right")
            chosen[slot] = tokens[min(int(place), len(tokens) - 1)]
            self._log_probs[slot].append(float(np.log(softmax(logits[slot])[chosen[slot]])))
        return chosen


def softmax(logits: Any) -> Any:
    """Probabilities (V,) of logits (V,)."""
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def candidates(probabilities: Any, top_k: int | None, top_p: float | None) -> tuple[IntArray, Any]:
    """The tokens that may be drawn, the likeliest first and the lowest id of equals, and their probabilities."""
    order = np.argsort(-probabilities, kind="stable")[:top_k]
    kept = probabilities[order]
    if top_p is not None:
        before = np.cumsum(kept) - kept
        count = max(1, int((before <= top_p).sum()))
        order, kept = order[:count], kept[:count]
    return order, kept
