"""The public API: text in, text out, over an exported bundle. No Keras here.

A text is cut into sentences (`text.segmentation`), each sentence is translated once, and the sentences go
back between the spaces and line breaks they stood in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from keras_transformer.decoding.limits import LoopGuard, length_limits
from keras_transformer.decoding.search import Cancelled, IntArray, greedy_search
from keras_transformer.errors import UserError
from keras_transformer.runtime.bundle import Bundle, Manifest
from keras_transformer.runtime.sessions import Engine
from keras_transformer.text.segmentation import is_copied, split_long, split_text
from keras_transformer.text.tokenizer import Tokenizer

SHIPPED_BUNDLE = Path(__file__).resolve().parents[1] / "pretrained" / "en-it"
BATCH_TOKENS = 1024  # padded source tokens of a batch
BATCH_ROWS = 32  # more rows cost more in caches than they save

ShouldStop = Callable[[], bool]

_LINE_ENDS = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")


@dataclass(frozen=True)
class Translation:
    """One translated text.

    Attributes:
        text: The translation, in the layout of the source.
        score: Mean log-probability of a token, at most 0; 0 where nothing was translated.
        source: The text as it was given.
        flags: What a reader should know, sorted: "copied" (nothing to translate: the text came back as it
            was), "cut_length" (a sentence reached the length limit), "cut_loop" (an endless repetition was
            cut), "kept" (the model gave nothing for a sentence: the original stands), "split" (a sentence
            too long for the model was translated in parts).
    """

    text: str
    score: float
    source: str
    flags: tuple[str, ...]


@dataclass(frozen=True)
class _Output:
    """One sentence as the model gave it: its text, the log-probability of each token, its flags."""

    text: str
    log_probs: tuple[float, ...]
    flags: frozenset[str]


@dataclass(frozen=True)
class _Document:
    """One text in parts. An even part is copied as it is, an odd one is a sentence that fits the model."""

    parts: list[str]
    flags: frozenset[str]


class Translator:
    """Translates text with an exported bundle. Several threads may call `translate` at once.

    Args:
        engine: What runs the model.
        tokenizer: The bundle's own.
        manifest: What the bundle says about itself.
    """

    def __init__(self, engine: Engine, tokenizer: Tokenizer, manifest: Manifest) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._manifest = manifest
        # A translation may need half as many tokens again as its source; both must fit the model.
        self._longest_source = max(1, 2 * manifest.max_length // 3 - 1)  # EOS not counted

    @classmethod
    def from_pretrained(
        cls, folder: str | Path | None = None, device: str = "auto", num_threads: int | None = None
    ) -> Translator:
        """Load a bundle.

        Args:
            folder: The bundle; None takes the one shipped with the package.
            device: "cpu", "cuda", or "auto": CUDA where it runs, else the CPU. See `device_note`.
            num_threads: CPU threads of the engine, at least 1; None takes every core.

        Raises:
            UserError: there is no bundle, it is damaged, or `device` cannot run here.
        """
        if folder is None and not SHIPPED_BUNDLE.is_dir():
            raise UserError(
                f"no model is shipped at {SHIPPED_BUNDLE}. Make one with `python -m keras_transformer.fit` "
                "and `python export/to_onnx.py`, and name its folder."
            )
        bundle = Bundle.open(SHIPPED_BUNDLE if folder is None else folder)
        tokenizer = Tokenizer.from_file(bundle.tokenizer_path)
        return cls(Engine.load(bundle, device, num_threads), tokenizer, bundle.manifest)

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

    @overload
    def translate(self, text: str, *, should_stop: ShouldStop | None = None) -> Translation: ...

    @overload
    def translate(
        self, text: list[str] | tuple[str, ...], *, should_stop: ShouldStop | None = None
    ) -> list[Translation]: ...

    def translate(
        self, text: str | list[str] | tuple[str, ...], *, should_stop: ShouldStop | None = None
    ) -> Translation | list[Translation]:
        """Translate one text, or each of a list, of any length and layout.

        Nothing is dropped: line breaks, blank lines and indents stay, a sentence too long for the model is
        translated in parts. What stands beside a text in a list never changes its translation.

        Args:
            text: A text, or a list of texts.
            should_stop: Asked before each step of the model, from the calling thread; True ends the call.

        Returns:
            A `Translation` for a text; a list of them, in the order given, for a list.

        Raises:
            Cancelled: `should_stop()` turned true.
            TypeError: `text` is neither a string nor a list of strings.
        """
        if isinstance(text, str):
            return self._translate_all([text], should_stop)[0]
        if not isinstance(text, (list, tuple)) or not all(isinstance(item, str) for item in text):
            raise TypeError(
                f"`text` must be a string or a list of strings, got {type(text).__name__}. "
                "Pass one string, or a list of them."
            )
        return self._translate_all(text, should_stop)

    def _translate_all(self, texts: Sequence[str], should_stop: ShouldStop | None) -> list[Translation]:
        documents = [self._take_apart(text) for text in texts]
        sentences = list(dict.fromkeys(part for document in documents for part in document.parts[1::2]))
        outputs = dict(zip(sentences, self._translate_sentences(sentences, should_stop), strict=True))
        return [
            _put_together(text, document, outputs) for text, document in zip(texts, documents, strict=True)
        ]

    def _translate_sentences(self, sentences: list[str], should_stop: ShouldStop | None) -> list[_Output]:
        """Translate each of `sentences`, batches of like lengths, in the order given."""
        eos_id = self._manifest.eos_id
        sources: list[IntArray] = [
            np.array([*ids, eos_id], dtype=np.int64) for ids in self._tokenizer.encode_batch(sentences)
        ]
        outputs: dict[int, _Output] = {}
        for rows in batches([len(source) for source in sources]):
            if should_stop is not None and should_stop():
                raise Cancelled("The translation was cancelled.")
            outputs.update(zip(rows, self._search([sources[row] for row in rows], should_stop), strict=True))
        return [
            outputs[row]
            if outputs[row].text
            else _Output(sentence, outputs[row].log_probs, frozenset({"kept"}))
            for row, sentence in enumerate(sentences)
        ]

    def _search(self, sources: list[IntArray], should_stop: ShouldStop | None) -> list[_Output]:
        """Translate one batch of source ids, EOS included."""
        manifest = self._manifest
        max_lengths = length_limits([len(source) for source in sources], manifest.max_length)
        result = greedy_search(
            self._engine.start(sources, int(max_lengths.max())),
            batch_size=len(sources),
            bos_id=manifest.bos_id,
            eos_id=manifest.eos_id,
            pad_id=manifest.pad_id,
            max_lengths=max_lengths,
            should_stop=should_stop,
            find_loop=LoopGuard(sources),
        )
        outputs = []
        for row, tokens in enumerate(result.tokens):
            flag = "cut_loop" if result.cut[row] else "" if result.finished[row] else "cut_length"
            # A sentence stays on its line, whatever the model wrote.
            text = _LINE_ENDS.sub(" ", self._tokenizer.decode(tokens.tolist())).strip()
            log_probs = tuple(result.log_probs[row].tolist())
            outputs.append(_Output(text, log_probs, frozenset({flag} - {""})))
        return outputs

    def _take_apart(self, text: str) -> _Document:
        """Cut a text into sentences that fit the model, and what stands between them."""
        parts = [""]
        flags: set[str] = set()
        for piece in split_text(text, self.source_language):
            if not piece.is_sentence:
                parts[-1] += piece.text
                continue
            fitting = split_long(piece.text, self._fits)
            if len(fitting) > 1:
                flags.add("split")
            for part in fitting:
                if is_copied(part):
                    parts[-1] += part
                    continue
                sentence = part.rstrip()  # a space at a cut belongs to the part before it
                parts += [sentence, part[len(sentence) :]]
        if len(parts) == 1:
            flags.add("copied")
        return _Document(parts, frozenset(flags))

    def _fits(self, sentence: str) -> bool:
        return len(sentence) < 2 or len(self._tokenizer.encode(sentence)) <= self._longest_source


def batches(lengths: Sequence[int]) -> list[list[int]]:
    """Rows in batches of like lengths, the longest first.

    Args:
        lengths: Tokens of each row, at least 1.

    Returns:
        Row numbers: each once, at most `BATCH_ROWS` a batch, and at most `BATCH_TOKENS` padded tokens in a
        batch of more than one row.
    """
    found: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if (
            found
            and len(found[-1]) < BATCH_ROWS
            and lengths[found[-1][0]] * (len(found[-1]) + 1) <= BATCH_TOKENS
        ):
            found[-1].append(row)
        else:
            found.append([row])
    return found


def _put_together(text: str, document: _Document, outputs: dict[str, _Output]) -> Translation:
    parts = list(document.parts)
    used = [outputs[sentence] for sentence in parts[1::2]]
    parts[1::2] = [output.text for output in used]
    log_probs = [log_prob for output in used for log_prob in output.log_probs]
    return Translation(
        text="".join(parts),
        score=sum(log_probs) / len(log_probs) if log_probs else 0.0,
        source=text,
        flags=tuple(sorted(document.flags.union(*(output.flags for output in used)))),
    )
