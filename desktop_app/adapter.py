"""A translator as the window's service wants it. Loaded on the worker's thread: it imports the engine."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from desktop_app.inspection import Alternative, Attention, Place, Span, words
from desktop_app.service import Answer, FileAnswer, LoadedModel, OnProgress
from keras_transformer.decoding.cancellation import Cancellation
from keras_transformer.documents.files import SUFFIXES, FileProgress, translate_file
from keras_transformer.runtime.devices import num_cores
from keras_transformer.runtime.translator import SHIPPED_BUNDLE, Progress, Translator
from keras_transformer.text.segmentation import cut_long_line

_Result = TypeVar("_Result")
_PIECE_CHARACTERS = 50_000  # translated together: hundreds of sentences fill every batch
_CACHED = 64  # sentences looked into last


def load_bundle(folder: Path | None, device: str) -> LoadedModel:
    """Load a bundle and return what the service needs of it.

    Args:
        folder: The bundle, or None for the one shipped with the package.
        device: "auto", "cpu" or "cuda".

    Raises:
        UserError: the bundle is missing or damaged, or the device is not there.
    """
    # One core stays for the window: with all of them busy its answers to keys come late.
    translator = Translator.from_pretrained(folder, device=device, num_threads=max(1, num_cores() - 1))
    inspector = SentenceInspector(translator)

    def translate(text: str, cancellation: Cancellation, on_progress: OnProgress) -> Answer:
        return inspector.revised(text, _translate_in_pieces(translator, text, cancellation, on_progress))

    def translate_document(
        source: Path, target: Path, cancellation: Cancellation, on_progress: Callable[[float], None]
    ) -> FileAnswer:
        def tell(progress: FileProgress) -> None:
            on_progress(progress.done / max(1, progress.total))

        report = translate_file(translator, source, target, cancellation=cancellation, on_progress=tell)
        return FileAnswer(tuple(report.flags), report.kept, report.left)

    return LoadedModel(
        translate=translate,  # type: ignore[arg-type]  # of its own `new_cancellation`
        new_cancellation=Cancellation,
        source_language=translator.source_language,
        target_language=translator.target_language,
        device=translator.device,
        device_note=translator.device_note,
        precision=translator.precision,
        name=translator.name,
        folder=SHIPPED_BUNDLE if folder is None else folder,
        inspector=inspector,
        translate_file=translate_document,  # type: ignore[arg-type]  # of its own `new_cancellation`
        file_types=SUFFIXES,
    )


def _translate_in_pieces(
    translator: Translator, text: str, cancellation: Cancellation, on_progress: OnProgress
) -> Answer:
    """Translate a text whose first words show long before all of a megabyte is taken apart."""
    done, flags, places = "", list[str](), list[Place]()
    begin = 0
    for piece in _pieces(text):

        def tell(progress: Progress, done: str = done, begin: int = begin, size: int = len(piece)) -> None:
            share = progress.done_sentences / max(1, progress.total_sentences)
            on_progress((begin + share * size) / max(1, len(text)), done + progress.text_so_far)

        translation = translator.translate(piece, cancellation=cancellation, on_progress=tell)
        places += [
            Place(
                begin + pair.source_start, begin + pair.source_end,
                len(done) + pair.target_start, len(done) + pair.target_end,
                pair.flags,
            )
            for pair in translation.sentences
        ]  # fmt: skip
        flags += translation.flags
        done += translation.text
        begin += len(piece)
    if places:
        flags = [flag for flag in flags if flag != "copied"]  # of one piece only
    return Answer(done, tuple(dict.fromkeys(flags)), tuple(places))


def _pieces(text: str) -> Iterator[str]:
    """Cut a text where no sentence goes on for the translator; all pieces together are the text."""
    piece: list[str] = []
    size = 0
    for line in text.splitlines(keepends=True):
        for part in cut_long_line(line):
            if size >= _PIECE_CHARACTERS:
                yield "".join(piece)
                piece, size = [], 0
            piece.append(part)
            size += len(part)
    yield "".join(piece)


class SentenceInspector:
    """`desktop_app.inspection.Inspector` over a translator; remembers what was looked at and what was chosen.

    Args:
        translator: Of the model on the screen.
    """

    def __init__(self, translator: Translator) -> None:
        self._translator = translator
        self._seen: OrderedDict[tuple[str, ...], object] = OrderedDict()
        self._chosen: dict[str, str] = {}
        self._lock = threading.Lock()  # `revised` is called on the worker's thread

    def attention(self, source: str, target: str) -> Attention:
        """Return where the model looked when it wrote the target."""

        def look() -> Attention:
            alignment = self._translator.align(source, target)
            weights = tuple(tuple(tuple(row) for row in head) for head in alignment.weights.tolist())
            return Attention(tuple(alignment.source_spans), tuple(alignment.target_spans), weights)

        return self._remember(("attention", source, target), look)

    def confidence(self, source: str, target: str) -> list[tuple[Span, float]]:
        """Return the place of each word of the target and the model's probability of it."""

        def look() -> list[tuple[Span, float]]:
            spans = self.attention(source, target).target_spans
            log_probs = self._translator.score(source, target).log_probs
            carried = self._translator.carried_over(source, target)
            found = []
            for begin, end in words(target):
                if any(first < end and begin < last for first, last in carried):
                    continue
                # A word is as likely as its tokens one after the other.
                parts = [p for (b, e), p in zip(spans, log_probs, strict=False) if b < end and begin < e]
                if parts:
                    found.append(((begin, end), math.exp(sum(parts))))
            return found

        return self._remember(("confidence", source, target), look)

    def alternatives(self, source: str, target: str, begin: int) -> list[Alternative]:
        """Return up to five words that may stand at character `begin` of the target, likeliest first."""
        found = self._translator.alternatives(source, target[:begin], count=5)
        return [Alternative(other.text, other.probability) for other in found]

    def choose(self, source: str, target: str, begin: int, word: str) -> str:
        """Return the target with `word` at character `begin` and the rest translated again."""
        text = self._translator.translate_from(source, target[:begin] + word.strip()).text
        with self._lock:
            self._chosen[source] = text
        return text

    def forget(self) -> None:
        """Forget what was chosen."""
        with self._lock:
            self._chosen.clear()

    def revised(self, source: str, answer: Answer) -> Answer:
        """Return the answer with the sentences that were chosen in the place of the model's own."""
        with self._lock:
            chosen = dict(self._chosen)
        if not chosen:
            return answer
        parts, places, done, moved = [], [], 0, 0
        for place in answer.places:
            target = answer.text[place.target_begin : place.target_end]
            sentence = source[place.source_begin : place.source_end]
            if sentence in chosen:
                target, place = chosen[sentence], place._replace(flags=())
            parts += [answer.text[done : place.target_begin], target]
            begin = place.target_begin + moved
            places.append(place._replace(target_begin=begin, target_end=begin + len(target)))
            done = place.target_end
            moved = begin + len(target) - done
        return Answer("".join([*parts, answer.text[done:]]), answer.flags, tuple(places))

    def _remember(self, key: tuple[str, ...], look: Callable[[], _Result]) -> _Result:
        if key not in self._seen:
            self._seen[key] = look()
            while len(self._seen) > _CACHED:
                self._seen.popitem(last=False)
        self._seen.move_to_end(key)
        return self._seen[key]  # type: ignore[return-value]
