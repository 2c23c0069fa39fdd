"""The public API: text in, text out, over an exported bundle. No Keras here.

A text is cut into sentences (`text.layout`), each sentence is translated once, and the sentences go back
between the spaces and line breaks they stood in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import overload

from keras_transformer.decoding.cancellation import Cancellation
from keras_transformer.errors import UserError
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.runtime.devices import num_cores
from keras_transformer.runtime.inspection import Inspector, check_strings
from keras_transformer.runtime.manifest import Manifest
from keras_transformer.runtime.outputs import (
    OnProgress,
    Outputs,
    Report,
    on_one_line,
    put_together,
    to_output,
)
from keras_transformer.runtime.results import (
    Alignment,
    Alternative,
    Progress,
    Scored,
    ScoredText,
    Translation,
)
from keras_transformer.runtime.scheduler import Scheduler, SearchOptions
from keras_transformer.runtime.sentence_translator import SentenceTranslator
from keras_transformer.runtime.sessions import Engine
from keras_transformer.text.layout import take_apart
from keras_transformer.text.protection import find_items
from keras_transformer.text.tokenizer import Tokenizer

SHIPPED_BUNDLE = Path(__file__).resolve().parents[1] / "pretrained" / "en-it"
CACHED_SENTENCES = 2048

__all__ = [
    "SHIPPED_BUNDLE",
    "Alignment",
    "Alternative",
    "Progress",
    "Scored",
    "ScoredText",
    "Translation",
    "Translator",
]


class Translator:
    """Translates text with an exported bundle. Several threads may call it at once.

    Args:
        engine: What runs the model.
        tokenizer: The bundle's own.
        manifest: What the bundle says about itself.
        num_workers: Batches that a call with many sentences runs at the same time, each on its own thread.
        cache_size: Sentences to remember, so that a text that changes costs only what has changed in it.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        manifest: Manifest,
        *,
        num_workers: int = 1,
        cache_size: int = CACHED_SENTENCES,
    ) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._manifest = manifest
        self._inspector = Inspector(engine, tokenizer, manifest)
        scheduler = Scheduler(engine, manifest, num_workers)
        self._sentences = SentenceTranslator(scheduler, self._inspector, tokenizer, manifest, cache_size)

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path | None = None,
        device: str = "auto",
        num_threads: int | None = None,
        *,
        precision: str | None = None,
        cache_size: int = CACHED_SENTENCES,
        shortlist: bool = False,
    ) -> Translator:
        """Load a bundle.

        Args:
            folder: The bundle; None takes the one shipped with the package.
            device: "cpu", "cuda", or "auto": CUDA where it runs, else the CPU. See `device_note`.
            num_threads: CPU threads, at least 1; None takes every core.
            precision: "fp32", "fp16" or "int8"; None takes the fastest that the bundle has.
            cache_size: Sentences to remember, at least 0.
            shortlist: Choose among the likely translations of a sentence's own tokens, by the bundle's
                shortlist: faster, and now and then another word. Of sentences with a token that the training
                text hardly had, of given beginnings and of given translations the whole vocabulary stays.
                Scores are relative to what was chosen among.

        Raises:
            UserError: there is no bundle, it is damaged or has no shortlist, or `device` or `precision` cannot
                run here.
        """
        if folder is None and not SHIPPED_BUNDLE.is_dir():
            raise UserError(
                f"no model is shipped at {SHIPPED_BUNDLE}. Make one with `python -m keras_transformer.fit` "
                "and `python export/to_onnx.py`, and name its folder."
            )
        bundle = Bundle.open(SHIPPED_BUNDLE if folder is None else folder)
        tokenizer = Tokenizer.from_file(bundle.tokenizer_path)
        if tokenizer.vocabulary_size != bundle.manifest.vocabulary_size:
            raise UserError(
                f"{bundle.folder} must have a tokenizer of as many tokens as its manifest's vocabulary_size "
                f"({bundle.manifest.vocabulary_size}), it has {tokenizer.vocabulary_size}. Export the model again."
            )
        engine = Engine.load(bundle, device, num_threads, precision=precision, shortlist=shortlist)
        num_workers = 1 if engine.device != "cpu" else num_threads or num_cores()
        return cls(engine, tokenizer, bundle.manifest, num_workers=num_workers, cache_size=cache_size)

    @property
    def name(self) -> str:
        """What the bundle is called."""
        return self._manifest.name

    @property
    def source_language(self) -> str:
        """Code of the language that is read, for example "en"."""
        return self._manifest.source_language

    @property
    def target_language(self) -> str:
        """Code of the language that is written."""
        return self._manifest.target_language

    @property
    def device(self) -> str:
        """What truly runs: "cpu" or "cuda"."""
        return self._engine.device

    @property
    def device_note(self) -> str:
        """Why `device` is what it is, or ""."""
        return self._engine.device_note

    @property
    def precision(self) -> str:
        """How the weights are held: "fp32", "fp16" or "int8"."""
        return self._engine.precision

    @property
    def fingerprint(self) -> str:
        """Of all that decides on translations: models of one name differ in it, and so does the shortlist's use."""
        what = [self._manifest.to_dict(), self.precision, self._engine.shortlist is not None]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()

    @overload
    def translate(
        self,
        text: str,
        *,
        beam_size: int = 1,
        length_penalty: float = 0.6,
        num_hypotheses: int = 1,
        scores: bool = False,
        cancellation: Cancellation | None = None,
        on_progress: OnProgress | None = None,
    ) -> Translation: ...

    @overload
    def translate(
        self,
        text: list[str] | tuple[str, ...],
        *,
        beam_size: int = 1,
        length_penalty: float = 0.6,
        num_hypotheses: int = 1,
        scores: bool = False,
        cancellation: Cancellation | None = None,
        on_progress: OnProgress | None = None,
    ) -> list[Translation]: ...

    def translate(
        self,
        text: str | list[str] | tuple[str, ...],
        *,
        beam_size: int = 1,
        length_penalty: float = 0.6,
        num_hypotheses: int = 1,
        scores: bool = False,
        cancellation: Cancellation | None = None,
        on_progress: OnProgress | None = None,
    ) -> Translation | list[Translation]:
        """Translate one text, or each of a list, of any length and layout.

        Nothing is dropped: line breaks, blank lines and indents stay, a sentence too long for the model is
        translated in parts. What stands beside a text in a list never changes its translation.

        Args:
            text: A text, or a list of texts.
            beam_size: Outputs that are followed side by side, at most 256; 1 is greedy search.
            length_penalty: Of beam search, from 0 to 10: the higher, the longer the outputs (`BeamSearch`).
            num_hypotheses: Translations to return for each text, at most `beam_size`.
            scores: Whether to compute `Translation.score`; beam search always does.
            cancellation: Ends the call, from any thread.
            on_progress: Called in this thread whenever a sentence is done; of one text, the sentences are
                begun in their order.

        Returns:
            A `Translation` for a text; a list of them, in the order given, for a list.

        Raises:
            Cancelled: `cancellation` was cancelled.
            TypeError: `text` is neither a string nor a list of strings, or an option is no number.
            ValueError: an option breaks its rule.
        """
        options = SearchOptions(beam_size, length_penalty, num_hypotheses, scores or beam_size != 1)
        if isinstance(text, str):
            return self._translate_all([text], options, cancellation, on_progress)[0]
        if not isinstance(text, (list, tuple)):
            raise TypeError(
                f"`text` must be a string or a list of strings, got {type(text).__name__}. "
                "Pass one string, or a list of them."
            )
        check_strings({f"text[{index}]": item for index, item in enumerate(text)})
        return self._translate_all(text, options, cancellation, on_progress)

    def score(self, source: str, target: str) -> Scored:
        """How likely the model finds each token of a given translation of one sentence.

        Raises:
            TypeError: a side is no string.
            ValueError: a side is too long for the model.
        """
        check_strings({"source": source, "target": target})
        return self._inspector.score(source, target)

    def align(self, source: str, target: str) -> Alignment:
        """Where the model looks in the source, one sentence, for each token of a given translation.

        Raises:
            TypeError: a side is no string.
            ValueError: a side is too long for the model.
        """
        check_strings({"source": source, "target": target})
        return self._inspector.align(source, target)

    def carried_over(self, source: str, target: str) -> list[tuple[int, int]]:
        """Where a given translation repeats what must survive of its source, as characters of `target`.

        Addresses, placeholders, numbers, words that the vocabulary cannot write: there by rule, whatever the model
        finds likely.
        """
        items = find_items(target, self._tokenizer.alphabet)
        return [(item.start, item.end) for item in items if item.text in source]

    def alternatives(self, source: str, prefix: str, count: int = 5) -> list[Alternative]:
        """Whole words that may follow the beginning `prefix` of the translation of one sentence.

        Args:
            source: One sentence.
            prefix: The beginning of its translation; "" for the first word. One that ends with a space
                wants a new word; else a mark may follow, or the rest of the last word.
            count: Most alternatives.

        Returns:
            Up to `count`, the likeliest first: ``prefix + alternative.text`` is the longer prefix.

        Raises:
            TypeError: `source` or `prefix` is no string.
            ValueError: `count` is below 1, or `source` or `prefix` is too long for the model.
        """
        check_strings({"source": source, "prefix": prefix})
        return self._inspector.alternatives(source, prefix, count)

    def translate_from(self, source: str, prefix: str) -> Translation:
        """Translate one sentence with a given beginning: the text begins with `prefix`, the rest follows it.

        Raises:
            TypeError: `source` or `prefix` is no string.
            ValueError: `source` or `prefix` is too long for the model.
        """
        check_strings({"source": source, "prefix": prefix})
        rest, found = self._inspector.translate_from(source, prefix)
        flags = to_output(found, self._tokenizer).flags
        return Translation(prefix + on_one_line(rest).rstrip(), source, tuple(sorted(flags)))

    def _translate_all(
        self,
        texts: Sequence[str],
        options: SearchOptions,
        cancellation: Cancellation | None,
        on_progress: OnProgress | None,
    ) -> list[Translation]:
        cancellation = cancellation or Cancellation()
        options.check()

        def fits(sentence: str) -> bool:
            cancellation.check()
            return self._sentences.fits(sentence)

        cancellation.check()
        documents = [take_apart(text, self.source_language, fits, self._tokenizer.alphabet) for text in texts]
        outputs: dict[str, Outputs] = {}
        missing = []
        for sentence in dict.fromkeys(item for document in documents for item in document.sentences):
            known = self._sentences.known(sentence, options)
            if known is None:
                missing.append(sentence)
            else:
                outputs[sentence] = known
        report = Report(documents, outputs, on_progress) if on_progress is not None else None
        self._sentences.translate(missing, outputs, options, cancellation, report)
        return [
            put_together(text, document, outputs, options)
            for text, document in zip(texts, documents, strict=True)
        ]
