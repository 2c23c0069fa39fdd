"""docs/training.md: its commands parse, the fields it names exist, its links lead somewhere."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from keras_transformer import evaluate, fit, translate
from keras_transformer.config import Config, config_to_toml, load_config

ROOT = Path(__file__).resolve().parents[1]
GUIDE = (ROOT / "docs" / "training.md").read_text("utf-8")
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", GUIDE, re.S) for line in block.splitlines()]


def exporter():
    spec = importlib.util.spec_from_file_location("to_onnx", ROOT / "export" / "to_onnx.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def arguments(command, program):
    """What the command gives to `program`, without redirections; None where it does not call it."""
    words = shlex.split(command.split(">")[0].split("|")[-1])
    return words[words.index(program) + 1 :] if program in words else None


def test_there_are_commands_of_each_kind():
    for program, count in (
        ("keras_transformer.fit", 9),
        ("export/to_onnx.py", 2),
        ("keras_transformer.translate", 3),
    ):
        assert sum(arguments(command, program) is not None for command in COMMANDS) >= count, program


@pytest.mark.parametrize("command", [line for line in COMMANDS if "keras_transformer.fit" in line])
def test_training_commands_make_a_configuration(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where no runs are
    given = fit.parser().parse_args(arguments(command, "keras_transformer.fit"))
    if given.resume:
        given.output.mkdir(parents=True)
        (given.output / "config.toml").write_text(config_to_toml(load_config(preset="small")), "utf-8")
    config, folder = fit.resolve(given)
    assert str(folder).startswith("runs/")
    if given.train:
        assert config.data.train == tuple(given.train)


@pytest.mark.parametrize(
    ("program", "parser"),
    [
        ("keras_transformer.translate", translate.build_parser),
        ("keras_transformer.evaluate", evaluate.build_parser),
        ("export/to_onnx.py", lambda: exporter()._parser()),
    ],
)
def test_other_commands_parse(program, parser):
    found = [given for command in COMMANDS if (given := arguments(command, program)) is not None]
    assert found
    for given in found:
        parser().parse_args(given)


def test_fields_and_links_exist():
    fields = set(re.findall(r"\b(model|data|train)\.(\w+)\b(?!\.)", re.sub(r"train\.(en|it)\b", "", GUIDE)))
    assert len(fields) >= 12
    for section, name in fields:
        assert name in Config().to_dict()[section], (section, name)
    for target in re.findall(r"\]\((?!http)([^)]+)\)", GUIDE):
        assert (ROOT / "docs" / target).exists(), target


def test_readme_leads_here():
    assert "docs/training.md" in (ROOT / "README.md").read_text("utf-8")
