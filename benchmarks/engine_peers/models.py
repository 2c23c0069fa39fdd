"""The models that are measured, each written once for every engine from one set of weights."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

import keras_transformer
from benchmarks.engine_peers.copier import copier_weights
from benchmarks.engine_peers.sentences import read_sentences, spread
from keras_transformer.config import ModelConfig
from keras_transformer.onnx_export import checkpoint as names
from keras_transformer.onnx_export.checkpoint import find_checkpoint, load_checkpoint
from keras_transformer.onnx_export.export import export_bundle
from keras_transformer.run_folder import MODEL_FILE
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.runtime.names import MANIFEST_FILE
from keras_transformer.runtime.translator import SHIPPED_BUNDLE
from keras_transformer.text.tokenizer import Tokenizer
from tests.reference import transformer as oracle

PRECISIONS = ("fp32", "int8")
COPIERS = {
    "base": ModelConfig(vocabulary_size=32000, norm_placement="post"),  # the paper's
    "deep-shallow": ModelConfig(vocabulary_size=32000, num_decoder_layers=2, norm_placement="pre"),
    "small": ModelConfig(model_dim=256, feed_forward_dim=1024, num_decoder_layers=2, norm_placement="pre"),
}
SHIPPED = "shipped"
MODELS = (*COPIERS, SHIPPED)
STAMP = "made_by.txt"


@dataclass(frozen=True)
class Prepared:
    """One model on disk.

    Attributes:
        name: One of `MODELS`.
        config: Its shape.
        bundle: Folder of the project's bundle.
        peers: CTranslate2 model folder by precision, for every precision of the bundle.
    """

    name: str
    config: ModelConfig
    bundle: Path
    peers: dict[str, Path]


def prepare(name: str, work: Path, checkpoint: Path | None, report: Callable[[str], None]) -> Prepared:
    """Write the bundle and the CTranslate2 models under `work`, or find them there, made by the same code.

    "shipped" without `checkpoint` is the bundle as it is shipped, int8 alone.
    """
    from benchmarks.engine_peers.convert import save_ctranslate2

    if name == SHIPPED and checkpoint is None:
        return _prepare_shipped(work / "shipped-int8", report)
    folder = work / name
    run = find_checkpoint(checkpoint) if name == SHIPPED and checkpoint else folder / "run"
    digest = _digest([run / names.WEIGHTS_FILE] if name == SHIPPED else [])
    stamp = folder / STAMP
    if not stamp.is_file() or stamp.read_text() != digest:
        report(f"{name}: writing bundle and CTranslate2 models into {folder}")
        shutil.rmtree(folder, ignore_errors=True)
        if name != SHIPPED:
            write_run(COPIERS[name], run)
        trained = load_checkpoint(run)
        export_bundle(trained, folder / "bundle", PRECISIONS, name=f"benchmark {name}")
        for precision in PRECISIONS:
            save_ctranslate2(trained.config, trained.weights, folder / f"ctranslate2-{precision}", precision)
        stamp.write_text(digest)
    config = ModelConfig.from_dict(json.loads((run / MODEL_FILE).read_text("utf-8"))["model"])
    peers = {precision: folder / f"ctranslate2-{precision}" for precision in PRECISIONS}
    return Prepared(name, config, folder / "bundle", peers)


def _prepare_shipped(folder: Path, report: Callable[[str], None]) -> Prepared:
    """The shipped bundle itself; CTranslate2 gets the floats that its integers stand for."""
    from benchmarks.engine_peers.convert import save_ctranslate2
    from benchmarks.engine_peers.dequantise import bundle_weights

    bundle = Bundle.open(SHIPPED_BUNDLE)
    config, weights = bundle_weights(bundle)
    digest = _digest([SHIPPED_BUNDLE / MANIFEST_FILE])
    if not (folder / STAMP).is_file() or (folder / STAMP).read_text() != digest:
        report(f"shipped: writing its CTranslate2 model into {folder}")
        shutil.rmtree(folder, ignore_errors=True)
        save_ctranslate2(config, weights, folder / "ctranslate2-int8", "int8")
        (folder / STAMP).write_text(digest)
    return Prepared(SHIPPED, config, SHIPPED_BUNDLE, {"int8": folder / "ctranslate2-int8"})


def tokenizer_path() -> Path:
    """The shipped tokenizer, whose tokens every model here reads: 8,000."""
    return SHIPPED_BUNDLE / names.TOKENIZER_FILE


def write_tokenizer(path: Path, vocabulary_size: int) -> None:
    """The shipped tokenizer, filled up to a model's vocabulary with tokens that no text is made of."""
    text = json.loads(tokenizer_path().read_text("utf-8"))
    tokens = text["model"]["vocab"]
    tokens |= {f"<filler {number}>": number for number in range(len(tokens), vocabulary_size)}
    path.write_text(json.dumps(text, ensure_ascii=False), "utf-8")


def _digest(more: list[Path]) -> str:
    """Of the code that makes the models, and of `more` files."""
    package = Path(keras_transformer.__file__).parent
    sources = [
        *sorted((package / "onnx_export").glob("*.py")),
        package / "runtime" / "names.py",
        package / "config.py",
        *(Path(__file__).parent / name for name in ("convert.py", "copier.py", "dequantise.py", "models.py")),
        *more,
    ]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def write_run(config: ModelConfig, folder: Path) -> None:
    """A run folder as training leaves it, with the float64 oracle in the place of the Keras model."""
    folder.mkdir(parents=True)
    write_tokenizer(folder / names.TOKENIZER_FILE, config.vocabulary_size)
    weights = copier_weights(config)
    tokenizer = Tokenizer.from_file(tokenizer_path())
    sentences, _ = read_sentences(tokenizer)
    rows = spread([[*tokenizer.encode(sentence), config.eos_id] for sentence in sentences], 24)
    save_file(weights, str(folder / names.WEIGHTS_FILE))
    save_file(_references(config, weights, rows), str(folder / names.REFERENCE_FILE))
    description = {
        "format": names.FORMAT,
        "model": config.to_dict(),
        "source_language": "en",
        "target_language": "it",
        "training": {"data": "none: weights made for a benchmark"},
    }
    (folder / MODEL_FILE).write_text(json.dumps(description), "utf-8")


def _references(
    config: ModelConfig, weights: dict[str, NDArray[np.float32]], rows: list[list[int]]
) -> dict[str, NDArray]:
    """What the exporter's gate and its calibration ask for."""
    arrays = {}
    for index, sources in enumerate((rows[:3], [[config.eos_id]])):
        source = _padded(config, sources)
        target = _padded(config, [[config.bos_id, *row[:-1]] for row in sources])
        logits = oracle.logits(weights, config, source, target)
        arrays[f"reference_{index}/source_ids"] = source
        arrays[f"reference_{index}/target_input_ids"] = target
        arrays[f"reference_{index}/logits"] = logits.astype(np.float32)
        arrays[f"greedy_{index}/source_ids"] = source
        arrays[f"greedy_{index}/output_ids"] = oracle.greedy(weights, config, source, 8).astype(np.int32)
        arrays[f"greedy_{index}/max_length"] = np.array(8, np.int32)
    arrays["calibration/source_ids"] = _padded(config, rows)
    arrays["calibration/target_input_ids"] = _padded(config, [[config.bos_id, *row[:-1]] for row in rows])
    return arrays


def _padded(config: ModelConfig, rows: list[list[int]]) -> NDArray[np.int32]:
    ids = np.full((len(rows), max(map(len, rows))), config.pad_id, np.int32)
    for row, tokens in zip(ids, rows, strict=True):
        row[: len(tokens)] = tokens
    return ids
