"""With a shortlist: the whole vocabulary's output wherever the lists hold it, whoever stands beside a sentence."""

import gc
import re
import weakref

import numpy as np
import pytest

from keras_transformer.decoding.search import beam_search, greedy_search
from keras_transformer.errors import UserError
from keras_transformer.onnx_export.add_shortlist import add_shortlist
from keras_transformer.runtime import names
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.runtime.scheduler import Scheduler, SearchOptions
from keras_transformer.runtime.sessions import Engine
from keras_transformer.runtime.shortlist import Shortlist
from keras_transformer.runtime.translator import Translator
from tests.onnx_export import runs

CONFIG = runs.config()
V = CONFIG.vocabulary_size
SPECIAL = [CONFIG.pad_id, CONFIG.bos_id, CONFIG.eos_id]
PRECISIONS = ["fp32", "int8"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shortlist") / "bundle"
    runs.write_bundle(folder, CONFIG, runs.weights_of(CONFIG), ("fp32", "fp16", "int8"))
    pairs = [(runs.SENTENCES[1], runs.SENTENCES[0]), (runs.SENTENCES[3], runs.SENTENCES[2])] * 5
    return add_shortlist(folder, pairs).folder


@pytest.fixture(scope="module", params=PRECISIONS)
def engine(folder, request):
    return Engine.load(Bundle.open(folder), "cpu", 1, precision=request.param, shortlist=True)


def with_lists(engine, allowed, monkeypatch):
    """Let each sentence, told apart by its first token, have the tokens in `allowed[first]`."""

    class Lists:
        def covers(self, source):
            return int(source[0]) in allowed

        def allowed(self, sources):
            found = np.zeros((len(sources), V), np.bool_)
            for row, source in zip(found, sources, strict=True):
                row[allowed[int(source[0])]] = True
            return found

    monkeypatch.setattr(engine, "shortlist", Lists())


def sources_of(lengths=(7, 1, 5, 3, 6, 2)):
    return [row[row != CONFIG.pad_id] for row in runs.rows_of(CONFIG, lengths, 5, last=CONFIG.eos_id)]


def translated(engine, sources, beam_size=1, scores=False):
    found = {}
    options = SearchOptions(beam_size, scores=scores)
    scheduler = Scheduler(engine, engine.manifest)
    scheduler.run(sources, options, lambda ended: found.__setitem__(ended.row, ended.hypotheses[0]))
    return [found[row] for row in range(len(sources))]


def tokens_of(hypotheses):
    return [one.tokens.tolist() for one in hypotheses]


@pytest.mark.parametrize("beam_size", [1, 3])
def test_lists_of_every_token_give_the_output_of_the_whole_vocabulary(folder, engine, monkeypatch, beam_size):
    sources = sources_of()
    whole = Engine.load(Bundle.open(folder), "cpu", 1, precision=engine.precision)
    with_lists(engine, {int(source[0]): list(range(V)) for source in sources}, monkeypatch)
    for one, other in zip(
        translated(engine, sources, beam_size, scores=True),
        translated(whole, sources, beam_size, scores=True),
        strict=True,
    ):
        assert one.tokens.tolist() == other.tokens.tolist()
        np.testing.assert_allclose(one.log_probs, other.log_probs, rtol=0, atol=2e-5)  # float32, summed anew


def test_lists_that_hold_the_output_give_it(folder, engine, monkeypatch):
    sources = sources_of()
    whole = Engine.load(Bundle.open(folder), "cpu", 1, precision=engine.precision)
    expected = tokens_of(translated(whole, sources))
    assert len({token for output in expected for token in output}) > 5
    lists = {
        int(source[0]): sorted({*SPECIAL, *output}) for source, output in zip(sources, expected, strict=True)
    }
    with_lists(engine, lists, monkeypatch)
    assert tokens_of(translated(engine, sources)) == expected


@pytest.mark.parametrize("beam_size", [1, 3])
def test_nothing_but_its_own_list_and_no_batch_mate_decides(engine, monkeypatch, beam_size):
    sources = sources_of()
    generator = np.random.default_rng(3)
    lists = {int(s[0]): sorted({*SPECIAL, *generator.integers(4, V, 30).tolist()}) for s in sources}
    with_lists(engine, lists, monkeypatch)
    together = translated(engine, sources, beam_size, scores=True)
    alone = [translated(engine, [source], beam_size, scores=True)[0] for source in sources]
    assert tokens_of(together) == tokens_of(alone)
    assert sum(len(one.tokens) for one in together) > 3 * len(sources)
    for one, other, source in zip(together, alone, sources, strict=True):
        assert set(one.tokens.tolist()) <= set(lists[int(source[0])])
        np.testing.assert_allclose(one.log_probs, other.log_probs, rtol=0, atol=2e-5)  # float32, summed anew


def test_rows_that_stay_keep_their_lists(engine, monkeypatch):
    sources = sources_of()
    lists = {int(source[0]): [*SPECIAL, 10 + 2 * n, 11 + 2 * n] for n, source in enumerate(sources)}
    with_lists(engine, lists, monkeypatch)

    def seen(state, rows):
        found = state(np.full(len(rows), CONFIG.bos_id), 0)
        assert [np.flatnonzero(np.isfinite(row)).tolist() for row in found] == [
            sorted(lists[int(sources[row][0])]) for row in rows
        ]
        return found

    state = engine.start(sources[:4], short=True)
    first = seen(state, [0, 1, 2, 3])
    state.keep(np.array([0, 2, 3]))
    kept = seen(state, [0, 2, 3])
    np.testing.assert_allclose(kept, first[[0, 2, 3]], rtol=0, atol=1e-5)


def test_what_is_not_covered_has_the_whole_vocabulary(folder, engine, monkeypatch):
    sources = sources_of()
    whole = tokens_of(
        translated(Engine.load(Bundle.open(folder), "cpu", 1, precision=engine.precision), sources)
    )
    with_lists(engine, {int(sources[2][0]): [*SPECIAL, 10]}, monkeypatch)
    found = tokens_of(translated(engine, sources))
    assert set(found[2]) <= {*SPECIAL, 10}
    assert not set(whole[2]) <= {*SPECIAL, 10}
    assert found[:2] + found[3:] == whole[:2] + whole[3:]


def test_a_given_target_is_scored_with_the_whole_vocabulary(folder, engine):
    target = runs.rows_of(CONFIG, (6,), 2, first=CONFIG.bos_id)
    whole = Engine.load(Bundle.open(folder), "cpu", 1, precision=engine.precision)
    source = runs.rows_of(CONFIG, (5,), 1, last=CONFIG.eos_id)
    covered = np.full((1, 2), CONFIG.eos_id)
    assert engine.shortlist.covers(covered[0])
    found = engine.start(list(covered), short=True).feed(target)
    np.testing.assert_array_equal(found, whole.start(list(covered)).feed(target))
    assert np.isfinite(engine.start(list(source)).feed(target)).all()


def test_the_searches_of_a_batch_find_what_the_scheduler_finds(engine, monkeypatch):
    sources = sources_of()
    generator = np.random.default_rng(4)
    lists = {int(s[0]): sorted({*SPECIAL, *generator.integers(4, V, 30).tolist()}) for s in sources}
    with_lists(engine, lists, monkeypatch)
    shared = {
        "batch_size": len(sources),
        "bos_id": CONFIG.bos_id,
        "eos_id": CONFIG.eos_id,
        "pad_id": CONFIG.pad_id,
        "max_lengths": np.full(len(sources), 8),
    }
    greedy = greedy_search(engine.start(sources, 8, short=True), **shared)
    scored = greedy_search(engine.start(sources, 8, short=True), scores=True, **shared)
    beam = beam_search(engine.start(sources, 8, 1, short=True), beam_size=1, **shared)
    for other in (scored, beam):
        assert [row.tolist() for row in other.tokens] == [row.tolist() for row in greedy.tokens]


def test_the_translator_uses_it_and_says_what_it_needs(folder, tmp_path):
    translator = Translator.from_pretrained(folder, "cpu", 1, precision="fp32", shortlist=True)
    assert translator.translate(runs.SENTENCES[1]).text
    without = Translator.from_pretrained(folder, "cpu", 1, precision="fp32")
    other = Translator.from_pretrained(folder, "cpu", 1, precision="int8")
    assert len({one.fingerprint for one in (translator, without, other)}) == 3
    refused = (
        "`shortlist` must run with a decoder that can do without its projection, fp16 on cpu cannot. "
        "Take int8 or fp32 on the CPU, or export the model again."
    )
    with pytest.raises(UserError, match=rf"\A{re.escape(refused)}\Z"):
        Translator.from_pretrained(folder, "cpu", 1, precision="fp16", shortlist=True)
    other = runs.write_bundle(tmp_path / "b", CONFIG, runs.weights_of(CONFIG)).folder
    missing = (
        f"{other} must hold shortlist.npz, it does not. Leave `shortlist` out, or learn one with: "
        "python export/add_shortlist.py BUNDLE SOURCE TARGET"
    )
    with pytest.raises(UserError, match=rf"\A{re.escape(missing)}\Z"):
        Translator.from_pretrained(other, "cpu", 1, shortlist=True)
    engine = Engine.load(Bundle.open(other), "cpu", 1)
    refused = "`short` must be False where the engine has no shortlist, got True. Load it with `shortlist`."
    with pytest.raises(ValueError, match=rf"\A{re.escape(refused)}\Z"):
        engine.start(sources_of(), short=True)


def test_a_damaged_file_is_found(folder, tmp_path):
    bundle = Bundle.open(folder)
    data = (folder / names.SHORTLIST_FILE).read_bytes()
    assert bundle.read_shortlist().to_bytes() == data  # the same bytes for the same lists
    for broken in (b"", data[: len(data) // 2], b"PK\x03\x04 no zip"):
        with pytest.raises(UserError, match=r"\AThe bundle's shortlist must fit its model, it does not: "):
            Shortlist.from_bytes(broken, V)
    with pytest.raises(UserError, match=rf"it has {V} source tokens, the vocabulary 7\. Learn it again\.\Z"):
        Shortlist.from_bytes(data, 7)
    (folder / names.SHORTLIST_FILE).write_bytes(data[:-1])
    try:
        with pytest.raises(UserError, match=r"shortlist\.npz must be the file its manifest names"):
            Bundle.open(folder)
    finally:
        (folder / names.SHORTLIST_FILE).write_bytes(data)


@pytest.mark.parametrize(
    ("starts", "targets", "always"),
    [
        ([0, 2, 1, 3], [0, 1, 2], [0]),
        ([0, 1, 2, 3], [0, 1, 3], [0]),
        ([0, 1, 2, 3], [0, 1, 2], [-1]),
        ([0, 1, 2, 2], [0, 1, 2], [0]),
        ([1, 1, 2, 3], [0, 1, 2], [0]),
    ],
)
def test_lists_must_fit(starts, targets, always):
    Shortlist(np.array([0, 1, 2, 3]), np.array([0, 1, 2]), np.array([0]))
    with pytest.raises(
        ValueError, match=r"\Aa shortlist must hold a list of tokens for each token, it does not\Z"
    ):
        Shortlist(*map(np.array, (starts, targets, always)))


def test_an_engine_goes_with_its_last_reference(folder):
    engine = Engine.load(Bundle.open(folder), "cpu", 1, precision="fp32", shortlist=True)
    with pytest.MonkeyPatch.context() as patch:
        with_lists(engine, {4: [*SPECIAL, 10]}, patch)
        engine.start([np.array([4, CONFIG.eos_id])], short=True)(np.array([CONFIG.bos_id]), 0)
    projection = weakref.ref(engine._short_projection)
    del engine
    gc.collect()
    assert projection() is None
