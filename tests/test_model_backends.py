"""Weights saved under this backend give the same logits under the other two, each in a process of its own."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from safetensors.numpy import load_file, save_file

from tests.helpers import FLOAT32_TOLERANCE, batch, norm_placements, random_model, tiny_config, to_numpy

ROOT = Path(__file__).resolve().parent.parent
BACKENDS = ("torch", "tensorflow", "jax")
VARIANTS = ("post", "pre")

READ_AND_RUN = """
import json, sys
import keras
from pathlib import Path
from keras import ops
from safetensors.numpy import load_file, save_file
from keras_transformer.config import ModelConfig
from keras_transformer.model import build_transformer

folder, expected_backend = Path(sys.argv[1]), sys.argv[2]
assert keras.backend.backend() == expected_backend
results = {}
for variant in ("post", "pre"):
    model = build_transformer(ModelConfig.from_dict(json.loads((folder / f"{variant}.json").read_text())))
    model.load_safetensors(folder / f"{variant}.safetensors")
    arrays = load_file(folder / "batch.safetensors")
    batch = {name: ops.convert_to_tensor(ids) for name, ids in arrays.items()}
    results[variant] = ops.convert_to_numpy(model(batch))
    tokens = model.generate(ops.convert_to_numpy(batch["source_ids"]))
    (folder / f"{variant}.{expected_backend}.json").write_text(json.dumps([row.tolist() for row in tokens]))
save_file(results, folder / f"logits.{expected_backend}.safetensors")
"""


def _start(folder, backend):
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", READ_AND_RUN, str(folder), backend],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """The folder that the other backends read from and wrote into, and what this backend computed."""
    folder = tmp_path_factory.mktemp("backends")
    mine = {}
    for variant in VARIANTS:
        config = tiny_config(norm_placement=variant, activation="gelu")
        model, _ = random_model(config, seed=11)
        source_ids, target_input_ids, _ = batch(config, batch_size=3, source_length=6)
        model.save_safetensors(folder / f"{variant}.safetensors")
        (folder / f"{variant}.json").write_text(json.dumps(config.to_dict()))
        save_file(
            {"source_ids": source_ids, "target_input_ids": target_input_ids}, folder / "batch.safetensors"
        )
        inputs = {
            "source_ids": ops.convert_to_tensor(source_ids),
            "target_input_ids": ops.convert_to_tensor(target_input_ids),
        }
        tokens = [row.tolist() for row in model.generate(source_ids)]
        mine[variant] = (to_numpy(model(inputs)), tokens)
    others = [name for name in BACKENDS if name != keras.backend.backend() and importlib.util.find_spec(name)]
    started = {name: _start(folder, name) for name in others}
    for name, process in started.items():
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, f"{name}:\n{output}"
    return folder, mine


@norm_placements
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_weights_give_the_same_logits(elsewhere, backend, norm_placement):
    if backend == keras.backend.backend():
        pytest.skip(f"{backend} is the backend that saved the weights")
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    folder, mine = elsewhere
    logits, tokens = mine[norm_placement]
    theirs = load_file(folder / f"logits.{backend}.safetensors")[norm_placement]
    assert logits.std() > 0.5
    np.testing.assert_allclose(theirs, logits, rtol=0, atol=FLOAT32_TOLERANCE)
    assert json.loads((folder / f"{norm_placement}.{backend}.json").read_text()) == tokens
