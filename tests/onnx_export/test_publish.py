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


@pytest.mark.parametrize("kind", ["file", "folder", "extension", "folder of a text's name"])
def test_a_target_with_something_else_is_left_alone(tmp_path, kind):
    target = tmp_path / "out"
    if kind == "file":
        target.write_text("mine", "utf-8")
    else:
        target.mkdir()
        (target / ("mine" if kind == "folder" else "manifest.json")).write_text("{}", "utf-8")
    if kind == "extension":  # of a browser: its manifest has the same name
        (target / "src").mkdir()
    elif kind == "folder of a text's name":
        (target / "NOTICE").mkdir()
    before = sorted(target.rglob("*"))
    with (
        pytest.raises(
            UserError, match=rf"\A--output must be a new folder or an older bundle, {re.escape(str(target))} "
        ),
        new_bundle(target),
    ):
        pass
    assert target.exists()
    assert sorted(target.rglob("*")) == before


def older(target, *more):
    """An older export: files by name, which hold it."""
    target.mkdir()
    for name in ("manifest.json", "encoder.fp16.onnx", "shortlist.npz", "README.md", *more):
        (target / name).write_text(name, "utf-8")
    return target


def test_texts_about_licences_stay_and_what_an_export_writes_goes(tmp_path):
    target = older(tmp_path / "out", "LICENSE", "NOTICE.md", ".DS_Store")
    with new_bundle(target) as partial:
        (partial / "manifest.json").write_text("new", "utf-8")
    assert {path.name: path.read_text("utf-8") for path in target.iterdir()} == {
        "manifest.json": "new",
        "LICENSE": "LICENSE",
        "NOTICE.md": "NOTICE.md",
    }


@pytest.mark.parametrize("refused_at", [1, 2])
def test_the_older_bundle_stays_where_the_system_refuses_to_rename(tmp_path, monkeypatch, refused_at):
    target = older(tmp_path / "out")
    before = sorted(path.name for path in target.iterdir())
    replace, calls = os.replace, []

    def refusing(source, destination):
        calls.append(source)
        if len(calls) == refused_at:
            raise PermissionError(13, "Permission denied")
        replace(source, destination)

    monkeypatch.setattr(os, "replace", refusing)
    message = (
        f"A bundle's folder must be writable, {target} is not: permission denied. "
        "Change its permissions or choose another."
    )
    with pytest.raises(UserError, match=rf"\A{re.escape(message)}\Z"), new_bundle(target):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert sorted(path.name for path in target.iterdir()) == before


def test_a_link_stays_and_what_it_names_is_written(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "away" / "out")  # which is not there yet
    for text in ("first", "second"):
        with new_bundle(link) as partial:
            (partial / "manifest.json").write_text(text, "utf-8")
        assert link.is_symlink()
        assert (tmp_path / "away" / "out" / "manifest.json").read_text("utf-8") == text
