"""The physical limit beside a measurement: the matrix products of a token at the rate of the best product here.

An update multiplies each real token with every weight once forward and twice backward, 2 operations each; a target
token with all logits too. Attention scores, padding, norms, softmax, dropout and the optimizer are not counted.
"""

import time

import torch

from keras_transformer.config import ModelConfig

PRODUCT = (4096, 512, 1024)  # rows, in, out: large enough to be the best a kernel does


def operations_per_target_token(config: ModelConfig, source_tokens: int, target_tokens: int) -> float:
    """Floating-point operations of an update for each real target token."""
    width, inner = config.model_dim, config.feed_forward_dim
    block = 4 * width * width + 2 * width * inner  # self-attention and feed-forward
    source = (
        config.num_encoder_layers * block + config.num_decoder_layers * 2 * width * width
    )  # and cross keys
    target = config.num_decoder_layers * (block + 2 * width * width) + config.vocabulary_size * width
    return 6.0 * (source * source_tokens / target_tokens + target)


def product_rate(seconds: float = 1.0) -> float:
    """Operations a second of one float32 product on one thread, by processor time: the best of many."""
    torch.set_num_threads(1)
    rows, inner, outer = PRODUCT
    left, right = torch.randn(rows, inner), torch.randn(inner, outer)
    out, best, until = torch.empty(rows, outer), float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.process_time()
        torch.mm(left, right, out=out)
        best = min(best, time.process_time() - started)
    return 2.0 * rows * inner * outer / best
