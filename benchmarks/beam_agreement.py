"""How often this project's beam search and CTranslate2's find the same best hypothesis, and who is right where not.

    python benchmarks/beam_agreement.py --checkpoint RUN [--work FOLDER] [--count 300] [--beam-size 4]

Same float32 weights, same real sentences. Once by plain log-probability (length penalty 0), where both rank by
the same rule, and once with this project's default. CTranslate2 divides by length ** 0.6, this project by
((5 + length) / 6) ** 0.6 (GNMT). A hypothesis that differs is scored again by this decoder: "ours_better" counts
the sentences whose hypothesis of ours has the higher log-probability over length penalty. One JSON line a rule.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.engine_peers.convert import tokens_of
from benchmarks.engine_peers.models import SHIPPED, prepare
from benchmarks.engine_peers.sentences import read_sentences
from keras_transformer.decoding.limits import length_limits
from keras_transformer.decoding.search import beam_search
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.runtime.sessions import Engine
from keras_transformer.text.tokenizer import Tokenizer

NEARLY_EQUAL = 1e-4  # of a score: float32 sums of the two engines


class Ours:
    """This project's search, and its scores of any output."""

    def __init__(self, bundle: Bundle) -> None:
        self._engine = Engine.load(bundle, "cpu", 1, precision="fp32")
        self._manifest = bundle.manifest

    def best(self, source: list[int], beam_size: int, length_penalty: float, limit: int) -> list[int]:
        """The tokens of the best hypothesis, without EOS."""
        manifest = self._manifest
        result = beam_search(
            self._engine.start([np.array(source)], limit, beam_size),
            beam_size=beam_size,
            length_penalty=length_penalty,
            bos_id=manifest.bos_id,
            eos_id=manifest.eos_id,
            pad_id=manifest.pad_id,
            max_lengths=np.array([limit]),
        )
        return result.tokens[0].tolist()

    def score(self, source: list[int], output: list[int], length_penalty: float) -> float:
        """Log-probability of an output and its EOS over the GNMT length penalty, in float64 from the logits."""
        target = np.array([*output, self._manifest.eos_id])
        fed = np.array([[self._manifest.bos_id, *output]])
        logits = self._engine.start([np.array(source)], len(target)).feed(fed)[0].astype(np.float64)
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        total = float(log_probs[np.arange(len(target)), target].sum())
        return total / ((5 + len(target)) / 6) ** length_penalty


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="a run, or one of its checkpoints")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/beam_agreement"), help="for the converted models"
    )
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--beam-size", type=int, default=4)
    options = parser.parse_args()
    import ctranslate2

    prepared = prepare(SHIPPED, options.work, options.checkpoint, print)
    bundle = Bundle.open(prepared.bundle)
    tokenizer = Tokenizer.from_file(bundle.tokenizer_path)
    sentences, name = read_sentences(tokenizer)
    sources = [[*tokenizer.encode(sentence), tokenizer.eos_id] for sentence in sentences[: options.count]]
    ours = Ours(bundle)
    peer = ctranslate2.Translator(str(prepared.peers["fp32"]), compute_type="float32", intra_threads=1)
    names = tokens_of(prepared.config)
    ids = {token: index for index, token in enumerate(names)}
    for length_penalty in (0.0, 0.6):
        counts = {"same": 0, "nearly_equal": 0, "ours_better": 0, "theirs_better": 0}
        for source in sources:
            limit = int(length_limits([len(source)], bundle.manifest.max_length)[0])
            (result,) = peer.translate_batch(
                [[names[index] for index in source]],
                beam_size=options.beam_size,
                length_penalty=length_penalty,
                max_input_length=0,
                max_decoding_length=limit,
            )
            theirs = [ids[token] for token in result.hypotheses[0]]
            own = ours.best(source, options.beam_size, length_penalty, limit)
            if own == theirs:
                counts["same"] += 1
                continue
            gap = ours.score(source, own, length_penalty) - ours.score(source, theirs, length_penalty)
            kind = (
                "nearly_equal" if abs(gap) < NEARLY_EQUAL else "ours_better" if gap > 0 else "theirs_better"
            )
            counts[kind] += 1
        row = {"text": name, "sentences": len(sources), "beam_size": options.beam_size}
        print(json.dumps({**row, "length_penalty": length_penalty, **counts}), flush=True)


if __name__ == "__main__":
    main()
