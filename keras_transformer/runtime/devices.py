"""Which device and which precision run, and why: never another one in silence."""

import os
from collections.abc import Mapping

import onnxruntime as ort

from keras_transformer.errors import UserError
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.runtime.manifest import Manifest

DEVICES = ("auto", "cpu", "cuda")
MOST_THREADS = 1024  # more than machines have cores; each session starts as many: far more stop the machine
# What a device can run, the best first. CUDA has no kernel for GroupQueryAttention in float32, nor for the
# integer products: onnxruntime would run these nodes on the CPU without a word.
_CHOICES = {"cpu": ("int8", "fp32", "fp16"), "cuda": ("fp16",)}
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
# How long a thread without work looks for more before it sleeps. To wake one takes longer than most products of a
# step: without it two threads are no faster than one for eight sentences, and slower for one. Twice as long costs
# files, whose batches have threads of their own, 13 % instead of 6 (measured).
SPIN_MICROSECONDS = 50
_INSTALL_CUDA = (
    "Install it with `pip uninstall onnxruntime && pip install 'keras_transformer[gpu]'`, or take the CPU."
)


def choose_device(manifest: Manifest, device: str, precision: str | None) -> tuple[str, str]:
    """The device, "cpu" or "cuda", and one sentence on why.

    Raises:
        UserError: "cuda" was asked for and this onnxruntime has no CUDA.
    """
    if device == "cpu":
        return "cpu", "CPU: asked for"
    if PROVIDERS["cuda"] not in ort.get_available_providers():
        if device == "cuda":
            raise UserError(
                "`device` must be one that onnxruntime can run, got 'cuda' and no CUDA provider. "
                + _INSTALL_CUDA
            )
        return "cpu", "CPU: no CUDA provider in this onnxruntime"
    if device == "cuda":
        return "cuda", "CUDA: asked for"
    usable = _CHOICES["cuda"] if precision is None else (precision,)
    if not any(name in manifest.precisions and name in _CHOICES["cuda"] for name in usable):
        return "cpu", "CPU: the bundle holds no precision that CUDA runs"
    return "cuda", "CUDA: found"


def choose_precision(bundle: Bundle, device: str, precision: str | None) -> str:
    """`precision` if the device runs it and the bundle holds it; None takes the device's best.

    Raises:
        UserError: there is none such.
    """
    have = bundle.manifest.precisions
    if precision is not None:
        if precision not in _CHOICES[device] or precision not in have:
            usable = [name for name in _CHOICES[device] if name in have]
            raise UserError(
                f"`precision` must be one that the bundle holds and {device} runs "
                f"({', '.join(usable) or 'none'}), got {precision!r}. Leave it out, or export it."
            )
        return precision
    for name in _CHOICES[device]:
        if name in have:
            return name
    raise UserError(
        f"The bundle must hold one of {', '.join(_CHOICES[device])} to run on {device}, it has "
        f"{', '.join(have)}. Export one with: python export/to_onnx.py RUN --precision {_CHOICES[device][0]}"
    )


def session_options(num_threads: int | None) -> ort.SessionOptions:
    """What all sessions have in common. 0 or None threads leave their number to ONNX Runtime."""
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors only: warnings of the optimiser are not for users
    # It would remember a plan for each new shape, for ever, and is no faster here (measured).
    options.enable_mem_pattern = False
    options.intra_op_num_threads = num_threads or 0
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN_MICROSECONDS))
    return options


def open_session(
    graph: bytes,
    device: str,
    num_threads: int | None,
    weights: Mapping[str, ort.OrtValue] | None = None,
) -> ort.InferenceSession:
    """A session over the bytes of a graph, on `device` and nothing less.

    `weights` stand in for the graph's own of the same names: sessions can share them. They must outlive it.

    Raises:
        UserError: the graph does not load, or the device does not start.
    """
    options = session_options(num_threads)
    options.enable_mem_pattern = device != "cpu"
    for name, weight in (weights or {}).items():
        options.add_initializer(name, weight)
    # Fused, Add + LayerNormalization is 5 to 7 times slower on the CPU (measured on AVX2); CUDA wants it.
    disabled = ["SkipLayerNormFusion"] if device == "cpu" else []
    providers = [PROVIDERS[device]] + ([PROVIDERS["cpu"]] if device != "cpu" else [])
    try:
        session = ort.InferenceSession(graph, options, providers=providers, disabled_optimizers=disabled)
    except Exception as error:
        raise UserError(f"The bundle's graph must load in onnxruntime {ort.__version__}: {error}") from error
    session._model_bytes = (
        None  # it would keep the whole file in memory, to open it again under other providers
    )
    if session.get_providers()[0] != PROVIDERS[device]:
        raise UserError(
            f"`device` must be one that works, got {device!r}, which onnxruntime could not start "
            f"(it offers {', '.join(session.get_providers())}). {_INSTALL_CUDA}"
        )
    return session


def num_cores() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1
