"""Attention in two products against the oracle: its values, and its own gradient by central differences."""

import numpy as np
import pytest
from keras import ops

from keras_transformer.layers.two_products import attend_in_two_products
from tests.helpers import to_numpy
from tests.reference import transformer as reference
from tests.training.gradients import gradient

B, T, S, H, K = 2, 3, 4, 2, 5
RNG = np.random.default_rng(4)
GIVEN = {
    "query": RNG.normal(size=(B, T, H, K)),
    "keys": RNG.normal(size=(B, S, H, K)),
    "values": RNG.normal(size=(B, S, H, K)),
}
WANTED = RNG.normal(size=(B, T, H, K))  # what the sum weighs the outputs with
MASK = np.array([[True, True, True, True], [True, True, False, False]])[:, None, None, :]
KEPT = 2.0 * RNG.integers(0, 2, (B, H, T, S))


def by_hand(given, mask, kept):
    """(B, T, H, K) in float64."""
    query, keys, values = (given[name].swapaxes(1, 2) for name in ("query", "keys", "values"))
    weights = reference.attention(query, keys, values, mask).weights
    return ((weights if kept is None else weights * kept) @ values).swapaxes(1, 2)


def tensors(arrays, dtype="float32"):
    return {name: ops.convert_to_tensor(array.astype("float32"), dtype) for name, array in arrays.items()}


masks = pytest.mark.parametrize("mask", [None, MASK], ids=["whole", "masked"])
dropouts = pytest.mark.parametrize("kept", [None, KEPT], ids=["all kept", "some dropped"])


def options(mask, kept):
    return {
        "mask": None if mask is None else ops.convert_to_tensor(mask),
        "kept": None if kept is None else ops.convert_to_tensor(kept.astype("float32")),
    }


@masks
@dropouts
def test_the_output_is_the_oracle_s(mask, kept):
    found = to_numpy(attend_in_two_products(**tensors(GIVEN), **options(mask, kept)))
    np.testing.assert_allclose(found, by_hand(GIVEN, mask, kept), rtol=0, atol=1e-5)


@masks
@dropouts
@pytest.mark.parametrize("which", list(GIVEN))
def test_the_gradient_is_the_oracle_s_slope(which, mask, kept):
    wanted = ops.convert_to_tensor(WANTED.astype("float32"))

    def weighed(values):
        attended = attend_in_two_products(**{**tensors(GIVEN), which: values}, **options(mask, kept))
        return ops.sum(attended * wanted)

    found = gradient(weighed, GIVEN[which].astype("float32"))
    expected = np.zeros(GIVEN[which].shape)
    for cell in np.ndindex(*expected.shape):
        ends = []
        for sign in (1, -1):
            moved = {name: array.copy() for name, array in GIVEN.items()}
            moved[which][cell] += sign * 1e-5
            ends.append((by_hand(moved, mask, kept) * WANTED).sum())
        expected[cell] = (ends[0] - ends[1]) / 2e-5
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


def test_a_row_without_any_key_is_an_average():
    found = to_numpy(attend_in_two_products(**tensors(GIVEN), mask=ops.zeros((1, 1, T, S), "bool")))
    expected = np.broadcast_to(GIVEN["values"].mean(axis=1, keepdims=True), found.shape)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_half_precision_takes_its_softmax_in_float32():
    found = attend_in_two_products(**tensors(GIVEN, "bfloat16"), **options(MASK, None))
    assert "bfloat16" in str(found.dtype)
    # Eight bits of mantissa: inputs and products of order 1 are off by 0.004, sums by some of these.
    found = to_numpy(ops.cast(found, "float32"))
    np.testing.assert_allclose(found, by_hand(GIVEN, MASK, None), rtol=0, atol=0.05)
