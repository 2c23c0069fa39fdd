"""The bundle: one folder that translates, opened and checked. `names` spells what is in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keras_transformer.errors import UserError
from keras_transformer.runtime.external_data import has_external_data
from keras_transformer.runtime.manifest import FileRecord, Manifest
from keras_transformer.runtime.names import FORMAT_VERSION, MANIFEST_FILE, SHORTLIST_FILE

if TYPE_CHECKING:
    from keras_transformer.runtime.shortlist import Shortlist

_PIECE_BYTES = 2**20  # of a file that is only checked


@dataclass(frozen=True)
class Bundle:
    """An opened bundle, every file of it checked.

    Attributes:
        folder: Where it lies.
        manifest: What it says about itself.
    """

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: str | Path) -> Bundle:
        """Read the manifest and check the size and sha256 of every file it names.

        Raises:
            UserError: `folder` is no bundle, is damaged or is of another format.
        """
        folder = Path(folder)
        path = folder / MANIFEST_FILE
        try:
            values = json.loads(path.read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(
                f"A model must be a folder with a {MANIFEST_FILE}, found none at {path}. "
                "Write one with: python export/to_onnx.py RUN --output FOLDER"
            ) from None
        except OSError as error:
            raise UserError(
                f"{path} must be a file that can be read: {error.strerror}. Copy or export the bundle again."
            ) from None
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} must be JSON, it is not: {error}. Export it again.") from None
        version = values.get("format_version") if isinstance(values, dict) else None
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise UserError(
                f"{folder} must be of bundle format {FORMAT_VERSION}, got {version}. "
                "Upgrade keras_transformer."
            )
        if isinstance(version, int) and version < FORMAT_VERSION:
            raise UserError(
                f"{folder} must be of bundle format {FORMAT_VERSION}, got {version}. Export the model again."
            )
        try:
            manifest = Manifest.from_dict(values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                f"{path} must hold every field of a manifest, got {type(error).__name__}: {error}. "
                "Export the model again."
            ) from None
        bundle = cls(folder, manifest)
        for record in bundle.records():
            bundle.check(record)
        return bundle

    def records(self) -> Iterator[FileRecord]:
        """Every file that the manifest vouches for."""
        yield self.manifest.tokenizer
        for precision in self.manifest.precisions.values():
            yield precision.encoder
            yield precision.decoder
        if self.manifest.shortlist is not None:
            yield self.manifest.shortlist

    def check(self, record: FileRecord) -> None:
        """Hold one file against its record, a piece at a time.

        Raises:
            UserError: the file is missing or differs from the record.
        """
        digest, size = hashlib.sha256(), 0
        try:
            with (self.folder / record.file).open("rb") as file:
                while piece := file.read(_PIECE_BYTES):
                    digest.update(piece)
                    size += len(piece)
        except OSError as error:
            raise self._unreadable(record, error) from None
        self._compare(record, size, digest.hexdigest())

    def read(self, record: FileRecord) -> bytes:
        """The bytes of one file, checked against its record.

        Raises:
            UserError: the file is missing or differs from the record.
        """
        try:
            data = (self.folder / record.file).read_bytes()
        except OSError as error:
            raise self._unreadable(record, error) from None
        self._compare(record, len(data), hashlib.sha256(data).hexdigest())
        return data

    def _unreadable(self, record: FileRecord, error: OSError) -> UserError:
        return UserError(
            f"A bundle must hold {record.file}, {self.folder / record.file} cannot be read: {error.strerror}. "
            "Copy or export the bundle again."
        )

    def _compare(self, record: FileRecord, size: int, digest: str) -> None:
        if size != record.bytes or digest != record.sha256:
            raise UserError(
                f"{self.folder / record.file} must be the file its manifest names (sha256 "
                f"{record.sha256[:12]}…), got another or damaged one. Copy or export the bundle again."
            )

    def read_graphs(self, precision: str) -> tuple[bytes, bytes]:
        """Encoder and decoder of one precision; see `read_graph`."""
        return self.read_graph(precision, "encoder"), self.read_graph(precision, "decoder")

    def read_graph(self, precision: str, side: str) -> bytes:
        """ "encoder" or "decoder" of one precision, as ONNX bytes with every weight inside.

        Raises:
            UserError: the bundle has no such precision, or the graph points to weights outside itself.
        """
        if precision not in self.manifest.precisions:
            have = ", ".join(self.manifest.precisions)
            raise UserError(f"{self.folder} must hold {precision}, it has {have}. Export it again.")
        record: FileRecord = getattr(self.manifest.precisions[precision], side)
        data = self.read(record)
        try:
            external = has_external_data(data)
        except ValueError as error:
            raise UserError(f"{self.folder / record.file}: {error}") from None
        except RecursionError:
            raise UserError(
                f"{self.folder / record.file} must be an ONNX file, it holds graphs in graphs without end. "
                "Do not use this bundle."
            ) from None
        if external:
            raise UserError(
                f"{self.folder / record.file} must hold its weights itself, it points to another file. "
                "Do not use this bundle."
            )
        return data

    def read_shortlist(self) -> Shortlist:
        """Which target tokens a source token asks for.

        Raises:
            UserError: the bundle has no shortlist, or a broken one.
        """
        from keras_transformer.runtime.shortlist import (
            Shortlist,  # here: the window opens bundles without NumPy
        )

        record = self.manifest.shortlist
        if record is None:
            raise UserError(
                f"{self.folder} must hold {SHORTLIST_FILE}, it does not. Leave `shortlist` out, or learn one with: "
                "python export/add_shortlist.py BUNDLE SOURCE TARGET"
            )
        return Shortlist.from_bytes(self.read(record), self.manifest.vocabulary_size)

    @property
    def tokenizer_path(self) -> Path:
        """Where tokenizer.json lies."""
        return self.folder / self.manifest.tokenizer.file
