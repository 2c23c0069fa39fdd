"""The real sentences that every engine translates: FLORES devtest, or the embedded test split without it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from keras_transformer.text.corpus import read_embedded
from keras_transformer.text.segmentation import split_text
from keras_transformer.text.tokenizer import Tokenizer

VARIABLE = "KERAS_TRANSFORMER_DATA"
FILE_SENTENCES = 1000
LONGEST = 128  # tokens

Item = TypeVar("Item", str, list[int])


def read_sentences(tokenizer: Tokenizer) -> tuple[list[str], str]:
    """Up to 1,000 different English sentences in the order of the file, and what they are.

    Each is one sentence to the project's own segmentation too, so that every engine is given the same rows.
    """
    folder = os.environ.get(VARIABLE)
    if folder:
        lines = (Path(folder) / "en-it" / "flores200_devtest.en").read_text("utf-8").splitlines()
        name = "FLORES devtest"
    else:
        lines = list(read_embedded("test")["source"])
        name = f"embedded test split ({VARIABLE} is not set)"
    pieces = [piece.text for line in lines for piece in split_text(line, "en") if piece.is_sentence]
    fitting = [piece for piece in dict.fromkeys(pieces) if len(tokenizer.encode(piece)) < LONGEST]
    return fitting[:FILE_SENTENCES], name


def spread(rows: Sequence[Item], count: int) -> list[Item]:
    """`count` rows from the middle of `count` equal parts of their lengths, in the order of the file."""
    by_length = sorted(range(len(rows)), key=lambda row: (len(rows[row]), row))
    chosen = {by_length[(2 * i + 1) * len(by_length) // (2 * count)] for i in range(count)}
    return [rows[row] for row in sorted(chosen)]
