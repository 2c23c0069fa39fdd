"""What a desktop needs to start the window: an entry, an icon, a command, and a folder without Python."""

import ast
import configparser
import importlib
import importlib.metadata
import re
import shutil
import struct
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from tests.desktop_app.test_app import REPOSITORY, environment

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
ENTRY = REPOSITORY / "packaging" / "keras-transformer.desktop"
ICON = REPOSITORY / "desktop_app" / "icons" / "keras-transformer.png"


def entry():
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str
    parser.read(ENTRY, "utf-8")
    return dict(parser["Desktop Entry"])


def test_the_command_is_the_windows_main():
    ((command, target),) = PROJECT["project"]["gui-scripts"].items()
    module, function = target.split(":")
    assert callable(getattr(importlib.import_module(module), function))
    assert entry()["Exec"] == command


def test_the_entry_says_what_a_desktop_asks_for():
    values = entry()
    assert values["Type"] == "Application"
    assert values["Terminal"] == "false"
    assert values["Icon"] == ICON.stem
    assert all(values[key].endswith(";") for key in ("Categories", "Keywords", "Keywords[it]"))
    for key in ("GenericName", "Comment", "Keywords"):
        assert values[key] != values[f"{key}[it]"]


def test_what_the_frozen_window_imports_is_not_left_out():
    (unused,) = re.findall(
        r"UNUSED = (\[.*?\])", (REPOSITORY / "packaging" / "window.spec").read_text(), re.DOTALL
    )
    assert not {"PIL", "platformdirs", "tkinterdnd2"} & set(ast.literal_eval(unused))


@pytest.mark.skipif(shutil.which("desktop-file-validate") is None, reason="no desktop-file-validate here")
def test_the_entry_is_valid():
    done = subprocess.run(["desktop-file-validate", str(ENTRY)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_pip_puts_entry_and_icon_where_desktops_look():
    files = PROJECT["tool"]["setuptools"]["data-files"]
    assert {REPOSITORY / name for names in files.values() for name in names} == {ENTRY, ICON}
    assert all((REPOSITORY / name).is_file() for names in files.values() for name in names)
    (icons,) = [folder for folder in files if "icons" in folder]
    size = int(re.search(r"/(\d+)x\1/", icons)[1])
    data = ICON.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">2L", data[16:24]) == (size, size)
    assert len(data) < 20_000


def test_the_icon_ships_with_the_package_and_tk_reads_it(session_root):
    import tkinter

    patterns = PROJECT["tool"]["setuptools"]["package-data"]["desktop_app"]
    assert ICON in [path for pattern in patterns for path in (REPOSITORY / "desktop_app").glob(pattern)]
    image = tkinter.PhotoImage(master=session_root, file=str(ICON))
    assert image.width() == image.height() == 256
    assert image.transparency_get(0, 0)  # round corners
    assert not image.transparency_get(128, 20)


def test_the_icon_is_what_its_script_draws(tmp_path, monkeypatch):
    pytest.importorskip("PIL", reason="Pillow is not installed")
    from PIL import Image, ImageChops

    monkeypatch.syspath_prepend(REPOSITORY / "packaging")
    script = importlib.import_module("draw_icon")
    monkeypatch.setattr(script, "OUTPUT", tmp_path / "icon.png")
    script.main()
    with Image.open(ICON) as shipped, Image.open(tmp_path / "icon.png") as drawn:
        difference = ImageChops.difference(shipped.convert("RGBA"), drawn.convert("RGBA"))
    histogram = difference.histogram()  # 256 counts for each of four channels
    assert (
        sum(sum(histogram[i + 40 : i + 256]) for i in range(0, 1024, 256)) < 100
    )  # Pillows round differently


def test_the_desktop_knows_the_window_by_its_class(display, session_root, tmp_path):
    assert session_root.winfo_class() == entry()["StartupWMClass"]  # Tk writes the first letter large
    values = environment(tmp_path, display)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.desktop_app.scripted_app", "shout"], cwd=tmp_path, env=values
    )

    def windows(*arguments):
        command = ["xdotool", "search", "--onlyvisible", *arguments]
        return subprocess.run(command, env=values, capture_output=True, text=True).stdout.split()

    try:
        end = time.perf_counter() + 30.0
        while not (shown := windows("--name", "^Keras Transformer$")):
            assert time.perf_counter() < end, "no window"
            time.sleep(0.05)
        assert shown[0] in windows("--class", f"^{entry()['StartupWMClass']}$")
    finally:
        process.terminate()
        process.wait(30)


def test_the_frozen_folder_leaves_out_every_training_framework():
    spec = (REPOSITORY / "packaging" / "window.spec").read_text("utf-8")
    compile(spec, "window.spec", "exec")
    excluded = re.search(r"UNUSED = \[(.*?)\]", spec, re.DOTALL)[1]
    for name in ("keras", "torch", "tensorflow", "jax"):
        assert f'"{name}"' in excluded
    for name in re.findall(r'copy_metadata\("(\w+)"\)', spec):
        importlib.metadata.version(name)
    assert Path(REPOSITORY, "packaging", "start_window.py").is_file()


def test_the_frozen_program_translates_in_a_terminal_too(monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "packaging")
    start = importlib.import_module("start_window")
    called = []
    monkeypatch.setattr("keras_transformer.translate.main", lambda arguments: called.append(arguments) or 7)
    monkeypatch.setattr("desktop_app.__main__.main", lambda: called.append("window") or 8)
    monkeypatch.setattr(sys, "argv", ["keras-transformer", "translate", "--json"])
    assert start.main() == 7
    monkeypatch.setattr(sys, "argv", ["keras-transformer"])
    assert start.main() == 8
    assert called == [["--json"], "window"]
