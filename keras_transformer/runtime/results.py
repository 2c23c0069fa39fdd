"""What the translator gives back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keras_transformer.text.layout import SentencePair


@dataclass(frozen=True)
class ScoredText:
    """One of several translations of a text; `score` as in `Translation`."""

    text: str
    score: float


@dataclass(frozen=True)
class Translation:
    """One translated text.

    Attributes:
        text: The translation, in the layout of the source.
        source: The text as it was given.
        flags: What a reader should know, sorted: "copied" (nothing to translate: the text came back as it
            was), "cut_length" (a sentence reached the length limit), "cut_loop" (an endless repetition was
            cut), "kept" (no translation of a sentence passed the checks: the original stands), "split" (a
            sentence was translated in parts: too long for the model, or around protected items).
        score: Mean log-probability of a token, at most 0; 0 where nothing was translated. None where nobody
            asked: without `scores`, greedy search computes no probabilities.
        hypotheses: The `num_hypotheses` asked for, the best first and equal to `text`; fewer where the search
            found fewer. Of a text of several sentences the second holds the second of each. Empty where one
            was asked for.
        sentences: Where each translated sentence stands in `source` and in `text`.
    """

    text: str
    source: str
    flags: tuple[str, ...] = ()
    score: float | None = None
    hypotheses: tuple[ScoredText, ...] = ()
    sentences: tuple[SentencePair, ...] = ()


@dataclass(frozen=True)
class Progress:
    """How far a call has come.

    Attributes:
        done_sentences: Sentences that are translated.
        total_sentences: Sentences of all texts of the call.
        text_so_far: Of one text, its finished beginning in its layout; "" for a list of texts.
    """

    done_sentences: int
    total_sentences: int
    text_so_far: str


@dataclass(frozen=True)
class Scored:
    """Log-probabilities of a given translation, the end of the sentence counted.

    Attributes:
        tokens: T written forms, such as "▁casa"; the last is the end of the sentence.
        log_probs: T log-probabilities, each given all tokens before it.
    """

    tokens: tuple[str, ...]
    log_probs: tuple[float, ...]


@dataclass(frozen=True)
class Alignment:
    """Where the model looked in the source when it wrote each token of the target.

    Attributes:
        source_spans: S places in the source, (start, end) in characters; the last, empty, is its end.
        target_spans: T places in the target, likewise.
        weights: float32 (H, T, S), the cross-attention of one decoder layer: each row adds up to 1.
    """

    source_spans: tuple[tuple[int, int], ...]
    target_spans: tuple[tuple[int, int], ...]
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class Alternative:
    """One way to go on after a target prefix.

    Attributes:
        text: The next word, or mark: what to write right behind the prefix, with a space before it where the
            prefix ends without one and a new word begins.
        probability: Of this word in this place, in [0, 1].
    """

    text: str
    probability: float
