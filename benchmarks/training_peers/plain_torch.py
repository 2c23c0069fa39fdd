"""A plain loop over torch.nn.Transformer with our batches: what a good tutorial would write, at its best.

The same mathematics as ours: pre-norm with final norms, one tied table, dropout on embeddings and sub-layer outputs
only, label-smoothed cross-entropy over the real tokens, Adam (torch's fused kernel).
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.training_peers.cells import BETA_2, EPSILON, LABEL_SMOOTHING, LEARNING_RATE
from benchmarks.training_peers.corpus import Corpus, sampled
from keras_transformer.config import ModelConfig
from keras_transformer.positions import sinusoidal_positions


class Translator(nn.Module):
    """torch.nn.Transformer between a tied table and its transpose."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.table = nn.Embedding(config.vocabulary_size, config.model_dim)
        nn.init.normal_(self.table.weight, std=config.model_dim**-0.5)
        positions = torch.tensor(sinusoidal_positions(config.max_length, config.model_dim))
        self.register_buffer("positions", positions)
        self.dropout = nn.Dropout(config.dropout_rate)
        self.transformer = nn.Transformer(
            config.model_dim,
            config.num_heads,
            config.num_encoder_layers,
            config.num_decoder_layers,
            config.feed_forward_dim,
            config.dropout_rate,
            batch_first=True,
            norm_first=config.norm_placement == "pre",
        )
        for module in self.transformer.modules():  # dropout that our model does not have
            if isinstance(module, nn.MultiheadAttention):
                module.dropout = 0.0
            if isinstance(module, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):
                module.dropout = nn.Identity()

    def forward(self, source_ids: torch.Tensor, target_ids: torch.Tensor) -> torch.Tensor:
        padding = source_ids == self.config.pad_id
        length = target_ids.shape[1]
        causal = nn.Transformer.generate_square_subsequent_mask(length)
        decoded = self.transformer(
            self._embed(source_ids),
            self._embed(target_ids),
            tgt_mask=causal,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
            tgt_is_causal=True,
        )
        return decoded @ self.table.weight.T

    def _embed(self, ids: torch.Tensor) -> torch.Tensor:
        scaled = self.table(ids) * math.sqrt(self.config.model_dim)
        return self.dropout(scaled + self.positions[: ids.shape[1]])


def train(corpus: Corpus, open_gate: Callable[[dict[str, Any]], Any]) -> None:
    """Train until the gate closes."""
    torch.manual_seed(1)
    model = Translator(corpus.model).train()
    optimizer = torch.optim.Adam(
        model.parameters(), LEARNING_RATE, betas=(0.9, BETA_2), eps=EPSILON, fused=True
    )
    batches = corpus.batches()
    weights = sum(parameter.numel() for parameter in model.parameters())
    gate = open_gate({"weights": weights, "padding": round(batches.padding_share(), 4)})
    for batch in sampled(batches):
        source, target, wanted = (torch.from_numpy(ids).long() for ids in batch[:3])
        logits = model(source, target)
        wanted = torch.where(torch.from_numpy(batch.weights) > 0, wanted, -100)
        loss = functional.cross_entropy(
            logits.flatten(0, 1), wanted.flatten(), label_smoothing=LABEL_SMOOTHING
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss.item()
        gate.update(int(batch.weights.sum()))
