"""Command: translate lines, from a file or from stdin to stdout, with an exported bundle. No Keras here.

N lines in, N lines out, in order: a line ends at "\\n" and nowhere else. Lines are translated as they
arrive, at most about 64 KiB at once, so a file larger than memory passes and a dialogue is answered line
by line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from keras_transformer.errors import UserError, failure_of, reason_of

if TYPE_CHECKING:
    from keras_transformer.runtime.translator import Translation, Translator

CHUNK_BYTES = 65536  # read at once: about a thousand sentences, enough to fill batches of equal length

_DESCRIPTION = """\
Translate a text line by line: N lines in, N lines out, in the same order.
A line may hold several sentences; blank lines and indents stay as they are.
Without FILE the text comes from stdin, and each line is answered as it arrives."""

_EXAMPLES = """\
examples:
  echo 'I love you very much.' | python -m keras_transformer.translate
  python -m keras_transformer.translate letter.txt > lettera.txt
  python -m keras_transformer.translate --file letter.docx lettera.docx
  python -m keras_transformer.translate --model runs/mine/bundle --json letter.txt

With --json each line is an object: "source", "text" and "flags"; with --scores or a beam also "score" (mean
log-probability of a token: nearer 0 is surer); with --n-best also "hypotheses", the best first, each with
"text" and "score". The flags: copied (nothing to translate), split (a sentence was translated in parts: too
long, or around its placeholders), cut_loop (an endless repetition was cut), cut_length (the length limit was
reached), kept (no translation carried over all placeholders, addresses and numbers: the original stands).

exit status: 0 done, 1 failed, 2 a mistake in the arguments or the input, 130 interrupted; with --file, 143
terminated, and after 130 and 143 the same command goes on."""


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m keras_transformer.translate",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", nargs="?", type=Path, help="a UTF-8 text; default: stdin")
    parser.add_argument(
        "--file",
        metavar=("IN", "OUT"),
        dest="documents",
        nargs=2,
        type=Path,
        help="translate a file (txt, srt, vtt, html, docx) into another one, all but its text kept; ended and "
        "called again, it goes on where it stopped",
    )
    add_engine_arguments(parser)
    add_search_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of the text")
    parser.add_argument("--scores", action="store_true", help="scores in the output of --json")
    parser.add_argument(
        "--n-best",
        metavar="N",
        type=_positive,
        default=1,
        help="translations of each line in the output of --json, at most --beam-size",
    )
    return parser


def add_search_arguments(parser: argparse.ArgumentParser) -> None:
    """How to search: shared with the other commands."""
    parser.add_argument(
        "--beam-size",
        metavar="N",
        type=_beam_size,
        default=1,
        help="outputs followed side by side; 1 (the default) is greedy search, 4 is slower and a little better",
    )
    parser.add_argument(
        "--length-penalty",
        metavar="X",
        type=_length_penalty,
        default=0.6,
        help="of beam search: the higher, the longer the outputs; default: 0.6",
    )


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Which bundle, on which device: shared with the other commands."""
    parser.add_argument(
        "--model", metavar="BUNDLE", type=Path, help="folder of an exported bundle; default: the shipped one"
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where to run; auto (the default) takes the GPU where there is one",
    )
    parser.add_argument(
        "--threads", metavar="N", type=_threads, help="CPU threads of the engine; default: all cores"
    )
    parser.add_argument(
        "--shortlist",
        action="store_true",
        help="choose among likely translations of each token, where the bundle has a shortlist: faster, and now and "
        "then another word",
    )


def load_translator(options: argparse.Namespace) -> Translator:
    """The translator that `add_engine_arguments` asks for."""
    from keras_transformer.runtime.translator import Translator  # heavy: after the arguments are known good

    return Translator.from_pretrained(
        options.model, options.device, options.threads, shortlist=options.shortlist
    )


def read_lines(stream: BinaryIO, name: str) -> Iterator[list[str]]:
    """Read UTF-8 lines as they arrive: lists of lines without their "\\n", a list for each chunk.

    Args:
        stream: A buffered binary stream.
        name: What the stream is called in an error.

    Raises:
        UserError: a line is not UTF-8. The lines before it have been handed out.
    """
    pending: list[bytes] = []  # the parts of a line whose end has not come yet
    number = 0
    read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)  # read1: what is there, no waiting
    while chunk := read(CHUNK_BYTES):
        first, *rest = chunk.split(b"\n")
        pending.append(first)
        if not rest:
            continue
        raw = [b"".join(pending), *rest[:-1]]
        pending = [rest[-1]]
        yield from _decode(raw, number, name)
        number += len(raw)
    if last := b"".join(pending):
        yield from _decode([last], number, name)


def translate_lines(
    translate: Callable[[list[str]], Sequence[Translation]],
    chunks: Iterable[list[str]],
    output: BinaryIO,
    as_json: bool,
) -> None:
    """Translate each chunk of lines and write it, flushed, before the next one is read."""
    for lines in chunks:
        for translation, line in zip(
            translate([line.removesuffix("\r") for line in lines]), lines, strict=True
        ):
            if as_json:
                written = json.dumps(as_record(translation), ensure_ascii=False)
            else:
                written = translation.text + "\r" * line.endswith("\r")
            output.write(written.encode() + b"\n")
        output.flush()


def as_record(translation: Translation) -> dict[str, object]:
    """A translation as `--json` writes it."""
    record: dict[str, object] = {"source": translation.source, "text": translation.text}
    if translation.score is not None:
        record["score"] = round(translation.score, 4)
    if translation.hypotheses:
        record["hypotheses"] = [
            {"text": one.text, "score": round(one.score, 4)} for one in translation.hypotheses
        ]
    return {**record, "flags": list(translation.flags)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.n_best > options.beam_size:
        parser.error(
            f"argument --n-best: must be at most --beam-size ({options.beam_size}), got {options.n_best}"
        )
    if not options.json and (options.scores or options.n_best > 1):
        parser.error("--scores and --n-best need --json")
    if options.documents and (options.file or options.json):
        parser.error("--file takes neither a FILE beside its own two nor --json")
    return run_command(lambda: _run_file(options) if options.documents else _run(options))


def run_command(run: Callable[[], int | None]) -> int:
    """Run a command's body, which may return an exit status.

    A user's mistake is one sentence and 2, a full disk or the like one and 1, Ctrl-C is 130, a closed pipe is quiet.
    """
    try:
        if sys.stdout is None:
            raise UserError("stdout must be open, it is closed. Send the output to a file, or to a pipe.")
        status = run() or 0
        sys.stdout.flush()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _drop_stdout()
        return 1
    except OSError as error:
        print(f"error: {failure_of(error)}.", file=sys.stderr)  # noqa: T201
        _drop_stdout()
        return 1
    return status


def _drop_stdout() -> None:
    """Python flushes stdout once more at exit; give it somewhere to go."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(options: argparse.Namespace) -> int:
    with contextlib.ExitStack() as stack:
        if options.file is not None:
            _check_lines(options.file)
            name = str(options.file)
            stream: BinaryIO = stack.enter_context(open_input(options.file))
        elif sys.stdin is None:
            raise UserError("stdin must be open, it is closed. Name a FILE, or send a text to stdin.")
        else:
            name, stream = "stdin", sys.stdin.buffer

        translator = load_translator(options)

        def translate(lines: list[str]) -> list[Translation]:
            return translator.translate(
                lines,
                beam_size=options.beam_size,
                length_penalty=options.length_penalty,
                num_hypotheses=options.n_best,
                scores=options.scores,
            )

        translate_lines(translate, read_lines(stream, name), sys.stdout.buffer, options.json)
    return 0


def _check_lines(path: Path) -> None:
    """Raise UserError for a document: its lines are not its text."""
    from keras_transformer.documents.files import SUFFIXES

    if path.suffix.lower() in SUFFIXES and path.suffix.lower() != ".txt":
        raise UserError(
            f"FILE must be a text to translate line by line, got the document {path}. "
            f"Translate it with --file {path} OUT{path.suffix}."
        )


def _run_file(options: argparse.Namespace) -> int:
    from keras_transformer.documents.command import run
    from keras_transformer.documents.files import SearchChoice, check_paths

    source, target = options.documents
    check_paths(source, target)  # before the model is loaded
    translator = load_translator(options)
    return run(translator, source, target, SearchChoice(options.beam_size, options.length_penalty))


def open_input(path: Path) -> BinaryIO:
    """Open a file for reading in binary.

    Raises:
        UserError: the file cannot be opened.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(
            f"cannot read {path.absolute()}: {reason_of(error)}. Name a UTF-8 text file."
        ) from None


def _decode(raw: list[bytes], number: int, name: str) -> Iterator[list[str]]:
    """Decode the lines after line `number`; the good ones before a bad one still go out."""
    lines: list[str] = []
    for line in raw:
        if number + len(lines) == 0:
            line = line.removeprefix(b"\xef\xbb\xbf")  # a byte order mark is no text
        try:
            lines.append(line.decode())
        except UnicodeDecodeError as error:
            if lines:
                yield lines
            raise UserError(
                f"{name}, line {number + len(lines) + 1}: not UTF-8 (byte {error.start + 1} is "
                f"0x{line[error.start]:02x}). Convert it first, for example with iconv."
            ) from None
    yield lines


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def _threads(text: str) -> int:
    from keras_transformer.runtime.devices import MOST_THREADS  # here: it loads onnxruntime

    threads = _positive(text)
    if threads > MOST_THREADS:
        raise argparse.ArgumentTypeError(f"must be at most {MOST_THREADS}, got {text!r}")
    return threads


def _beam_size(text: str) -> int:
    from keras_transformer.decoding.beam import MOST_BEAMS  # here: its package loads NumPy

    size = _positive(text)
    if size > MOST_BEAMS:
        raise argparse.ArgumentTypeError(f"must be at most {MOST_BEAMS}, got {text!r}")
    return size


def _length_penalty(text: str) -> float:
    from keras_transformer.decoding.beam import GREATEST_PENALTY

    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0.0 <= number <= GREATEST_PENALTY:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to {GREATEST_PENALTY:g}, got {text!r}")
    return number


if __name__ == "__main__":
    sys.exit(main())
