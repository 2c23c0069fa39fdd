"""Sentences through the model: each kept safe on its way, translated once, and remembered."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from keras_transformer.decoding.cancellation import Cancellation
from keras_transformer.decoding.steps import Ended, IntArray
from keras_transformer.runtime.inspection import Inspector
from keras_transformer.runtime.manifest import Manifest
from keras_transformer.runtime.outputs import Outputs, Report, settle, to_output
from keras_transformer.runtime.scheduler import Scheduler, SearchOptions
from keras_transformer.runtime.sentence_cache import SentenceCache
from keras_transformer.text.reading import Readings
from keras_transformer.text.tags import Links
from keras_transformer.text.tokenizer import Tokenizer

READ_AT_ONCE = 128  # sentences of a text that is shown as it comes
ENCODED_AT_ONCE = 256  # sentences; between two such groups a call can be cancelled


class SentenceTranslator:
    """Translates different sentences in one call.

    Args:
        scheduler: Runs the model on token ids.
        inspector: Aligns, where tags are to be placed.
        tokenizer, manifest: Of the bundle.
        cache_size: Sentences to remember.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        inspector: Inspector,
        tokenizer: Tokenizer,
        manifest: Manifest,
        cache_size: int,
    ) -> None:
        self._scheduler = scheduler
        self._inspector = inspector
        self._tokenizer = tokenizer
        self._manifest = manifest
        self._cache: SentenceCache[Outputs] = SentenceCache(cache_size)
        # A translation may need half as many tokens again as its source; both must fit the model.
        fitting = max(1, 2 * manifest.max_length // 3 - 1)  # EOS not counted
        self._longest_source = min(fitting, manifest.longest_source or fitting)

    def known(self, sentence: str, options: SearchOptions) -> Outputs | None:
        """What is remembered of a sentence."""
        return self._cache.get((sentence, options))

    def translate(
        self,
        sentences: list[str],
        outputs: dict[str, Outputs],
        options: SearchOptions,
        cancellation: Cancellation,
        report: Report | None,
    ) -> None:
        """Translate each of `sentences` into `outputs`, and remember it.

        Args:
            sentences: All different, each of a length that `fits`.
            outputs: Filled as sentences are done.
            options: How to search.
            cancellation: Ends the call.
            report: Told of each sentence that is done.

        Raises:
            Cancelled: `cancellation` was cancelled.
        """
        # Where sentences are shown as they come, those that are asked for again must not wait for the last.
        size = READ_AT_ONCE if report is not None and report.is_one_text else max(1, len(sentences))
        for start in range(0, len(sentences), size):
            self._read(sentences[start : start + size], outputs, options, cancellation, report)

    def _read(
        self,
        sentences: list[str],
        outputs: dict[str, Outputs],
        options: SearchOptions,
        cancellation: Cancellation,
        report: Report | None,
    ) -> None:
        """Translate sentences side by side; `text.reading` keeps them safe."""

        def fits(text: str) -> bool:
            cancellation.check()
            return self.fits(text)

        manifest = self._manifest
        readings = Readings(
            sentences,
            manifest.source_language,
            manifest.target_language,
            fits,
            self._links,
            self._tokenizer.alphabet,
        )
        found: dict[str, Outputs] = {}  # by the text that the model read

        def keep(sentence: str) -> None:
            outputs[sentence] = settle(readings.settled[sentence], found)
            self._cache.put((sentence, options), outputs[sentence])
            if report is not None:
                report(sentence)

        def take(text: str, output: Outputs) -> None:
            found[text] = output
            for sentence in readings.take(text, [one.text for one in output]):
                keep(sentence)

        for sentence in list(readings.settled):
            keep(sentence)
        while texts := readings.asks():
            self._translate_texts(
                texts, take, options, cancellation, report is not None and report.is_one_text
            )

    def _translate_texts(
        self,
        texts: list[str],
        take: Callable[[str, Outputs], None],
        options: SearchOptions,
        cancellation: Cancellation,
        in_order: bool,
    ) -> None:
        """Have the model translate each of `texts`, and hand on each as it is done."""
        sources: list[IntArray] = []
        for start in range(0, len(texts), ENCODED_AT_ONCE):
            cancellation.check()
            part = self._tokenizer.encode_batch(texts[start : start + ENCODED_AT_ONCE])
            sources += [np.array([*ids, self._manifest.eos_id], dtype=np.int64) for ids in part]

        def take_ended(ended: Ended) -> None:
            take(
                texts[ended.row],
                tuple(to_output(hypothesis, self._tokenizer) for hypothesis in ended.hypotheses),
            )

        self._scheduler.run(sources, options, take_ended, in_order=in_order, cancellation=cancellation)

    def _links(self, source: str, target: str) -> Links | None:
        """Which words of a translation came from which; None where the pair is too long to say."""
        try:
            found = self._inspector.align(source, target)
        except ValueError:
            return None
        return Links(found.source_spans, found.target_spans, found.weights.mean(axis=0))

    def fits(self, sentence: str) -> bool:
        """Whether a text is short enough for the model to read it well, with room for a longer translation."""
        if len(sentence) < 2 or (sentence.isascii() and len(sentence) < self._longest_source):
            return True  # no token stands for less than a character, but for one before the first
        if len(sentence) > 64 * self._longest_source:
            return False  # no token is as long; encoding a megabyte would hold up every other thread
        return len(self._tokenizer.encode(sentence)) <= self._longest_source
