"""What int8 loses by each rule for its activation scales.

    KERAS_TRANSFORMER_DATA=FOLDER python recipes/en_it/calibration.py RUN OUTPUT

RUN is a run folder or a checkpoint. OUTPUT gets a bundle for each rule, scored by benchmarks/quality.py, and
calibration.md, the table; float32 comes first.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from rows import quality, table

from keras_transformer.onnx_export import calibration
from keras_transformer.onnx_export.checkpoint import find_checkpoint, load_checkpoint
from keras_transformer.onnx_export.export import export_bundle
from keras_transformer.onnx_export.quantization import ACTIVATION_LEVELS, ActivationScale, activation_scale
from keras_transformer.onnx_export.verify import GateFailure

TESTS = {"valid": "valid", "valid: tatoeba": "Tatoeba", "flores200_devtest": "FLORES devtest"}


def between(share):
    """The rule that cuts off the most extreme values: `share` of them, half on either side."""

    def rule(values):
        sample = values.ravel()[:: max(1, values.size // 1_000_000)]
        low, high = np.quantile(sample, [share / 2, 1 - share / 2])
        low, high = min(float(low), 0.0), max(float(high), 0.0)
        scale = np.float32((high - low) / ACTIVATION_LEVELS)
        return ActivationScale(scale, np.uint8(np.clip(np.rint(-low / scale), 0, ACTIVATION_LEVELS)))

    return rule


# Name → the rule, and how many of the checkpoint's sentences it sees.
RULES = {
    "smallest squared error, 64 sentences (what is shipped)": (activation_scale, 64),
    "smallest squared error, 16 sentences": (activation_scale, 16),
    "smallest squared error, 4 sentences": (activation_scale, 4),
    "the whole range": (between(0.0), 64),
    "without 0.01 % of the values": (between(1e-4), 64),
    "without 0.1 %": (between(1e-3), 64),
    "without 1 %": (between(1e-2), 64),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    checkpoint = load_checkpoint(find_checkpoint(arguments.run))
    bundles = {"float32": export_bundle(checkpoint, arguments.output / "fp32", ["fp32"])}
    for nth, (name, (rule, count)) in enumerate(RULES.items()):
        calibration.activation_scale = rule
        some = replace(checkpoint, calibration=tuple(array[:count] for array in checkpoint.calibration))
        try:
            bundles[name] = export_bundle(some, arguments.output / f"int8-{nth}", ["int8"])
        except GateFailure as error:
            print(f"{name}: {error}", flush=True)
            bundles[name] = None
    rows = []
    for name, bundle in bundles.items():
        if bundle is None:
            rows.append([name, *["refused by the exporter"] * len(TESTS)])
            continue
        found = quality(bundle.folder)
        rows.append([name, *(f"{found[test]['bleu']:.2f} / {found[test]['chrf']:.2f}" for test in TESTS)])
    text = table(["scales", *TESTS.values()], rows)
    (arguments.output / "calibration.md").write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
