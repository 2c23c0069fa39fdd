"""What `make run` ends with: held-out sentences by the bundle just made and by the shipped one, BLEU of both."""

import argparse
import sys
from pathlib import Path

from keras_transformer import Translator, UserError
from keras_transformer.evaluate import evaluate
from keras_transformer.text.corpus import read_embedded

SHOWN = 8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, help="a folder of export/to_onnx.py")
    bundle = parser.parse_args().bundle
    test = read_embedded("test")
    sources, references = list(test["source"]), list(test["target"])
    try:
        models = {"just trained": Translator.from_pretrained(bundle), "shipped": Translator.from_pretrained()}
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    translations = {name: model.translate(sources[:SHOWN]) for name, model in models.items()}
    print(f"\nHeld-out sentences ({len(sources)} in all; no model has seen them):")
    for i in range(SHOWN):
        print(f"\n  {'English':13} {sources[i]}")
        for name in models:
            print(f"  {name:13} {translations[name][i].text}")
        print(f"  {'reference':13} {references[i]}")
    print()
    for name, model in models.items():
        scores = evaluate(model, sources, references)
        print(
            f"{name:13} BLEU {scores.bleu:5.2f}  chrF {scores.chrf:5.2f}  "
            f"{scores.sentences_per_second:6.0f} sentences/s  ({scores.precision} on {scores.device})"
        )
    print(
        f"\n{scores.bleu_signature}\nMinutes of training show: the first model is for seeing the chain work."
    )
    print(f"The bundle just made: {bundle}")
    print(f"Open the window:      .venv/bin/python -m desktop_app --model {bundle}")
    print("   with the shipped model: .venv/bin/python -m desktop_app")
    return 0


if __name__ == "__main__":
    sys.exit(main())
