"""Teachers, their translations and students within minutes of one GPU, as processes that wait for each other's files.

    KERAS_BACKEND=jax python recipes/en_it/gpu.py WORK train NAME --seconds 270 [--languages it-en] [--made bt,ft]
    KERAS_BACKEND=torch python recipes/en_it/gpu.py WORK translate NAME TABLE [--shard I/N]

WORK holds what token_files.py wrote. `train` leaves NAME.safetensors and NAME.json; `translate` waits for the weights
and leaves TABLE.I-N.npz: the translations of that table, with the mean log-probability of a token. With `--made` a
student waits for them: "bt" adds real target sentences with a teacher's source (tagged), "ft" real source sentences
with a teacher's translation, "kd" the teacher's translation of the real sources. A run ends by the clock or by its
updates, and its rate falls to 0 with it. README.md beside this file has the commands of the shipped models.
"""

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path

import keras
import numpy as np
from keras import ops

sys.path.insert(0, str(Path(__file__).resolve().parent))

from token_files import Tokens, load, save

from keras_transformer.config import ModelConfig
from keras_transformer.decoding.limits import LoopGuard, length_limits
from keras_transformer.decoding.search import greedy_search
from keras_transformer.model import build_transformer
from keras_transformer.text.tokenizer import Tokenizer
from keras_transformer.training.batches import Batches, Bucket
from keras_transformer.training.compile_ahead import Updates
from keras_transformer.training.feeds import as_fit_tuple, has_gpu, prefetched
from keras_transformer.training.losses import LabelSmoothedCrossEntropy

TAG = "¤"  # of back-translation; Caswell et al. 2019
LEAST_LIKELY = 0.1  # share of machine translations that is dropped
DECODED_TOKENS = 80_000  # source tokens of a batch to translate
FLAT_SHARE = 0.25  # of the training before the rate begins to fall
LENGTHS = (11, 15, 19, 25, 33, 43, 55, 72)  # S = T of a batch; 17 % padding in eight shapes to compile
REPORT_EVERY = 50


def main() -> int:
    arguments = _parser().parse_args()
    tokenizer = Tokenizer.from_file(arguments.work / "tokenizer.json")
    tables = load(arguments.work / "tokens.npz")
    return arguments.role(arguments, tokenizer, tables)


def train(arguments, tokenizer, tables):
    """One model, by the clock or by a number of updates."""
    config = model_config(arguments.sizes, arguments.dropout_rate, tokenizer)
    keras.utils.set_random_seed(arguments.seed)
    model = build_transformer(config, dtype=_precision())
    model.compile(
        keras.optimizers.Adam(arguments.rate, beta_1=0.9, beta_2=0.98, epsilon=1e-9, global_clipnorm=1.0),
        LabelSmoothedCrossEntropy(arguments.label_smoothing, config.pad_id),
    )
    model.optimizer.build(model.trainable_variables)
    steps = _Steps(model, arguments.batch_tokens)  # compiles while a student still waits for its text
    pairs, last = _pairs(arguments, tokenizer, tables)
    every, latest = (_batches(some, config, arguments) for some in (pairs, last))
    print(f"{arguments.name}: {len(pairs):,} pairs, {model.count_params():,} weights", flush=True)
    steps.updates.wait()  # the clock counts training alone
    progress = _Progress(arguments)

    def batches():
        one, two = every.stream(), latest.stream()
        while True:
            yield next(one if progress.share() < arguments.last_from else two)

    for batch in prefetched(batches(), depth=8):
        if progress.share() >= 1.0:
            break
        steps.update(batch, progress.rate())
        progress.step += 1
        if progress.step % REPORT_EVERY == 0:  # reading the loss waits for the device: it never lags far
            print(
                f"{arguments.name} {progress.step}: {steps.mean_loss():.3f} {progress.share():.0%}",
                flush=True,
            )
    steps.write_back()
    path = arguments.work / f"{arguments.name}.safetensors"
    model.save_safetensors(path.with_name(f".{path.name}"))
    facts = {
        "languages": arguments.languages, "sizes": arguments.sizes, "dropout_rate": arguments.dropout_rate,
        "label_smoothing": arguments.label_smoothing, "made": arguments.made, "pairs": len(pairs),
        "updates": progress.step, "batch_tokens": arguments.batch_tokens, "rate": arguments.rate,
        "target_tokens": round(progress.step * every.target_tokens / len(every)),
        "seconds": round(time.monotonic() - progress.started), "weights": model.count_params(),
    }  # fmt: skip
    path.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
    os.replace(path.with_name(f".{path.name}"), path)
    return 0


def translate(arguments, tokenizer, tables):
    """A shard of a table by a trained model, as soon as its weights are there."""
    import torch

    shard, shards = map(int, arguments.shard.split("/"))
    config = model_config(arguments.sizes, arguments.dropout_rate, tokenizer)
    model = build_transformer(config, dtype=_precision())
    sources = tables[arguments.table].lists()
    members = np.arange(len(sources))[shard::shards]
    members = members[np.argsort([len(sources[i]) for i in members], kind="stable")]
    model.load_safetensors(_wait(arguments.work / f"{arguments.name}.safetensors"))
    torch.set_grad_enabled(False)
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
        arguments.work / f"{arguments.output or arguments.table}.{shard}-{shards}.npz",
        targets=Tokens.of([targets[i] for i in order]),
        index=np.array(order, np.int32),
        score=np.array([scores[i] for i in order], np.float32),
    )
    return 0


class _Progress:
    """How much of the training is over, and the rate that goes with it."""

    def __init__(self, arguments):
        self.arguments, self.step, self.started = arguments, 0, time.monotonic()

    def share(self):
        if self.arguments.updates:
            return self.step / self.arguments.updates
        return (time.monotonic() - self.started) / self.arguments.seconds

    def rate(self):
        warm = min(1.0, (self.step + 1) / self.arguments.warmup_steps)
        falling = min(1.0, (1.0 - self.share()) / (1.0 - FLAT_SHARE))
        return self.arguments.rate * warm * max(0.0, falling)


class _Steps:
    """The state of a training under JAX, and its updates."""

    def __init__(self, model, batch_tokens):
        variables = (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )
        self.variables = variables
        self.state = tuple([variable.value for variable in some] for some in variables)
        places = [variable is model.optimizer._learning_rate for variable in model.optimizer.variables]
        self.rate_at = places.index(True)
        self.losses = []
        rows = ((batch_tokens // length, length) for length in LENGTHS)
        self.updates = Updates(model, self.state, [(count, length, length) for count, length in rows])

    def update(self, batch, rate):
        self.state[2][self.rate_at] = np.float32(rate)
        logs, state = self.updates(self.state, as_fit_tuple(batch))
        self.state = tuple(list(some) for some in state)
        self.losses.append(logs["loss"])

    def mean_loss(self):
        mean = float(np.mean([float(loss) for loss in self.losses]))
        self.losses.clear()
        return mean

    def write_back(self):
        self.updates.close()
        for some, values in zip(self.variables, self.state, strict=True):
            for variable, value in zip(some, values, strict=True):
                variable.assign(value)


def _batches(pairs, config, arguments):
    """`Batches` in the shapes of LENGTHS."""
    sources, targets = ([pair[side] for pair in pairs] for side in (0, 1))
    ids = {"pad_id": config.pad_id, "bos_id": config.bos_id, "eos_id": config.eos_id}
    batches = Batches(sources, targets, batch_tokens=arguments.batch_tokens, seed=arguments.seed, **ids)
    longer = np.array([max(len(source), len(target)) + 1 for source, target in pairs])
    places = np.searchsorted(LENGTHS, longer)
    batches.buckets = []
    for place, length in enumerate(LENGTHS):
        members, rows = np.flatnonzero(places == place), arguments.batch_tokens // length
        if len(members):
            batches.buckets.append(Bucket(length, length, rows, -(-len(members) // rows), members))
    return batches


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
        import torch

        logits, self.caches = self.model.decode_step(tokens, position, self.caches, self.source_padding_mask)
        best, chosen = torch.max(logits.float(), dim=-1)
        both = torch.stack([chosen.float(), best - torch.logsumexp(logits.float(), dim=-1)]).cpu().numpy()
        self.log_probs.append(both[1])
        return both[0].astype(np.int64)

    def __call__(self, token_ids, position):
        raise NotImplementedError("greedy search asks a step that can choose for tokens, not for logits")


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

    def read(name):
        return list(zip(tables[f"{name}_{source}"].lists(), tables[f"{name}_{target}"].lists(), strict=True))

    ratio = math.inf if arguments.uncleaned else 2.2
    marks = tables["everyday"]
    everyday, others = [], []
    for pair, mark in zip(read("all"), marks, strict=True):
        if fits(*pair, ratio=ratio):
            (everyday if mark else others).append(pair)
    pairs = everyday * arguments.everyday + others
    if arguments.augmented:
        pairs += [pair for pair in read("augmented") if fits(*pair, ratio=ratio)]
    made = arguments.made.split(",")
    if "kd" in made:
        pairs += made_pairs(arguments.work, tables, f"all_{source}")
    if "bt" in made:
        tag = np.array(tokenizer.encode(TAG), np.int32)
        with_tag = (
            (np.append(tag, m), given) for given, m in made_pairs(arguments.work, tables, f"mono_{target}")
        )
        pairs += [pair for pair in with_tag if fits(*pair, ratio=math.inf)]
    forward = made_pairs(arguments.work, tables, f"mono_{source}") if "ft" in made else []
    chosen = np.random.default_rng(arguments.seed).permutation(len(forward))[: len(everyday)]
    return pairs + forward, everyday + [forward[i] for i in chosen]


def made_pairs(work, tables, name, longest=LENGTHS[-1] - 1):
    """(given, machine's) of a table's translations: the likelier ones, of like length."""
    given = tables[name].lists()
    found = []
    shards = int(_wait_any(work, name).stem.rpartition("-")[2])
    for shard in range(shards):
        part = load(_wait(work / f"{name}.{shard}-{shards}.npz"))
        for index, score, tokens in zip(part["index"], part["score"], part["targets"].lists(), strict=True):
            if score < 0 and fits(given[index], tokens, longest):
                found.append((score, given[index], tokens))
    least = np.quantile([score for score, _, _ in found], LEAST_LIKELY) if found else 0.0
    return [(given, tokens) for score, given, tokens in found if score >= least]


def fits(source, target, longest=LENGTHS[-1] - 1, ratio=2.2):
    """Whether both sides have tokens, no more than `longest`, and are of like length."""
    short, long = sorted((len(source), len(target)))
    return short > 0 and long <= longest and long <= ratio * short + 5


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


def model_config(sizes, dropout_rate, tokenizer):
    """`ModelConfig` of "D,F,H,encoder layers,decoder layers"."""
    names = ("model_dim", "feed_forward_dim", "num_heads", "num_encoder_layers", "num_decoder_layers")
    special = {name: getattr(tokenizer, name) for name in ("pad_id", "bos_id", "eos_id", "unk_id")}
    return ModelConfig(
        vocabulary_size=tokenizer.vocabulary_size,
        **dict(zip(names, map(int, sizes.split(",")), strict=True)),
        dropout_rate=dropout_rate,
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
    length = one.add_mutually_exclusive_group(required=True)
    length.add_argument("--seconds", type=float)
    length.add_argument("--updates", type=int)
    one.add_argument("--languages", default="en-it")
    one.add_argument("--made", default="", help='of "bt", "ft" and "kd", with commas between')
    one.add_argument("--augmented", action="store_true", help="add the pairs in capitals and so on")
    one.add_argument("--everyday", type=int, default=1, help="how often the everyday pairs are there")
    one.add_argument("--uncleaned", action="store_true", help="keep pairs of unlike lengths")
    one.add_argument("--label-smoothing", type=float, default=0.1)
    one.add_argument("--batch-tokens", type=int, default=8_000)
    one.add_argument("--rate", type=float, default=1e-3)
    one.add_argument("--warmup-steps", type=int, default=400)
    one.add_argument("--last-from", type=float, default=0.8, help="share of the time before the last phase")
    one.add_argument("--seed", type=int, default=1)
    two.add_argument("table")
    two.add_argument("--shard", default="0/1", metavar="I/N")
    two.add_argument("--output", help="name of the translations; TABLE where none is given")
    return parser


if __name__ == "__main__":
    sys.exit(main())
