"""A bundle as one zip file, and back: packed the same bytes each time, unpacked only where every check holds.

A zip comes from anywhere. Its directory is checked before a byte of it is written, its files against
the sizes it claims and against the manifest; a caller gets a whole bundle in a new folder or an error.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from keras_transformer.errors import UserError
from keras_transformer.runtime import names
from keras_transformer.runtime.bundle import Bundle

if TYPE_CHECKING:
    from keras_transformer.decoding.cancellation import Cancellation  # its package loads NumPy

MAX_FILES = 64
MAX_BYTES = 4 * 2**30 - 1  # what a zip without its 64-bit extension can hold
MAX_RATIO = 100  # tokenizer.json shrinks to a sixth; only a bomb shrinks to a hundredth
_RATIO_FROM_BYTES = 2**20  # small files may be as regular as they like
_CHUNK_BYTES = 2**20
TEXTS = ("LICENSE", "LICENSE.md", "LICENSE.txt", "NOTICE", "NOTICE.md", "ATTRIBUTION.md")
_GRAPHS = [file(name) for name in names.PRECISIONS for file in (names.encoder_file, names.decoder_file)]
BUNDLE_FILES = frozenset(
    {
        names.MANIFEST_FILE,
        names.TOKENIZER_FILE,
        names.SHORTLIST_FILE,
        names.CARD_FILE,
        *TEXTS,
        *_GRAPHS,
    }
)
_REGULAR_MODE = stat.S_IFREG | 0o644
_ENCRYPTED = 0x1  # bit of a zip entry's flags
_END_RECORD = struct.Struct("<4s4H2LH")  # end of central directory, 22 bytes
_END_MARK, _LOCATOR_64_MARK, _LOCATOR_64_BYTES = b"PK\x05\x06", b"PK\x06\x07", 20
_LONGEST_COMMENT = 2**16 - 1
_DIRECTORY_BYTES = 2**16

ProgressFunction = Callable[[int, int], None]


def pack(folder: str | Path, zip_path: str | Path) -> Path:
    """Write the bundle in `folder` as a zip file, and return its path; the same bundle gives the same bytes.

    Only what belongs to a bundle goes in: what its manifest names, the manifest, the model card and
    texts about licences. (The bytes depend on zlib's version besides.)

    Raises:
        UserError: `folder` is no sound bundle, or `zip_path` cannot be written.
    """
    bundle = Bundle.open(folder)
    target = Path(zip_path)
    files = {record.file for record in bundle.records()} | {names.MANIFEST_FILE}
    files |= {name for name in (names.CARD_FILE, *TEXTS) if (bundle.folder / name).is_file()}
    temporary = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        with zipfile.ZipFile(
            temporary, "w", zipfile.ZIP_DEFLATED, allowZip64=False, compresslevel=9
        ) as archive:
            for name in sorted(files):
                info = zipfile.ZipInfo(name)  # dated 1980, the zip format's first day
                info.compress_type = zipfile.ZIP_DEFLATED
                info.create_system = 3  # Unix, on every system
                info.external_attr = _REGULAR_MODE << 16
                archive.writestr(info, (bundle.folder / name).read_bytes())
        temporary.replace(target)
    except zipfile.LargeZipFile:
        raise UserError(
            f"A packed model must stay under 2 GiB, {folder} does not. Share the folder."
        ) from None
    except OSError as error:
        raise UserError(
            f"The zip must be writable at {target}, it is not: {error.strerror}. Choose another place."
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
    return target


def unpack(
    zip_path: str | Path,
    folder: Path,
    *,
    on_progress: ProgressFunction | None = None,
    cancellation: Cancellation | None = None,
) -> Bundle:
    """Write the bundle that a zip file holds into `folder`, which must be empty, and return it checked.

    After an error the folder holds rubbish; the caller throws it away.

    Args:
        zip_path: A bundle's files, alone or in one folder.
        folder: A new, empty folder of the caller.
        on_progress: Called with the bytes written and the bytes due.
        cancellation: Looked at after each megabyte.

    Raises:
        UserError: the zip is not a zip, is unsafe, or holds no sound bundle.
        Cancelled: `cancellation` said so.
    """
    path = Path(zip_path)
    try:
        _check_end_record(path)
        with zipfile.ZipFile(path, allowZip64=False) as archive:
            members = _check_directory(archive.infolist(), path.name)
            total = sum(info.file_size for info in members.values())
            _check_room(members, total, path, folder)
            done = 0
            for name, info in members.items():
                with archive.open(info) as source, (folder / name).open("xb") as target:
                    while chunk := source.read(_CHUNK_BYTES):
                        if cancellation is not None:
                            cancellation.check()
                        done += target.write(chunk)
                        if on_progress is not None:
                            on_progress(done, total)
    # All but the first: what zipfile lets through from damaged entries (UnicodeDecodeError: of a name)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        UnicodeDecodeError,
    ) as error:
        raise UserError(
            f"{path.name} must be a whole zip file, it is not: {error}. Download or pack it again."
        ) from None
    except OSError as error:
        raise UserError(
            f"{path.name} must be readable and fit on the disk, it does not: {error.strerror}. "
            "Check the file and the free space."
        ) from None
    return _open_checked(folder, path.name)


def _check_end_record(path: Path) -> None:
    """Refuse a directory that is too long before zipfile reads it into memory."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _END_RECORD.size - _LONGEST_COMMENT - _LOCATOR_64_BYTES))
        tail = file.read()
    begin = tail.rfind(_END_MARK)
    if begin < 0 or len(tail) - begin < _END_RECORD.size:
        raise zipfile.BadZipFile("it has no end record")
    _, _, _, _, num_entries, directory_bytes, _, _ = _END_RECORD.unpack_from(tail, begin)
    extended = tail[max(0, begin - _LOCATOR_64_BYTES) :].startswith(_LOCATOR_64_MARK)
    if extended or num_entries > MAX_FILES or directory_bytes > _DIRECTORY_BYTES:
        raise UserError(
            f"{path.name} must hold at most {MAX_FILES} files and {MAX_BYTES:,} bytes, it claims more. "
            "Do not use this file."
        )


def _check_directory(entries: list[zipfile.ZipInfo], zip_name: str) -> dict[str, zipfile.ZipInfo]:
    """Return what is to be written, by plain name.

    Raises:
        UserError: an entry that no packed bundle has.
    """
    members: dict[str, zipfile.ZipInfo] = {}
    parents = set()
    for info in entries:
        # The name as it stands in the file: zipfile's own is already tidied.
        raw = info.orig_filename
        if raw.startswith("__MACOSX/") or raw.rpartition("/")[2] == ".DS_Store":
            continue  # what a Mac adds to every zip; never written
        match = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]*/)?([A-Za-z0-9._-]*)", raw)
        if match is None or (match[2] and match[2] not in BUNDLE_FILES):
            raise _refusal(zip_name, "hold a bundle's files only, alone or in one folder", f"{raw!r}")
        mode = info.external_attr >> 16
        if not match[2]:
            continue  # the folder itself
        if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
            raise _refusal(zip_name, "hold plain files", f"a link or device as {raw!r}")
        if info.flag_bits & _ENCRYPTED:
            raise _refusal(zip_name, "not be encrypted", f"{raw!r} with a password")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _refusal(zip_name, "be stored or deflated", f"method {info.compress_type} for {raw!r}")
        if info.file_size > _RATIO_FROM_BYTES and info.file_size > MAX_RATIO * info.compress_size:
            raise _refusal(
                zip_name,
                f"not shrink a file to less than one part in {MAX_RATIO}",
                f"{info.file_size:,} bytes in {info.compress_size:,} for {raw!r}",
            )
        if match[2] in members:
            raise _refusal(zip_name, "hold each file once", f"{match[2]} twice")
        members[match[2]] = info
        parents.add(match[1])
    if names.MANIFEST_FILE not in members or len(parents) != 1:
        have = ", ".join(sorted(members)) or "nothing"
        raise _refusal(zip_name, f"hold one model with its {names.MANIFEST_FILE}", have)
    total = sum(info.file_size for info in members.values())
    if total > MAX_BYTES:
        raise _refusal(zip_name, f"unpack to at most {MAX_BYTES:,} bytes", f"{total:,}")
    return members


def _check_room(members: dict[str, zipfile.ZipInfo], total: int, zip_path: Path, folder: Path) -> None:
    if sum(info.compress_size for info in members.values()) > zip_path.stat().st_size:
        raise _refusal(zip_path.name, "hold as many bytes as its files take", "files that share their bytes")
    free = shutil.disk_usage(folder).free
    if total > free:
        raise UserError(
            f"{zip_path.name} must fit on the disk, it takes {total:,} bytes and {free:,} are free. "
            "Make room and install it again."
        )


def _refusal(zip_name: str, rule: str, found: str) -> UserError:
    return UserError(f"{zip_name} must {rule}, got {found}. Do not use this file.")


def _open_checked(folder: Path, zip_name: str) -> Bundle:
    try:
        bundle = Bundle.open(folder)
        for precision in bundle.manifest.precisions:
            bundle.read_graphs(precision)
    except UserError as error:
        # The reader knows the zip, not the folder it was unpacked into.
        raise UserError(str(error).replace(str(folder), zip_name)) from None
    return bundle
