"""BLEU on Multi30k en-de as its papers score it: lower-cased, tokenised text, no further tokenisation.

    KERAS_TRANSFORMER_DATA=FOLDER python benchmarks/multi30k.py RUN [--checkpoint averaged] [--split test]

RUN is a run of recipes/multi30k/tiny.toml (its averaged checkpoint, else the best), one of its checkpoints, or a
bundle. FOLDER holds multi30k/{test_2016_flickr,val}.lc.norm.tok.{en,de}.gz.

A line is decoded plainly: text → token ids → beam search over the fp32 graphs → text. `Translator` would protect
numbers, cut the line into sentences and mend its capitals, which is right for a user's text and wrong here, where
"&quot; hello . &quot;" is one tokenised line. The score is multi-bleu's: sacreBLEU with tokenize="none" and no
smoothing. One JSON line; --output keeps the translations.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sacrebleu.metrics import BLEU

from keras_transformer.errors import UserError
from keras_transformer.evaluate import read_file
from keras_transformer.onnx_export.checkpoint import find_checkpoint, load_checkpoint
from keras_transformer.onnx_export.export import export_bundle
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.runtime.scheduler import Scheduler, SearchOptions
from keras_transformer.runtime.sessions import Engine
from keras_transformer.text.tokenizer import Tokenizer

VARIABLE = "KERAS_TRANSFORMER_DATA"
SPLITS = {"test": "test_2016_flickr", "val": "val"}
PUBLISHED = 41.02  # Wu et al. 2021, Transformer-Tiny, test2016


def texts(split: str) -> tuple[list[str], list[str]]:
    """Sources and references of a split.

    Raises:
        UserError: the variable is not set or a file is missing.
    """
    if VARIABLE not in os.environ:
        raise UserError(f"{VARIABLE} must name the folder that holds multi30k/, it is not set.")
    stem = Path(os.environ[VARIABLE]) / "multi30k" / f"{SPLITS[split]}.lc.norm.tok"
    return read_file(Path(f"{stem}.en.gz")), read_file(Path(f"{stem}.de.gz"))


def open_bundle(path: Path, checkpoint: str | None, scratch: Path) -> tuple[Bundle, str]:
    """The bundle at `path`, or one of fp32 made of a run's checkpoint; and what it was made of."""
    if (path / "manifest.json").is_file():
        return Bundle.open(path), str(path)
    if checkpoint is None and (path / "checkpoints" / "averaged").is_dir():
        checkpoint = "averaged"
    found = path / "checkpoints" / checkpoint if checkpoint else find_checkpoint(path)
    return export_bundle(load_checkpoint(found), scratch / "bundle", ("fp32",)), str(found)


def decode(bundle: Bundle, sources: list[str], options: SearchOptions, threads: int | None) -> list[str]:
    """Each line through the model as it stands."""
    tokenizer, manifest = Tokenizer.from_file(bundle.tokenizer_path), bundle.manifest
    engine = Engine.load(bundle, "cpu", threads, precision="fp32")
    ids = [np.array([*ids, manifest.eos_id], np.int64) for ids in tokenizer.encode_batch(sources)]
    outputs = [""] * len(sources)

    def keep(ended):
        outputs[ended.row] = tokenizer.decode(ended.hypotheses[0].tokens.tolist()).strip()

    Scheduler(engine, manifest, threads or os.cpu_count() or 1).run(ids, options, keep)
    return outputs


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--checkpoint", metavar="NAME", help="averaged, best, last or step_N")
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument("--beam-size", type=int, default=5)
    parser.add_argument("--length-penalty", type=float, default=1.0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--output", type=Path, metavar="FILE", help="the translations, a line each")
    options = parser.parse_args()
    try:
        sources, references = texts(options.split)
        with tempfile.TemporaryDirectory() as scratch:
            bundle, name = open_bundle(options.run, options.checkpoint, Path(scratch))
            start = time.perf_counter()
            search = SearchOptions(options.beam_size, options.length_penalty, scores=options.beam_size > 1)
            hypotheses = decode(bundle, sources, search, options.threads)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    metric = BLEU(tokenize="none", smooth_method="none", force=True)  # tokenised text is meant
    score = metric.corpus_score(hypotheses, [references])
    row = {
        "model": name,
        "split": SPLITS[options.split],
        "pairs": len(sources),
        "beam_size": options.beam_size,
        "length_penalty": options.length_penalty,
        "bleu": round(score.score, 2),
        "brevity_penalty": round(score.bp, 4),
        "signature": str(metric.get_signature()),
        "published": PUBLISHED if options.split == "test" else None,
        "seconds": round(time.perf_counter() - start, 1),
    }
    if options.output:
        options.output.write_text("".join(f"{line}\n" for line in hypotheses), "utf-8")
    print(json.dumps(row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
