"""JoeyNMT's own training: its data loader, model, loss and loop (`TrainManager.train_and_validate`).

Two changes, both in its favour: the dropout that our model does not have (on attention weights and inside the
feed-forward network) is off, and it never validates while the clock runs. With `own_batches` it also makes its own
batches, as its users get them: shuffled, not sorted by length. Without, its loop is given ours.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from joeynmt import training as joey
from joeynmt.batch import Batch
from joeynmt.config import parse_global_args
from joeynmt.prediction import prepare, set_validation_args
from joeynmt.transformer_layers import MultiHeadedAttention, PositionwiseFeedForward

from benchmarks.training_peers.cells import (
    BATCH_TOKENS,
    BETA_2,
    EPSILON,
    LABEL_SMOOTHING,
    LEARNING_RATE,
)
from benchmarks.training_peers.corpus import LONGEST, Corpus, sampled
from keras_transformer.config import ModelConfig

NEVER = 10**8
SPECIAL = ("unk", "pad", "bos", "eos")  # JoeyNMT's first ids; the words follow in our order


def configuration(model: ModelConfig, folder: Path, runs: Path) -> dict[str, Any]:
    """A JoeyNMT configuration of the same model, data and optimizer."""

    def stack(layers: int) -> dict[str, Any]:
        return {
            "type": "transformer",
            "num_layers": layers,
            "num_heads": model.num_heads,
            "hidden_size": model.model_dim,
            "ff_size": model.feed_forward_dim,
            "dropout": model.dropout_rate,
            "layer_norm": model.norm_placement,
            "activation": model.activation,
            "embeddings": {
                "embedding_dim": model.model_dim,
                "scale": True,
                "dropout": model.dropout_rate,
            },
        }

    def side(name: str) -> dict[str, Any]:
        return {
            "lang": name,
            "level": "word",
            "max_length": LONGEST,
            "lowercase": False,
            "voc_file": str(folder / "vocabulary.txt"),
        }

    return {
        "name": "benchmark",
        "model_dir": str(runs),
        "use_cuda": False,
        "random_seed": 1,
        "num_workers": 0,
        "data": {
            "train": str(folder / "train"),
            "dev": str(folder / "dev"),
            "dataset_type": "plain",
            "src": side("source"),
            "trg": side("target"),
        },
        "training": {
            "optimizer": "adam",
            "scheduling": "exponential",  # constant, which the loop cannot do without: its factor is 1
            "decrease_factor": 1.0,
            "adam_betas": [0.9, BETA_2],
            "learning_rate": LEARNING_RATE,
            "learning_rate_min": 1e-12,
            "label_smoothing": LABEL_SMOOTHING,
            "normalization": "tokens",
            "batch_size": BATCH_TOKENS,
            "batch_type": "token",
            "epochs": NEVER,
            "validation_freq": NEVER,
            "logging_freq": 100,
            "shuffle": True,
        },
        "testing": {},
        "model": {
            "initializer": "xavier_uniform",
            "embed_initializer": "normal",
            "embed_init_weight": model.model_dim**-0.5,
            "tied_embeddings": True,
            "tied_softmax": True,
            "encoder": stack(model.num_encoder_layers),
            "decoder": stack(model.num_decoder_layers),
        },
    }


def train(
    corpus: Corpus,
    folder: Path,
    runs: Path,
    own_batches: bool,
    open_gate: Callable[[dict[str, Any]], Any],
) -> None:
    """Train until the gate closes."""
    logging.disable(logging.INFO)
    runs.mkdir(parents=True, exist_ok=True)
    arguments = parse_global_args(configuration(corpus.model, folder, runs), rank=0, mode="train")
    model, train_data, dev_data, _ = prepare(arguments, rank=0, mode="train")
    without_inner_dropout(model)
    manager = joey.TrainManager(
        model=model,
        model_dir=arguments.model_dir,
        device=arguments.device,
        n_gpu=0,
        num_workers=0,
        autocast=arguments.autocast,
        seed=1,
        rank=0,
        train_args=arguments.train,
        dev_args=set_validation_args(arguments.test),
    )
    for group in manager.optimizer.param_groups:
        group["eps"] = EPSILON
    gate = open_gate({"weights": sum(p.numel() for p in model.parameters())})
    before = manager._train_step
    last: list[int] = []

    def train_step(batch):
        # The loop updates after this step: an update is done when the next one begins.
        if last:
            gate.update(last.pop())
        last.append(batch.ntokens)
        return before(batch)

    manager._train_step = train_step
    if not own_batches:
        train_data.make_iter = lambda **_: _OurBatches(corpus, arguments.device)
    manager.train_and_validate(train_data=train_data, valid_data=dev_data)


def without_inner_dropout(model: torch.nn.Module) -> None:
    """Switch off dropout on attention weights and inside the feed-forward network."""
    for module in model.modules():
        if isinstance(module, MultiHeadedAttention):
            module.dropout.p = 0.0
        if isinstance(module, PositionwiseFeedForward):
            next(m for m in module.pwff_layer if isinstance(m, torch.nn.Dropout)).p = 0.0


def own_ids(model: ModelConfig) -> torch.Tensor:
    """JoeyNMT's id of each of our ids."""
    ours = [getattr(model, f"{name}_id") for name in SPECIAL]
    words = [token for token in range(model.vocabulary_size) if token not in ours]
    ids = torch.empty(model.vocabulary_size, dtype=torch.long)
    ids[torch.tensor(ours + words)] = torch.arange(model.vocabulary_size)
    return ids


class _OurBatches:
    """Our batches in the form that JoeyNMT's loop reads; one endless epoch."""

    def __init__(self, corpus: Corpus, device: torch.device) -> None:
        self._batches, self._model, self._device = corpus.batches(), corpus.model, device
        self.batch_sampler = self  # the loop seeds it, and saves its state at the end

    def set_seed(self, seed: int) -> None:
        """Nothing: the order is ours."""

    def get_state(self) -> None:
        """Nothing to save."""

    def __iter__(self):
        ids = own_ids(self._model)
        pad_id, bos_id, eos_id = (SPECIAL.index(name) for name in ("pad", "bos", "eos"))
        for batch in sampled(self._batches):
            source = ids[torch.from_numpy(batch.source_ids).long()]
            target = ids[torch.from_numpy(batch.target_output_ids).long()]
            begin = torch.full((len(target), 1), bos_id)
            yield Batch(
                src=source,
                src_length=(source != pad_id).sum(1),
                src_prompt_mask=None,
                trg=torch.cat([begin, target], dim=1),
                trg_prompt_mask=None,
                indices=torch.arange(len(source)),
                device=self._device,
                pad_index=pad_id,
                eos_index=eos_id,
            )
