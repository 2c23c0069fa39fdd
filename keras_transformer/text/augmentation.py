"""Training pairs once more as people also write them: IN CAPITALS, In Title Case, without the final full stop."""

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from keras_transformer.text.chosen_rows import map_chosen

if TYPE_CHECKING:
    from datasets import Dataset

_FULL_STOPS = ".。।"
# Not behind a letter or digit ("2nd"); behind an apostrophe only what is no ending ("dad's", "they've").
_WORD_START = re.compile(r"(?<![\w'’])[^\W\d_]|(?<=['’])[^\W\d_](?=[^\W\d_]{2})")


def in_capitals(text: str) -> str:
    """Every letter a capital."""
    return text.upper()


def in_title_case(text: str) -> str:
    """Every word with a capital: "Dad's Coat", "L'Acqua Della Casa"."""
    return _WORD_START.sub(lambda match: match[0].upper(), text)


def without_full_stop(text: str) -> str:
    """The text without the full stop at its end; "…" spelled as dots and a last "p.m." stay."""
    last_word = text.rsplit(maxsplit=1)[-1] if text else ""
    is_stop = last_word[-1:] in tuple(_FULL_STOPS) and not set(_FULL_STOPS) & set(last_word[:-1])
    return text[:-1] if is_stop and len(last_word) > 1 else text


KINDS: dict[str, Callable[[str], str]] = {
    "capitals": in_capitals,
    "title_case": in_title_case,
    "no_full_stop": without_full_stop,
}


def augment(dataset: "Dataset", rates: dict[str, float], seed: int) -> tuple["Dataset", dict[str, int]]:
    """The pairs, and behind them some once more in another writing, both sides alike.

    A kind draws its rate of the pairs, by `seed`. Of those it adds the ones that it changes: "no_full_stop" both
    sides; the others the source at least, since the target's script may have no capitals.

    Args:
        dataset: Columns `source` and `target`.
        rates: By name in `KINDS` the share of the pairs that is drawn, in [0, 1].
        seed: Of the drawing.

    Returns:
        The pairs with the new ones behind them; how many each kind has added.
    """
    from datasets import concatenate_datasets

    parts, added = [dataset], dict.fromkeys(KINDS, 0)
    for number, kind in enumerate(KINDS):
        if not rates[kind]:
            continue
        drawn = np.random.default_rng((seed, number)).permutation(len(dataset))
        chosen = np.zeros(len(dataset), np.bool_)
        chosen[drawn[: round(rates[kind] * len(dataset))]] = True
        again = map_chosen(dataset, chosen, partial(_again, kind=kind), f"augmenting: {kind}")
        added[kind] = len(again)
        parts += [again] if len(again) else []
    return concatenate_datasets(parts) if len(parts) > 1 else dataset, added


def _again(rows: dict[str, list[str]], kind: str) -> dict[str, list[str]]:
    change, found = KINDS[kind], []
    for source, target in zip(rows["source"], rows["target"], strict=True):
        pair = change(source), change(target)
        if pair[0] != source and (pair[1] != target or kind != "no_full_stop"):
            found.append(pair)
    return {"source": [source for source, _ in found], "target": [target for _, target in found]}
