"""The command `python export/add_shortlist.py BUNDLE SOURCE TARGET`, for `translate --shortlist`."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a clone, installed or not

from keras_transformer.onnx_export.add_shortlist import add_shortlist
from keras_transformer.onnx_export.command import progress, run_command
from keras_transformer.onnx_export.quality import read_files

DESCRIPTION = """\
Learn which target tokens each source token is translated into, from the text that a model was trained on, and
put the lists into its bundle: `python -m keras_transformer.translate --shortlist` chooses among them.
(`export/to_onnx.py --shortlist SOURCE TARGET` does the same for a new bundle.)"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="export/add_shortlist.py",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help="folder of an exported bundle")
    parser.add_argument("source", metavar="SOURCE", type=Path, help="a sentence a line, plain or .gz")
    parser.add_argument("target", metavar="TARGET", type=Path, help="the translation of each")
    options = parser.parse_args(arguments)

    def run() -> str:
        pairs = read_files("SOURCE and TARGET", options.source, options.target)
        bundle = add_shortlist(options.bundle, pairs, progress)
        record = bundle.manifest.shortlist
        assert record is not None
        return f"{bundle.folder}: {record.file}, {record.bytes / 1e6:.1f} MB"

    return run_command(run, "the bundle is as it was")


if __name__ == "__main__":
    sys.exit(main())
