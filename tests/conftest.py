"""One backend a process, named by KERAS_BACKEND; the suite runs once for each."""

import importlib.util
import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# On a GPU the default TensorFloat-32 keeps 10 bits of mantissa; the oracle is met to 1e-5 in real float32.
os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
# What one process has compiled the next one need not: a resumed run is the same program again.
PROGRAMS = Path(__file__).resolve().parents[1] / "build" / "jax"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(PROGRAMS))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

# torch after tensorflow in one process crashes; test files import either, in any order.
if importlib.util.find_spec("torch") is not None:
    import torch  # noqa: F401
