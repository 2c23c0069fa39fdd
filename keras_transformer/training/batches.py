"""Token-budget batches in length buckets: a fixed list of shapes, an order that follows from (seed, epoch)."""

from typing import NamedTuple

import numpy as np


class Bucket(NamedTuple):
    """Pairs of like length, always batched to the same shape."""

    source_length: int  # S of every batch
    target_length: int  # T of every batch
    rows: int  # B of every batch
    members: np.ndarray  # indices of the pairs, int64


class Batch(NamedTuple):
    """What the model is fed: right-padded ids and the weight of every target token."""

    source_ids: np.ndarray  # int32 (B, S)
    target_input_ids: np.ndarray  # int32 (B, T)
    target_output_ids: np.ndarray  # int32 (B, T)
    weights: np.ndarray  # float32 (B, T), 0 at padding


class TokenTable:
    """Token lists in an Arrow file: row i without loading the others.

    Args:
        column: pyarrow ChunkedArray of int32 lists, as `datasets` maps it from disk.
    """

    def __init__(self, column):
        self._offsets = [np.asarray(chunk.offsets) for chunk in column.chunks]
        # `values` ignores a chunk's own offset, as `offsets` do not: together they are right.
        self._values = [chunk.values.to_numpy(zero_copy_only=True) for chunk in column.chunks]
        self._starts = np.cumsum([0, *(len(chunk) for chunk in column.chunks)])
        self.lengths = np.concatenate([np.diff(offsets) for offsets in self._offsets] or [np.zeros(0, int)])

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, index):
        chunk = int(np.searchsorted(self._starts, index, side="right")) - 1
        row = index - self._starts[chunk]
        offsets = self._offsets[chunk]
        return self._values[chunk][offsets[row] : offsets[row + 1]]


class Batches:
    """Batches of a tokenised corpus.

    Sources get EOS; target inputs start with BOS, target outputs end with EOS. Buckets are cut at
    quantiles of the target lengths and, within each, of the source lengths, so that their number (and
    with it the number of compiled shapes) is fixed and padding small. The last batch of a bucket is
    filled with copies of its first row at weight 0.

    Args:
        sources, targets: Token lists without special ids: `TokenTable` or lists of int arrays.
        batch_tokens: Most tokens of a batch on either side, padding counted.
        pad_id, bos_id, eos_id: Special ids.
        seed: Of the order.

    Raises:
        ValueError: no pairs, or a pair does not fit the budget.
    """

    TARGET_CUTS = 16
    SOURCE_CUTS = 4

    def __init__(self, sources, targets, *, batch_tokens, pad_id, bos_id, eos_id, seed):
        self.sources, self.targets = sources, targets
        self.pad_id, self.bos_id, self.eos_id, self.seed = pad_id, bos_id, eos_id, seed
        source_lengths, target_lengths = _lengths(sources) + 1, _lengths(targets) + 1
        if not len(source_lengths):
            raise ValueError("`sources` must hold at least one pair, got none. Check what cleaning dropped.")
        longest = int(max(source_lengths.max(), target_lengths.max()))
        if longest > batch_tokens:
            raise ValueError(
                f"`batch_tokens` must be at least the longest sentence ({longest}), got {batch_tokens}. "
                "Raise it or drop long pairs."
            )
        self.buckets = _buckets(source_lengths, target_lengths, batch_tokens)
        self.target_tokens = int(target_lengths.sum())

    def __len__(self):
        """Batches in one epoch."""
        return sum(-(-len(bucket.members) // bucket.rows) for bucket in self.buckets)

    def padding_share(self):
        """Share of padding among the tokens of an epoch, both sides."""
        filled = sum(
            -(-len(b.members) // b.rows) * b.rows * (b.source_length + b.target_length) for b in self.buckets
        )
        real = int((_lengths(self.sources) + 1).sum()) + self.target_tokens
        return 1.0 - real / filled

    def epoch(self, number, start=0):
        """Batches of epoch `number` from position `start`, in an order fixed by (seed, number)."""
        order = np.random.default_rng((self.seed, number))
        slots = []
        for bucket in self.buckets:
            members = order.permutation(bucket.members)
            slots += [(bucket, members[i : i + bucket.rows]) for i in range(0, len(members), bucket.rows)]
        for slot in order.permutation(len(slots))[start:]:
            yield self.batch(*slots[slot])

    def stream(self, start_step=0):
        """Endless batches, epoch after epoch, from update `start_step` on."""
        number, start = divmod(start_step, len(self))
        while True:
            yield from self.epoch(number, start)
            number, start = number + 1, 0

    def batch(self, bucket, members):
        """The `Batch` of these pairs in this bucket's shape."""
        source_ids = np.full((bucket.rows, bucket.source_length), self.pad_id, np.int32)
        inputs = np.full((bucket.rows, bucket.target_length), self.pad_id, np.int32)
        outputs = np.full((bucket.rows, bucket.target_length), self.pad_id, np.int32)
        weights = np.zeros((bucket.rows, bucket.target_length), np.float32)
        for row, index in enumerate(members):
            source, target = self.sources[int(index)], self.targets[int(index)]
            source_ids[row, : len(source)] = source
            source_ids[row, len(source)] = self.eos_id
            inputs[row, 0] = self.bos_id
            inputs[row, 1 : len(target) + 1] = target
            outputs[row, : len(target)] = target
            outputs[row, len(target)] = self.eos_id
            weights[row, : len(target) + 1] = 1.0
        for array in (source_ids, inputs, outputs):  # a row of padding alone has no key to attend to
            array[len(members) :] = array[0]
        return Batch(source_ids, inputs, outputs, weights)


def _lengths(tokens):
    return tokens.lengths if isinstance(tokens, TokenTable) else np.array([len(t) for t in tokens], np.int64)


def _buckets(source_lengths, target_lengths, batch_tokens):
    # A small corpus gets fewer buckets: each ends with a partly filled batch.
    batches = max(1, int(target_lengths.sum()) // batch_tokens)
    target_cuts = max(1, min(Batches.TARGET_CUTS, batches // 6))
    source_cuts = max(1, min(Batches.SOURCE_CUTS, batches // (6 * target_cuts)))
    buckets = []
    for members in _cut(np.arange(len(target_lengths)), target_lengths, target_cuts):
        for part in _cut(members, source_lengths, source_cuts):
            source_length, target_length = int(source_lengths[part].max()), int(target_lengths[part].max())
            rows = max(1, min(len(part), batch_tokens // max(source_length, target_length)))
            buckets.append(Bucket(source_length, target_length, rows, part))
    return buckets


def _cut(members, lengths, parts):
    """`members` in at most `parts` groups of about equal token mass; equal lengths stay together."""
    order = members[np.argsort(lengths[members], kind="stable")]
    sorted_lengths = lengths[order]
    mass = np.cumsum(sorted_lengths)
    wanted = mass[-1] * np.arange(1, parts) / parts
    edges = sorted_lengths[np.searchsorted(mass, wanted)]  # each cut moves to the end of its length
    cuts = np.unique(np.searchsorted(sorted_lengths, edges, side="right"))
    return [group for group in np.split(order, cuts) if len(group)]
