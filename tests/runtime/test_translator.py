"""The public translator, over a scripted engine and over small real bundles of random weights."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_transformer.decoding import Cancellation, Cancelled
from keras_transformer.errors import UserError
from keras_transformer.runtime import translator as module
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.runtime.translator import Translator
from keras_transformer.text import reading
from tests.onnx_export import runs

LOGIT = 5.0  # of the scripted token; all others are 0


class ScriptedEngine:
    """Writes `speak(source text)`; None means that it babbles without end. Notes the batches it was given."""

    device, precision, device_note = "cpu", "fp32", "CPU: scripted"
    shortlist = None
    divides_products = False

    def __init__(self, speak=str.upper):
        self.tokenizer = runs.tokenizer()
        self.speak = speak
        self.started: list[list[int]] = []

    def start(self, source_ids, max_length=None, beam_size=1, cancellation=None, *, short=False):
        self.started.append([len(row) for row in source_ids])
        outputs = []
        for row in source_ids:
            assert row[-1] == self.tokenizer.eos_id
            outputs.append(self.script(self.tokenizer.decode(row[:-1].tolist())))

        def step(token_ids, position):
            assert position < max_length
            logits = np.zeros((len(outputs), self.tokenizer.vocabulary_size), np.float32)
            for row, output in enumerate(outputs):
                logits[row, output[position % len(output)]] = LOGIT
            return logits

        return step

    def script(self, text):
        spoken = self.speak(text)
        return [*self.tokenizer.encode(spoken), self.tokenizer.eos_id]


def scripted(speak=str.upper, max_length=64, longest_source=None, engine_type=ScriptedEngine, **options):
    engine = engine_type(speak)
    tokenizer = engine.tokenizer
    manifest = SimpleNamespace(
        name="scripted", source_language="en", target_language="it", max_length=max_length,
        longest_source=longest_source,
        pad_id=tokenizer.pad_id, bos_id=tokenizer.bos_id, eos_id=tokenizer.eos_id,
    )  # fmt: skip
    return Translator(engine, tokenizer, manifest, **options), engine


def plain(text):
    """The text with the spaces that a model reads."""
    return text.replace("\u00a0", " ")


def test_one_text_gives_one_translation():
    translator, _ = scripted()
    translation = translator.translate("a small house.")
    assert (translation.text, translation.source, translation.flags) == (
        "A SMALL HOUSE.",
        "a small house.",
        (),
    )


def test_what_it_says_about_itself():
    translator, _ = scripted()
    assert (translator.source_language, translator.target_language, translator.name) == (
        "en",
        "it",
        "scripted",
    )
    assert (translator.device, translator.device_note, translator.precision) == (
        "cpu",
        "CPU: scripted",
        "fp32",
    )


@pytest.mark.parametrize(
    "text",
    [
        "The cat sleeps. The dog does not! Why?",
        "\n\n  The cat sleeps.\n\n\tThe dog does not.  \n",
        "One line\nand another\r\nand a third",
        "- a small house\n- a red house\n\n1. a table\n2. 42",
        "Look at https://example.org/a?b=1 now.",
        "  ",
    ],
)
def test_layout_stays_and_nothing_is_dropped(text):
    translator, _ = scripted()
    assert translator.translate(text).text.lower() == text.lower()


def test_sentences_are_translated_one_by_one():
    translator, engine = scripted()
    translator.translate("The cat sleeps. The small house is red.\nThe table is small.")
    assert sum(len(batch) for batch in engine.started) == 3


@pytest.mark.parametrize(
    "text",
    ["", " ", "\n\n", "42", "3.14", "12:30", "???", "- - -", "🙂", "👍🏽 🎉", "https://example.org/house",
     "www.example.org", "name@example.org", "1 + 1 = 2"],
)  # fmt: skip
def test_text_without_words_is_copied_and_flagged(text):
    translator, engine = scripted()
    translation = translator.translate(text)
    assert (translation.text, translation.score, translation.flags) == (text, None, ("copied",))
    assert translator.translate(text, scores=True).score == 0.0
    assert engine.started == []


@pytest.mark.parametrize("text", ["a", "Hi", "42 houses", "see https://example.org", "🙂 yes"])
def test_text_with_words_is_not_copied(text):
    assert scripted()[0].translate(text).flags == ()


def test_a_list_keeps_its_order_and_each_sentence_is_translated_once():
    translator, engine = scripted()
    texts = ["red house", "a", "red house", "", "the small red table. red house", "a"]
    translations = translator.translate(texts)
    assert [translation.text for translation in translations] == [text.upper() for text in texts]
    assert [translation.source for translation in translations] == texts
    assert sum(len(batch) for batch in engine.started) <= 4  # house, a, table, and "red house" at most twice


def test_an_item_of_another_type_is_named():
    with pytest.raises(TypeError, match=r"^`text\[1\]` must be a string, got NoneType\. Pass a str\.$"):
        scripted()[0].translate(["a", None])


@pytest.mark.parametrize("ask", ["score", "align", "alternatives", "translate_from"])
def test_a_closer_look_takes_strings(ask):
    look = getattr(scripted()[0], ask)
    with pytest.raises(TypeError, match=r"^`source` must be a string, got NoneType\. Pass a str\.$"):
        look(None, "a")
    with pytest.raises(TypeError, match=r"` must be a string, got NoneType\. Pass a str\.$"):
        look("a", None)


def test_an_empty_list_gives_an_empty_list():
    assert scripted()[0].translate([]) == []


def test_tuples_are_lists_too():
    assert [item.text for item in scripted()[0].translate(("a", "red"))] == ["A", "RED"]


@pytest.mark.parametrize(("text", "kind"), [(3, "int"), (None, "NoneType"), (b"a", "bytes")])
def test_other_types_are_refused(text, kind):
    translator, _ = scripted()
    message = (
        rf"^`text` must be a string or a list of strings, got {kind}\. Pass one string, or a list of them\.$"
    )
    with pytest.raises(TypeError, match=message):
        translator.translate(text)


@pytest.mark.parametrize(
    "text",
    [
        "the cat sleeps on the table, and the small red house, which is old, stands near the tree; " * 4
        + "ok.",
        "cat " * 200,
        "x" * 500,
        "gatto\u00a0" * 100,
    ],
)
def test_a_sentence_too_long_for_the_model_is_split_and_nothing_is_dropped(text):
    translator, engine = scripted(lambda sentence: sentence, max_length=48)
    translation = translator.translate(text)
    assert plain(translation.text) == plain(text)
    assert translation.flags == ("split",)
    assert max(length for batch in engine.started for length in batch) <= 2 * 48 // 3


def test_a_sentence_longer_than_the_model_reads_well_is_split_where_it_would_fit():
    text = "the red house, which is old, stands near the tree, and the cat sleeps on the table."
    whole, _ = scripted(str.title, max_length=200)
    assert whole.translate(text).flags == ()
    translator, engine = scripted(lambda part: f"{part.capitalize()}.", max_length=200, longest_source=40)
    translation = translator.translate(text)
    assert max(length for batch in engine.started for length in batch) <= 40 + 1  # and EOS
    assert (translation.text, translation.flags) == (f"T{text[1:]}.", ("split",))


def test_a_translation_stays_on_its_line():
    translator, _ = scripted(lambda text: "\n" + text + "\r\n\u2028b\n")
    assert translator.translate(["a", "c"])[1].text == "c b"
    assert translator.translate("a\nc").text == "a b\nc b"


def test_where_the_model_says_nothing_the_original_is_kept_and_flagged():
    translator, _ = scripted(lambda text: "")
    translation = translator.translate("  a red house\n")
    assert (translation.text, translation.flags) == ("  a red house\n", ("kept",))


class Babbling(ScriptedEngine):
    """Writes `speak(source text)` over and over and never ends."""

    def script(self, text):
        return self.tokenizer.encode(self.speak(text))


def test_an_endless_loop_is_cut_and_flagged():
    translator, _ = scripted(lambda text: " house", engine_type=Babbling)
    translation = translator.translate("the cat sleeps on the table")
    assert translation.flags == ("cut_loop",)
    assert translation.text.split() == ["house"]


def test_an_output_at_its_length_limit_is_flagged():
    words = " ".join(str(number) for number in range(1000, 1100))
    translator, _ = scripted(lambda text: words, engine_type=Babbling)
    translation = translator.translate("the cat")
    assert translation.flags == ("cut_length",)
    assert words.startswith(translation.text)


def test_the_score_is_the_mean_log_probability_of_all_tokens():
    translator, engine = scripted()
    others = engine.tokenizer.vocabulary_size - 1
    expected = -np.log1p(others * np.exp(-LOGIT))
    # float32 sums of about 400 terms
    assert translator.translate("The cat sleeps. 42\nA red house.", scores=True).score == pytest.approx(
        expected, rel=1e-5
    )


class Slow(ScriptedEngine):
    steps = 0

    def at_step(self, number):
        """Called at each step with its number, from 1."""

    def start(self, source_ids, max_length=None, beam_size=1, cancellation=None, *, short=False):
        step = super().start(source_ids, max_length, beam_size, cancellation)

        def counted(token_ids, position):
            self.steps += 1
            self.at_step(self.steps)
            return step(token_ids, position)

        return counted


def cancelling_at(step_number):
    """A translator whose engine cancels the call at that step."""
    translator, engine = scripted(engine_type=Slow)
    cancellation = Cancellation()
    engine.at_step = lambda number: cancellation.cancel() if number == step_number else None
    return translator, engine, cancellation


def test_a_cancelled_call_ends_before_its_next_step_and_the_translator_stays_usable():
    translator, engine, cancellation = cancelling_at(3)
    with pytest.raises(Cancelled, match=r"^The call was cancelled\.$"):
        translator.translate("the small red house", cancellation=cancellation)
    assert engine.steps == 3
    assert translator.translate("the small red house").text == "THE SMALL RED HOUSE"


def test_cancelled_before_it_began_it_does_not_begin():
    translator, engine = scripted()
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(Cancelled, match=r"^The call was cancelled\.$"):
        translator.translate("the small red house", cancellation=cancellation)
    assert engine.started == []


def test_progress_of_one_text_comes_in_its_order_and_ends_with_the_whole():
    translator, _ = scripted()
    text = "  The cat sleeps. The small red house is on the table.\n\n42\nA red cat. The cat sleeps.\n"
    told = []
    found = translator.translate(text, on_progress=told.append)
    # "The cat sleeps." stands there twice; the shorter "A red cat." is done before the long one.
    assert [one.done_sentences for one in told] == [1, 3, 4]
    assert {one.total_sentences for one in told} == {4}
    assert [one.text_so_far for one in told] == ["", "  THE CAT SLEEPS. ", found.text]


def test_progress_of_a_list_counts_and_has_no_text():
    translator, _ = scripted()
    told = []
    translator.translate(["red house", "a", "red house", "42"], on_progress=told.append)
    assert [one.total_sentences for one in told] == [3, 3]
    assert sorted(one.done_sentences for one in told)[-1] == 3
    assert {one.text_so_far for one in told} == {""}


def test_a_changed_text_costs_only_its_changed_sentence():
    translator, engine = scripted()
    translator.translate("The cat sleeps. The house is red. A table.")
    engine.started.clear()
    told = []
    found = translator.translate("The cat sleeps. The house is blue. A table.", on_progress=told.append)
    assert found.text == "THE CAT SLEEPS. THE HOUSE IS BLUE. A TABLE."
    assert [len(batch) for batch in engine.started] == [1]
    assert [one.done_sentences for one in told] == [2, 3]
    assert told[0].text_so_far == "THE CAT SLEEPS. "
    engine.started.clear()
    assert translator.translate("The cat sleeps.", scores=True).score < 0  # other options, another answer
    assert [len(batch) for batch in engine.started] == [1]


def test_the_memory_of_sentences_is_bounded_and_may_be_none():
    translator, engine = scripted(cache_size=2)
    cat, house, table = "the cat sleeps", "a red house", "the small table"
    for text in (cat, house, cat, table, cat, house):
        translator.translate(text)
    assert len(engine.started) == 4  # the house went when the table came: the cat had been asked for since
    translator, engine = scripted(cache_size=0)
    for _ in range(2):
        translator.translate(cat)
    assert len(engine.started) == 2
    with pytest.raises(ValueError, match=r"^`cache_size` must be at least 0, got -1\. 0 keeps nothing\.$"):
        scripted(cache_size=-1)


def test_each_sentence_says_where_it_stands():
    translator, _ = scripted()
    text = " The cat sleeps.\n42\n  Why is it so? "
    found = translator.translate(text)
    pairs = [(text[a:b], found.text[c:d]) for a, b, c, d, _ in found.sentences]
    assert pairs == [("The cat sleeps.", "THE CAT SLEEPS."), ("Why is it so?", "WHY IS IT SO?")]
    assert [pair.flags for pair in found.sentences] == [(), ()]


def test_each_sentence_has_flags_of_its_own():
    translator, _ = scripted(lambda text: "" if "cat" in text else text.upper())
    found = translator.translate("The cat sleeps. Why is it so?")
    assert found.text == "The cat sleeps. WHY IS IT SO?"
    assert [pair.flags for pair in found.sentences] == [("kept",), ()]
    translator, _ = scripted(lambda text: " house", engine_type=Babbling)
    found = translator.translate("the cat sleeps on the table")
    assert [pair.flags for pair in found.sentences] == [("cut_loop",)]


def test_options_of_the_search_are_checked_before_anything_runs():
    translator, engine = scripted()
    message = r"^`num_hypotheses` must be from 1 to `beam_size` \(1\), got 2\. Widen the beam\.$"
    with pytest.raises(ValueError, match=message):
        translator.translate("a", num_hypotheses=2)
    with pytest.raises(TypeError, match=r"^`beam_size` must be a whole number, got '4'\. Pass an int\.$"):
        translator.translate("a", beam_size="4")
    assert engine.started == []


WORDS = st.lists(
    st.sampled_from(["cat", "the", "red", "42", "Mr.", "U.S.", "no.", "Why?", "e.g.", "🙂", "a"])
)
GAPS = st.sampled_from([" ", "  ", "\n", "\n\n  ", "\t", "\r\n", " \u00a0"])


@settings(deadline=None, max_examples=60)
@given(WORDS, st.lists(GAPS, min_size=12, max_size=12))
def test_an_engine_that_echoes_gives_every_text_back(words, gaps):
    text = "".join(word + gaps[i % len(gaps)] for i, word in enumerate(words))
    assert plain(scripted(lambda sentence: sentence)[0].translate(text).text) == plain(text)


def test_without_a_shipped_bundle_the_error_says_how_to_make_one(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "SHIPPED_BUNDLE", tmp_path / "none")
    with pytest.raises(
        UserError, match=r"^no model is shipped at .*none\. Make one with .* name its folder\.$"
    ):
        Translator.from_pretrained()


# From here on a real engine: random weights translate nonsense, which must still obey.

SENTENCES = [
    "the cat sleeps on the table",
    "a small red house",
    "the table",
    "cat",
    "the red cat sleeps",
    "a house is on the red table",
    "una casa",
    "is the small table red or is it not",
]


@pytest.fixture(scope="module", params=["fp32", "int8"])
def written_bundle(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    config = runs.config(max_length=64, dropout_rate=0.0)
    runs.write_bundle(folder, config, runs.weights_of(config), (request.param,))
    return folder


@pytest.fixture
def bundle_folder(written_bundle, monkeypatch):
    """A bundle whose nonsense passes: half of it would be refused for parts of characters."""
    monkeypatch.setattr(reading, "survived", lambda *arguments: True)
    return written_bundle


def facts(translation):
    return translation.text, translation.flags


def test_batch_mates_never_change_a_translation(bundle_folder):
    translator = Translator.from_pretrained(bundle_folder, "cpu", 1, cache_size=0)
    assert bundle_folder.name.startswith(translator.precision)
    alone = [translator.translate(sentence, scores=True) for sentence in SENTENCES]
    assert len({item.text for item in alone}) > 4  # nonsense, but not one nonsense for all
    generator = random.Random(3)
    for count in (2, 3, 5, 8, 8):
        rows = generator.sample(range(len(SENTENCES)), count)
        together = translator.translate([SENTENCES[row] for row in rows], scores=True)
        assert [facts(item) for item in together] == [facts(alone[row]) for row in rows]
        # Products of one row and of several round differently in float32; int8 has the same scales.
        np.testing.assert_allclose(
            [item.score for item in together], [alone[row].score for row in rows], rtol=1e-4
        )


def test_threads_share_a_translator(bundle_folder):
    translator = Translator.from_pretrained(bundle_folder, "cpu", 1, cache_size=0)
    expected = [facts(translator.translate(sentence)) for sentence in SENTENCES]
    ready = threading.Barrier(4)

    def work(shift):
        order = SENTENCES[shift:] + SENTENCES[:shift]
        ready.wait()
        found = [facts(translator.translate(sentence)) for sentence in order]
        return found[len(found) - shift :] + found[: len(found) - shift]

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(work, range(1, 5)):
            assert found == expected


def until_cancelled(translator, texts, cancellation, **options):
    while True:
        translator.translate(texts, cancellation=cancellation, **options)


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("beam_size", [1, 3])
def test_cancelled_in_the_middle_and_usable_afterwards(bundle_folder, num_threads, beam_size):
    translator = Translator.from_pretrained(bundle_folder, "cpu", num_threads, cache_size=0)
    texts = [f"{sentence} {word}" for sentence in SENTENCES for word in SENTENCES]
    expected = [facts(item) for item in translator.translate(texts, beam_size=beam_size)]
    for seconds in (0.002, 0.01, 0.03):
        cancellation = Cancellation()
        timer = threading.Timer(seconds, cancellation.cancel)
        timer.start()
        with pytest.raises(Cancelled, match=r"^The call was cancelled\.$"):
            until_cancelled(translator, texts, cancellation, beam_size=beam_size)
        assert [facts(item) for item in translator.translate(texts, beam_size=beam_size)] == expected


def test_the_device_is_the_one_that_runs(bundle_folder):
    assert Translator.from_pretrained(bundle_folder, "cpu").device == "cpu"


def test_models_of_one_name_have_fingerprints_of_their_own(bundle_folder, tmp_path):
    first = Translator.from_pretrained(bundle_folder, "cpu", 1)
    config = runs.config(max_length=64, dropout_rate=0.0)
    weights = runs.weights_of(config)
    precisions = tuple(Bundle.open(bundle_folder).manifest.precisions)
    changed = {name: value * np.float32(1.5) for name, value in weights.items()}
    for name, values, is_same in (("same", weights, True), ("other", changed, False)):
        runs.write_bundle(tmp_path / name, config, values, precisions)
        second = Translator.from_pretrained(tmp_path / name, "cpu", 1)
        assert (second.name, second.precision) == (first.name, first.precision)
        assert (second.fingerprint == first.fingerprint) is is_same


def test_several_workers_give_the_same_in_the_same_order(bundle_folder):
    texts = [f"{first} {second}" for first in SENTENCES for second in SENTENCES]
    one = Translator.from_pretrained(bundle_folder, "cpu", 1, cache_size=0)
    three = Translator.from_pretrained(bundle_folder, "cpu", 3, cache_size=0)
    assert [facts(item) for item in three.translate(texts)] == [facts(item) for item in one.translate(texts)]


def test_a_beam_gives_several_translations_the_best_first(bundle_folder):
    translator = Translator.from_pretrained(bundle_folder, "cpu", 1)
    for sentence in SENTENCES:
        found = translator.translate(sentence, beam_size=4, num_hypotheses=3, length_penalty=1.0)
        assert found.text == found.hypotheses[0].text
        assert found.score == found.hypotheses[0].score < 0
        assert len({other.text for other in found.hypotheses}) == len(found.hypotheses) <= 3
        assert translator.translate(sentence, beam_size=4, length_penalty=1.0).hypotheses == ()
    assert len(found.hypotheses) > 1


def test_beam_mates_never_change_a_translation(bundle_folder):
    translator = Translator.from_pretrained(bundle_folder, "cpu", 1, cache_size=0)
    alone = [facts(translator.translate(sentence, beam_size=3)) for sentence in SENTENCES]
    for rows in ([0, 3, 5], [7, 6, 5, 4, 3, 2, 1, 0]):
        together = translator.translate([SENTENCES[row] for row in rows], beam_size=3)
        assert [facts(item) for item in together] == [alone[row] for row in rows]


@pytest.fixture(scope="module")
def shipped():
    if not module.SHIPPED_BUNDLE.is_dir():
        pytest.skip(f"no bundle is shipped yet at {module.SHIPPED_BUNDLE}")
    return Translator.from_pretrained(device="cpu", num_threads=1)


def test_the_shipped_bundle_loves_you(shipped):
    assert (shipped.source_language, shipped.target_language) == ("en", "it")
    assert shipped.translate("I love you very much.").text in ("Ti amo molto.", "Ti amo tantissimo.")


@pytest.mark.parametrize("text", ["Hello", "Hello.", "Yes", "No, no, no!", "Thank you very, very much."])
def test_the_shipped_bundle_does_not_babble_over_short_text(shipped, text):
    translation = shipped.translate(text)
    assert translation.text
    assert len(translation.text.split()) <= 2 * len(text.split()) + 1
    assert translation.flags == ()


@pytest.mark.parametrize("text", ["Привет, как дела?", "你好世界。", "مرحبا!", "नमस्ते"])
def test_the_shipped_bundle_copies_what_it_cannot_write(shipped, text):
    found = shipped.translate(text)
    assert (found.text, found.flags) == (text, ("copied",))


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("It costs ₽500 or ₿2.", ["₽500", "₿2"]),
        ("The word is 你好世界.", ["你好世界"]),
        ("Mr Nguyễn is here.", ["Nguyễn"]),
        ("The book costs $19.99.", ["$"]),
        ("The room is 3 × 4 metres.", ["×"]),
    ],
)
def test_the_shipped_bundle_carries_over_what_it_cannot_write(shipped, text, items):
    found = shipped.translate(text)
    assert found.text != text
    assert all(item in found.text for item in items)
    assert "\ufffd" not in found.text


def test_the_shipped_bundle_reads_any_space(shipped):
    plain = shipped.translate("I love you very much.").text
    for space in "\u00a0\u2009\u202f\u3000":
        assert shipped.translate(f"I love{space}you ve\u00adry much.").text == plain


def test_the_shipped_bundle_gives_the_same_text_in_any_company(shipped):
    texts = [
        "The cat sleeps on the table.", "Where is the station?", "I do not know.",
        "She gave me a book that I had never read before, and I thanked her.", "What time is it?",
    ]  # fmt: skip
    alone = [shipped.translate(text).text for text in texts]
    assert [item.text for item in shipped.translate(texts)] == alone
    assert [item.text for item in shipped.translate(texts[::-1])] == alone[::-1]
