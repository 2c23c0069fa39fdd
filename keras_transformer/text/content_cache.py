"""Files that are made once for the same content, whatever it is called and whenever it was written."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

PathLike = str | os.PathLike[str]


def content_digest(path: PathLike) -> str:
    """What a file holds, as a short text."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def made_once(
    key: list[Any], suffix: str, write: Callable[[str], object], cache_dir: PathLike | None = None
) -> Path:
    """The file of that key; `write` makes it where it is not there yet.

    A file appears whole or not at all, so that several processes may ask at once.

    Args:
        key: Plain values that decide what is in the file.
        suffix: Of its name.
        write: Called with the path to write to.
        cache_dir: Where the files lie; None takes the cache of `datasets`.
    """
    import datasets  # translating does not install it

    folder = Path(cache_dir or datasets.config.HF_DATASETS_CACHE) / "keras_transformer"
    path = folder / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}{suffix}"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(suffix=".unfinished", dir=folder)
        os.close(handle)
        try:
            write(unfinished)
            os.replace(unfinished, path)
        finally:
            Path(unfinished).unlink(missing_ok=True)
    return path
