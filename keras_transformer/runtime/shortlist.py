"""Which target tokens a sentence may be translated with, learnt from parallel text (`onnx_export.lexicon`).

Letters: B sentences, V vocabulary, C candidates of all source tokens, one list behind the other.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from keras_transformer.errors import UserError

IntArray: TypeAlias = NDArray[np.integer[Any]]
BoolArray: TypeAlias = NDArray[np.bool_]


class Shortlist:
    """Target tokens by source token.

    A source token that the training text hardly had has no candidates: what holds one is not covered, and is
    translated with the whole vocabulary.

    Args:
        starts: (V + 1), where the list of each source token starts in `targets`.
        targets: (C).
        always: Tokens that every sentence may be translated with: the most frequent ones, and those that are
            no text.

    Raises:
        ValueError: the sizes do not fit, or a token is outside the vocabulary.
    """

    def __init__(self, starts: IntArray, targets: IntArray, always: IntArray) -> None:
        vocabulary_size = len(starts) - 1
        tokens = np.concatenate([targets, always])
        sound = vocabulary_size > 0 and starts[0] == 0 and starts[-1] == len(targets)
        if (
            not sound
            or (np.diff(starts) < 0).any()
            or (tokens < 0).any()
            or (tokens >= vocabulary_size).any()
        ):
            raise ValueError("a shortlist must hold a list of tokens for each token, it does not")
        self._starts = starts
        self._targets = targets
        self._always = always

    @classmethod
    def from_bytes(cls, data: bytes, vocabulary_size: int) -> Shortlist:
        """Read what `to_bytes` wrote.

        Raises:
            UserError: it is something else, or of another vocabulary.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                starts, targets, always = (
                    arrays[name].astype(np.int64) for name in ("starts", "targets", "always")
                )
            if starts.shape != (vocabulary_size + 1,):
                raise ValueError(f"it has {len(starts) - 1} source tokens, the vocabulary {vocabulary_size}")
            return cls(starts, targets, always)
        except (KeyError, OSError, EOFError, ValueError, IndexError, zipfile.BadZipFile) as error:
            raise UserError(
                f"The bundle's shortlist must fit its model, it does not: {error}. Learn it again."
            ) from None

    def to_bytes(self) -> bytes:
        """The same bytes for the same lists."""
        dtype = np.uint16 if len(self._starts) <= 2**16 else np.uint32
        file = io.BytesIO()
        np.savez_compressed(
            file,
            starts=self._starts.astype(np.uint32),
            targets=self._targets.astype(dtype),
            always=self._always.astype(dtype),
        )
        return file.getvalue()

    def covers(self, source_ids: IntArray) -> bool:
        """Whether every token of a source has candidates."""
        return bool((self._starts[source_ids] < self._starts[source_ids + 1]).all())

    def allowed(self, sources: Sequence[IntArray]) -> BoolArray:
        """(B, V), True = the sentence may be translated with this token."""
        found = np.zeros((len(sources), len(self._starts) - 1), np.bool_)
        found[:, self._always] = True
        for row, source in zip(found, sources, strict=True):
            for token in set(source.tolist()):
                row[self._targets[self._starts[token] : self._starts[token + 1]]] = True
        return found
