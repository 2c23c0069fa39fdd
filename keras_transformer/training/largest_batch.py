"""The largest `train.batch_tokens` that a GPU holds: doubled until memory runs out, then halved in between."""

import gc

import keras

from keras_transformer.config import TrainConfig
from keras_transformer.errors import UserError
from keras_transformer.training.feeds import as_fit_tuple, has_gpu
from keras_transformer.training.inputs import make_batches
from keras_transformer.training.optimization import compiled_model

_HALVINGS = 3  # what is found is within an eighth of the largest
_SHARE = 0.9  # of it: memory in pieces, and shapes that were not tried


def largest_batch_tokens(pairs, model_config, train_config, console):
    """Tokens a batch on the longer side that updates of this model fit into memory with.

    Args:
        pairs: TokenPairs to train on.
        model_config: ModelConfig.
        train_config: TrainConfig; its `batch_tokens` is tried first.
        console: rich Console for people.

    Raises:
        UserError: there is no GPU, or not even the first batch fits.
    """
    if not has_gpu():
        raise UserError(
            "--largest-batch needs a GPU; on a CPU a larger batch is no faster. Set train.batch_tokens instead."
        )

    def fits(tokens):
        held = _fits(pairs, model_config, TrainConfig(**{**vars(train_config), "batch_tokens": tokens}))
        console.print(f"{tokens:,} tokens a batch: {'fit' if held else 'out of memory'}")
        return held

    everything = int(max(pairs.sources.lengths.sum(), pairs.targets.lengths.sum())) + len(pairs.sources)
    found = search(fits, train_config.batch_tokens, everything)
    if not found:
        raise UserError(
            f"train.batch_tokens must fit into the GPU's memory, {train_config.batch_tokens:,} do not. "
            "Start from less, or compute the batch in parts with train.accumulate_steps."
        )
    return found


def search(fits, first, most):
    """`_SHARE` of the largest count that fits, but not less than `first`; 0 where not even that does.

    Args:
        fits: Tokens → whether an update with so many fits.
        first: What is tried first, and doubled.
        most: More is never needed: the whole corpus.
    """
    if not fits(first):
        return 0
    good, bad = first, None
    while bad is None and good < most:
        if fits(2 * good):
            good *= 2
        else:
            bad = 2 * good
    for _ in range(_HALVINGS if bad else 0):
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return max(first, int(_SHARE * good))


def is_out_of_memory(error):
    """Whether a backend says so: torch and TensorFlow by a class, XLA and cuBLAS by words."""
    words = ("RESOURCE_EXHAUSTED", "out of memory", "ALLOC_FAILED")
    classes = ("OutOfMemoryError", "ResourceExhaustedError")
    return type(error).__name__ in classes or any(word in str(error) for word in words)


def _fits(pairs, model_config, train_config):
    """Whether updates with the largest shapes of batches that this budget gives go through."""
    batches = make_batches(pairs, model_config, train_config)
    shapes = [
        max(batches.buckets, key=lambda b: b.rows * (b.source_length + b.target_length)),
        max(batches.buckets, key=lambda b: b.rows * max(b.source_length, b.target_length) ** 2),  # attention
    ]
    model = None
    try:
        model = compiled_model(model_config, train_config)
        for bucket in shapes:
            x, y, weights = as_fit_tuple(batches.batch(bucket, bucket.members[: bucket.rows]))
            for _ in range(2):  # the second one has the optimizer's memory and the first one's leavings
                model.train_on_batch(x, y, weights)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        del model
        _free()
    return True


def _free():
    keras.utils.clear_session(free_memory=True)
    gc.collect()
    if keras.config.backend() == "torch":
        import torch

        torch.cuda.empty_cache()
