"""A file in, its translation out: with progress, an end on request, and a start where the last call stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, Protocol

from keras_transformer.decoding.cancellation import Cancellation
from keras_transformer.documents import docx, html, plain, subtitles
from keras_transformer.documents.parts import LostCode, Segment, decode, left_in, segments, written
from keras_transformer.errors import UserError, reason_of

if TYPE_CHECKING:
    from keras_transformer.runtime.results import Translation

SUFFIXES = (".txt", ".srt", ".vtt", ".html", ".htm", ".docx")
_CHARACTERS_AT_ONCE = 4000  # translated together, then written down
_SIDE_FORMAT = 2  # of the side file; a file of another is not read


class FileProgress(NamedTuple):
    """How far a file is: its segments (lines, cues, paragraphs)."""

    done: int
    total: int


@dataclass(frozen=True)
class FileReport:
    """What became of a file.

    Attributes:
        segments: Segments with text to translate.
        resumed: How many of them were found from a call before.
        kept: Segments that stayed as they were, in whole or in part, since no translation passed the checks.
        left: Texts that are not there to be translated: code, formulas, what is marked so; as a reader sees them.
        flags: How many segments have which flag of `Translation`.
    """

    segments: int
    resumed: int
    kept: tuple[str, ...]
    left: tuple[str, ...]
    flags: dict[str, int] = field(default_factory=dict)


class TextTranslator(Protocol):
    """What is needed of a `runtime.translator.Translator`."""

    @property
    def fingerprint(self) -> str: ...
    def translate(
        self,
        text: list[str],
        *,
        beam_size: int = 1,
        length_penalty: float = 0.6,
        cancellation: Cancellation | None = None,
    ) -> list[Translation]: ...


class SearchChoice(NamedTuple):
    """How to search; see `Translator.translate`."""

    beam_size: int = 1
    length_penalty: float = 0.6


class OpenFile(NamedTuple):
    """A file that was read.

    Attributes:
        segments: What is to be translated.
        left: Texts that stay as they are, though people may read them.
        to_bytes: Makes the file again, with the translations that the segments have.
    """

    segments: list[Segment]
    left: tuple[str, ...]
    to_bytes: Callable[[], bytes]


def open_file(path: Path) -> OpenFile:
    """Read a file of one of `SUFFIXES`.

    Raises:
        UserError: it cannot be read, or is not what its suffix says.
    """
    check_suffix(path)
    return parse(_read(path), path.suffix.lower(), str(path))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot read {path.absolute()}: {reason_of(error)}. Name a file to translate.")


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {path.absolute()}: {reason_of(error)}. Name another file.")


def check_suffix(path: Path) -> None:
    """Raise UserError if files of this suffix are not translated."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(
            f"the name of a file to translate must end in {', '.join(SUFFIXES)}, got {path.name!r}. "
            "Save it as one of these."
        )


def check_paths(source: Path, target: Path) -> None:
    """Raise UserError if `source` cannot be translated into `target`."""
    check_suffix(source)
    try:
        is_target, is_folder = target.exists(), target.is_dir()
    except OSError as error:  # a name that is too long
        raise _unwritable(target, error) from None
    try:
        is_same = is_target and source.exists() and target.samefile(source)
    except OSError as error:
        raise _unreadable(source, error) from None
    if is_folder:
        raise UserError(f"the translation must be a file, got the folder {target}. Name a new file.")
    if target.suffix.lower() != source.suffix.lower():
        raise UserError(
            f"the translation must be a {source.suffix} like its source, got {target.name!r}. Name it "
            f"{target.stem}{source.suffix}."
        )
    if is_same:
        raise UserError(
            f"the translation must be another file than its source, got {target}. Name a new file."
        )


def parse(data: bytes, suffix: str, name: str) -> OpenFile:
    """Read the content of a file.

    Args:
        data: The whole file.
        suffix: One of `SUFFIXES`.
        name: What it is called in an error.

    Raises:
        UserError: it is not what its suffix says.
    """
    if suffix == ".docx":
        files, left, archive = docx.read(data, name)
        found = [segment for parts in files.values() for segment in segments(parts)]
        return OpenFile(found, tuple(left), lambda: docx.write(files, archive))
    if suffix in (".html", ".htm"):
        text, encode = html.decode(data)
        parts = html.read(text)
    else:
        text, encode = decode(data, name)
        parts = plain.read(text) if suffix == ".txt" else subtitles.read(text)
    return OpenFile(list(segments(parts)), tuple(left_in(parts)), lambda: encode(written(parts)))


def translate_file(
    translator: TextTranslator,
    source: Path,
    target: Path,
    *,
    search: SearchChoice = SearchChoice(),  # noqa: B008 - it cannot change
    cancellation: Cancellation | None = None,
    on_progress: Callable[[FileProgress], None] | None = None,
) -> FileReport:
    """Translate a file; `target` appears when all is done, and not before.

    What is done is noted in a side file beside `target` (its name with ".part.jsonl"), so that a call that was
    ended goes on where it stopped, as long as file and model are the same. It is removed at the end.

    Args:
        translator: Translates lists of texts.
        source: A file of one of `SUFFIXES`.
        target: Of the same suffix; another file. What is there is replaced.
        search: How to search.
        cancellation: Ends the call, from any thread.
        on_progress: Called in this thread after every few segments.

    Raises:
        Cancelled: `cancellation` was cancelled.
        UserError: a file cannot be read or written, or is not what its suffix says.
    """
    check_paths(source, target)
    data = _read(source)
    file = parse(data, source.suffix.lower(), str(source))
    side = _SideFile(target, _key(translator, search, data))
    done = side.read(len(file.segments))
    kept: list[str] = []
    flags: Counter[str] = Counter()
    resumed = len(done)
    try:
        with side.open(done) as stream:
            for index, (text, its_flags) in enumerate(done):
                _take(file.segments[index], text, its_flags, kept, flags)
            for first, batch in _batches(file.segments, resumed):
                if on_progress is not None:
                    on_progress(FileProgress(first, len(file.segments)))
                texts = [segment.text for segment in batch]
                found = translator.translate(texts, **search._asdict(), cancellation=cancellation)
                for segment, translation in zip(batch, found, strict=True):
                    _take(segment, translation.text, translation.flags, kept, flags)
                    stream.write(_note(translation.text, translation.flags))
                stream.flush()
        _replace(target, file.to_bytes())
        side.remove()
    except OSError as error:
        raise _unwritable(target, error) from None
    if on_progress is not None:
        on_progress(FileProgress(len(file.segments), len(file.segments)))
    return FileReport(len(file.segments), resumed, tuple(kept), file.left, dict(flags))


def _take(
    segment: Segment, text: str, its_flags: Sequence[str], kept: list[str], flags: Counter[str]
) -> None:
    """Give a segment its translation, unless the codes of its formatting are not all there."""
    flags.update(its_flags)
    try:
        segment.render(text)
    except LostCode:
        kept.append(segment.text)
        flags["kept"] += "kept" not in its_flags
        return
    segment.translation = text
    if "kept" in its_flags:
        kept.append(segment.text)


def _batches(found: Sequence[Segment], first: int) -> Iterator[tuple[int, list[Segment]]]:
    """The segments from `first` on, some at a time, each time with the number of the first."""
    batch: list[Segment] = []
    size = 0
    for index in range(first, len(found)):
        batch.append(found[index])
        size += len(found[index].text)
        if size >= _CHARACTERS_AT_ONCE or index + 1 == len(found):
            yield index + 1 - len(batch), batch
            batch, size = [], 0


def _key(translator: TextTranslator, search: SearchChoice, data: bytes) -> dict[str, object]:
    """What must be the same for the side file to hold."""
    return {
        "format": _SIDE_FORMAT,
        "source": hashlib.sha256(data).hexdigest(),
        "search": list(search),
        "model": translator.fingerprint,
    }


class _SideFile:
    """Translations of the first segments of a file, a JSON line each, after a line with what they hold for."""

    def __init__(self, target: Path, key: dict[str, object]) -> None:
        self._path = target.with_name(target.name + ".part.jsonl")
        self._key = key

    def read(self, most: int) -> list[tuple[str, list[str]]]:
        """What was noted for the same file and model; nothing if the side file is another's or damaged."""
        found: list[tuple[str, list[str]]] = []
        try:
            first, *lines = self._path.read_text("utf-8").split("\n")
            if json.loads(first) != self._key:
                return []
            for line in lines[:-1]:  # the last is empty, or was cut in the middle
                found.append(_noted(line))
        except (OSError, ValueError):
            pass
        return found[:most]

    def open(self, done: Sequence[tuple[str, Sequence[str]]]) -> IO[str]:
        """The side file to write on, with what `read` found in it."""
        lines = [json.dumps(self._key) + "\n", *(_note(*one) for one in done)]
        _replace(self._path, "".join(lines).encode())
        return self._path.open("a", encoding="utf-8", newline="\n")

    def remove(self) -> None:
        with contextlib.suppress(OSError):  # the translation is there: what is left beside it does no harm
            self._path.unlink()


def _note(text: str, flags: Sequence[str]) -> str:
    """A translation's line in a side file."""
    return json.dumps([text, list(flags)]) + "\n"


def _noted(line: str) -> tuple[str, list[str]]:
    """What `_note` wrote; ValueError if it did not write this."""
    note = json.loads(line)
    if not isinstance(note, list) or len(note) != 2 or not isinstance(note[1], list):
        raise ValueError(line)
    text, flags = note
    if not all(isinstance(item, str) for item in [text, *flags]):
        raise ValueError(line)
    return text, flags


def _replace(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; where `path` is a link, the file it leads to."""
    target = Path(os.path.realpath(path))
    new = target.with_name(f".{secrets.token_hex(8)}.new")
    stream = new.open("xb")  # never a file that is there
    try:
        with stream:
            stream.write(data)
        if target.exists():
            shutil.copymode(target, new)
        os.replace(new, target)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
