"""From a checkpoint to a bundle: write the graphs, prove them, then publish them all at once."""

import shutil
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_transformer.errors import UserError
from keras_transformer.onnx_export.add_shortlist import learn_shortlist, write_shortlist
from keras_transformer.onnx_export.calibration import calibrate
from keras_transformer.onnx_export.card import model_card
from keras_transformer.onnx_export.checkpoint import NOTES_FILE, Checkpoint
from keras_transformer.onnx_export.float_maps import FloatMaps
from keras_transformer.onnx_export.graph import TransformerGraphs, alignment_layer
from keras_transformer.onnx_export.maps import Maps
from keras_transformer.onnx_export.publish import new_bundle
from keras_transformer.onnx_export.quality import (
    MOST_LOST,
    Pairs,
    Score,
    choose_float_kinds,
    results,
    score,
    scored,
)
from keras_transformer.onnx_export.quantization import Int8Maps
from keras_transformer.onnx_export.verify import GateFailure, verify_bundle
from keras_transformer.runtime import names
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.runtime.manifest import (
    FileRecord,
    Manifest,
    PrecisionRecord,
    padded_head_dim,
    write_manifest,
)
from keras_transformer.text.tokenizer import Tokenizer


def export_bundle(
    checkpoint: Checkpoint,
    target: Path,
    precisions: Sequence[str],
    *,
    name: str | None = None,
    licences: Sequence[str] = (),
    hub_licence: str | None = None,
    tests: Mapping[str, Pairs] | None = None,
    pairs: Pairs | None = None,
    training_text: Pairs | None = None,
    longest_source: int | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Bundle:
    """Write, prove and publish a bundle.

    Args:
        checkpoint: The trained model.
        target: Folder of the bundle; an older bundle there is replaced.
        precisions: Some of `bundle.PRECISIONS`.
        name: Of the model; None makes one of the languages and the run.
        licences: Of weights and data, beside those in the checkpoint.
        hub_licence: The weights' licence by the hub's name, for the card's front matter.
        tests: Test sets by name; the bundle is scored on them for the manifest and the card.
        pairs: Validation text, on which int8 may lose little against float32; None leaves that out.
        training_text: What the bundle's shortlist is learnt from; None leaves it out.
        longest_source: Most tokens of a sentence that is read at once; None takes what the checkpoint says.
        report: Given one line for each stage.

    Raises:
        UserError: the tokenizer does not fit the model, the run's notes are no text, no pair of `training_text` is
            one to learn from, or `target` cannot be written.
        GateFailure: a precision differs from the Keras model by too much; nothing is left behind.
    """
    target = target.resolve()  # where it is the process's own, "." names no folder after it is replaced
    _check_tokenizer(checkpoint)
    notes = _read_notes(checkpoint.run / NOTES_FILE)
    details = name, licences, longest_source
    with new_bundle(target) as folder:
        shortlist = None
        if training_text is not None:  # first: it may be of no use, and the gates take long
            shortlist = learn_shortlist(checkpoint.tokenizer_path, training_text, report)
        chosen: tuple[str, ...] = ()
        gate: dict[str, Any] = {}
        if "int8" in precisions and pairs:
            chosen, gate = _int8_quality(checkpoint, pairs, report)
        elif "int8" in precisions:
            report("int8: no validation text (--valid): BLEU and chrF are not checked")
        manifest = _write_bundle(checkpoint, folder, precisions, details, chosen, report)
        bundle = Bundle.open(folder)
        records = dict(manifest.precisions)
        for precision in records:
            report(f"{precision}: checking against the Keras model")
            measured = verify_bundle(bundle, checkpoint, precision)
            if precision == "int8":
                measured |= gate
            records[precision] = replace(records[precision], gate=measured)
        scores = {**manifest.scores, **_test_scores(folder, manifest, tests or {}, report)}
        manifest = replace(manifest, precisions=records, scores=scores)
        if shortlist is not None:
            manifest = write_shortlist(folder, manifest, shortlist)
        write_manifest(folder, manifest)
        (folder / names.CARD_FILE).write_text(model_card(manifest, notes, hub_licence), "utf-8")
    return Bundle.open(target)


def _write_bundle(
    checkpoint: Checkpoint,
    folder: Path,
    precisions: Sequence[str],
    details: tuple[str | None, Sequence[str], int | None] = (None, (), None),
    float_kinds: Collection[str] = (),
    report: Callable[[str], None] = lambda line: None,
) -> Manifest:
    """Everything but the card, with no gate in the manifest."""
    shutil.copyfile(checkpoint.tokenizer_path, folder / names.TOKENIZER_FILE)
    records = {}
    for precision in names.PRECISIONS:
        if precision in precisions:
            report(f"{precision}: writing")
            records[precision] = _write_graphs(checkpoint, folder, precision, float_kinds)
    manifest = _manifest(checkpoint, folder, records, *details)
    write_manifest(folder, manifest)
    return manifest


def _int8_quality(
    checkpoint: Checkpoint, pairs: Pairs, report: Callable[[str], None]
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Which kinds of maps int8 leaves in floats, and what was measured.

    Raises:
        GateFailure: it loses too much with all of them in floats.
    """

    def score_of(precision: str, float_kinds: Collection[str] = ()) -> Score:
        with tempfile.TemporaryDirectory() as folder:
            _write_bundle(checkpoint, Path(folder), [precision], float_kinds=float_kinds)
            return score(Path(folder), precision, pairs)

    report(f"int8: translating {len(pairs)} validation pairs, in float32 and in int8")
    reference = score_of("fp32")
    chosen = choose_float_kinds(reference, lambda kinds: score_of("int8", kinds), report)
    lost = chosen.score.lost_from(reference)
    if lost > MOST_LOST:
        raise GateFailure(f"int8: {lost:.2f} BLEU or chrF are lost; at most {MOST_LOST:g} is allowed")
    return chosen.float_kinds, results(reference, chosen, len(pairs))


def _test_scores(
    folder: Path, manifest: Manifest, tests: Mapping[str, Pairs], report: Callable[[str], None]
) -> dict[str, Any]:
    """BLEU and chrF on each test set, in the precision that a CPU would take."""
    if not tests:
        return {}
    precision = "int8" if "int8" in manifest.precisions else next(iter(manifest.precisions))
    found = {}
    for name, pairs in tests.items():
        report(f"{precision}: scoring {len(pairs)} pairs of {name}")
        found[name] = {"pairs": len(pairs), "precision": precision, **scored(folder, precision, pairs)}
    return {"tests": found}


def _write_graphs(
    checkpoint: Checkpoint, folder: Path, precision: str, float_kinds: Collection[str]
) -> PrecisionRecord:
    maps: Maps
    if precision == "int8":
        scales = calibrate(checkpoint.config, checkpoint.weights, *checkpoint.calibration)
        maps = Int8Maps(scales, FloatMaps(), float_kinds)
    else:
        maps = FloatMaps(np.float16 if precision == "fp16" else np.float32)
    graphs = TransformerGraphs(checkpoint.config, checkpoint.weights, maps)
    encoder, decoder = folder / names.encoder_file(precision), folder / names.decoder_file(precision)
    encoder.write_bytes(graphs.encoder().SerializeToString())
    decoder.write_bytes(graphs.decoder().SerializeToString())
    return PrecisionRecord(FileRecord.of(encoder), FileRecord.of(decoder))


def _manifest(
    checkpoint: Checkpoint,
    folder: Path,
    records: dict[str, PrecisionRecord],
    name: str | None,
    licences: Sequence[str],
    longest_source: int | None,
) -> Manifest:
    config, description = checkpoint.config, checkpoint.description
    source, target = description["source_language"], description["target_language"]
    return Manifest(
        name=name or f"{source}-{target} {checkpoint.run.absolute().name}",
        source_language=source,
        target_language=target,
        pad_id=config.pad_id,
        bos_id=config.bos_id,
        eos_id=config.eos_id,
        unk_id=config.unk_id,
        vocabulary_size=config.vocabulary_size,
        model_dim=config.model_dim,
        feed_forward_dim=config.feed_forward_dim,
        num_heads=config.num_heads,
        num_encoder_layers=config.num_encoder_layers,
        num_decoder_layers=config.num_decoder_layers,
        cache_head_dim=padded_head_dim(config.head_dim),
        alignment_layer=alignment_layer(config),
        max_length=config.max_length,
        num_parameters=sum(array.size for array in checkpoint.weights.values()),
        tokenizer=FileRecord.of(folder / names.TOKENIZER_FILE),
        precisions=records,
        training=description.get("training", {}),
        scores=description.get("scores", {}),
        licences=(*description.get("licences", ()), *licences),
        longest_source=longest_source or description.get("longest_source"),
    )


def _read_notes(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} must be readable UTF-8 text, it is not: {error}. Mend it or move it away."
        ) from None


def _check_tokenizer(checkpoint: Checkpoint) -> None:
    path, config = checkpoint.tokenizer_path, checkpoint.config
    tokenizer = Tokenizer.from_file(path)
    special = (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.unk_id)
    expected = (config.pad_id, config.bos_id, config.eos_id, config.unk_id)
    if tokenizer.vocabulary_size != config.vocabulary_size or special != expected:
        raise UserError(
            f"{path} must fit the model ({config.vocabulary_size} tokens, special ids {expected}), "
            f"got {tokenizer.vocabulary_size} tokens and {special}. Use the tokenizer of the same run."
        )
