"""One batch on its way: rows at positions of their own, beams, refilling, alignments, and ending a run."""

import re
import threading
import time

import numpy as np
import pytest

from keras_transformer.decoding.cancellation import Cancellation, Cancelled
from keras_transformer.runtime import encoding
from keras_transformer.runtime.sessions import Engine
from tests.onnx_export import runs
from tests.reference import transformer as oracle

CONFIG = runs.config()
WEIGHTS = runs.weights_of(CONFIG)
LENGTHS = (7, 1, 5, 3)
# Another batch size takes another float32 kernel, which sums in another order; integers have one sum.
TOLERANCE = {"fp32": 1e-4, "int8": 0.0}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return runs.write_bundle(tmp_path_factory.mktemp("bundle"), CONFIG, WEIGHTS, ("fp32", "int8"))


@pytest.fixture(params=["fp32", "int8"])
def engine(bundle, request):
    return Engine.load(bundle, "cpu", 1, precision=request.param)


@pytest.fixture
def fp32(bundle):
    return Engine.load(bundle, "cpu", 1, precision="fp32")


def sources_of(lengths=LENGTHS, seed=1):
    rows = runs.rows_of(CONFIG, lengths, seed, last=CONFIG.eos_id)
    return [row[row != CONFIG.pad_id] for row in rows]


def targets_of(num_rows, length=6, seed=2):
    return runs.rows_of(CONFIG, (length,) * num_rows, seed, first=CONFIG.bos_id)


def alone(engine, source, target):
    """Logits (T, V) of one row by itself, one token at a time."""
    state = engine.start([source])
    return np.stack([state(target[t : t + 1], t)[0].copy() for t in range(len(target))])


def same(engine, got, expected):
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[engine.precision])


def test_the_beams_of_a_sentence_are_rows_of_its_own(engine):
    sources, targets = sources_of(), targets_of(12)
    state = engine.start(sources, 6, beam_size=3)
    assert (state.batch_size, state.beam_size) == (4, 3)
    logits = np.stack([state(targets[:, t], t).copy() for t in range(6)], axis=1)
    for row in range(12):
        same(engine, logits[row], alone(engine, sources[row // 3], targets[row]))
    np.testing.assert_allclose(
        engine.start(sources, 6, beam_size=3).feed(targets), logits, rtol=0, atol=TOLERANCE[engine.precision]
    )


@pytest.mark.parametrize("pairs", [((0, 1), (4, 5)), ((0, 1), (1, 2), (5, 3))], ids=["apart", "in a chain"])
def test_a_copied_row_goes_on_as_its_source_was_before(engine, pairs):
    sources, targets = sources_of((7, 4)), targets_of(6)
    state = engine.start(sources, beam_size=3)
    for t in range(3):
        state(targets[:, t], t)
    state.copy_rows([pair[0] for pair in pairs], [pair[1] for pair in pairs], [0] * len(pairs))
    origin = np.arange(6)
    for source, destination in pairs:
        origin[destination] = source
    for t in range(3, 6):
        logits = state(targets[:, t], t)
        for row in range(6):
            target = np.concatenate([targets[origin[row], :3], targets[row, 3:]])
            same(engine, logits[row], alone(engine, sources[row // 3], target)[t])


@pytest.mark.parametrize("order", [(0, 2, 3), (3, 0)], ids=["ascending", "turned"])
def test_sentences_leave_with_all_their_beams(engine, order):
    sources, targets = sources_of(), targets_of(8)
    state = engine.start(sources, beam_size=2)
    for t in range(3):
        state(targets[:, t], t)
    state.keep(np.array(order))
    assert state.batch_size == len(order)
    rows = [2 * sentence + beam for sentence in order for beam in range(2)]
    for t in range(3, 6):
        logits = state(targets[rows, t], t)
        for index, row in enumerate(rows):
            same(engine, logits[index], alone(engine, sources[row // 2], targets[row])[t])


def test_the_likeliest_token_is_that_of_the_logits(engine):
    sources = sources_of()
    chosen, tokens = engine.start(sources), np.full(4, CONFIG.bos_id)
    logits = engine.start(sources)
    for t in range(9):
        found = chosen.likeliest(tokens, t)
        np.testing.assert_array_equal(found, logits(tokens, t).argmax(axis=1))
        tokens = found


def test_logits_and_the_likeliest_may_take_turns(fp32):
    sources, targets = sources_of(), targets_of(4)
    state, whole = fp32.start(sources), fp32.start(sources).feed(targets)
    for t in range(6):
        if t % 2:
            np.testing.assert_array_equal(state.likeliest(targets[:, t], t), whole[:, t].argmax(axis=1))
        else:
            np.testing.assert_allclose(state(targets[:, t], t), whole[:, t], rtol=0, atol=1e-4)


@pytest.mark.parametrize("screened", [True, False])
def test_weights_that_are_not_finite_are_named(tmp_path, screened):
    weights = dict(WEIGHTS)
    weights["decoder_norm/beta"] = weights["decoder_norm/beta"] + np.float32(np.nan)
    engine = Engine.load(runs.write_bundle(tmp_path, CONFIG, weights), "cpu", 1)
    if not screened:
        engine.screen = None
    message = "The best logit must be a finite number, it is not. Check the weights."
    with pytest.raises(FloatingPointError, match=rf"\A{re.escape(message)}\Z"):
        engine.start(sources_of()).likeliest(np.full(4, 1), 0)


def test_the_alignment_is_that_of_the_oracle(engine, monkeypatch):
    source = runs.rows_of(CONFIG, LENGTHS, 1, last=CONFIG.eos_id)
    target = targets_of(4)
    seen = []
    real = oracle.attention

    def recorded(*arguments):
        seen.append(real(*arguments))
        return seen[-1]

    monkeypatch.setattr(oracle, "attention", recorded)
    oracle.logits(WEIGHTS, CONFIG, source, target)
    layer = engine.manifest.alignment_layer
    assert layer == CONFIG.num_decoder_layers - 2
    expected = seen[CONFIG.num_encoder_layers + 2 * layer + 1].weights  # (B, H, T, S)

    weights = engine.start(sources_of()).attention(target)

    for row, length in enumerate(LENGTHS):
        assert (weights[row, :, :, length:] == 0).all()
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=0, atol=1e-6)
    # Two rounded layers behind sharp attention move some weight between source tokens.
    tolerance = {"fp32": 1e-4, "int8": 0.5}[engine.precision]
    np.testing.assert_allclose(weights, expected, rtol=0, atol=tolerance)
    assert np.abs(weights - expected).mean() < {"fp32": 1e-5, "int8": 0.03}[engine.precision]


def test_long_and_short_sources_are_encoded_apart_and_say_the_same(engine, monkeypatch):
    sources, targets = sources_of(), targets_of(4)
    together = engine.start(sources).feed(targets)
    monkeypatch.setattr(encoding, "ENCODER_TOKENS", 7)
    assert [group.tolist() for group in encoding._groups(np.array(LENGTHS))] == [[0], [2], [3, 1]]
    same(engine, engine.start(sources).feed(targets), together)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_no_bit_depends_on_how_long_a_batch_mate_is(tmp_path, precision):
    """In integers the last bit of a float may tip a rounding, and with it a translation."""
    config = runs.config(max_length=80, model_dim=320, num_encoder_layers=1, num_decoder_layers=2)
    engine = Engine.load(runs.write_bundle(tmp_path, config, runs.weights_of(config), (precision,)), "cpu", 1)
    generator = np.random.default_rng(0)
    targets = targets_of(2, 3)
    for length in range(1, 77):
        source, mate, longer = (
            generator.integers(4, config.vocabulary_size, n) for n in (length, length, length + 3)
        )
        states = engine.start([source, mate]), engine.start([source, longer])
        for t in range(3):
            expected, got = (state(targets[:, t], t)[0] for state in states)
            np.testing.assert_array_equal(got, expected)


def test_a_running_call_ends_at_once_and_the_engine_goes_on(tmp_path):
    config = runs.config(
        model_dim=320, feed_forward_dim=640, num_encoder_layers=12, num_decoder_layers=4, max_length=256
    )
    engine = Engine.load(runs.write_bundle(tmp_path, config, runs.weights_of(config)), "cpu", 1)
    sources = [np.full(256, 5)] * 24
    before = engine.start(sources[:2]).feed(np.full((2, 3), 7))
    begun = time.perf_counter()
    engine.start(sources)
    whole = time.perf_counter() - begun
    cancellation = Cancellation()
    at = []

    def cancel():
        at.append(time.perf_counter())
        cancellation.cancel()

    threading.Timer(whole / 8, cancel).start()
    with pytest.raises(Cancelled):
        engine.start(sources, cancellation=cancellation)
    # Some milliseconds on a machine of its own; this one may be busy.
    assert time.perf_counter() - at[0] < min(0.5, whole / 4)
    with pytest.raises(Cancelled):
        engine.start(sources[:1], cancellation=cancellation)
    np.testing.assert_array_equal(engine.start(sources[:2]).feed(np.full((2, 3), 7)), before)


def test_a_step_ends_too(fp32):
    cancellation = Cancellation()
    state = fp32.start(sources_of(), cancellation=cancellation)
    state(np.full(4, 1), 0)
    cancellation.cancel()
    for call in (lambda: state(np.full(4, 5), 1), lambda: state.likeliest(np.full(4, 5), 1)):
        with pytest.raises(Cancelled):
            call()


def test_arguments_that_break_a_rule(fp32):
    state = fp32.start(sources_of(), max_length=3, beam_size=2)
    message = (
        "`token_ids` must have shape (8,) at a position from 0 to 2, got shape (8,) at 3. "
        "Feed one token a row, and stop at `max_length`."
    )
    with pytest.raises(ValueError, match=rf"\A{re.escape(message)}\Z"):
        state(np.full(8, 5), 3)
    message = "`attention` must be asked of a state without beams, got 2. Start another."
    with pytest.raises(ValueError, match=rf"\A{re.escape(message)}\Z"):
        state.attention(targets_of(8, 2))
    message = "`beam_size` must be at least 1, got 0. One is greedy search."
    with pytest.raises(ValueError, match=rf"\A{re.escape(message)}\Z"):
        fp32.start(sources_of(), beam_size=0)


def test_caches_grow_with_their_targets(engine):
    """A source of one token makes room for nine; more of the target than that must change nothing."""
    sources, targets = sources_of((1, 1)), targets_of(2, 18)
    state = engine.start(sources)
    assert state._past.num_positions < 12
    for t in range(17):
        if t == 3:
            state.keep(np.array([1]))
        logits = state(targets[1:, t] if t > 2 else targets[:, t], t)
        if t > 2:
            expected = engine.start(sources[1:]).feed(targets[1:, : t + 1])[0, t]
            np.testing.assert_allclose(logits[0], expected, rtol=0, atol=1e-4)
    assert 17 <= state._past.num_positions <= CONFIG.max_length
    whole = engine.start(sources[1:])
    first, rest = whole.feed(targets[1:, :5]), whole.feed(targets[1:, 5:17], 5)
    np.testing.assert_allclose(rest[0, -1], expected, rtol=0, atol=1e-4)
    assert first.shape[1] == 5


@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_filled_cache_is_that_of_a_fed_one(engine, beam_size):
    sources, targets = sources_of(), targets_of(4 * beam_size)
    filled, fed = (engine.start(sources, 6, beam_size) for _ in range(2))
    filled.fill(targets[:, :5])
    expected = fed.feed(targets)
    same(engine, filled(targets[:, 5], 5), expected[:, 5])
    message = (
        f"`token_ids` must have {4 * beam_size} rows that end at or below position 6, "
        f"got shape ({4 * beam_size}, 7) at 0. Feed fewer tokens."
    )
    with pytest.raises(ValueError, match=rf"\A{re.escape(message)}\Z"):
        filled.fill(targets_of(4 * beam_size, 7))
