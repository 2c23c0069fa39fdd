"""Publishes a bundle: there whole or not at all.

It is written into a hidden folder beside its target, which is renamed once every check has passed.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from keras_transformer.errors import UserError, reason_of
from keras_transformer.runtime.archive import BUNDLE_FILES, TEXTS
from keras_transformer.runtime.names import MANIFEST_FILE


@contextlib.contextmanager
def new_bundle(target: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `target` when the block ends and vanishes when it raises.

    An older bundle at `target` is replaced in the end and untouched until then; its texts about licences, which
    no export writes, are in the new folder from the beginning.

    Raises:
        UserError: `target` is a file or a folder that holds something other than a bundle, or
            cannot be written.
    """
    target = target.resolve()
    if target.exists() and not _replaceable(target):
        raise UserError(
            f"--output must be a new folder or an older bundle, {target} is neither. Choose another folder."
        )
    with new_folder(target) as partial:
        for name in TEXTS:
            if (target / name).is_file():
                shutil.copyfile(target / name, partial / name)
        yield partial


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of `target` when the block ends and vanishes when it raises.

    Raises:
        UserError: `target` cannot be written or replaced.
    """
    target = target.resolve()  # "." has no name, and a link stays where it is
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise _refusal(target, error) from None
    try:
        yield partial
        try:
            _publish(partial, target)
        except OSError as error:
            raise _refusal(target, error) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _publish(partial: Path, target: Path) -> None:
    partial.chmod(0o755)  # mkdtemp gives the owner alone a key
    if not target.exists():
        os.replace(partial, target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
    try:
        os.replace(target, old / target.name)
        os.replace(partial, target)
    finally:
        if not target.exists():  # the second was refused, as Windows does while something reads the folder
            os.replace(old / target.name, target)
        shutil.rmtree(old, ignore_errors=True)


def _refusal(target: Path, error: OSError) -> UserError:
    return UserError(
        f"A bundle's folder must be writable, {target} is not: {reason_of(error)}. "
        "Change its permissions or choose another."
    )


def _replaceable(target: Path) -> bool:
    """Whether nothing is lost with this folder: it is empty, or holds what an export writes and nothing else."""
    if not target.is_dir():
        return False
    found = {path.name: path for path in target.iterdir() if path.name != ".DS_Store"}  # a Mac's own
    return not found or (
        MANIFEST_FILE in found
        and all(name in BUNDLE_FILES and path.is_file() for name, path in found.items())
    )
