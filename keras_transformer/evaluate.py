"""Command: BLEU and chrF of an exported bundle on a test set, and how fast it was. No Keras here."""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from keras_transformer.errors import UserError
from keras_transformer.translate import (
    add_engine_arguments,
    add_search_arguments,
    load_translator,
    open_input,
    read_lines,
    run_command,
)

if TYPE_CHECKING:
    from keras_transformer.runtime.translator import Translator

_DESCRIPTION = """\
Translate a test set with a bundle and score it against its reference with sacreBLEU:
BLEU and chrF with their signatures, the speed, and how many translations carry which flag."""

_EXAMPLES = """\
example:
  python -m keras_transformer.evaluate --source test.en --reference test.it

Both files are UTF-8, plain or .gz, and line N of one belongs to line N of the other.

exit status: 0 done, 1 failed, 2 a mistake in the arguments or the input, 130 interrupted."""


@dataclass(frozen=True)
class Evaluation:
    """The scores of one bundle on one test set.

    Attributes:
        model, precision, device: What ran.
        beam_size, length_penalty: How it searched; a beam of 1 is greedy and has no penalty.
        num_sentences: Pairs in the test set.
        seconds: Time to translate all of them, without the load of the model.
        sentences_per_second: `num_sentences` by `seconds`.
        bleu, chrf: Corpus scores, 0 to 100, cased.
        bleu_signature, chrf_signature: How sacreBLEU computed them.
        flags: Translations for each flag.
    """

    model: str
    precision: str
    device: str
    beam_size: int
    length_penalty: float | None
    num_sentences: int
    seconds: float
    sentences_per_second: float
    bleu: float
    bleu_signature: str
    chrf: float
    chrf_signature: str
    flags: dict[str, int]


def evaluate(
    translator: Translator,
    sources: Sequence[str],
    references: Sequence[str],
    beam_size: int = 1,
    length_penalty: float = 0.6,
) -> Evaluation:
    """Translate `sources` in one call and score the result against `references`, one for each.

    Raises:
        UserError: there is nothing to score, the counts differ, or sacreBLEU is not installed.
    """
    if len(sources) != len(references):
        raise UserError(
            f"source and reference must have as many lines, got {len(sources)} and {len(references)}. "
            "Line N of one belongs to line N of the other."
        )
    if not sources:
        raise UserError("source and reference are empty. Name files with at least one line.")
    try:
        from sacrebleu.metrics import BLEU, CHRF
    except ImportError:
        raise UserError(
            "scoring needs sacrebleu, which is not installed. Run: pip install 'keras_transformer[evaluate]'"
        ) from None

    start = time.perf_counter()
    translations = translator.translate(list(sources), beam_size=beam_size, length_penalty=length_penalty)
    seconds = time.perf_counter() - start

    outputs = [translation.text for translation in translations]
    bleu, chrf = BLEU(), CHRF()
    bleu_score = bleu.corpus_score(outputs, [list(references)]).score
    chrf_score = chrf.corpus_score(outputs, [list(references)]).score
    return Evaluation(
        model=translator.name,
        precision=translator.precision,
        device=translator.device,
        beam_size=beam_size,
        length_penalty=length_penalty if beam_size > 1 else None,
        num_sentences=len(sources),
        seconds=round(seconds, 3),
        sentences_per_second=round(len(sources) / seconds, 2),
        bleu=round(bleu_score, 2),
        bleu_signature=str(bleu.get_signature()),
        chrf=round(chrf_score, 2),
        chrf_signature=str(chrf.get_signature()),
        flags=dict(sorted(Counter(flag for item in translations for flag in item.flags).items())),
    )


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m keras_transformer.evaluate",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--source", metavar="FILE", type=Path, required=True, help="what to translate")
    parser.add_argument("--reference", metavar="FILE", type=Path, required=True, help="what is right")
    add_engine_arguments(parser)
    add_search_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = build_parser().parse_args(arguments)
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    sources, references = read_file(options.source), read_file(options.reference)

    translator = load_translator(options)  # heavy: after the files are known good
    result = evaluate(translator, sources, references, options.beam_size, options.length_penalty)
    print(json.dumps(asdict(result)) if options.json else table(result))  # noqa: T201


def table(result: Evaluation) -> str:
    """The scores for a reader."""
    flags = ", ".join(f"{flag} {count}" for flag, count in result.flags.items()) or "none"
    speed = (
        f"{result.sentences_per_second:.1f} sentences/s ({result.num_sentences} in {result.seconds:.1f} s)"
    )
    search = f"beam of {result.beam_size}, length penalty {result.length_penalty}"
    rows = {
        "model": f"{result.model} ({result.precision}, {result.device})",
        "search": search if result.beam_size > 1 else "greedy",
        "BLEU": f"{result.bleu:.2f}   {result.bleu_signature}",
        "chrF": f"{result.chrf:.2f}   {result.chrf_signature}",
        "speed": speed,
        "flags": flags,
    }
    return "\n".join(f"{name:<6} {value}" for name, value in rows.items())


def read_file(path: Path) -> list[str]:
    """All lines of a UTF-8 file, plain or .gz, without their line ends.

    Raises:
        UserError: the file cannot be read or a line is not UTF-8.
    """
    with open_input(path) as raw:
        stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if path.suffix.lower() == ".gz" else raw
        try:
            return [line.removesuffix("\r") for lines in read_lines(stream, str(path)) for line in lines]
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"cannot read {path.absolute()}: {error}. Name a UTF-8 text file.") from None


if __name__ == "__main__":
    sys.exit(main())
