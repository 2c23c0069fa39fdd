"""The command `python export/to_onnx.py [RUN] [--output BUNDLE] [--precision fp32,int8,fp16]`.

Needs neither Keras nor torch nor TensorFlow: the graphs are written directly from the weights.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a clone, installed or not

from keras_transformer.errors import UserError
from keras_transformer.onnx_export.checkpoint import find_checkpoint, load_checkpoint, newest_run
from keras_transformer.onnx_export.command import progress, run_command
from keras_transformer.onnx_export.export import export_bundle
from keras_transformer.onnx_export.quality import read_files, read_pairs
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.runtime.names import PRECISIONS

DESCRIPTION = """\
Write a bundle that translates without Keras: ONNX graphs, tokenizer, manifest and model card (with the
text of RUN/model_card.md, if there is one: what the model is good and bad at).

The graphs are written from the weights of RUN/checkpoints/best (else last). Before the bundle appears,
each precision is held against outputs that the Keras model itself wrote into the checkpoint: logits,
greedy tokens, cached against uncached, alone against in a batch. If one differs by more than its bound,
no bundle is written and the message says what differed."""

EPILOG = """\
precisions:
  fp32   the reference: logits within 1e-5 of the largest, the same tokens as Keras
  int8   a quarter of the size, 2 to 3 times faster on a CPU; scales measured on training sentences
  fp16   half the size, for CUDA

examples:
  python export/to_onnx.py                             the newest run under runs/, into RUN/bundle
  python export/to_onnx.py runs/en-it --precision int8 --output models/en-it

exit codes: 0 done, 1 the check failed, 2 wrong usage or input, 130 interrupted, 143 terminated"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)

    def run() -> str:
        _refuse_repeated([name for name, *_ in options.test])
        checkpoint = load_checkpoint(find_checkpoint(options.run or newest_run(Path("runs"))))
        target = options.output or checkpoint.run / "bundle"
        progress(f"{checkpoint.folder} -> {target}")
        bundle = export_bundle(
            checkpoint,
            target,
            options.precision,
            name=options.name,
            licences=options.licence,
            hub_licence=options.hub_licence,
            tests={
                name: read_files(f"--test {name}", Path(source), Path(target))
                for name, source, target in options.test
            },
            pairs=read_pairs(checkpoint.run, tuple(options.valid) if options.valid else None),
            longest_source=options.longest_source,
            training_text=read_files("--shortlist", *options.shortlist) if options.shortlist else None,
            report=progress,
        )
        return _summary(bundle)

    return run_command(run, "no bundle was written")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="export/to_onnx.py",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "run",
        metavar="RUN",
        nargs="?",
        type=Path,
        help="a run folder or one of its checkpoints; default: the newest under runs/",
    )
    parser.add_argument(
        "--output",
        metavar="BUNDLE",
        type=Path,
        help="folder to write, an older bundle is replaced; default: RUN/bundle",
    )
    parser.add_argument(
        "--precision",
        metavar="LIST",
        type=_precisions,
        default=("fp32", "int8"),
        help=f"any of {', '.join(PRECISIONS)}, separated by commas; default: fp32,int8",
    )
    parser.add_argument("--name", help="name of the model; default: the languages and the run")
    parser.add_argument(
        "--licence",
        metavar="TEXT",
        action="append",
        default=[],
        help="licence of the weights or of a data set, for the manifest; may be given several times",
    )
    parser.add_argument(
        "--hub-licence",
        metavar="ID",
        help="the weights' licence by the hub's name, such as cc-by-sa-4.0, for the card; default: other",
    )
    parser.add_argument(
        "--test",
        metavar=("NAME", "SOURCE", "TARGET"),
        nargs=3,
        action="append",
        default=[],
        help="a test set, a sentence a line, for the scores in manifest and card; may be given several times",
    )
    parser.add_argument(
        "--valid",
        metavar=("SOURCE", "TARGET"),
        nargs=2,
        type=Path,
        help="validation text, a sentence a line: int8 may lose at most 0.3 BLEU and chrF on it, else parts of "
        "it stay in floats; default: RUN/valid.tsv where there is one",
    )
    parser.add_argument(
        "--longest-source",
        metavar="TOKENS",
        type=_tokens,
        help="a longer sentence is read in parts, cut at the ends of clauses; default: what 98 of 100 training "
        "sentences have at most, but no less than 40",
    )
    parser.add_argument(
        "--shortlist",
        metavar=("SOURCE", "TARGET"),
        nargs=2,
        type=Path,
        help="training text, a sentence a line, plain or .gz: the bundle gets a list of likely translations of each "
        "token, for `translate --shortlist`",
    )
    return parser


def _refuse_repeated(names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"--test must name each set once, got {name!r} {names.count(name)} times. Rename one."
            )


def _tokens(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a number of tokens, at least 1, got {text!r}")
    return int(text)


def _precisions(text: str) -> tuple[str, ...]:
    chosen = tuple(part.strip() for part in text.split(",") if part.strip())
    unknown = [part for part in chosen if part not in PRECISIONS]
    if unknown or not chosen:
        raise argparse.ArgumentTypeError(f"must be any of {', '.join(PRECISIONS)}, got {text!r}")
    return chosen


def _summary(bundle: Bundle) -> str:
    parts = []
    for precision, record in bundle.manifest.precisions.items():
        gate = record.gate
        megabytes = (record.encoder.bytes + record.decoder.bytes) / 1e6
        parts.append(
            f"{precision} {megabytes:.1f} MB (logits within {gate['logit_error']:g}, same choice "
            f"{100 * gate['same_choices']:.1f} %, greedy equal in {gate['greedy_rows_equal']} "
            f"of {gate['greedy_rows']} rows)"
        )
    return f"{bundle.folder}: " + "; ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
