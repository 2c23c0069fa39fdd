"""What a bundle says about itself: manifest.json, whose fields are spelled here alone."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_transformer.runtime import names


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
        precisions: Records by precision, in the order of `names.PRECISIONS`.
        training, scores: Facts from the checkpoint, passed on as they are.
        licences: Of the weights and of the data behind them.
        shortlist: Record of shortlist.npz, where there is one.
        longest_source: Most tokens of a source, EOS not counted, that the model reads well at once: a longer
            sentence is read in parts. None: as many as it can read.
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
    shortlist: FileRecord | None = None
    longest_source: int | None = None
    format_version: int = names.FORMAT_VERSION

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
            **({"longest_source": self.longest_source} if self.longest_source else {}),
            **({"shortlist": vars(self.shortlist)} if self.shortlist else {}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Manifest":
        """Inverse of `to_dict`.

        Raises:
            KeyError, TypeError, ValueError: a field is missing or of another kind.
        """
        sizes = {name: _integer(values["model"][name]) for name in _SIZES}
        special = {f"{name}_id": _integer(values["special_ids"][name]) for name in _SPECIAL}
        _check_sizes(sizes, special)
        precisions = {}
        for name, record in values["precisions"].items():
            if name not in names.PRECISIONS:
                raise ValueError(f"unknown precision {name!r}")
            precisions[name] = PrecisionRecord(
                _file_record(record["encoder"], names.encoder_file(name)),
                _file_record(record["decoder"], names.decoder_file(name)),
                dict(record.get("gate", {})),
            )
        if not precisions:
            raise ValueError("no precision")
        shortlist, longest = values.get("shortlist"), values.get("longest_source")
        if longest is not None and _integer(longest) < 1:
            raise ValueError(f"longest_source must be at least 1, got {longest}")
        return cls(
            name=str(values["name"]),
            source_language=str(values["source_language"]),
            target_language=str(values["target_language"]),
            tokenizer=_file_record(values["tokenizer"], names.TOKENIZER_FILE),
            precisions=precisions,
            training=dict(values.get("training", {})),
            scores=dict(values.get("scores", {})),
            licences=tuple(str(item) for item in values.get("licences", ())),
            shortlist=None if shortlist is None else _file_record(shortlist, names.SHORTLIST_FILE),
            longest_source=longest,
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


HEAD_MULTIPLE = 8  # GroupQueryAttention takes head widths in steps of 8 (measured, onnxruntime 1.32)
_LARGEST = 2**24  # of what a size says; its tensors would fill any memory


def padded_head_dim(head_dim: int) -> int:
    """The head width K' that the graphs use: `head_dim` rounded up to a multiple of 8."""
    return -(-head_dim // HEAD_MULTIPLE) * HEAD_MULTIPLE


def _check_sizes(sizes: Mapping[str, int], special: Mapping[str, int]) -> None:
    """Raise ValueError for a size that no model can have."""
    for name, size in sizes.items():
        least = 0 if name == "alignment_layer" else 1
        if size < least or (size > _LARGEST and name != "num_parameters"):
            raise ValueError(f"{name} must be from {least} to {_LARGEST}, got {size}")
    if sizes["alignment_layer"] >= sizes["num_decoder_layers"]:
        raise ValueError(
            f"alignment_layer must be below num_decoder_layers ({sizes['num_decoder_layers']}), "
            f"got {sizes['alignment_layer']}"
        )
    if sizes["model_dim"] % sizes["num_heads"]:
        raise ValueError(f"num_heads must divide model_dim ({sizes['model_dim']}), got {sizes['num_heads']}")
    head_dim = padded_head_dim(sizes["model_dim"] // sizes["num_heads"])
    if sizes["cache_head_dim"] != head_dim:
        raise ValueError(
            f"cache_head_dim must be {head_dim} for this model_dim and num_heads, got {sizes['cache_head_dim']}"
        )
    for name, token in special.items():
        if not 0 <= token < sizes["vocabulary_size"]:
            raise ValueError(
                f"{name} must be below vocabulary_size ({sizes['vocabulary_size']}), got {token}"
            )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json into `folder`."""
    text = json.dumps(manifest.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / names.MANIFEST_FILE).write_text(text + "\n", "utf-8")


def _file_record(values: Mapping[str, Any], expected: str) -> FileRecord:
    if values["file"] != expected:  # a name with a path in it would lead out of the folder
        raise ValueError(f"file must be {expected}, got {values['file']!r}")
    return FileRecord(expected, _integer(values["bytes"]), str(values["sha256"]))


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"an integer is due, got {value!r}")
    return value
