"""The models on this computer: the shipped one and those the user installed from zip files. Knows no Tk."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras_transformer
from keras_transformer.errors import UserError
from keras_transformer.runtime.archive import ProgressFunction, unpack
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.runtime.manifest import Manifest
from keras_transformer.runtime.names import CARD_FILE, FORMAT_VERSION, MANIFEST_FILE

if TYPE_CHECKING:
    from keras_transformer.decoding.cancellation import Cancellation  # its package loads NumPy

_LOGGER = logging.getLogger(__name__)

SHIPPED_FOLDER = Path(keras_transformer.__file__).parent / "pretrained"
_INSTALLING, _REMOVING = ".installing-", ".removing-"
_FORGOTTEN_SECONDS = 24 * 3600.0  # what a killed window left behind; a younger one may still be at work
_CARD_CHARACTERS = 200_000


@dataclass(frozen=True)
class InstalledModel:
    """What the list shows of a model.

    Attributes:
        folder: The bundle.
        name: As the manifest says, or the folder's where it cannot be read.
        source_language, target_language: Codes such as "en"; "" where the manifest cannot be read.
        num_bytes: Of all its files.
        precisions: For example ("fp32", "int8").
        scores: Measured figures by test set, as the manifest has them.
        licence: The short name in the model card, or the manifest's first licence, or "".
        is_shipped: It came with the program and cannot be removed.
        problem: Why it cannot be used, or "".
    """

    folder: Path
    name: str
    source_language: str = ""
    target_language: str = ""
    num_bytes: int = 0
    precisions: tuple[str, ...] = ()
    scores: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    is_shipped: bool = False
    problem: str = ""


class AlreadyInstalledError(UserError):
    """A model of this name and pair of languages is there; `model` says which."""

    def __init__(self, model: InstalledModel) -> None:
        super().__init__(f"{model.name} is installed already. Replace it, or keep the one you have.")
        self.model = model


def models_path() -> Path | None:
    """Return the folder of this user's models, or None where platformdirs is not installed."""
    try:
        import platformdirs
    except ImportError:
        _LOGGER.info("platformdirs is not installed; no model can be installed")
        return None
    return platformdirs.user_data_path("keras_transformer", appauthor=False) / "models"


class Models:
    """Lists, installs and removes bundles. Every method reads or writes files: not for the Tk thread.

    Args:
        folder: Where installed models live; made when the first one comes. None: none can be installed.
        shipped: The folder of the models that came with the program.
    """

    def __init__(self, folder: Path | None, shipped: Path = SHIPPED_FOLDER) -> None:
        self.folder = folder
        self._shipped = shipped

    def list(self) -> list[InstalledModel]:
        """Return every model: installed ones by name, then the shipped ones.

        Only manifests are read; damage in another file is found when the model is loaded.
        """
        installed = [_describe(one, is_shipped=False) for one in _bundle_folders(self.folder)]
        shipped = [_describe(one, is_shipped=True) for one in _bundle_folders(self._shipped)]
        by_name = lambda model: (model.name.lower(), model.folder.name)  # noqa: E731
        return sorted(installed, key=by_name) + sorted(shipped, key=by_name)

    def pick(self, source_language: str, target_language: str) -> InstalledModel | None:
        """Return a model for a pair of languages, an installed one before a shipped one; None: there is none."""
        for model in self.list():
            pair = model.source_language, model.target_language
            if not model.problem and pair == (source_language, target_language):
                return model
        return None

    def install(
        self,
        zip_path: Path,
        *,
        replace: bool = False,
        on_progress: ProgressFunction | None = None,
        cancellation: Cancellation | None = None,
    ) -> InstalledModel:
        """Install the model that a zip file holds; until all of it is checked nothing that is there is touched.

        Args:
            zip_path: Written by `keras_transformer.runtime.archive.pack`, or a bundle zipped by hand.
            replace: Take the place of the model of the same name and languages.
            on_progress: Called with the bytes written and the bytes due.
            cancellation: Stops the installation, which then leaves nothing.

        Raises:
            UserError: the zip is refused, or the folder cannot be written.
            AlreadyInstalledError: there is such a model and `replace` is False.
            Cancelled: `cancellation` said so.
        """
        with self._workshop(_INSTALLING) as workshop:
            unpacked = workshop / "bundle"
            unpacked.mkdir()
            manifest = unpack(zip_path, unpacked, on_progress=on_progress, cancellation=cancellation).manifest
            target = workshop.parent / _folder_name(manifest)
            if target.exists() and not replace:
                raise AlreadyInstalledError(_describe(target, is_shipped=False))
            _swap_in(unpacked, target, workshop)
        return _describe(target, is_shipped=False)

    def remove(self, folder: Path) -> None:
        """Remove an installed model; one that is loaded goes on translating until the window closes.

        Raises:
            UserError: it is no installed model, or the files cannot be removed.
        """
        if self.folder is None or folder.parent != self.folder or folder.name.startswith("."):
            raise UserError(
                f"Only an installed model can be removed, {folder.name} is none. Choose another one."
            )
        with self._workshop(_REMOVING) as workshop:
            os.replace(folder, workshop / folder.name)  # gone at once, whatever happens to the files

    @contextlib.contextmanager
    def _workshop(self, prefix: str) -> Iterator[Path]:
        """A hidden folder beside the models, on the same disk, which goes at the end."""
        folder = self.folder
        if folder is None:
            raise UserError(
                "Installing a model must have a folder to put it in, platformdirs is missing. "
                "Run: python -m pip install platformdirs"
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _sweep(folder)
            workshop = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
            try:
                yield workshop
            finally:
                shutil.rmtree(workshop, ignore_errors=True)
        except OSError as error:
            raise UserError(
                f"The folder of the models must be writable, {folder} is not: {error.strerror}. "
                "Check its permissions and the free space."
            ) from None


def read_card(folder: Path) -> str:
    """Return a model's card without its front matter, or "" where it has none."""
    return _split_card(folder)[1]


def has_manifest(folder: Path) -> bool:
    """Whether a folder is there and says that it is a model's."""
    # Not `Path.is_file`: it raises where a folder cannot be looked into or its name is too long.
    return os.path.isfile(folder / MANIFEST_FILE)


def _bundle_folders(parent: Path | None) -> list[Path]:
    if parent is None or not parent.is_dir():
        return []
    return [one for one in parent.iterdir() if not one.name.startswith(".") and has_manifest(one)]


def _describe(folder: Path, *, is_shipped: bool) -> InstalledModel:
    num_bytes = 0
    with contextlib.suppress(OSError):  # a folder whose files may be read but not listed
        num_bytes = sum(one.stat().st_size for one in folder.iterdir() if one.is_file())
    try:
        values = json.loads((folder / MANIFEST_FILE).read_text("utf-8"))
        manifest = Manifest.from_dict(values)
        if manifest.format_version != FORMAT_VERSION:
            raise ValueError("another format")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return InstalledModel(
            folder, folder.name, num_bytes=num_bytes, is_shipped=is_shipped, problem=_problem(folder)
        )
    front_matter, _ = _split_card(folder)
    licence = re.search(r"^license:\s*(\S.*?)\s*$", front_matter, re.MULTILINE)
    return InstalledModel(
        folder=folder,
        name=manifest.name,
        source_language=manifest.source_language,
        target_language=manifest.target_language,
        num_bytes=num_bytes,
        precisions=tuple(manifest.precisions),
        scores=manifest.scores,
        licence=licence[1] if licence else next(iter(manifest.licences), ""),
        is_shipped=is_shipped,
    )


def _problem(folder: Path) -> str:
    """The sentence with which loading this bundle would fail."""
    try:
        Bundle.open(folder)
    except UserError as error:
        return str(error)
    return ""


def _split_card(folder: Path) -> tuple[str, str]:
    """Front matter (YAML between lines of three dashes) and text of a model card."""
    try:
        with (folder / CARD_FILE).open(encoding="utf-8", errors="replace") as file:
            text = file.read(_CARD_CHARACTERS)
    except OSError:
        return "", ""
    match = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    return (match[1], text[match.end() :].lstrip("\n")) if match else ("", text)


def _folder_name(manifest: Manifest) -> str:
    """Pair first: no file system reserves such a name, whatever the model is called."""
    parts = (f"{manifest.source_language}-{manifest.target_language}", manifest.name)
    plain = [re.sub(r"[^a-z0-9_-]+", "-", part.lower()).strip("-")[:60] or "model" for part in parts]
    return ".".join(plain)


def _swap_in(unpacked: Path, target: Path, workshop: Path) -> None:
    """Put a checked bundle in its place; the one before it comes back where that fails."""
    older = workshop / "older"
    if target.exists():
        os.replace(target, older)
    try:
        os.replace(unpacked, target)
    except OSError:
        if older.exists():
            os.replace(older, target)
        raise


def _sweep(folder: Path) -> None:
    """Remove the hidden folders that windows left which were killed long ago."""
    for one in folder.iterdir():
        if one.name.startswith((_INSTALLING, _REMOVING)):
            with contextlib.suppress(OSError):
                if time.time() - one.stat().st_mtime > _FORGOTTEN_SECONDS:
                    shutil.rmtree(one, ignore_errors=True)
