"""A bundle appears whole or not at all, and never over something else."""

import os
import re
from pathlib import Path

import pytest

from keras_transformer.errors import UserError
from keras_transformer.onnx_export.publish import new_bundle
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.runtime.manifest import write_manifest
from tests.onnx_export import runs


def test_a_block_that_fails_leaves_nothing(tmp_path):
    def fail():
        with new_bundle(tmp_path / "out") as partial:
            (partial / "half").write_text("", "utf-8")
            assert partial.parent == tmp_path
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_an_older_bundle_is_replaced_whole_and_only_at_the_end(tmp_path):
    config = runs.config()
    folder = runs.write_bundle(tmp_path / "b", config, runs.weights_of(config)).folder
    manifest = Bundle.open(folder).manifest
    with new_bundle(folder) as partial:
        write_manifest(partial, manifest)
        Bundle.open(folder)  # the older one still answers
    assert [path.name for path in folder.iterdir()] == ["manifest.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_target_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="A bundle's folder must be writable, "), new_bundle(tmp_path / "out"):
        pass


def test_the_folder_of_the_process_may_be_the_target(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    with new_bundle(Path(".")) as folder:
        (folder / "manifest.json").write_text("{}", "utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.json"]


def test_a_target_below_a_file(tmp_path):
    (tmp_path / "file").write_text("", "utf-8")
    target = tmp_path / "file" / "out"
    with (
        pytest.raises(
            UserError, match=rf"\AA bundle's folder must be writable, {re.escape(str(target))} is not: .+\.\Z"
        ),
        new_bundle(target),
    ):
        pass


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_target_with_something_else_is_left_alone(tmp_path, kind):
    target = tmp_path / "out"
    if kind == "file":
        target.write_text("mine", "utf-8")
    else:
        target.mkdir()
        (target / "mine").write_text("", "utf-8")
    with (
        pytest.raises(
            UserError, match=rf"\A--output must be a new folder or an older bundle, {re.escape(str(target))} "
        ),
        new_bundle(target),
    ):
        pass
    assert target.exists()
