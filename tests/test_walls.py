"""The walls of the house, checked on what a process truly loads and opens."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.onnx_export import runs

ROOT = Path(__file__).resolve().parents[1]
FRAMEWORKS = {"keras", "keras_hub", "torch", "tensorflow", "jax"}
NOT_FOR_TRANSLATING = FRAMEWORKS | {"datasets", "sacrebleu", "matplotlib", "pandas", "safetensors", "onnx"}


def modules_after(code, *arguments, stdin=""):
    """Top-level names in sys.modules of a fresh process after `code`, which may not print to stderr."""
    script = f"import sys, json\n{code}\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    process = run(script, *arguments, stdin=stdin)
    return {name.split(".")[0] for name in json.loads(process.stderr)}


def run(script, *arguments, stdin=""):
    process = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    return process


@pytest.fixture(scope="module")
def bundle_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    config = runs.config(max_length=64)
    runs.write_bundle(folder, config, runs.weights_of(config))
    return folder


def test_the_probe_sees_a_framework():
    assert "keras" in modules_after("sys.modules['keras'] = sys")


KERAS_FREE = sorted(
    {"keras_transformer", "desktop_app"}
    | {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for room in ("text", "decoding", "runtime", "documents")
        for path in (ROOT / "keras_transformer" / room).glob("*.py")
    }
    | {f"keras_transformer.{name}" for name in ("config", "errors", "positions", "translate", "evaluate")}
)


CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
WITHOUT_TK = [  # the same list that import-linter guards
    module.removeprefix("desktop_app.")
    for contract in CONTRACTS
    if contract["forbidden_modules"] == ["tkinter"]
    for module in contract["source_modules"]
    if module.startswith("desktop_app.")
]


@pytest.mark.parametrize("module", KERAS_FREE)
def test_what_translates_imports_no_framework(module):
    assert modules_after(f"import {module}").isdisjoint(FRAMEWORKS)


def test_every_public_name_of_the_translator_comes_without_a_framework():
    names = ("Translator", "Translation", "Tokenizer", "ModelConfig", "UserError", "load_config")
    assert modules_after(f"from keras_transformer import {', '.join(names)}").isdisjoint(FRAMEWORKS)


def test_importing_the_package_is_light():
    heavy = NOT_FOR_TRANSLATING | {"numpy", "onnxruntime", "tokenizers"}
    assert modules_after("import keras_transformer").isdisjoint(heavy)


def test_the_exporter_imports_no_framework():
    names = [path.stem for path in (ROOT / "keras_transformer" / "onnx_export").glob("[!_]*.py")]
    assert names
    code = "\n".join(f"import keras_transformer.onnx_export.{name}" for name in names)
    assert modules_after(code).isdisjoint(FRAMEWORKS)


def test_only_the_window_imports_tkinter():
    pattern = re.compile(r"^\s*(?:import|from)\s+_?tkinter\b", re.MULTILINE)
    importers = {
        path.stem for path in (ROOT / "desktop_app").glob("*.py") if pattern.search(path.read_text("utf-8"))
    }
    assert {"window", "__main__"} <= importers
    assert importers.isdisjoint(WITHOUT_TK)
    for path in (ROOT / "keras_transformer").rglob("*.py"):
        assert not pattern.search(path.read_text("utf-8")), path


@pytest.mark.parametrize(
    "module", ["keras_transformer.translate", "desktop_app", *(f"desktop_app.{name}" for name in WITHOUT_TK)]
)
def test_without_the_window_there_is_no_tkinter(module):
    assert "tkinter" not in modules_after(f"import {module}")


LISTEN = """
import sys, json
opened = []
sys.addaudithook(lambda event, _: opened.append(event) if event.startswith("socket.") else None)
"""


def test_the_ear_hears_a_socket():
    process = run(
        LISTEN + "import socket\nsocket.socket().close()\nprint(json.dumps(opened), file=sys.stderr)"
    )
    assert "socket.__new__" in json.loads(process.stderr)


def test_translating_opens_no_socket_and_loads_no_framework(bundle_folder):
    script = (
        LISTEN
        + "from keras_transformer.translate import main\n"
        + "status = main(['--model', sys.argv[1], '--device', 'cpu', '--threads', '1'])\n"
        + "modules = sorted({name.split('.')[0] for name in sys.modules})\n"
        + "print(json.dumps([status, opened, modules]), file=sys.stderr)\n"
    )
    process = run(script, str(bundle_folder), stdin="the cat sleeps. a red house\n42\n")
    status, opened, modules = json.loads(process.stderr)
    assert (status, opened) == (0, [])
    assert process.stdout.count("\n") == 2
    assert "onnxruntime" in modules
    assert NOT_FOR_TRANSLATING.isdisjoint(modules)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc to list a process's sockets")
def test_no_native_code_holds_a_socket_after_translating(bundle_folder):
    script = (
        "import json, os, sys\n"
        "from keras_transformer import Translator\n"
        "Translator.from_pretrained(sys.argv[1], 'cpu', 1).translate('the cat sleeps')\n"
        "links = []\n"
        "for name in os.listdir('/proc/self/fd'):\n"
        "    try:\n"
        "        links.append(os.readlink('/proc/self/fd/' + name))\n"
        "    except OSError:\n"
        "        pass\n"
        "print(json.dumps(links), file=sys.stderr)\n"
    )
    links = json.loads(run(script, str(bundle_folder)).stderr)
    assert links
    assert not [link for link in links if link.startswith("socket:")]
