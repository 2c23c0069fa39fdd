"""Publishes a bundle: there whole or not at all.

It is written into a hidden folder beside its target, which is renamed once every check has passed.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from keras_transformer.errors import UserError
from keras_transformer.runtime.names import MANIFEST_FILE


@contextlib.contextmanager
def new_bundle(target: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `target` when the block ends and vanishes when it raises.

    An older bundle at `target` is replaced in the end and untouched until then.

    Raises:
        UserError: `target` is a file or a folder that holds something other than a bundle, or
            cannot be written.
    """
    target = target.absolute()  # "." has no name
    if target.exists() and not _replaceable(target):
        raise UserError(
            f"--output must be a new folder or an older bundle, {target} is neither. Choose another folder."
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise UserError(
            f"A bundle's folder must be writable, {target} is not: {error.strerror}. Change its permissions."
        ) from None
    try:
        yield partial
        partial.chmod(0o755)  # mkdtemp gives the owner alone a key
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
            os.replace(target, old / target.name)
            os.replace(partial, target)
            shutil.rmtree(old)
        else:
            os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _replaceable(target: Path) -> bool:
    return target.is_dir() and ((target / MANIFEST_FILE).is_file() or not any(target.iterdir()))
