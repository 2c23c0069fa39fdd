"""Scripted decoders whose logits depend on the sentence and on every token fed before, and nothing else."""

from __future__ import annotations

import zlib

import numpy as np

PAD, BOS, EOS = 0, 1, 2


class Tree:
    """float32 logits for each sentence and prefix: normal numbers, or, with `levels`, a few whole ones that tie."""

    def __init__(self, vocabulary, seed=0, sharpness=2.0, levels=None, ending=0.0):
        self.vocabulary = vocabulary
        self._seed, self._sharpness, self._levels, self._ending = seed, sharpness, levels, ending
        self._known = {}

    def logits(self, sentence, prefix):
        key = (sentence, tuple(prefix))
        if key not in self._known:
            generator = np.random.default_rng(zlib.crc32(repr((self._seed, *key)).encode()))
            if self._levels:
                values = generator.integers(0, self._levels, self.vocabulary).astype(np.float32)
            else:
                values = generator.normal(0.0, self._sharpness, self.vocabulary).astype(np.float32)
            values[EOS] += np.float32(self._ending)
            self._known[key] = values
        return self._known[key]


class TreeStep:
    """A step over a tree. Each row remembers what it was fed, as a cache does; `copied` counts rows."""

    def __init__(self, tree, sentences, beam_size=1):
        self.tree, self.beam_size = tree, beam_size
        self.sentences = list(sentences)
        self.histories = [[] for _ in range(len(self.sentences) * beam_size)]
        self.copied = self.steps = 0

    def __call__(self, token_ids, position):
        self.steps += 1
        assert len(token_ids) == len(self.histories)
        logits = np.empty((len(token_ids), self.tree.vocabulary), np.float32)
        for row, token in enumerate(token_ids.tolist()):
            history = self.histories[row]
            history[position:] = [token]
            logits[row] = self.tree.logits(self.sentences[row // self.beam_size], history[1 : position + 1])
        return logits

    def copy_rows(self, sources, destinations, starts):
        assert set(sources).isdisjoint(destinations)
        assert len(set(destinations)) == len(destinations)
        self.copied += len(sources)
        for source, destination, start in zip(sources, destinations, starts, strict=True):
            assert source // self.beam_size == destination // self.beam_size
            before = self.histories[destination][:start]
            assert before == self.histories[source][:start]
            self.histories[destination] = [*before, *self.histories[source][start:]]

    def keep(self, sentences):
        width = self.beam_size
        self.histories = [self.histories[s * width + beam] for s in sentences for beam in range(width)]
        self.sentences = [self.sentences[s] for s in sentences]
