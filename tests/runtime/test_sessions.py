"""The engine: cached steps, shrinking batches, threads, and what it says about devices."""

import re
import threading

import numpy as np
import onnxruntime as ort
import pytest

from keras_transformer.decoding.candidates import summarise
from keras_transformer.decoding.search import beam_search, greedy_search
from keras_transformer.decoding.steps import DecodeStep, ShrinkingStep
from keras_transformer.errors import UserError
from keras_transformer.runtime import sessions
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.runtime.device_memory import DeviceMover
from keras_transformer.runtime.scheduler import Scheduler, SearchOptions
from keras_transformer.runtime.sessions import Engine
from tests.onnx_export import runs
from tests.reference import transformer as oracle

CONFIG = runs.config()
WEIGHTS = runs.weights_of(CONFIG)
TOLERANCE = 1e-4  # float32 behind sharp attention, logits of order 10
LENGTHS = (7, 1, 5, 3)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return runs.write_bundle(tmp_path_factory.mktemp("bundle"), CONFIG, WEIGHTS, ("fp32", "fp16", "int8"))


@pytest.fixture(scope="module")
def engine(bundle):
    return Engine.load(bundle, "cpu", 1, precision="fp32")


@pytest.fixture
def sources():
    return [row[row != CONFIG.pad_id] for row in runs.rows_of(CONFIG, LENGTHS, 1, last=CONFIG.eos_id)]


@pytest.fixture
def target():
    return runs.rows_of(CONFIG, (6,) * len(LENGTHS), 2, first=CONFIG.bos_id)


def expected_logits(rows=slice(None)):
    source = runs.rows_of(CONFIG, LENGTHS, 1, last=CONFIG.eos_id)[rows]
    target = runs.rows_of(CONFIG, (6,) * len(LENGTHS), 2, first=CONFIG.bos_id)[rows]
    return oracle.logits(WEIGHTS, CONFIG, source, target)


def test_one_token_at_a_time_is_the_whole_target(engine, sources, target):
    state = engine.start(sources, max_length=6)
    assert isinstance(state, ShrinkingStep)
    step: DecodeStep = state
    logits = np.stack([step(target[:, t], t).copy() for t in range(6)], axis=1)
    np.testing.assert_allclose(logits, expected_logits(), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("rows", [(0, 1, 2, 3), (2,)], ids=["a batch", "one row"])
@pytest.mark.parametrize("cuts", [(6,), (1, 6), (3, 5, 6), (2, 3, 6)])
def test_a_prefix_may_be_fed_in_pieces_of_any_length(engine, sources, target, cuts, rows):
    rows = list(rows)
    state = engine.start([sources[row] for row in rows])
    pieces = [
        state.feed(target[rows][:, start:end], start)
        for start, end in zip((0, *cuts[:-1]), cuts, strict=True)
    ]
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), expected_logits(rows), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_rows_may_leave_and_change_places(bundle, sources, target, precision):
    engine = Engine.load(bundle, "cpu", 1, precision=precision)
    whole = engine.start(sources)
    state = engine.start(sources, max_length=6)
    for t in range(6):
        full = whole(target[:, t], t)
        rows = {0: [0, 1, 2, 3], 1: [0, 1, 2, 3], 2: [3, 1, 0], 3: [3, 1, 0], 4: [0], 5: [0]}[t]
        if t == 2:
            state.keep(np.array([3, 1, 0]))
        if t == 4:
            state.keep(np.array([2]))
        assert state.batch_size == len(rows)
        logits = state(target[rows, t], t)
        # Another batch size takes another kernel, which sums in another order; integers have one sum.
        tolerance = {"fp32": TOLERANCE, "fp16": 5e-2, "int8": 0.0}[precision]
        np.testing.assert_allclose(logits, full[rows], rtol=0, atol=tolerance)


def test_padding_changes_nothing(engine, sources, target):
    batch = engine.start(sources).feed(target)
    for row, source in enumerate(sources):
        alone = engine.start([source]).feed(target[row : row + 1])
        np.testing.assert_allclose(alone[0], batch[row], rtol=0, atol=TOLERANCE)


def test_greedy_search_over_the_engine_is_the_oracles(engine, sources):
    source = runs.rows_of(CONFIG, LENGTHS, 1, last=CONFIG.eos_id)
    result = greedy_search(
        engine.start(sources), batch_size=4, bos_id=1, eos_id=2, pad_id=0, max_lengths=np.full(4, 9)
    )
    expected = oracle.greedy(WEIGHTS, CONFIG, source, 9)
    for row, tokens in enumerate(result.tokens):
        np.testing.assert_array_equal(tokens, expected[row][: len(tokens)])


def test_a_returned_prefix_is_not_overwritten(engine, sources, target):
    state = engine.start(sources)
    first = state.feed(target[:, :2])
    before = first.copy()
    state(target[:, 2], 2)
    np.testing.assert_array_equal(first, before)


def test_several_threads_share_one_engine(engine, sources, target):
    expected = [engine.start([source]).feed(target[:1]) for source in sources]
    failures = []

    def work(index):
        for _ in range(15):
            state = engine.start([sources[index]])
            got = np.stack([state(target[:1, t], t).copy() for t in range(6)], axis=1)
            if np.abs(got - expected[index]).max() > TOLERANCE:
                failures.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_the_cpu_takes_the_fastest_precision(bundle):
    engine = Engine.load(bundle, "cpu")
    assert (engine.device, engine.precision, engine.device_note) == ("cpu", "int8", "CPU: asked for")
    assert engine.encoder.get_providers() == ["CPUExecutionProvider"]


def test_products_of_wide_models_alone_are_divided_among_threads(bundle, monkeypatch):
    def threads(engine):
        sessions = (engine.encoder, engine.decoder, engine.ranking.session)
        (count,) = {session.get_session_options().intra_op_num_threads for session in sessions}
        return count, engine.divides_products

    assert threads(Engine.load(bundle, "cpu", 2)) == threads(Engine.load(bundle, "cpu")) == (1, False)
    monkeypatch.setattr(sessions, "DIVIDED_DIM", bundle.manifest.model_dim)
    assert threads(Engine.load(bundle, "cpu", 1)) == (1, False)
    assert threads(Engine.load(bundle, "cpu", 2)) == (2, True)
    assert threads(Engine.load(bundle, "cpu")) == (0, True)


def test_threads_look_for_work_before_they_sleep(bundle, monkeypatch):
    monkeypatch.setattr(sessions, "DIVIDED_DIM", bundle.manifest.model_dim)
    engine = Engine.load(bundle, "cpu", 2)
    for session in (engine.encoder, engine.decoder, engine.ranking.session):
        options = session.get_session_options()
        assert options.get_session_config_entry("session.intra_op.spin_duration_us") == "50"


def without_cuda(monkeypatch):
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])


def with_unusable_cuda(monkeypatch):
    monkeypatch.setattr(
        ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    real = ort.InferenceSession

    def session(graph, options, providers, **more):
        # What onnxruntime does where the driver is missing: a warning, and the next provider.
        return real(graph, options, providers=["CPUExecutionProvider"], **more)

    monkeypatch.setattr(sessions.ort, "InferenceSession", session)


def test_auto_takes_the_cpu_and_says_so(bundle, monkeypatch):
    without_cuda(monkeypatch)
    engine = Engine.load(bundle, "auto")
    assert (engine.device, engine.precision) == ("cpu", "int8")
    assert engine.device_note == "CPU: no CUDA provider in this onnxruntime"


def test_cuda_where_there_is_none_says_what_to_install(bundle, monkeypatch):
    without_cuda(monkeypatch)
    message = (
        "`device` must be one that onnxruntime can run, got 'cuda' and no CUDA provider. "
        "Install it with `pip uninstall onnxruntime && pip install 'keras_transformer[gpu]'`, or "
        "take the CPU."
    )
    with pytest.raises(UserError, match=rf"\A{re.escape(message)}\Z"):
        Engine.load(bundle, "cuda")


def test_cuda_that_does_not_start_is_never_a_silent_cpu(bundle, monkeypatch):
    with_unusable_cuda(monkeypatch)
    with pytest.raises(
        UserError, match=r"\A`device` must be one that works, got 'cuda', which onnxruntime could"
    ):
        Engine.load(bundle, "cuda")
    engine = Engine.load(bundle, "auto")
    assert (engine.device, engine.precision) == ("cpu", "int8")
    assert engine.device_note.startswith("CPU: `device` must be one that works, got 'cuda'")


def test_a_bundle_for_the_cpu_alone(tmp_path, monkeypatch):
    bundle = runs.write_bundle(tmp_path, CONFIG, WEIGHTS, ("int8",))
    monkeypatch.setattr(
        ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    assert Engine.load(bundle, "auto").device_note == "CPU: the bundle holds no precision that CUDA runs"
    message = (
        "The bundle must hold one of fp16 to run on cuda, it has int8. "
        "Export one with: python export/to_onnx.py RUN --precision fp16"
    )
    with pytest.raises(UserError, match=rf"\A{re.escape(message)}\Z"):
        Engine.load(bundle, "cuda")
    message = (
        "`precision` must be one that the bundle holds and cpu runs (int8), got 'fp32'. "
        "Leave it out, or export it."
    )
    with pytest.raises(UserError, match=rf"\A{re.escape(message)}\Z"):
        Engine.load(bundle, "cpu", precision="fp32")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "gpu"}, "`device` must be one of auto, cpu, cuda, got 'gpu'."),
        ({"num_threads": 0}, "`num_threads` must be from 1 to 1024, got 0. Leave it out."),
    ],
)
def test_arguments_that_break_a_rule(bundle, arguments, message):
    with pytest.raises(UserError, match=rf"\A{re.escape(message)}\Z"):
        Engine.load(bundle, **arguments)


def test_more_threads_than_a_machine_can_start_are_refused_before_any_is():
    with pytest.raises(
        UserError, match=r"\A`num_threads` must be from 1 to 1024, got 1025\. Leave it out\.\Z"
    ):
        Engine.load(None, "cpu", 1025)


def test_a_graph_that_does_not_load(tmp_path, bundle):
    broken = Bundle(tmp_path, bundle.manifest)
    object.__setattr__(broken, "read_graph", lambda precision, side: b"\x3a\x02\x0a\x00")  # one empty node
    with pytest.raises(UserError, match=r"\AThe bundle's graph must load in onnxruntime \d"):
        Engine.load(broken, "cpu")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "hold at least one row, got none. Leave out empty batches."),
        ([[5], []], "have 1 to 19 tokens a row (the model's max_length), got 0. Split the text."),
        ([[5] * 20], "have 1 to 19 tokens a row (the model's max_length), got 20. Split the text."),
        ([[5, 418]], "be from 0 to 417 (the vocabulary), got 5 to 418. Use the bundle's own tokenizer."),
        ([[-1, 5]], "be from 0 to 417 (the vocabulary), got -1 to 5. Use the bundle's own tokenizer."),
    ],
)
def test_sources_that_break_a_rule(engine, rows, message):
    with pytest.raises(ValueError, match=rf"\A`source_ids` must {re.escape(message)}\Z"):
        engine.start([np.array(row, np.int64) for row in rows])


def test_steps_that_break_a_rule(engine, sources):
    message = "`max_length` must be from 1 to the model's own (19), got 20. Change it."
    with pytest.raises(ValueError, match=rf"\A{re.escape(message)}\Z"):
        engine.start(sources, max_length=20)
    state = engine.start(sources, max_length=3)
    message = (
        "`token_ids` must have shape (4,) at a position from 0 to 2, got shape (4,) at 3. "
        "Feed one token a row, and stop at `max_length`."
    )
    with pytest.raises(ValueError, match=rf"\A{re.escape(message)}\Z"):
        state(np.full(4, 5), 3)
    with pytest.raises(ValueError, match=r"got shape \(3,\) at 0"):
        state(np.full(3, 5), 0)
    message = (
        "`token_ids` must have 4 rows that end at or below position 3, got shape (4, 2) at 2. "
        "Feed fewer tokens."
    )
    with pytest.raises(ValueError, match=rf"\A{re.escape(message)}\Z"):
        state.feed(np.full((4, 2), 5), 2)


@pytest.mark.parametrize("beam_size", [1, 3], ids=["greedy", "beam"])
def test_caches_on_a_device_give_what_the_cpus_give(bundle, beam_size):
    """The way of a GPU, on the CPU: rows leave and are copied, and caches grow, on the device."""
    engine = Engine.load(bundle, "cpu", 1, precision="fp16")
    mover = DeviceMover("cpu", "CPUExecutionProvider", np.float16)
    device = Engine(engine.encoder, engine.decoder, engine.manifest, "cpu", "", "fp16", pool=mover)
    assert (engine.memory_device, device.memory_device) == (None, "cpu")
    many = runs.rows_of(CONFIG, [1 + row % 11 for row in range(40)], 3, last=CONFIG.eos_id)
    found = []
    for one in (engine, device):
        outputs = {}
        options = SearchOptions(beam_size)
        Scheduler(one, bundle.manifest).run(
            [row[row != 0] for row in many],
            options,
            lambda ended, into=outputs: into.__setitem__(ended.row, ended.hypotheses[0].tokens.tolist()),
        )
        found.append([outputs[row] for row in range(40)])
    assert found[0] == found[1]
    assert len({len(tokens) for tokens in found[0]}) > 3


def test_on_a_device_too_a_source_may_be_as_long_as_the_model(bundle, target):
    """19 tokens are no multiple of 4: neither is the table of positions."""
    engine = Engine.load(bundle, "cpu", 1, precision="fp16")
    mover = DeviceMover("cpu", "CPUExecutionProvider", np.float16)
    device = Engine(engine.encoder, engine.decoder, engine.manifest, "cpu", "", "fp16", pool=mover)
    for length in (CONFIG.max_length - 1, CONFIG.max_length):
        rows = runs.rows_of(CONFIG, (length, 3), 4, last=CONFIG.eos_id)
        sources = [row[row != CONFIG.pad_id] for row in rows]
        expected, found = (one.start(sources).feed(target[:2]) for one in (engine, device))
        np.testing.assert_allclose(found, expected, rtol=0, atol=0.02)  # float16, summed over another length


def test_half_precision_chooses_by_itself(bundle, sources, target):
    engine = Engine.load(bundle, "cpu", 1, precision="fp16")
    assert engine.may_choose
    chosen = engine.start(sources).likeliest(target[:, 0], 0)
    np.testing.assert_array_equal(chosen, engine.start(sources)(target[:, 0], 0).argmax(axis=1))


def test_a_choice_among_broken_numbers_is_refused(tmp_path):
    weights = {name: array.copy() for name, array in WEIGHTS.items()}
    weights["decoder_norm/gamma"][:] = np.inf
    bundle = runs.write_bundle(tmp_path, CONFIG, weights, ("fp16",))
    state = Engine.load(bundle, "cpu", 1).start([np.array([4, 2])])
    with pytest.raises(FloatingPointError, match=r"\AThe best logit must be a finite number, it is not"):
        state.likeliest(np.array([1]), 0)


def test_a_step_ranks_what_it_gives(engine, sources, target):
    logits = engine.start(sources, 6, 2)(np.repeat(target[:, 0], 2), 0)
    state = engine.start(sources, 6, 2)
    for _ in range(2):  # the same token at the same place writes the same caches
        ranked = state.ranked(np.repeat(target[:, 0], 2), 0, np.zeros((len(target), 2)))
        expected = logits - summarise(logits).normalisers[:, None]
        np.testing.assert_allclose(ranked.log_probs, expected, rtol=0, atol=1e-5)  # two float32 sums
        np.testing.assert_array_equal(ranked.maxima.max(axis=1), ranked.log_probs.max(axis=1))


@pytest.fixture(scope="module")
def large_vocabulary(tmp_path_factory):
    """An engine with 2,048 tokens, which estimates can rank; their text is asked for nowhere."""
    config = runs.config(vocabulary_size=2048)
    bundle = runs.write_bundle(tmp_path_factory.mktemp("large"), config, runs.weights_of(config))
    return Engine.load(bundle, "cpu", 1, precision="fp32")


def test_beams_by_estimates_are_those_of_the_logits(large_vocabulary, monkeypatch):
    engine = large_vocabulary
    config = runs.config(vocabulary_size=2048)
    sources = [row[row > 0] for row in runs.rows_of(config, (7, 3, 5, 9, 4, 8) * 4, 6, last=config.eos_id)]
    ids = {"bos_id": config.bos_id, "eos_id": config.eos_id, "pad_id": config.pad_id}

    def beams():
        state = engine.start(sources, 16, 4)
        limits = np.full(len(sources), 16)
        return [found[0] for found in beam_search(state, max_lengths=limits, beam_size=4, **ids).hypotheses]

    assert engine.estimate_ranking is not None
    by_estimates = beams()
    monkeypatch.setattr(engine, "estimate_ranking", None)
    by_logits = beams()
    same = [
        (one, other)
        for one, other in zip(by_estimates, by_logits, strict=True)
        if one.tokens.tolist() == other.tokens.tolist()
    ]
    assert len(same) >= len(sources) - 1
    errors = np.concatenate([one.log_probs - other.log_probs for one, other in same])
    assert 0.0 < np.sqrt(np.mean(errors**2)) < 5e-3


def test_small_vocabularies_are_ranked_by_their_logits(engine):
    assert engine.screen is not None
    assert engine.estimate_ranking is None
