"""The gate that int8 must pass: what it loses in translation, on the run's own validation text."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from keras_transformer.config import VALID_FILE
from keras_transformer.errors import UserError
from keras_transformer.evaluate import Evaluation, evaluate, read_file
from keras_transformer.onnx_export.quantization import KINDS
from keras_transformer.runtime.translator import Translator

MOST_LOST = 0.3  # points of BLEU, and of chrF

Pairs = list[tuple[str, str]]


class Score(NamedTuple):
    """BLEU and chrF of one precision."""

    bleu: float
    chrf: float

    def lost_from(self, reference: "Score") -> float:
        """What this loses against `reference`: the worse of both scores; below 0 it is better."""
        return round(max(reference.bleu - self.bleu, reference.chrf - self.chrf), 2)


class Chosen(NamedTuple):
    """Which kinds of maps stay in floats, and the score with them."""

    float_kinds: tuple[str, ...]
    score: Score


def read_pairs(run: Path, files: tuple[Path, Path] | None) -> Pairs | None:
    """Validation text from two files of as many lines, else from the run's valid.tsv; None where it has none.

    Raises:
        UserError: a file cannot be read, or the two differ in length.
    """
    if files is None:
        path = run / VALID_FILE
        lines = read_file(path) if path.is_file() else []
        pairs = [tuple(line.split("\t")) for line in lines]
        if any(len(pair) != 2 for pair in pairs):
            raise UserError(f"{path} must hold a source, a tab and its translation a line. Write it again.")
        return [(source, target) for source, target in pairs] or None
    return read_files("--valid", *files)


def read_files(option: str, source: Path, target: Path) -> Pairs:
    """The pairs of two files of as many lines, which `option` names.

    Raises:
        UserError: a file cannot be read, or the two differ in length.
    """
    try:
        sources, targets = read_file(source), read_file(target)
    except UserError as error:
        raise UserError(f"{option}: {error}") from None
    if len(sources) != len(targets) or not sources:
        raise UserError(
            f"{option} must name two files of as many lines, got {len(sources)} in {source} and "
            f"{len(targets)} in {target}."
        )
    return list(zip(sources, targets, strict=True))


def score(folder: Path, precision: str, pairs: Pairs) -> Score:
    """BLEU and chrF of one precision of a bundle."""
    found = _evaluation(folder, precision, pairs)
    return Score(found.bleu, found.chrf)


def scored(folder: Path, precision: str, pairs: Pairs) -> dict[str, Any]:
    """BLEU and chrF with their signatures, as plain values."""
    found = _evaluation(folder, precision, pairs)
    return {name: getattr(found, name) for name in ("bleu", "chrf", "bleu_signature", "chrf_signature")}


def _evaluation(folder: Path, precision: str, pairs: Pairs) -> Evaluation:
    translator = Translator.from_pretrained(folder, "cpu", precision=precision)
    return evaluate(translator, [source for source, _ in pairs], [target for _, target in pairs])


def choose_float_kinds(
    reference: Score, score_with: Callable[[tuple[str, ...]], Score], report: Callable[[str], None]
) -> Chosen:
    """The fewest kinds of maps in floats with which int8 loses at most `MOST_LOST`.

    While it loses more, the kind whose integers cost most joins those in floats.

    Args:
        reference: Of float32.
        score_with: The score of int8 with these kinds in floats.
        report: Given one line for each kind that is tried.
    """
    chosen = Chosen((), score_with(()))
    report(
        f"int8 loses {chosen.score.lost_from(reference):.2f} BLEU or chrF ({chosen.score} for {reference})"
    )
    while chosen.score.lost_from(reference) > MOST_LOST and len(chosen.float_kinds) < len(KINDS):
        trials = []
        for kind in KINDS:
            if kind not in chosen.float_kinds:
                kinds = (*chosen.float_kinds, kind)
                trials.append(Chosen(kinds, score_with(kinds)))
                report(
                    f"int8 with {', '.join(kinds)} in floats loses {trials[-1].score.lost_from(reference):.2f}"
                )
        chosen = min(trials, key=lambda trial: trial.score.lost_from(reference))
    return chosen


def results(reference: Score, chosen: Chosen, num_pairs: int) -> dict[str, Any]:
    """Plain values for the manifest."""
    return {
        "valid_pairs": num_pairs,
        "bleu": chosen.score.bleu,
        "chrf": chosen.score.chrf,
        "bleu_in_floats": reference.bleu,
        "chrf_in_floats": reference.chrf,
        "most_lost": MOST_LOST,
        "float_kinds": list(chosen.float_kinds),
    }
