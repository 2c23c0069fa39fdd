"""Keys and values in one block, and the pool that blocks come from."""

import gc
import threading

import numpy as np
import pytest

from keras_transformer.runtime import memory
from keras_transformer.runtime.device_memory import DeviceMover
from keras_transformer.runtime.memory import MemoryPool

SHAPE = (2, 5, 3, 7, 4)  # parts, rows, heads, positions, width


@pytest.fixture(params=["on the CPU", "on a device"])
def any_pool(request):
    """Both kinds of memory; a device's own is tried on the CPU."""
    if request.param == "on the CPU":
        return MemoryPool()
    return DeviceMover("cpu", "CPUExecutionProvider", np.float32)


@pytest.fixture
def pool():
    return MemoryPool()


def filled(pool, shape=SHAPE, seed=0):
    block = pool.room(shape, np.float32)
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    if isinstance(pool, DeviceMover):
        block._value.update_inplace(values)
    else:
        for part in range(shape[0]):
            block.numpy(part)[:] = values[part]
    return block, values


@pytest.mark.parametrize("rows", [(1, 3), (3, 0, 1)], ids=["ascending", "turned"])
def test_rows_that_stay_keep_what_is_filled(any_pool, rows):
    block, values = filled(any_pool)
    block.keep(np.array(rows), 4)
    for part in range(2):
        np.testing.assert_array_equal(block.numpy(part)[:, :, :4], values[part, list(rows), :, :4])


@pytest.mark.parametrize("pairs", [((0, 1), (0, 4)), ((0, 1), (1, 0))], ids=["apart", "crosswise"])
def test_sources_are_read_before_they_are_overwritten(any_pool, pairs):
    block, values = filled(any_pool)
    sources, destinations = (list(side) for side in zip(*pairs, strict=True))
    block.copy_rows(sources, destinations, [2, 0], 6)
    for source, destination, start in zip(sources, destinations, [2, 0], strict=True):
        np.testing.assert_array_equal(block.numpy(1)[destination, :, start:6], values[1, source, :, start:6])


def test_behind_a_shorter_row_there_are_zeros(pool):
    block, values = filled(pool)
    short, new = filled(pool, (2, 2, 3, 5, 4), 1)
    block.put(np.array([4, 1]), short)
    assert block.num_positions == 7
    np.testing.assert_array_equal(block.numpy(0)[[4, 1], :, :5], new[0])
    assert (block.numpy(0)[[4, 1], :, 5:] == 0).all()
    np.testing.assert_array_equal(block.numpy(1)[[0, 2, 3]], values[1, [0, 2, 3]])


def test_behind_growth_there_are_zeros(any_pool):
    block, _ = filled(any_pool)
    grown = block.grown(9)
    np.testing.assert_array_equal(grown.numpy(1)[:, :, :7], block.numpy(1))
    assert (grown.numpy(1)[:, :, 7:] == 0).all()


def test_memory_goes_to_the_next_batch_and_never_to_two(pool):
    first, _ = filled(pool)
    second, _ = filled(pool)
    addresses = {first._address, second._address}
    assert len(addresses) == 2
    del first
    gc.collect()
    third = pool.room((2, 4, 3, 7, 4), np.float32)  # a little smaller: it fits
    assert third._address in addresses - {second._address}
    fourth = pool.room(SHAPE, np.float32)
    assert fourth._address not in {second._address, third._address}


def test_a_block_of_another_size_is_left_alone(pool):
    pool.give_back(np.zeros(100, np.uint8))
    assert len(pool.take(101)) == 101
    assert len(pool.take(49)) == 49
    assert len(pool.take(50)) == 100


def test_the_pool_does_not_grow_for_ever(pool, monkeypatch):
    monkeypatch.setattr(memory, "LARGEST_POOL", 250)
    for size in (100, 101, 102):
        pool.give_back(np.zeros(size, np.uint8))
    assert [len(block) for block in pool._free] == [101, 102]  # the oldest went


class Collecting(list):
    """A list over which the garbage collector runs whenever it is read, as it may wherever Python allocates."""

    def __iter__(self):
        gc.collect()
        return super().__iter__()


def dropped_in_a_cycle(pool, shape):
    cycle = [pool.room(shape, np.uint8)]
    cycle.append(cycle)


@pytest.mark.parametrize("ask", ["take", "give_back"])
def test_the_garbage_collector_may_give_back_while_the_pool_is_asked(pool, monkeypatch, ask):
    monkeypatch.setattr(memory, "LARGEST_POOL", 90)
    gc.disable()
    try:
        dropped_in_a_cycle(pool, (1, 1, 1, 25, 4))
        pool._free = Collecting()
        argument = 100 if ask == "take" else np.zeros(100, np.uint8)
        thread = threading.Thread(target=getattr(pool, ask), args=(argument,), daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()
        assert pool._free == []  # too large to stay, both of them
    finally:
        gc.enable()
