"""Cleaning of parallel text: what is dropped, by which rule, and how often."""

import hashlib
import json
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from keras_transformer.text.chosen_rows import map_chosen
from keras_transformer.text.content_cache import made_once

if TYPE_CHECKING:
    from datasets import Dataset

_WORDS = re.compile(r"\w+")
_MAX_EXAMPLES = 3
_COPY_WORDS = 4  # names of up to four words may stand untranslated
_GRACE_WORDS = 5  # "Ciao." for "Hello there, my dear old friend." is no mistake
_SORTED_IN_PARTS = 16
_FORMAT = 3  # part of the cache's key: raise it where a rule changes
RULES = ("empty", "overlong", "ratio", "copy", "held_out", "duplicate")


@dataclass(frozen=True)
class CleaningReport:
    """How many pairs were read, kept, and dropped by which rule.

    Attributes:
        read, kept: Pairs before and after.
        dropped: Rule → pairs; the first rule that a pair breaks counts it.
        examples: Rule → the first row numbers it dropped, from 1 (the line of a file without a header).
    """

    read: int
    kept: int
    dropped: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[int]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    def numbered(self, rows: Sequence[int]) -> "CleaningReport":
        """The same where the pairs were these `rows` (from 0) of another file."""
        examples = {rule: [int(rows[row - 1]) + 1 for row in found] for rule, found in self.examples.items()}
        return replace(self, examples=examples)

    def __str__(self) -> str:
        parts = []
        for rule, count in self.dropped.items():
            if count:
                rows = self.examples[rule]
                more = ", …" if count > len(rows) else ""
                parts.append(f"{count:,} {rule.replace('_', ' ')} (row {', '.join(map(str, rows))}{more})")
        dropped = f"; dropped: {'; '.join(parts)}" if parts else ""
        return f"{self.kept:,} of {self.read:,} pairs kept{dropped}"


def sentence_key(text: str) -> str:
    """What makes two sentences the same: their words, without case and punctuation."""
    return " ".join(_WORDS.findall(text.casefold()))


def clean(
    dataset: "Dataset",
    *,
    max_characters: int = 2000,
    max_word_ratio: float = 4.0,
    held_out: "Dataset | None" = None,
    left_out: Sequence[int] = (),
) -> tuple["Dataset", CleaningReport]:
    """Drop pairs that teach nothing or mislead; order is kept, the first of equal pairs stays.

    Rules: a side is empty ("empty"), longer than `max_characters` ("overlong"); the sides differ too much in
    length ("ratio"); the source ends with the target, five words or more ("copy"); a side stands in `held_out`
    ("held_out"); the pair was there before ("duplicate").

    Args:
        dataset: Columns `source` and `target`.
        max_characters: Longest side kept.
        max_word_ratio: Longer side over shorter, in words, with five words of grace.
        held_out: Pairs to be measured on later: what shares a sentence with them, on either side, by
            `sentence_key`, is dropped.
        left_out: Rows (from 0) that are not looked at, nor counted.

    Returns:
        The kept pairs, stripped of outer white space, on disk where `dataset` is; and the report. Memory
        is some 15 bytes a pair, whatever the length of its text. The same text is examined once.
    """
    # The fingerprint of a data set stands for its text.
    texts = [dataset._fingerprint, held_out._fingerprint if held_out is not None else ""]
    rows_left_out = [int(row) for row in left_out]
    key = ["cleaning", _FORMAT, max_characters, max_word_ratio, *texts, rows_left_out]

    def write(path: str) -> None:
        kept, report = _examine(dataset, max_characters, max_word_ratio, held_out, set(rows_left_out))
        with open(path, "wb") as file:
            np.savez(file, kept=kept, report=json.dumps(report.to_dict()))

    with np.load(made_once(key, ".npz", write)) as found:
        kept, report = found["kept"], CleaningReport(**json.loads(str(found["report"])))
    cleaned = map_chosen(dataset, kept, _strip, "cleaning")
    return cleaned, report


def _examine(
    dataset: "Dataset",
    max_characters: int,
    max_word_ratio: float,
    held_out: "Dataset | None",
    left_out: set[int],
) -> tuple[NDArray[np.bool_], CleaningReport]:
    """Which rows to keep, and the report."""
    blocked = _sentence_hashes(held_out) if held_out is not None else set()
    dropped = dict.fromkeys(RULES, 0)
    examples: dict[str, list[int]] = {rule: [] for rule in RULES}

    def drop(rule: str, row: int) -> None:
        dropped[rule] += 1
        if len(examples[rule]) < _MAX_EXAMPLES:
            examples[rule].append(row + 1)

    kept, hashes = np.zeros(len(dataset), np.bool_), array("Q")
    for row, (source, target) in enumerate(_stripped_pairs(dataset)):
        if row in left_out:
            continue
        rule = _broken_rule(source, target, max_characters, max_word_ratio)
        if rule is None and blocked and _shares(source, target, blocked):
            rule = "held_out"
        if rule is not None:
            drop(rule, row)
        else:
            kept[row] = True
            hashes.append(_hash(f"{source}\0{target}"))
    first = _first_of_equals(np.frombuffer(hashes, np.uint64) if hashes else np.empty(0, np.uint64))
    if not first.all():
        candidates = np.flatnonzero(kept)
        for row in candidates[~first].tolist():
            drop("duplicate", row)
        kept[candidates] = first
    return kept, CleaningReport(len(dataset) - len(left_out), int(first.sum()), dropped, examples)


def _broken_rule(source: str, target: str, max_characters: int, max_word_ratio: float) -> str | None:
    if not source or not target:
        return "empty"
    if max(len(source), len(target)) > max_characters:
        return "overlong"
    short, long = sorted((len(source.split()), len(target.split())))
    if long > max_word_ratio * short + _GRACE_WORDS:
        return "ratio"
    if source.endswith(target) and short > _COPY_WORDS:  # also behind a tag, as of back-translation
        return "copy"
    return None


def _stripped_pairs(dataset: "Dataset") -> Iterator[tuple[str, str]]:
    for batch in dataset.iter(batch_size=10_000):
        for source, target in zip(batch["source"], batch["target"], strict=True):
            yield (source or "").strip(), (target or "").strip()  # a hub's null is empty


def _strip(rows: dict[str, list[str]]) -> dict[str, list[str]]:
    return {side: [text.strip() for text in rows[side]] for side in ("source", "target")}


def _sentence_hashes(dataset: "Dataset") -> set[int]:
    keys = {sentence_key(text) for pair in _stripped_pairs(dataset) for text in pair}
    return {_hash(key) for key in keys - {""}}  # "?!" is no sentence to protect


def _shares(source: str, target: str, blocked: set[int]) -> bool:
    return _hash(sentence_key(source)) in blocked or _hash(sentence_key(target)) in blocked


def _first_of_equals(hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """True at the first place of each value."""
    first = np.ones(len(hashes), np.bool_)
    part_of = hashes.view(np.uint8).reshape(-1, hashes.itemsize)[:, 0] % _SORTED_IN_PARTS
    for part in range(_SORTED_IN_PARTS):  # equals are in one part; the order of a part takes little memory
        places = np.flatnonzero(part_of == part)
        places = places[np.argsort(hashes[places], kind="stable")]
        in_order = hashes[places]
        first[places[1:]] = in_order[1:] != in_order[:-1]
    return first


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")
