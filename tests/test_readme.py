"""The README is run, not trusted: its script, its commands' flags and its file map."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)
COMMANDS = [
    line.strip()
    for line in README.splitlines()
    if re.match(r"    (KERAS_BACKEND|python|make|echo) ?\S", line)
]


def test_the_script_trains_and_generates(capsys):
    (script,) = [block for block in BLOCKS if "model.fit" in block]
    assert len([line for line in script.splitlines() if line]) <= 12  # "ten lines" and two of imports
    names = {}
    exec(compile(script, "README.md", "exec"), names)
    losses = names["model"].history.history["token_loss"]
    assert losses[-1] < losses[0]
    assert len(names["model"].generate(names["source"][:2], max_length=9)) == 2


def test_the_translators_lines_run(capsys):
    (script,) = [block for block in BLOCKS if "from_pretrained" in block]
    exec(compile(script, "README.md", "exec"), {})
    assert "Ti amo molto" in capsys.readouterr().out


def test_every_path_of_the_file_map_exists():
    tree = re.search(r"## File map\n\n(.*?)\n\nImport walls", README, re.S).group(1)
    folder, checked = ROOT, 0
    for line in tree.splitlines():
        entry = line[4:40].rstrip()
        for name in entry.split():
            inside = entry.startswith(" ")
            path = (folder if inside else ROOT) / name
            assert path.exists() or not re.fullmatch(r"[\w/]+(\.py|/)", name), path
            checked += path.exists()
            if not inside and name.endswith("/"):
                folder = path
    assert checked >= 18


def test_linked_files_exist():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize(
    "module", ["keras_transformer.fit", "keras_transformer.translate", "desktop_app", "export"]
)
def test_commands_use_flags_that_exist(module):
    call = [sys.executable, "export/to_onnx.py"] if module == "export" else [sys.executable, "-m", module]
    shown = subprocess.run([*call, "--help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    wanted = "export/to_onnx.py" if module == "export" else f"-m {module}"
    lines = [line for line in COMMANDS if wanted in line]
    assert lines
    for flag in {flag for line in lines for flag in re.findall(r" (--[\w-]+)", line.split(wanted)[1])}:
        assert flag in shown, (module, flag)


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"\bmake (\w+)", README):
        assert re.search(rf"^{target}:|^\.PHONY:.*\b{target}\b", makefile, re.M), target
