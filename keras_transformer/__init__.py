"""A Transformer translator in Keras 3: train, export to ONNX, translate offline.

Public names load on first use (PEP 562), so that importing the package imports neither Keras nor
onnxruntime: the machine that translates has no Keras, the machine that trains needs no onnxruntime.
"""

import importlib
import os
from typing import Any

__version__ = "0.1.0"

# From 1.29 on ONNX Runtime sends device, program and model facts to its maker, from native code, unless this is
# set before it is loaded: so here, which runs before any module of ours can load it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

_HOMES = {
    "Config": "config",
    "ModelConfig": "config",
    "load_config": "config",
    "UserError": "errors",
    "Tokenizer": "text.tokenizer",
    "train_tokenizer": "text.tokenizer",
    "Translation": "runtime.translator",
    "Translator": "runtime.translator",
    "Transformer": "model",
    "build_transformer": "model",
    "LabelSmoothedCrossEntropy": "training.losses",
    "WarmupInverseSquareRoot": "training.schedule",
}

# What a saved model is made of: `keras.models.load_model` finds a class once its module is imported, so that one of
# these names brings all.
_SAVED = ("model", "training.losses", "training.schedule")

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES[name]
    for module in _SAVED if home in _SAVED else (home,):
        importlib.import_module(f"{__name__}.{module}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
