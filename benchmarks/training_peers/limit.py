"""The physical limit beside a measurement: the matrix products of a token at the rate of the best product here.

An update multiplies each real token with every weight once forward and twice backward, 2 operations each; a target
token with all logits too. Attention scores, padding, norms, softmax, dropout and the optimizer are not counted.
"""

import os
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


def product_rate(core: int, seconds: float = 0.7) -> float:
    """Operations a second of one float32 product on one thread of this core, by processor time, kept up for so long.

    Not the best moment's: a trainer has the machine as it is for seconds, and so has what stands beside it.
    """
    torch.set_num_threads(1)
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    rows, inner, outer = PRODUCT
    left, right, out = torch.randn(rows, inner), torch.randn(inner, outer), torch.empty(rows, outer)
    torch.mm(left, right, out=out)
    count, started = 0, time.process_time()
    while time.process_time() < started + seconds:
        torch.mm(left, right, out=out)
        count += 1
    rate = count * 2.0 * rows * inner * outer / (time.process_time() - started)
    os.sched_setaffinity(0, allowed)
    return rate
