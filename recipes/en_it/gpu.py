"""Teachers, their translations and students within minutes of one GPU, as processes that wait for each other's files.

    KERAS_BACKEND=torch python recipes/en_it/gpu.py WORK train NAME --seconds 200 [--languages it-en] [--made bt,ft]
    KERAS_BACKEND=torch python recipes/en_it/gpu.py WORK translate NAME TABLE [--shard I/N]

WORK holds what token_files.py wrote. `train` leaves NAME.safetensors and NAME.json; `translate` waits for the weights
and leaves TABLE.I-N.npz: the translations of that table, with the mean log-probability of a token. With `--made` a
student waits for them: "bt" adds real target sentences with a teacher's source (tagged), "ft" real source sentences
with a teacher's translation. A run ends by the clock, and its rate falls to 0 with it. For example, all at once:

    train t1 & train t2 --languages it-en & translate t1 mono_en & translate t2 mono_it & train s --made bt,ft
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import keras
import numpy as np
import torch
from keras import ops

sys.path.insert(0, str(Path(__file__).resolve().parent))

from token_files import Tokens, load, save

from keras_transformer.config import ModelConfig
from keras_transformer.decoding.limits import LoopGuard, length_limits
from keras_transformer.decoding.search import greedy_search
from keras_transformer.model import build_transformer
from keras_transformer.text.tokenizer import Tokenizer
from keras_transformer.training.batches import MAX_SHAPES, Batches
from keras_transformer.training.feeds import feed, has_gpu
from keras_transformer.training.losses import LabelSmoothedCrossEntropy

TAG = "¤"  # of back-translation; Caswell et al. 2019
LEAST_LIKELY = 0.1  # share of machine translations that is dropped
DECODED_TOKENS = 40_000  # source tokens of a batch to translate
FLAT_SHARE = 0.25  # of the time before the rate begins to fall


def main() -> int:
    arguments = _parser().parse_args()
    tokenizer = Tokenizer.from_file(arguments.work / "tokenizer.json")
    tables = load(arguments.work / "tokens.npz")
    return arguments.role(arguments, tokenizer, tables)


def train(arguments, tokenizer, tables):
    """One model, by the clock."""
    config = _model_config(arguments, tokenizer)
    keras.utils.set_random_seed(arguments.seed)
    pairs, last = _pairs(arguments, tokenizer, tables)
    ids = {"pad_id": config.pad_id, "bos_id": config.bos_id, "eos_id": config.eos_id}
    all_batches, last_batches = (
        Batches(
            [source for source, _ in some],
            [target for _, target in some],
            batch_tokens=arguments.batch_tokens,
            seed=arguments.seed,
            max_shapes=MAX_SHAPES,
            **ids,
        )
        for some in (pairs, last)
    )
    model = build_transformer(config, dtype=_precision())
    model.compile(
        keras.optimizers.Adam(arguments.rate, beta_1=0.9, beta_2=0.98, epsilon=1e-9, global_clipnorm=1.0),
        LabelSmoothedCrossEntropy(0.1, config.pad_id),
        jit_compile=False,
    )
    clock = _Clock(arguments)

    def batches():
        one, two = all_batches.stream(), last_batches.stream()
        while True:
            yield next(one if clock.share() < arguments.last_from else two)

    print(f"{arguments.name}: {len(pairs):,} pairs, {model.count_params():,} weights", flush=True)
    model.fit(feed(batches), steps_per_epoch=10**9, callbacks=[clock], shuffle=False, verbose=0)
    path = arguments.work / f"{arguments.name}.safetensors"
    model.save_safetensors(path.with_name(f".{path.name}"))
    facts = {
        "languages": arguments.languages, "sizes": arguments.sizes, "dropout_rate": arguments.dropout_rate,
        "made": arguments.made, "pairs": len(pairs), "updates": clock.step, "batch_tokens": arguments.batch_tokens,
        "target_tokens": round(clock.step * all_batches.target_tokens / len(all_batches)),
        "seconds": arguments.seconds,
    }  # fmt: skip
    path.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
    os.replace(path.with_name(f".{path.name}"), path)
    return 0


def translate(arguments, tokenizer, tables):
    """A shard of a table by a trained model, as soon as its weights are there."""
    shard, shards = map(int, arguments.shard.split("/"))
    config = _model_config(arguments, tokenizer)
    model = build_transformer(config, dtype=_precision())
    sources = tables[arguments.table].lists()
    members = np.arange(len(sources))[shard::shards]
    members = members[np.argsort([len(sources[i]) for i in members], kind="stable")]
    model.load_safetensors(_wait(arguments.work / f"{arguments.name}.safetensors"))
    targets, scores = {}, {}
    start = 0
    while start < len(members):
        count = max(1, DECODED_TOKENS // (len(sources[members[start]]) + 1))
        # No longer than the longest of them allows: they come in the order of their lengths.
        longest = len(sources[members[min(start + count, len(members)) - 1]]) + 1
        chunk = members[start : start + max(1, DECODED_TOKENS // longest)]
        found = _greedy(model, [sources[i] for i in chunk])
        for index, (tokens, score) in zip(chunk.tolist(), found, strict=True):
            targets[index], scores[index] = tokens, score
        start += len(chunk)
    order = sorted(targets)
    save(
        arguments.work / f"{arguments.table}.{shard}-{shards}.npz",
        targets=Tokens.of([targets[i] for i in order]),
        index=np.array(order, np.int32),
        score=np.array([scores[i] for i in order], np.float32),
    )
    return 0


class _Clock(keras.callbacks.Callback):
    """The rate by the clock, and the end."""

    def __init__(self, arguments):
        super().__init__()
        self.arguments, self.step, self.started = arguments, 0, time.monotonic()

    def share(self):
        """Of the time that is over."""
        return min(1.0, (time.monotonic() - self.started) / self.arguments.seconds)

    def on_train_batch_begin(self, batch, logs=None):
        warm = min(1.0, (self.step + 1) / self.arguments.warmup_steps)
        falling = min(1.0, (1.0 - self.share()) / (1.0 - FLAT_SHARE))
        self.model.optimizer.learning_rate.assign(self.arguments.rate * warm * falling)

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        if self.step % 100 == 0:
            print(f"update {self.step}, loss {logs['token_loss']:.3f}, {self.share():.0%}", flush=True)
            self.model.token_loss.reset_state()
        if self.share() >= 1.0:
            self.model.stop_training = True


class _Step:
    """The model's `decode_step`, choosing on the device: a token and its log-probability a row come to NumPy."""

    def __init__(self, model, source_ids, max_length):
        self.model = model
        source_ids = ops.convert_to_tensor(source_ids)
        self.source_padding_mask = model.padding_mask(source_ids)
        self.caches = model.initial_caches(model.encode(source_ids), max_length)
        self.log_probs = []  # (B,) a step

    def likeliest(self, token_ids, position):
        tokens = ops.convert_to_tensor(token_ids[:, None].astype(np.int32))
        logits, self.caches = self.model.decode_step(tokens, position, self.caches, self.source_padding_mask)
        best, chosen = torch.max(logits.float(), dim=-1)
        both = torch.stack([chosen.float(), best - torch.logsumexp(logits.float(), dim=-1)]).cpu().numpy()
        self.log_probs.append(both[1])
        return both[0].astype(np.int64)

    def __call__(self, token_ids, position):
        raise NotImplementedError("greedy search asks a step that can choose for tokens, not for logits")


@torch.no_grad()
def _greedy(model, sources):
    """(tokens, mean log-probability) of each; a score of 0 where the end of the sentence was not reached."""
    config = model.config
    sources = [np.append(ids[: config.max_length - 1], config.eos_id) for ids in sources]
    source_ids = np.full((len(sources), max(map(len, sources))), config.pad_id, np.int32)
    for row, ids in zip(source_ids, sources, strict=True):
        row[: len(ids)] = ids
    limits = length_limits([len(ids) for ids in sources], config.max_length)
    step = _Step(model, source_ids, int(limits.max()))
    found = greedy_search(
        step,
        batch_size=len(sources),
        bos_id=config.bos_id,
        eos_id=config.eos_id,
        pad_id=config.pad_id,
        max_lengths=limits,
        find_loop=LoopGuard(sources),
    )
    log_probs = np.stack(step.log_probs)  # (T, B)
    return [
        (best.tokens, float(log_probs[: len(best.tokens) + 1, row].mean()) if best.finished else 0.0)
        for row, (best, *_) in enumerate(found.hypotheses)
    ]


def _pairs(arguments, tokenizer, tables):
    """All pairs, and those of the last phase: everyday sentences, with as many of a teacher's."""
    source, target = arguments.languages.split("-")
    real = list(zip(tables[f"all_{source}"].lists(), tables[f"all_{target}"].lists(), strict=True))
    everyday = [pair for pair, mark in zip(real, tables["everyday"], strict=True) if mark and _fits(*pair)]
    pairs = [pair for pair in real if _fits(*pair)]
    made = arguments.made.split(",")
    if "bt" in made:
        tag = np.array(tokenizer.encode(TAG), np.int32)
        pairs += [(np.append(tag, m), given) for given, m in _made(arguments.work, tables, f"mono_{target}")]
    forward = _made(arguments.work, tables, f"mono_{source}") if "ft" in made else []
    chosen = np.random.default_rng(arguments.seed).permutation(len(forward))[: len(everyday)]
    return pairs + forward, everyday + [forward[i] for i in chosen]


def _made(work, tables, name):
    """(given, machine's) of a table's translations: the likelier ones, of like length."""
    given = tables[name].lists()
    found = []
    shards = int(_wait_any(work, name).stem.rpartition("-")[2])
    for shard in range(shards):
        part = load(_wait(work / f"{name}.{shard}-{shards}.npz"))
        for index, score, tokens in zip(part["index"], part["score"], part["targets"].lists(), strict=True):
            if score < 0 and _fits(given[index], tokens):
                found.append((score, given[index], tokens))
    least = np.quantile([score for score, _, _ in found], LEAST_LIKELY) if found else 0.0
    return [(given, tokens) for score, given, tokens in found if score >= least]


def _fits(source, target, longest=128, ratio=3.0):
    short, long = sorted((len(source), len(target)))
    return short > 0 and long <= longest and long <= ratio * short + 10


def _wait_any(work, name):
    while not (found := sorted(work.glob(f"{name}.*-*.npz"))):
        time.sleep(0.2)
    return found[0]


def _wait(path):
    while not path.exists():
        time.sleep(0.2)
    return path


def _precision():
    return "mixed_bfloat16" if has_gpu() else "float32"


def _model_config(arguments, tokenizer):
    names = ("model_dim", "feed_forward_dim", "num_heads", "num_encoder_layers", "num_decoder_layers")
    special = {name: getattr(tokenizer, name) for name in ("pad_id", "bos_id", "eos_id", "unk_id")}
    return ModelConfig(
        vocabulary_size=tokenizer.vocabulary_size,
        **dict(zip(names, map(int, arguments.sizes.split(",")), strict=True)),
        dropout_rate=arguments.dropout_rate,
        norm_placement="pre",
        **special,
    )


def _parser():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path)
    roles = parser.add_subparsers(required=True)
    one, two = roles.add_parser("train"), roles.add_parser("translate")
    for role, function in ((one, train), (two, translate)):
        role.set_defaults(role=function)
        role.add_argument("name")
        role.add_argument("--sizes", default="256,1024,8,6,2", help="D, F, H, encoder and decoder layers")
        role.add_argument("--dropout-rate", type=float, default=0.1)
    one.add_argument("--seconds", type=float, required=True)
    one.add_argument("--languages", default="en-it")
    one.add_argument("--made", default="", help='"bt", "ft" or both')
    one.add_argument("--batch-tokens", type=int, default=20_000)
    one.add_argument("--rate", type=float, default=1e-3)
    one.add_argument("--warmup-steps", type=int, default=400)
    one.add_argument("--last-from", type=float, default=0.8, help="share of the time before the last phase")
    one.add_argument("--seed", type=int, default=1)
    two.add_argument("table")
    two.add_argument("--shard", default="0/1", metavar="I/N")
    return parser


if __name__ == "__main__":
    sys.exit(main())
