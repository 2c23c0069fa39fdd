"""A short soak of the shipped bundle: four threads, results equal to serial ones, memory flat."""

from __future__ import annotations

import pytest

from benchmarks.soak import Soak, read_sentences
from keras_transformer.runtime.translator import SHIPPED_BUNDLE, Translator


@pytest.mark.parametrize("beam_size", [1, 3])
def test_many_translations_from_four_threads(beam_size):
    if not SHIPPED_BUNDLE.is_dir():
        pytest.skip(f"no bundle is shipped yet at {SHIPPED_BUNDLE}")
    translator = Translator.from_pretrained(device="cpu", num_threads=1, cache_size=0)
    sentences = [sentence for sentence in read_sentences() if len(sentence) < 60][:40]
    soak = Soak(translator, sentences, beam_size)
    soak.warm_up(4)
    for _ in range(4):
        soak.run(80, 4)
    assert soak.differing == []
    # The long soak is benchmarks/soak.py; a leak of the caches of each batch would show here already.
    assert soak.memory[-1][1] - soak.memory[0][1] < 5.0
