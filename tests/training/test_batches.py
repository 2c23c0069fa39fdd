import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from keras_transformer.training.batches import COMPILED_SHAPES, MAX_SHAPES, Batches, TokenTable, buckets

PAD, BOS, EOS = 0, 1, 2


def corpus(count, seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(4, 30, (count, 2))
    lengths[:, 1] = lengths[:, 0] + rng.integers(-3, 4, count)  # a translation is about as long
    # The first token names the pair, so that sides which lose each other are seen.
    return [
        [np.array([10 + i, *rng.integers(4, 9, n - 1)], np.int32) for i, n in enumerate(lengths[:, side])]
        for side in (0, 1)
    ]


def batches(sources, targets, batch_tokens=200, seed=1, max_shapes=128):
    ids = {"pad_id": PAD, "bos_id": BOS, "eos_id": EOS}
    return Batches(sources, targets, batch_tokens=batch_tokens, seed=seed, max_shapes=max_shapes, **ids)


def test_an_epoch_holds_every_pair_once_and_together():
    sources, targets = corpus(300)
    seen = []
    for batch in batches(sources, targets).epoch(0):
        for row in range(len(batch.source_ids)):
            if not batch.weights[row].any():
                continue
            source, inputs, outputs = (
                batch.source_ids[row],
                batch.target_input_ids[row],
                batch.target_output_ids[row],
            )
            index = int(source[0]) - 10
            seen.append(index)
            np.testing.assert_array_equal(source[source != PAD], [*sources[index], EOS])
            np.testing.assert_array_equal(inputs[inputs != PAD], [BOS, *targets[index]])
            np.testing.assert_array_equal(outputs[outputs != PAD], [*targets[index], EOS])
            assert batch.weights[row].sum() == len(targets[index]) + 1
            np.testing.assert_array_equal(batch.weights[row] > 0, outputs != PAD)
    assert sorted(seen) == list(range(300))


@pytest.mark.parametrize("max_shapes", [1, 7, 40])
def test_batches_obey_the_budget_in_a_bounded_number_of_shapes(max_shapes):
    made = batches(*corpus(4000), max_shapes=max_shapes)
    shapes = {(b.source_ids.shape, b.target_input_ids.shape) for b in made.epoch(0)}
    assert len(shapes) <= len(made.buckets) <= max_shapes
    assert all(max(source[0] * source[1], target[0] * target[1]) <= 200 for source, target in shapes)
    assert {(b.source_ids.shape, b.target_input_ids.shape) for b in made.epoch(1)} == shapes


def test_padding_is_small_on_both_sides_and_falls_with_more_shapes():
    lengths = np.random.default_rng(0).lognormal(3.0, 0.5, 30_000).clip(3, 80).astype(int)
    others = (lengths + np.random.default_rng(1).normal(0, 3, 30_000)).clip(3, 80).astype(int)
    shares = []
    for max_shapes in (1, 16, 64, COMPILED_SHAPES, MAX_SHAPES):
        found = buckets(lengths, others, 4096, max_shapes)
        filled = np.array([(b.source_length, b.target_length) for b in found]).T @ [
            b.rows * b.batches for b in found
        ]
        shares.append(1 - np.array([lengths.sum(), others.sum()]) / filled)
    assert (np.array(shares[-2:]) <= 0.08).all()
    assert [s.mean() for s in shares] == sorted((s.mean() for s in shares), reverse=True)


def test_a_pair_takes_few_bytes():
    """So that tens of millions fit: their tokens lie on disk, what is here grows with every pair."""
    pairs, generator = 2_000_000, np.random.default_rng(0)
    lengths = [generator.lognormal(3.0, 0.5, pairs).clip(3, 80).astype(np.uint8) for _ in range(2)]
    tracemalloc.start()
    made = buckets(*lengths, 4096, MAX_SHAPES)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(len(bucket.members) for bucket in made) == pairs
    assert kept < 5 * pairs  # a number of 32 bits
    assert peak < 40 * pairs  # most of it the table of shapes, which grows no further


def test_rows_of_a_bucket_are_dealt_out_evenly():
    """Hardly a row is filled up, and no batch is much smaller than its shape allows."""
    made = batches(*corpus(4000), max_shapes=10)
    for bucket in made.buckets:
        assert 0 <= bucket.rows * bucket.batches - len(bucket.members) < bucket.batches
    assert made.target_tokens / len(made) > 0.7 * 200


def test_the_shapes_come_back_in_every_epoch():
    """What compiles a shape compiles nothing after the first epoch."""
    made = batches(*corpus(500))
    first = {(b.source_ids.shape, b.target_input_ids.shape) for b in made.epoch(0)}
    later = {(b.source_ids.shape, b.target_input_ids.shape) for e in (1, 2, 9) for b in made.epoch(e)}
    assert later == first


def test_length_and_token_count_are_those_of_the_epoch():
    sources, targets = corpus(333)
    made = batches(sources, targets)
    epoch = list(made.epoch(4))
    assert len(epoch) == len(made)
    assert (
        sum(batch.weights.sum() for batch in epoch) == made.target_tokens == sum(len(t) + 1 for t in targets)
    )
    filled = sum(batch.source_ids.size + batch.target_input_ids.size for batch in epoch)
    real = made.target_tokens + sum(len(s) + 1 for s in sources)
    assert made.padding_share() == pytest.approx(1 - real / filled)


def test_rows_that_fill_up_a_batch_have_keys_and_no_weight():
    sources, targets = corpus(7)
    made = batches(sources, targets, batch_tokens=100)
    for batch in made.epoch(0):
        assert (batch.source_ids[:, 0] != PAD).all()
    assert sum((batch.weights.sum(1) > 0).sum() for batch in made.epoch(0)) == 7


def keys(items):
    return [tuple(batch.source_ids[:, 0]) for batch in items]


def test_order_follows_from_seed_and_epoch():
    sources, targets = corpus(300)
    first = keys(batches(sources, targets).epoch(0))
    assert keys(batches(sources, targets).epoch(0)) == first
    assert keys(batches(sources, targets).epoch(1)) != first
    assert keys(batches(sources, targets, seed=2).epoch(0)) != first


def test_a_stream_goes_on_where_it_was_left():
    made = batches(*corpus(300))
    n = len(made)
    stream = made.stream()
    whole = keys(next(stream) for _ in range(2 * n + 3))
    assert whole[:n] == keys(made.epoch(0))
    assert whole[n : 2 * n] == keys(made.epoch(1))
    resumed = made.stream(n + 2)
    assert keys(next(resumed) for _ in range(n + 1)) == whole[n + 2 :]


def test_a_table_gives_the_rows_of_its_chunks():
    rows = [[1, 2], [], [3], [4, 5, 6], [7]]
    whole = pa.array(rows, pa.list_(pa.int32()))
    table = TokenTable(pa.chunked_array([whole[:2], whole[2:4], whole[4:]]))
    assert len(table) == 5
    assert table.lengths.tolist() == [2, 0, 1, 3, 1]
    assert [table[i].tolist() for i in range(5)] == rows


def test_mistakes_are_refused():
    with pytest.raises(ValueError, match=r"^`sources` must hold at least one pair, got none"):
        batches([], [])
    with pytest.raises(
        ValueError, match=r"^`batch_tokens` must be at least the longest sentence \(12\), got 11"
    ):
        batches([np.arange(11)], [np.arange(3)], batch_tokens=11)
