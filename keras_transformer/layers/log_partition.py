"""The normaliser of the softmax over the vocabulary, without a whole (B, T, V) array."""

import keras
from keras import ops

from keras_transformer.layers.own_gradient import own_gradient


def mean_log_partition(hidden, table, shares, chunk_logits, needs_gradient=True):
    """Σ over tokens of share · logsumexp(hidden · tableᵀ), a chunk of tokens at a time.

    The vocabulary is most of a small model's work, and fresh arrays of B·T·V numbers cost more than the products
    that fill them. Here a chunk's logits live in the processor's cache and are gone before the next: with
    p = softmax(z), the gradient needs only p · table and pᵀ · hidden, which are made in the forward pass.

    Args:
        hidden: float (N, D), the decoder's output at N tokens.
        table: float (V, D) in the dtype of `hidden`.
        shares: float32 (N,), each token's weight in the sum; a constant for the gradient.
        chunk_logits: Most logits alive at a time.
        needs_gradient: False leaves the gradient's work out.

    Returns:
        float32 scalar.
    """
    vocabulary_size, model_dim = table.shape
    count = ops.shape(hidden)[0]
    most = max(1, chunk_logits // vocabulary_size)
    chunks = -(-count // most)
    size = -(-count // chunks)  # as even as can be: the last chunk is filled up with fewer than `chunks` rows

    def in_chunks(rows):
        missing = chunks * size - count
        padding = ops.zeros((missing, *rows.shape[1:]), rows.dtype)
        return ops.reshape(ops.concatenate([rows, padding]), (chunks, size, *rows.shape[1:]))

    share_chunks = in_chunks(shares)

    def value_of(hidden, table):
        hidden_chunks, transposed = in_chunks(hidden), ops.transpose(table)

        def add_chunk(i, total):
            scores = ops.cast(ops.matmul(hidden_chunks[i], transposed), "float32")  # (size, V)
            return total + ops.sum(share_chunks[i] * ops.logsumexp(scores, axis=-1))

        return ops.fori_loop(0, chunks, add_chunk, ops.zeros((), "float32"))

    @own_gradient
    def value_and_gradient_of(hidden, table):
        hidden_chunks, transposed = in_chunks(hidden), ops.transpose(table)

        def add_chunk(i, sums):
            total, to_hidden, to_table = sums
            scores = ops.cast(ops.matmul(hidden_chunks[i], transposed), "float32")  # (size, V)
            largest = ops.max(scores, axis=-1, keepdims=True)
            exponentials = ops.exp(scores - largest)
            partition = ops.sum(exponentials, axis=-1, keepdims=True)  # (size, 1)
            log_partition = (largest + ops.log(partition))[:, 0]
            # A row's V exponentials need no pass of their own to be divided by their sum: what is multiplied with
            # them is divided. Half precision has not the range for that.
            scale = 1.0 / partition
            if keras.backend.standardize_dtype(hidden.dtype) != "float32":
                exponentials, scale = exponentials * scale, ops.ones_like(scale)
            exponentials, scale = ops.cast(exponentials, hidden.dtype), ops.cast(scale, hidden.dtype)
            share = ops.cast(share_chunks[i][:, None], hidden.dtype) * scale
            rows = ops.matmul(exponentials, table) * scale
            # Not slice_update: TensorFlow compiles that by XLA, anew for each shape, and copies the whole.
            to_hidden = ops.scatter_update(to_hidden, ops.reshape(i, (1, 1)), rows[None])
            to_table = to_table + ops.cast(
                ops.matmul(ops.transpose(exponentials), share * hidden_chunks[i]), "float32"
            )
            return total + ops.sum(share_chunks[i] * log_partition), to_hidden, to_table

        start = (
            ops.zeros((), "float32"),
            ops.zeros_like(hidden_chunks),
            ops.zeros((vocabulary_size, model_dim), "float32"),
        )
        total, to_hidden, to_table = ops.fori_loop(0, chunks, add_chunk, start)
        to_hidden = ops.reshape(to_hidden, (-1, model_dim))[:count]  # (N, D)

        def gradient(upstream):
            row_scale = ops.cast((upstream * shares)[:, None], to_hidden.dtype)
            return row_scale * to_hidden, ops.cast(upstream * to_table, table.dtype)

        return total, gradient

    return value_and_gradient_of(hidden, table) if needs_gradient else value_of(hidden, table)
