"""Files and folders that are there whole or not at all: a temporary name, fsync, then a rename."""

import os
import shutil
import time
from pathlib import Path

WRITING, REPLACED = ".writing", ".replaced"
WAITS = [0.1 * 2**n for n in range(6)]  # seconds, 6.3 in all


def write_file(path, data):
    """Replace the file `path` by `data` (bytes); after any failure the old file still stands.

    Raises:
        OSError: the disk is full or will not be written.
    """
    path = Path(path)
    writing = path.with_name(path.name + WRITING)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _write(writing, data)
        _move(os.replace, writing, path)
    except OSError:
        writing.unlink(missing_ok=True)  # what did not fit must not fill the disk
        raise
    _sync_folder(path.parent)


def write_folder(folder, files):
    """Replace `folder` by one that holds `files` (name → bytes); after any failure `recover` finds the old one.

    Raises:
        OSError: the disk is full or will not be written.
    """
    folder = recover(folder)
    writing, replaced = _beside(folder)
    try:
        writing.mkdir(parents=True)
        for name, data in files.items():
            _write(writing / name, data)
        _sync_folder(writing)
        if folder.exists():  # a folder cannot be renamed over another: two steps, which `recover` undoes
            _move(os.rename, folder, replaced)
        _move(os.rename, writing, folder)
    except OSError:
        shutil.rmtree(writing, ignore_errors=True)
        if not folder.exists() and replaced.exists():
            _move(os.rename, replaced, folder)
        raise
    _sync_folder(folder.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def recover(folder):
    """`folder` after what a crash may have left: its predecessor if it was being replaced, and nothing beside it."""
    folder = Path(folder)
    writing, replaced = _beside(folder)
    shutil.rmtree(writing, ignore_errors=True)
    if replaced.exists():
        if folder.exists():
            shutil.rmtree(replaced, ignore_errors=True)
        else:
            _move(os.rename, replaced, folder)
    return folder


def _move(move, source, target):
    """`move(source, target)`, tried again for seconds where Windows refuses it: a viewer has a file of it open."""
    for wait in WAITS if os.name == "nt" else ():
        try:
            return move(source, target)
        except PermissionError:
            time.sleep(wait)
    return move(source, target)


def _beside(folder):
    return folder.with_name(folder.name + WRITING), folder.with_name(folder.name + REPLACED)


def _write(path, data):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder):
    if os.name == "nt":  # Windows opens no folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
