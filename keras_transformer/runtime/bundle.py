"""The bundle: one folder that translates. The only place that spells its file, tensor and field names.

manifest.json            what this is, and the sha256 of every other file that is loaded
tokenizer.json
encoder.<precision>.onnx, decoder.<precision>.onnx
README.md                the model card, for people
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_transformer.errors import UserError
from keras_transformer.runtime.external_data import has_external_data

FORMAT_VERSION = 2
_PIECE_BYTES = 2**20  # of a file that is only checked
PRECISIONS = ("fp32", "fp16", "int8")

MANIFEST_FILE = "manifest.json"
TOKENIZER_FILE = "tokenizer.json"
CARD_FILE = "README.md"

# Encoder: inputs, then outputs.
SOURCE_IDS = "source_ids"  # int64 (B, S), right padded
SOURCE_LENGTHS = "source_lengths"  # int32 (B), each at least 1
# (2·layers, B, H, S, K): keys and values of layer 0, of layer 1, …; each is an input of the decoder below
CROSS_KEYS_VALUES = "cross_keys_values"
# Decoder: inputs, then outputs. The caches are bound in place: present and past are one buffer.
# R = B·beam_size rows; row r belongs to sentence r // beam_size.
TOKEN_IDS = "token_ids"  # int64 (R, T)
POSITION_IDS = "position_ids"  # int64 (R, T)
LAST_POSITIONS = "last_positions"  # int32 (R), position of the newest token
TOTAL_LENGTH = "total_length"  # int32 (1), the greatest last position + 1; stays in CPU memory
SOURCE_PADDING_MASK = "source_padding_mask"  # int32 (B, S), 1 = may attend
CROSS_SHAPE = "cross_shape"  # int64 (3): B, beam_size·T, H·K, the beams of a sentence as one query
ROW_SHAPE = "row_shape"  # int64 (3): R, T, H·K
LOGITS = "logits"  # float32 (R, T, V)
LIKELIEST = "likeliest"  # int64 (R, T), in float16: the token with the greatest logit
LARGEST = "largest"  # float32 (R, T), in float16: that logit
# In float32 the decoder has two ways to end (runtime/screen.py): logits, or an estimate of them in integers.
WHOLE_LOGITS = "whole_logits"  # bool (), an input: which of the two; the other's outputs are empty
SCREENED_LOGITS = "screened_logits"  # float32 (R, T, V), the estimate
HIDDEN = "hidden"  # float32 (R, T, D), what the projection reads
ROUNDED_HIDDEN = "rounded_hidden"  # uint8 (R, T, D), the same as the estimate reads it
TABLE = "embedding/table"  # float32 (V, D), a weight of both graphs
SCREEN_NORMS = "projection/screen_norms"  # float32 (2, V), |rounded row| and |row - rounded row| of the table
SCREEN_SCALE = "projection/screen_scale"  # float32 (), one step of rounded_hidden, whose zero is 128
ALIGNMENT_QUERY = (
    "alignment_query"  # (R, T, H·K), the cross-attention query of the manifest's alignment_layer
)


def encoder_file(precision: str) -> str:
    """File name of the encoder graph."""
    return f"encoder.{precision}.onnx"


def decoder_file(precision: str) -> str:
    """File name of the decoder graph."""
    return f"decoder.{precision}.onnx"


def cross_key(layer: int) -> str:
    """Keys (B, H, S, K) of a decoder layer's cross-attention, a decoder input."""
    return f"cross_key_{layer}"


def cross_value(layer: int) -> str:
    """Values (B, H, S, K) of a decoder layer's cross-attention, a decoder input."""
    return f"cross_value_{layer}"


def past_key(layer: int) -> str:
    """Self-attention keys (R, H, L, K) before the call, L the cache's length."""
    return f"past_key_{layer}"


def past_value(layer: int) -> str:
    """Self-attention values (R, H, L, K) before the call."""
    return f"past_value_{layer}"


def present_key(layer: int) -> str:
    """The same keys after the call, in the same buffer."""
    return f"present_key_{layer}"


def present_value(layer: int) -> str:
    """The same values after the call, in the same buffer."""
    return f"present_value_{layer}"


def cross_names(num_layers: int) -> list[str]:
    """Cross keys and values of all layers, in the order in which the encoder gives them."""
    return [name(layer) for layer in range(num_layers) for name in (cross_key, cross_value)]


def past_names(num_layers: int) -> list[str]:
    """The caches of all layers as inputs: keys and values of layer 0, of layer 1, …"""
    return [name(layer) for layer in range(num_layers) for name in (past_key, past_value)]


def present_names(num_layers: int) -> list[str]:
    """The same caches as outputs."""
    return [name(layer) for layer in range(num_layers) for name in (present_key, present_value)]


@dataclass(frozen=True)
class FileRecord:
    """One file of a bundle: its plain name, size in bytes and sha256 in hexadecimal."""

    file: str
    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "FileRecord":
        """Record of the file at `path`."""
        data = path.read_bytes()
        return cls(path.name, len(data), hashlib.sha256(data).hexdigest())


@dataclass(frozen=True)
class PrecisionRecord:
    """One precision of a bundle: its two graphs and what the parity gate measured."""

    encoder: FileRecord
    decoder: FileRecord
    gate: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """What a bundle says about itself.

    Attributes:
        name: Short name of the model.
        source_language, target_language: Codes such as "en".
        pad_id, bos_id, eos_id, unk_id: Special ids of the vocabulary.
        vocabulary_size, model_dim, feed_forward_dim, num_heads, num_encoder_layers,
            num_decoder_layers: V, D, F, H and the depths.
        cache_head_dim: Last axis of keys and values: K, rounded up to a multiple of 8.
        alignment_layer: The decoder layer (from 0) whose cross-attention says which source token a target
            token comes from.
        max_length: Longest source (EOS counted) and target (BOS counted) in tokens.
        num_parameters: Trained numbers, each counted once.
        tokenizer: Record of tokenizer.json.
        precisions: Records by precision, in the order of `PRECISIONS`.
        training, scores: Facts from the checkpoint, passed on as they are.
        licences: Of the weights and of the data behind them.
        format_version: Of the bundle.
    """

    name: str
    source_language: str
    target_language: str
    pad_id: int
    bos_id: int
    eos_id: int
    unk_id: int
    vocabulary_size: int
    model_dim: int
    feed_forward_dim: int
    num_heads: int
    num_encoder_layers: int
    num_decoder_layers: int
    cache_head_dim: int
    alignment_layer: int
    max_length: int
    num_parameters: int
    tokenizer: FileRecord
    precisions: Mapping[str, PrecisionRecord]
    training: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    licences: tuple[str, ...] = ()
    format_version: int = FORMAT_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "format_version": self.format_version,
            "name": self.name,
            "source_language": self.source_language,
            "target_language": self.target_language,
            "special_ids": {name: getattr(self, f"{name}_id") for name in _SPECIAL},
            "model": {name: getattr(self, name) for name in _SIZES},
            "tokenizer": vars(self.tokenizer),
            "precisions": {
                name: {
                    "encoder": vars(record.encoder),
                    "decoder": vars(record.decoder),
                    "gate": dict(record.gate),
                }
                for name, record in self.precisions.items()
            },
            "training": dict(self.training),
            "scores": dict(self.scores),
            "licences": list(self.licences),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Manifest":
        """Inverse of `to_dict`.

        Raises:
            KeyError, TypeError, ValueError: a field is missing or of another kind.
        """
        sizes = {name: _integer(values["model"][name]) for name in _SIZES}
        special = {f"{name}_id": _integer(values["special_ids"][name]) for name in _SPECIAL}
        precisions = {}
        for name, record in values["precisions"].items():
            if name not in PRECISIONS:
                raise ValueError(f"unknown precision {name!r}")
            precisions[name] = PrecisionRecord(
                _file_record(record["encoder"], encoder_file(name)),
                _file_record(record["decoder"], decoder_file(name)),
                dict(record.get("gate", {})),
            )
        if not precisions:
            raise ValueError("no precision")
        return cls(
            name=str(values["name"]),
            source_language=str(values["source_language"]),
            target_language=str(values["target_language"]),
            tokenizer=_file_record(values["tokenizer"], TOKENIZER_FILE),
            precisions=precisions,
            training=dict(values.get("training", {})),
            scores=dict(values.get("scores", {})),
            licences=tuple(str(item) for item in values.get("licences", ())),
            format_version=_integer(values["format_version"]),
            **special,
            **sizes,
        )


_SPECIAL = ("pad", "bos", "eos", "unk")
_SIZES = (
    "vocabulary_size",
    "model_dim",
    "feed_forward_dim",
    "num_heads",
    "num_encoder_layers",
    "num_decoder_layers",
    "cache_head_dim",
    "alignment_layer",
    "max_length",
    "num_parameters",
)


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
    def open(cls, folder: str | Path) -> "Bundle":
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
        except (OSError, ValueError) as error:
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
        if external:
            raise UserError(
                f"{self.folder / record.file} must hold its weights itself, it points to another file. "
                "Do not use this bundle."
            )
        return data

    @property
    def tokenizer_path(self) -> Path:
        """Where tokenizer.json lies."""
        return self.folder / self.manifest.tokenizer.file


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json into `folder`."""
    text = json.dumps(manifest.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / MANIFEST_FILE).write_text(text + "\n", "utf-8")


def _file_record(values: Mapping[str, Any], expected: str) -> FileRecord:
    if values["file"] != expected:  # a name with a path in it would lead out of the folder
        raise ValueError(f"file must be {expected}, got {values['file']!r}")
    return FileRecord(expected, _integer(values["bytes"]), str(values["sha256"]))


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"an integer is due, got {value!r}")
    return value
