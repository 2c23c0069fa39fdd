"""Token-budget batches in length buckets: a fixed list of shapes, an order that follows from (seed, epoch)."""

from typing import NamedTuple

import numpy as np

# Where nothing is compiled for a shape (torch, TensorFlow on a CPU) this many cost nothing.
MAX_SHAPES = 128
# Where each is compiled (JAX takes nine seconds for one of a tiny model, on one core): the fewest that keep padding
# below 8 % on Multi30k and on mixed English-Italian text.
COMPILED_SHAPES = 48
WORTH_A_SHAPE = 0.25  # of a batch's tokens on a side
PAIRS_AT_ONCE = 2**20  # that are counted


class Bucket(NamedTuple):
    """Pairs of like lengths, always batched to the same shape."""

    source_length: int  # S of every batch
    target_length: int  # T of every batch
    rows: int  # B of every batch
    batches: int  # an epoch
    members: np.ndarray  # indices of the pairs, ascending


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
        self.lengths = _small(
            np.concatenate([np.diff(offsets) for offsets in self._offsets] or [np.zeros(0, int)])
        )

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, index):
        chunk = int(np.searchsorted(self._starts, index, side="right")) - 1
        row = index - self._starts[chunk]
        offsets = self._offsets[chunk]
        return self._values[chunk][offsets[row] : offsets[row + 1]]


class Batches:
    """Batches of a tokenised corpus, in a bounded number of shapes.

    Sources get EOS; target inputs start with BOS, target outputs end with EOS. A batch holds as many rows as
    the budget allows on its longer side. The rows of a bucket are dealt out evenly, so that all its batches
    have one shape; the last may be filled with copies of its first row at weight 0.

    Args:
        sources, targets: Token lists without special ids: `TokenTable` or lists of int arrays.
        batch_tokens: Most tokens of a batch on either side, padding counted.
        pad_id, bos_id, eos_id: Special ids.
        seed: Of the order.
        max_shapes: Most different shapes (B, S, T). Fewer are compiled sooner, more waste less on padding.

    Raises:
        ValueError: no pairs, or a pair does not fit the budget.
    """

    def __init__(
        self, sources, targets, *, batch_tokens, pad_id, bos_id, eos_id, seed, max_shapes=MAX_SHAPES
    ):
        self.sources, self.targets, self.max_shapes = sources, targets, max_shapes
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
        self.buckets = buckets(source_lengths, target_lengths, batch_tokens, max_shapes)
        self.source_tokens = int(source_lengths.sum(dtype=np.int64))
        self.target_tokens = int(target_lengths.sum(dtype=np.int64))

    def __len__(self):
        """Batches in one epoch."""
        return sum(bucket.batches for bucket in self.buckets)

    def padding_share(self):
        """Share of padding among the tokens of an epoch, both sides."""
        filled = sum(b.batches * b.rows * (b.source_length + b.target_length) for b in self.buckets)
        return 1.0 - (self.source_tokens + self.target_tokens) / filled

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
        sources, source_lengths = _rows(self.sources, members)
        targets, target_lengths = _rows(self.targets, members)
        source_ids, _ = self._filled(bucket.rows, bucket.source_length, sources, source_lengths)
        outputs, weights = self._filled(bucket.rows, bucket.target_length, targets, target_lengths)
        inputs = np.full_like(outputs, self.pad_id)
        inputs[:, 0] = self.bos_id
        np.copyto(inputs[:, 1:], outputs[:, :-1], where=weights[:, 1:] > 0)
        return Batch(source_ids, inputs, outputs, weights)

    def _filled(self, rows, length, tokens, lengths):
        """ids (rows, length), each row's tokens with EOS behind them, and 1.0 at each of them, 0.0 behind."""
        ids = np.full((rows, length), self.pad_id, np.int32)
        positions = np.arange(length)
        ids[: len(lengths)][positions < lengths[:, None]] = tokens
        ids[np.arange(len(lengths)), lengths] = self.eos_id
        ids[len(lengths) :] = ids[0]  # a row of padding alone has no key to attend to
        weights = np.zeros((rows, length), np.float32)
        weights[: len(lengths)] = positions <= lengths[:, None]
        return ids, weights


def buckets(source_lengths, target_lengths, batch_tokens, max_shapes):
    """The corpus as at most `max_shapes` `Bucket`s.

    Lengths are rounded up in steps of 6 %. At first each (S, T) that occurs is a shape, and a pair goes to the
    cheapest that holds it; then the shape that costs least to do without goes, until they are few enough and each
    saves what it costs.

    What there is for each pair takes few bytes: tens of millions of pairs are to fit.
    """
    steps = _steps(max(source_lengths.max(), target_lengths.max()))
    place_of_length = np.searchsorted(steps, np.arange(steps[-1] + 1))
    cell_type = np.min_scalar_type(len(steps) ** 2)
    cell_of_pair = (place_of_length * len(steps)).astype(cell_type)[source_lengths]
    cell_of_pair += place_of_length.astype(cell_type)[target_lengths]
    pairs = np.zeros(len(steps) ** 2, np.int64)
    for part in np.array_split(cell_of_pair, len(cell_of_pair) // PAIRS_AT_ONCE + 1):
        pairs += np.bincount(part, minlength=len(pairs))
    cells = np.flatnonzero(pairs)
    source_places, target_places = np.divmod(cells, len(steps))
    largest = source_places.max() * len(steps) + target_places.max()  # holds every pair
    shapes = steps[np.stack(np.divmod(np.union1d(cells, [largest]), len(steps)))]  # (2, shapes): S, T
    cell_sizes = steps[np.stack([source_places, target_places])]
    holds = (cell_sizes[:, :, None] <= shapes[:, None, :]).all(axis=0)
    tokens = np.where(holds, shapes.sum(axis=0), np.inf)  # (cells, shapes), of one pair
    while tokens.shape[1] > 1:
        loss, excess = _loss_without(tokens, pairs[cells]), tokens.shape[1] - max_shapes
        # A shape more is a batch more, and all batches less full: not for a few tokens of padding.
        if excess <= 0 and loss.min() >= batch_tokens * WORTH_A_SHAPE:
            break
        dropped = np.argsort(loss, kind="stable")[: max(1, excess // 8)]
        tokens, shapes = np.delete(tokens, dropped, axis=1), np.delete(shapes, dropped, axis=1)
    shape_of_cell = np.zeros(len(pairs), np.min_scalar_type(tokens.shape[1]))
    shape_of_cell[cells] = tokens.argmin(axis=1)
    shape_of_pair = shape_of_cell[cell_of_pair]
    found = []
    for shape in np.unique(shape_of_cell[cells]):
        members = _small(np.flatnonzero(shape_of_pair == shape), len(shape_of_pair))
        source_length, target_length = int(source_lengths[members].max()), int(target_lengths[members].max())
        batches = -(-len(members) // (batch_tokens // max(source_length, target_length)))
        found.append(Bucket(source_length, target_length, -(-len(members) // batches), batches, members))
    return found


def _small(numbers, bound=None):
    """Whole numbers from 0 in as few bytes as those below `bound`, and one more, need."""
    bound = int(numbers.max(initial=0)) + 1 if bound is None else bound
    return numbers.astype(np.min_scalar_type(bound))


def _steps(longest):
    """Lengths up to `longest`, 6 % apart."""
    steps = [int(longest)]
    while steps[-1] > 1:
        steps.append(min(steps[-1] - 1, round(steps[-1] / 1.06)))
    return np.array(steps[::-1])


def _loss_without(tokens, pairs):
    """Tokens that the corpus would grow by without each of the shapes: its pairs go to the next best."""
    best_two = np.argpartition(tokens, 1, axis=1)[:, :2]
    costs = np.take_along_axis(tokens, best_two, axis=1)
    best = np.take_along_axis(best_two, costs.argmin(axis=1)[:, None], axis=1)[:, 0]
    return np.bincount(best, weights=pairs * np.abs(costs[:, 1] - costs[:, 0]), minlength=tokens.shape[1])


def _lengths(tokens):
    return tokens.lengths if isinstance(tokens, TokenTable) else _small(np.array([len(t) for t in tokens]))


def _rows(tokens, members):
    """The tokens of these rows end to end, and each row's length."""
    rows = [tokens[int(index)] for index in members]
    return np.concatenate(rows), np.array([len(row) for row in rows])
