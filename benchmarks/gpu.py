"""Greedy translation on a GPU: our float16 bundle beside the CPU, CTranslate2 in float16, and the memory's limit.

    python benchmarks/gpu.py --make small --work FOLDER
    KERAS_TRANSFORMER_DATA=DATA python benchmarks/gpu.py --bundle FOLDER/bundle --peer FOLDER/ctranslate2-fp16

The first writes both models, on any machine; a peer that is not there is left out. The text is FLORES devtest,
or the embedded test split where the variable is not set; token ids go in and out. First it shows where each
node ran: one that fell back to the CPU would be a lie about the device. Then every batch size in alternating
rounds: tokens a second, how many outputs are those of the CPU, and what memory bandwidth alone would allow.
`--device cpu` runs the same lines without a GPU. One JSON line a result; exit code 1 where a node fell back or
fewer than --least-equal of the outputs are the CPU's.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.engine_peers.engines import SPECIAL_IDS, Rows
from benchmarks.engine_peers.sentences import read_sentences, spread
from keras_transformer.decoding.limits import length_limits
from keras_transformer.decoding.search import greedy_search
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.runtime.device_memory import DeviceMover
from keras_transformer.runtime.devices import PROVIDERS
from keras_transformer.runtime.manifest import Manifest
from keras_transformer.runtime.sessions import Engine
from keras_transformer.text.tokenizer import Tokenizer

COPY_BYTES = 2**28  # of the copy that measures the bandwidth
# Shapes and lengths: onnxruntime has them on the CPU on purpose.
SMALL_NODES = frozenset({"Shape", "Cast", "Slice", "Sub", "Unsqueeze"})
HALF = 2  # bytes of a float16
Translate = Callable[[Rows], list[list[int]]]


def on_device(engine: Engine) -> Engine:
    """The same engine; on the CPU one that keeps its caches as on a GPU, so that those lines run too."""
    if engine.memory_device is None:
        dtypes = engine.dtype, engine.cache_dtype
        engine.pool = DeviceMover(engine.device, PROVIDERS[engine.device], *dtypes)
    return engine


def ours(engine: Engine) -> Translate:
    """Greedy search over one batch."""
    manifest = engine.manifest

    def translate(rows: Rows) -> list[list[int]]:
        limits = length_limits([len(row) for row in rows], manifest.max_length)
        result = greedy_search(
            engine.start([np.array(row, np.int64) for row in rows], int(limits.max())),
            bos_id=manifest.bos_id,
            eos_id=manifest.eos_id,
            pad_id=manifest.pad_id,
            max_lengths=limits,
        )
        return [tokens.tolist() for tokens in result.tokens]

    return translate


def ctranslate2_peer(folder: Path, device: str, max_length: int) -> Translate:
    """CTranslate2 over the same weights; float16 on a GPU, float32 on a CPU, which has none."""
    import ctranslate2

    model = ctranslate2.Translator(
        str(folder), device=device, compute_type="float16" if device == "cuda" else "float32"
    )
    ids = {token: index for index, token in SPECIAL_IDS.items()}

    def translate(rows: Rows) -> list[list[int]]:
        results = model.translate_batch(
            [[SPECIAL_IDS.get(index) or str(index) for index in row] for row in rows],
            beam_size=1,
            max_input_length=0,
            max_decoding_length=int(length_limits([len(row) for row in rows], max_length).max()),
        )
        found = [result.hypotheses[0] for result in results]
        return [[ids[token] if token in ids else int(token) for token in tokens] for tokens in found]

    return translate


def where_nodes_ran(bundle: Bundle, device: str, rows: Rows) -> dict[str, dict[str, Any]]:
    """For each graph its nodes by provider, as a profile of one translation has them."""
    engine = Engine.load(bundle, device, 1, precision="fp16")
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        sessions = []
        for name, graph in zip(("encoder", "decoder"), bundle.read_graphs("fp16"), strict=True):
            options = ort.SessionOptions()
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / name)
            options.log_severity_level = 3
            sessions.append(
                ort.InferenceSession(graph, options, providers=getattr(engine, name).get_providers())
            )
        encoder, decoder = sessions
        ours(on_device(Engine(encoder, decoder, bundle.manifest, engine.device, "", "fp16")))(rows)
        for name, session in zip(("encoder", "decoder"), sessions, strict=True):
            events = json.loads(Path(session.end_profiling()).read_text())
            nodes = {
                (event["args"]["provider"], event["args"]["op_name"], event["name"])
                for event in events
                if event.get("cat") == "Node" and event["args"].get("provider")
            }
            found[name] = {
                "providers": getattr(engine, name).get_providers(),
                "nodes": dict(Counter(provider for provider, _, _ in nodes)),
                "elsewhere": dict(Counter(op for provider, op, _ in nodes if provider != PROVIDERS[device])),
            }
    return found


def copy_bandwidth(device: str) -> float:
    """Bytes a second, read and written, of a large copy where the sessions run."""
    from onnx import TensorProto, helper

    half = COPY_BYTES // 4
    shape = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [half]) for name in ("x", "y")]
    # A sum with one number: an Identity could be left out.
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "one"], ["y"])], "copy", shape[:1], shape[1:], [one]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=[PROVIDERS[device]])
    binding = session.io_binding()
    values = [ort.OrtValue.ortvalue_from_numpy(np.ones(half, np.float32), device, 0) for _ in range(2)]
    binding.bind_ortvalue_input("x", values[0])
    binding.bind_ortvalue_output("y", values[1])
    seconds = []
    for _ in range(12):
        started = time.perf_counter()
        session.run_with_iobinding(binding)
        seconds.append(time.perf_counter() - started)
    return 2.0 * COPY_BYTES / min(seconds)


def limit_tokens_per_second(manifest: Manifest, batch: int, length: int, bandwidth: float) -> float:
    """What reading the decoder's weights once a step, and the caches of its rows, allows; half precision."""
    width, layers = manifest.model_dim, manifest.num_decoder_layers
    weights = layers * (6 * width * width + 2 * width * manifest.feed_forward_dim)
    weights += manifest.vocabulary_size * width
    caches = batch * 2 * layers * width * (length + length / 2)  # the source's, and half of the target's
    return batch * bandwidth / (HALF * (weights + caches))


def measure(sides: dict[str, Translate], rows: Rows, batch: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Alternating rounds over `rows` in batches of like lengths; medians."""
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    batches = [[rows[row] for row in order[start : start + batch]] for start in range(0, len(order), batch)]
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    outputs: dict[str, list[list[int]]] = {}
    for index in range(rounds + 1):  # the first warms up
        for name, translate in list(sides.items())[:: 1 if index % 2 else -1]:
            started = time.perf_counter()
            found = [output for some in batches for output in translate(some)]
            if index:
                seconds[name].append(time.perf_counter() - started)
            outputs[name] = found
    return {
        name: {
            "outputs": outputs[name],
            "tokens_per_second": round(
                (sum(map(len, outputs[name])) + len(rows)) / statistics.median(seconds[name])
            ),
            "ms_a_batch": round(1e3 * statistics.median(seconds[name]) / len(batches), 2),
        }
        for name in sides
    }


def make(model: str, work: Path) -> None:
    """Write one of the benchmark's models as a float16 bundle and for CTranslate2."""
    from benchmarks.engine_peers.convert import save_ctranslate2
    from benchmarks.engine_peers.models import COPIERS, write_run
    from keras_transformer.onnx_export.checkpoint import load_checkpoint
    from keras_transformer.onnx_export.export import export_bundle

    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        write_run(COPIERS[model], run)
        trained = load_checkpoint(run)
        export_bundle(trained, work / "bundle", ("fp16",), name=f"benchmark {model}")
        save_ctranslate2(trained.config, trained.weights, work / "ctranslate2-fp16", "fp16")


def show(**row: Any) -> None:
    print(json.dumps(row), flush=True)


def compare(options: argparse.Namespace) -> bool:
    """All measurements; whether everything ran where it should, with the CPU's outputs."""
    bundle = Bundle.open(options.bundle)
    tokenizer = Tokenizer.from_file(bundle.tokenizer_path)
    sentences, source = read_sentences(tokenizer)
    rows: Rows = spread([[*tokenizer.encode(text), tokenizer.eos_id] for text in sentences], options.count)
    show(text=source, sentences=len(rows), onnxruntime=ort.__version__, model=bundle.manifest.name)
    nodes = where_nodes_ran(bundle, options.device, rows[:4])
    show(device=options.device, **nodes)
    sound = all(SMALL_NODES.issuperset(side["elsewhere"]) for side in nodes.values())
    bandwidth = copy_bandwidth(options.device)
    show(device=options.device, copy_gb_per_second=round(bandwidth / 1e9, 1))
    reference = ours(Engine.load(bundle, "cpu", precision="fp16"))(rows)
    engine = on_device(Engine.load(bundle, options.device, precision="fp16"))
    sides: dict[str, Translate] = {"ours": ours(engine)}
    if options.peer is not None and options.peer.is_dir():
        sides["ctranslate2"] = ctranslate2_peer(options.peer, options.device, bundle.manifest.max_length)
    expected = {tuple(row): output for row, output in zip(map(tuple, rows), reference, strict=True)}
    in_order = sorted(rows, key=len)
    for batch in options.batches:
        length = statistics.mean(map(len, rows))
        limit = limit_tokens_per_second(bundle.manifest, batch, int(length), bandwidth)
        for name, found in measure(sides, rows, batch, options.rounds).items():
            outputs = found.pop("outputs")
            equal = sum(expected[tuple(row)] == output for row, output in zip(in_order, outputs, strict=True))
            show(
                engine=name,
                device=options.device,
                batch=batch,
                **found,
                equal_to_the_cpu=equal,
                limit_tokens_per_second=round(limit),
                share_of_the_limit=round(found["tokens_per_second"] / limit, 4),
            )
            sound &= name != "ours" or equal >= options.least_equal * len(rows)
    return sound


def batches_of(text: str) -> Sequence[int]:
    """Batch sizes from "1,64"."""
    return [int(part) for part in text.split(",")]


def main() -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, help="a bundle that holds fp16")
    parser.add_argument("--peer", type=Path, help="the same weights for CTranslate2")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--batches", type=batches_of, default=(1, 64), help="default: 1,64")
    parser.add_argument("--count", type=int, default=256, help="sentences (default: 256)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--least-equal", type=float, default=0.95, help="share of outputs (default: 0.95)")
    parser.add_argument("--make", choices=("base", "deep-shallow", "small"), help="write models, and end")
    parser.add_argument("--work", type=Path, help="where --make writes them")
    options = parser.parse_args()
    if options.make:
        if options.work is None:
            parser.error("--make must come with --work, the folder to write to")
        make(options.make, options.work)
        return 0
    if options.bundle is None:
        parser.error("--bundle must be given: a bundle that holds fp16, see --make")
    return int(not compare(options))


if __name__ == "__main__":
    sys.exit(main())
