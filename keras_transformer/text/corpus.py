"""Readers of parallel text: two files, TSV, CSV, JSONL, Parquet, a hub name, or the embedded sentences.

Each gives a `datasets.Dataset` with the columns `source` and `target`, memory-mapped from an Arrow file, so
that a corpus larger than memory can be read. A mistake in a file is a `UserError` that names the file and
the line. The Arrow files lie in `cache_dir`, by default the cache of `datasets`; a file is read again
when its content has changed.
"""

import csv
import gzip
import itertools
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_transformer.errors import DISK_FAILURES, UserError
from keras_transformer.text.content_cache import PathLike, content_digest, made_once
from keras_transformer.text.tokenizer import normalise

if TYPE_CHECKING:  # translating does not install `datasets`
    from datasets import Dataset

Pair = tuple[str, str]
EMBEDDED_SPLITS = ("train", "valid", "test")
EMBEDDED_LANGUAGES = ("en", "it")
_BATCH_ROWS = 10_000
_FORMAT = 1  # part of the cache's key: raise it where a reader changes


def read_parallel(
    source_path: PathLike, target_path: PathLike, *, cache_dir: PathLike | None = None
) -> "Dataset":
    """Two files of one sentence a line, plain or .gz; line N of one belongs to line N of the other.

    Lines end at "\\n" only ("\\r\\n" is tolerated): U+2028 and its like are text.

    Raises:
        UserError: a file is missing, empty or not UTF-8, or the counts differ.
    """
    paths = (_existing(source_path), _existing(target_path))
    return _memory_mapped(_parallel_pairs(*paths), paths, ("parallel",), cache_dir)


def read_dataset(
    name_or_path: PathLike,
    subset: str | None = None,
    source_language: str = "en",
    target_language: str = "it",
    *,
    split: str = "train",
    cache_dir: PathLike | None = None,
) -> "Dataset":
    """A TSV, CSV, JSONL or Parquet file (the first three also .gz), or a data set of the Hugging Face hub.

    Columns are named by the languages, or hold the hub's `{"translation": {"en": …, "it": …}}`. A TSV whose
    first line names no language has the source in its first column and the target in its second.

    Args:
        name_or_path: A file, or a hub name such as "Helsinki-NLP/opus_books" (needs a network).
        subset: The hub's configuration, such as "en-it".
        source_language, target_language: Column names.
        split: The hub's split.
        cache_dir: Where Arrow files go.

    Raises:
        UserError: the file is missing or broken, or a language is not there.
        OSError: the disk that is to hold it is full or cannot be written.
    """
    name, languages = os.fspath(name_or_path), (source_language, target_language)
    suffix = Path(name.lower().removesuffix(".gz")).suffix
    readers = {".tsv": _tsv_pairs, ".csv": _csv_pairs, ".jsonl": _jsonl_pairs, ".parquet": _parquet_pairs}
    if suffix in readers:
        path = _existing(name)
        return _memory_mapped(readers[suffix](path, languages), (path,), (suffix, *languages), cache_dir)
    if Path(name).exists():
        raise UserError(
            f"a data set file must end in .tsv, .csv, .jsonl or .parquet, got {name}. Rename or convert it."
        )
    return _from_hub(name, subset, split, languages, cache_dir)


def read_embedded(
    split: str,
    source_language: str = "en",
    target_language: str = "it",
    *,
    cache_dir: PathLike | None = None,
) -> "Dataset":
    """The embedded everyday sentences, English–Italian or the other way.

    Args:
        split: "train", "valid" or "test"; no sentence of one split is in another, on either side.
        source_language, target_language: "en" and "it", or "it" and "en".
        cache_dir: Where Arrow files go.

    Raises:
        UserError: another split, or other languages.
    """
    if split not in EMBEDDED_SPLITS:
        raise UserError(f"`split` must be one of {', '.join(EMBEDDED_SPLITS)}, got {split!r}.")
    languages = (source_language, target_language)
    if set(languages) != set(EMBEDDED_LANGUAGES):
        raise UserError(
            f"the embedded corpus has the languages en and it, got {source_language!r} and "
            f"{target_language!r}. Give your own text with --train or --dataset."
        )
    folder = resources.files("keras_transformer") / "data"
    with resources.as_file(folder / f"{split}.tsv.gz") as path:
        pairs: Iterable[Pair] = _tsv_pairs(path, EMBEDDED_LANGUAGES)
        if languages != EMBEDDED_LANGUAGES:
            pairs = ((target, source) for source, target in pairs)
        return _memory_mapped(pairs, (path,), ("embedded", *languages), cache_dir)


def _existing(path: PathLike) -> Path:
    path = Path(path).absolute()
    if not path.is_file():
        raise UserError(f"a corpus file must exist, found none at {path}. Check the path.")
    return path


def _memory_mapped(
    pairs: Iterable[Pair], paths: Sequence[Path], what: tuple[str, ...], cache_dir: PathLike | None
) -> "Dataset":
    """The pairs as a data set on disk, written once for files with this content."""
    import datasets

    def write(path: str) -> None:
        if not _write_arrow(pairs, path):
            raise UserError(f"a corpus must hold at least one pair, {paths[0]} is empty. Check the file.")

    key = ["corpus", _FORMAT, *what, *(content_digest(path) for path in paths)]
    arrow = made_once(key, ".arrow", write, cache_dir)
    mapped = datasets.Dataset.from_file(str(arrow))
    # Left to itself the fingerprint, by which what is made of the text is found again, is that of the file's date.
    return datasets.Dataset(mapped.data, info=mapped.info, fingerprint=arrow.stem)


def _write_arrow(pairs: Iterable[Pair], path: str) -> int:
    """Write an Arrow stream of the columns source and target; gives the number of pairs."""
    import pyarrow

    schema = pyarrow.schema([("source", pyarrow.string()), ("target", pyarrow.string())])
    pairs, count = iter(pairs), 0
    with pyarrow.OSFile(path, "wb") as sink, pyarrow.ipc.new_stream(sink, schema) as writer:
        while rows := list(itertools.islice(pairs, _BATCH_ROWS)):
            columns = [pyarrow.array(side, pyarrow.string()) for side in zip(*rows, strict=True)]
            writer.write_batch(pyarrow.record_batch(columns, schema=schema))
            count += len(rows)
    return count


def _lines(path: Path) -> Iterator[str]:
    """Lines of a UTF-8 file, split on "\\n" only, without it and without a "\\r" before it."""
    open_file = gzip.open if path.suffix.lower() == ".gz" else open
    number = 0
    try:
        with open_file(path, "rb") as file:
            for number, raw in enumerate(file, start=1):
                line = raw.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
                yield line.removeprefix("\ufeff") if number == 1 else line
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}, line {number}: must be UTF-8, byte {error.start + 1} is not ({error.reason}). "
            "Convert the file, for instance with iconv."
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            f"{path}, after line {number}: cannot be read ({error}). Write the file anew."
        ) from None


def _parallel_pairs(source_path: Path, target_path: Path) -> Iterator[Pair]:
    paths = (source_path, target_path)
    sides = [_lines(path) for path in paths]
    for count in itertools.count():
        source, target = (next(side, None) for side in sides)
        if source is None and target is None:
            return
        if source is None or target is None:
            short = 0 if source is None else 1
            more = count + 1 + sum(1 for _ in sides[1 - short])
            raise UserError(
                f"{paths[short]}, line {count + 1}: must have as many lines as {paths[1 - short]}, "
                f"has {count} against {more}. Line N of one must be the translation of line N of the other."
            )
        yield source, target


def _tsv_pairs(path: Path, languages: tuple[str, str]) -> Iterator[Pair]:
    columns, width = (0, 1), 0
    for number, line in enumerate(_lines(path), start=1):
        if not line:
            continue
        fields = line.split("\t")
        if not width:
            width = max(2, len(fields))
            if set(fields) & set(languages):
                columns = _column_numbers(fields, f"{path}, line {number}", languages)
                continue
        if len(fields) != width:
            raise UserError(
                f"{path}, line {number}: must have {width} fields between tabs, got {len(fields)}. "
                "Mend the line."
            )
        yield fields[columns[0]], fields[columns[1]]


def _csv_pairs(path: Path, languages: tuple[str, str]) -> Iterator[Pair]:
    # csv wants its line ends back: a quoted field may hold one.
    rows = csv.reader((f"{line}\n" for line in _lines(path)), strict=True)
    columns, width = (0, 1), 0
    begin = 1  # of the row: a stray quote swallows the lines after it
    try:
        for row in rows:
            if row and not width:
                width = len(row)
                columns = _column_numbers(row, f"{path}, line {begin}", languages)
            elif row and len(row) != width:
                raise UserError(
                    f"{path}, line {begin}: must have {width} fields, got {len(row)}. Mend the line."
                )
            elif row:
                yield row[columns[0]], row[columns[1]]
            begin = rows.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}, line {begin}: must be CSV, {error}. Mend the line.") from None


def _jsonl_pairs(path: Path, languages: tuple[str, str]) -> Iterator[Pair]:
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(
                f"{path}, line {number}: must be a JSON object, {error.msg} at column {error.colno}. "
                "Mend the line."
            ) from None
        except (RecursionError, ValueError):  # nested or a number too long to be read
            raise UserError(f"{path}, line {number}: must be a flat JSON object. Mend the line.") from None
        fields = row.get("translation", row) if isinstance(row, dict) else row
        if not isinstance(fields, dict):
            raise UserError(
                f"{path}, line {number}: must be a JSON object, got {type(fields).__name__}. Mend the line."
            )
        yield _text(fields, languages[0], path, number), _text(fields, languages[1], path, number)


def _text(fields: dict[str, Any], language: str, path: Path, number: int) -> str:
    if language not in fields:
        raise _no_language(f"{path}, line {number}", language, fields)
    text = fields[language]
    if text is None:
        return ""  # cleaning counts it as empty
    if not isinstance(text, str):
        raise UserError(
            f"{path}, line {number}: {language!r} must be a text, got {type(text).__name__}. Mend the line."
        )
    try:
        text.encode()
    except UnicodeEncodeError:  # JSON may spell lone surrogates, UTF-8 may not
        return normalise(text)
    return text


def _parquet_pairs(path: Path, languages: tuple[str, str]) -> Iterator[Pair]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            nested = "translation" in file.schema_arrow.names
            for batch in file.iter_batches(
                batch_size=_BATCH_ROWS, columns=["translation"] if nested else None
            ):
                rows = pyarrow.RecordBatch.from_struct_array(batch.column(0)) if nested else batch
                sides = []
                for language in languages:
                    if language not in rows.schema.names:
                        raise _no_language(str(path), language, rows.schema.names)
                    if rows.schema.names.count(language) > 1:
                        raise UserError(
                            f"{path}: must have one column {language!r}, got several. Rename the others."
                        )
                    column = rows.column(language)
                    # A null is an empty text: cleaning counts it.
                    sides.append([text or "" for text in column.cast(pyarrow.string()).to_pylist()])
                yield from zip(*sides, strict=True)
    except (OSError, pyarrow.ArrowException, TypeError) as error:
        raise UserError(f"{path}: must be a Parquet file of texts, {error} Write it anew.") from None


def _column_numbers(header: list[str], where: str, languages: tuple[str, str]) -> tuple[int, int]:
    for language in languages:
        if language not in header:
            raise _no_language(where, language, header)
    return header.index(languages[0]), header.index(languages[1])


def _no_language(where: str, language: str, there: Iterable[str]) -> UserError:
    return UserError(
        f"{where}: must have a column {language!r}, has {', '.join(there)}. "
        "Name the columns with --source-lang and --target-lang."
    )


def _from_hub(
    name: str, subset: str | None, split: str, languages: tuple[str, str], cache_dir: PathLike | None
) -> "Dataset":
    import datasets

    cache = None if cache_dir is None else os.fspath(cache_dir)
    try:
        dataset = datasets.load_dataset(name, subset or None, split=split, cache_dir=cache)
    except Exception as error:  # noqa: BLE001 - the hub's failures have no common class
        for cause in _causes(error):
            if isinstance(cause, OSError) and cause.errno in DISK_FAILURES:
                raise cause from None
        raise UserError(
            f"{name!r} is neither a file nor a data set of the hub within reach: {error}. "
            "Check the name, --subset and the network."
        ) from None
    return _renamed(dataset, name, languages)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and those it was raised in answer to."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _renamed(dataset: Any, name: str, languages: tuple[str, str]) -> "Dataset":
    """The two columns of a hub's data set, flat or under `translation`, as source and target."""
    if "translation" in dataset.column_names:
        dataset = dataset.select_columns(["translation"]).flatten()
        dataset = dataset.rename_columns({c: c.removeprefix("translation.") for c in dataset.column_names})
    for language in languages:
        if language not in dataset.column_names:
            raise _no_language(name, language, dataset.column_names)
    renamed = dataset.select_columns(list(languages)).rename_columns(
        dict(zip(languages, ("source", "target"), strict=True))
    )
    result: Dataset = renamed
    return result
