"""A closer look at one sentence: given translations scored and aligned, other words, forced beginnings.

All of it comes from the decoder that translates; nothing here costs anything until it is asked.

Letters: T target tokens, S source tokens, H heads, V vocabulary, R rows.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_transformer.decoding.candidates import summarise
from keras_transformer.decoding.limits import LoopGuard, length_limits
from keras_transformer.decoding.search import greedy_search
from keras_transformer.decoding.steps import BoolArray, Hypothesis, IntArray
from keras_transformer.runtime.manifest import Manifest
from keras_transformer.runtime.results import Alignment, Alternative, Scored
from keras_transformer.text.readable import Readable, readable
from keras_transformer.text.tokenizer import SPACE_MARK, Tokenizer

LONGEST_WORD = 12  # tokens of an alternative


class Inspector:
    """Looks at one sentence at a time.

    Args:
        engine: What runs the model; see `sessions.Engine`.
        tokenizer: The bundle's own.
        manifest: Of the bundle.
    """

    def __init__(self, engine: Any, tokenizer: Tokenizer, manifest: Manifest) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._manifest = manifest

    def score(self, source: str, target: str) -> Scored:
        """See `Translator.score`."""
        source_ids, target_ids = self._source_ids(source), self._target_ids("target", target)
        target_ids = np.append(target_ids, self._manifest.eos_id)
        state = self._engine.start([source_ids], len(target_ids))
        fed = np.concatenate([[self._manifest.bos_id], target_ids[:-1]])
        logits = state.feed(fed[None])[0]  # (T, V)
        log_probs = logits[np.arange(len(fed)), target_ids] - summarise(logits).normalisers
        tokens = tuple(self._tokenizer.token(token) for token in target_ids.tolist())
        return Scored(tokens, tuple(np.minimum(log_probs, 0.0).tolist()))

    def align(self, source: str, target: str) -> Alignment:
        """See `Translator.align`."""
        source_ids, target_ids = self._source_ids(source), self._target_ids("target", target)
        fed = np.concatenate([[self._manifest.bos_id], target_ids])
        state = self._engine.start([source_ids], len(fed))
        # Row t is the step that wrote token t: it was fed the token before.
        weights = state.attention(fed[None])[0]
        return Alignment(self._spans(source), self._spans(target), weights)

    def alternatives(self, source: str, prefix: str, count: int) -> list[Alternative]:
        """See `Translator.alternatives`."""
        if count < 1:
            raise ValueError(f"`count` must be at least 1, got {count}. Ask for one word or more.")
        width = 2 * count + 4  # beginnings of words that are followed
        prefix_ids = self._target_ids("prefix", prefix.rstrip())
        room = min(LONGEST_WORD, self._manifest.max_length - 1 - len(prefix_ids))
        fed = np.concatenate([[self._manifest.bos_id], prefix_ids])
        state = self._engine.start([self._source_ids(source)], len(fed) + room, width)
        rows = np.tile(fed, (width, 1))
        if len(prefix_ids):
            state.fill(rows[:, :-1])
        probabilities = _softmax(state(rows[:, -1], len(prefix_ids))[:1])[0]
        space_needed = prefix != prefix.rstrip() or not prefix
        probabilities[~self._begins if space_needed else self._special] = 0.0

        words: dict[str, float] = {}
        before = self._tokenizer.decode(prefix_ids.tolist())
        for tokens, probability in self._whole_words(state, probabilities, width, len(fed), room, count):
            text = self._tokenizer.decode([*prefix_ids.tolist(), *tokens])[len(before) :]
            text = text.lstrip(" ") if space_needed else text
            if text.strip():
                words[text] = words.get(text, 0.0) + probability
        best = sorted(words.items(), key=lambda item: (-item[1], item[0]))
        # "sta" for "stazione" is no other word: what is written behind it makes it the likeliest one again.
        others = [item for item in best[1:] if not best[0][0].strip().startswith(item[0].strip())]
        return [
            Alternative(text, min(1.0, probability)) for text, probability in [*best[:1], *others][:count]
        ]

    def translate_from(self, source: str, prefix: str) -> tuple[str, Hypothesis]:
        """See `Translator.translate_from`: what follows the prefix, and what the search found there."""
        manifest = self._manifest
        source_ids, prefix_ids = self._source_ids(source), self._target_ids("prefix", prefix.rstrip())
        limit = int(length_limits([len(source_ids)], manifest.max_length)[0])
        limit = min(max(limit, len(prefix_ids) + limit // 2), manifest.max_length)
        state = self._engine.start([source_ids], limit)
        fed = np.concatenate([[manifest.bos_id], prefix_ids])
        if len(prefix_ids):
            state.fill(fed[None, :-1])
        position = len(prefix_ids)
        ((found,),) = greedy_search(
            state,
            max_lengths=[limit - position],
            bos_id=manifest.bos_id,
            eos_id=manifest.eos_id,
            pad_id=manifest.pad_id,
            find_loop=LoopGuard([source_ids]),
            first_ids=fed[-1:],
            position=position,
        ).hypotheses
        before = self._tokenizer.decode(prefix_ids.tolist())
        rest = self._tokenizer.decode([*prefix_ids.tolist(), *found.tokens.tolist()])[len(before) :]
        return rest.lstrip(" ") if prefix != prefix.rstrip() else rest, found

    def _whole_words(
        self, state: Any, first: NDArray[np.float64], width: int, position: int, room: int, count: int
    ) -> list[tuple[list[int], float]]:
        """Words, as tokens, that may begin with the probabilities `first` (V), and how likely each is.

        Follows the `width` likeliest beginnings side by side. A word is done with the probability that what
        comes next belongs to it no more.
        """
        order = np.argsort(-first, kind="stable")[:width]
        live = [([int(token)], float(first[token])) for token in order if first[token] > 0.0]
        done = [(tokens, probability) for tokens, probability in live if self._alone[tokens[-1]]]
        live = [(tokens, probability) for tokens, probability in live if not self._alone[tokens[-1]]]
        while live and room > 1:
            fed = np.full(width, self._manifest.pad_id, np.int64)
            fed[: len(live)] = [tokens[-1] for tokens, _ in live]
            chances = _softmax(state(fed, position)[: len(live)])  # (rows, V)
            chances[:, ~self._goes_on] = 0.0
            inside = chances.sum(axis=1)
            done += [
                (tokens, probability * (1.0 - float(share)))
                for (tokens, probability), share in zip(live, inside, strict=True)
            ]
            longer = chances * np.array([probability for _, probability in live])[:, None]
            best = np.argsort(-longer, axis=None, kind="stable")[:width]
            worth = sorted((probability for _, probability in done), reverse=True)[count - 1 : count] or [0.0]
            rows, tokens = np.unravel_index(best[longer.reshape(-1)[best] > worth[0]], longer.shape)
            state.copy_rows(rows.tolist(), range(len(rows)), [0] * len(rows))
            live = [
                ([*live[row][0], int(token)], float(longer[row, token]))
                for row, token in zip(rows, tokens, strict=True)
            ]
            position, room = position + 1, room - 1
        return done

    @functools.cached_property
    def _written(self) -> list[str]:
        return [self._tokenizer.token(token) for token in range(self._tokenizer.vocabulary_size)]

    @functools.cached_property
    def _special(self) -> BoolArray:
        """Tokens (V) that are no text."""
        manifest = self._manifest
        special = np.zeros(len(self._written), np.bool_)
        special[[manifest.pad_id, manifest.bos_id, manifest.eos_id, manifest.unk_id]] = True
        return special

    @functools.cached_property
    def _begins(self) -> BoolArray:
        """Tokens (V) that begin with a space."""
        return np.array([token.startswith(SPACE_MARK) for token in self._written])

    @functools.cached_property
    def _goes_on(self) -> BoolArray:
        """Tokens (V) that belong to the word before them: letters, digits, apostrophes, parts of a character."""
        inside = [
            token[0].isalnum() or token[0] in "'’" or _is_byte(token) if token else False
            for token in self._written
        ]
        return np.array(inside) & ~self._special

    @functools.cached_property
    def _alone(self) -> BoolArray:
        """Tokens (V) that nothing joins: marks."""
        found = []
        for token in self._written:
            text = token.lstrip(SPACE_MARK)
            found.append(bool(text) and not _is_byte(token) and not any(map(str.isalnum, text)))
        return np.array(found)

    def _source_ids(self, source: str) -> IntArray:
        ids = [*self._tokenizer.encode(self._readable(source).text), self._manifest.eos_id]
        return self._checked("source", ids)

    def _target_ids(self, name: str, text: str) -> IntArray:
        return self._checked(name, self._tokenizer.encode(self._readable(text).text), reserved=1)

    def _spans(self, text: str) -> tuple[tuple[int, int], ...]:
        """Where the tokens that the model reads stand in a text, and its end."""
        read = self._readable(text)
        spans = self._tokenizer.encode_with_spans(read.text)[1]
        return (*(read.original(start, end) for start, end in spans), (len(text), len(text)))

    def _readable(self, text: str) -> Readable:
        return readable(text, self._tokenizer.alphabet)

    def _checked(self, name: str, ids: list[int], reserved: int = 0) -> IntArray:
        limit = self._manifest.max_length - reserved
        if len(ids) > limit:
            raise ValueError(
                f"`{name}` must be one sentence of at most {limit} tokens, got {len(ids)}. Give a part of it."
            )
        return np.array(ids, np.int64)


def check_strings(texts: Mapping[str, object]) -> None:
    """Raise TypeError for the first argument, by its name, that is no string."""
    for name, text in texts.items():
        if not isinstance(text, str):
            raise TypeError(f"`{name}` must be a string, got {type(text).__name__}. Pass a str.")


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities (R, V)."""
    return np.asarray(np.exp(logits - summarise(logits).normalisers[:, None]))


def _is_byte(token: str) -> bool:
    return token.startswith("<0x")
