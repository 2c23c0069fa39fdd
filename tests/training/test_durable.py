import os
from types import SimpleNamespace

import pytest

from keras_transformer.training import durable
from tests.training.runs import OPERATIONS

OLD, NEW = {"a": b"old a", "b": b"old b"}, {"a": b"new a" * 1000, "c": b"new c"}


class Crash(BaseException):
    """Ends like SIGKILL: no handler of OSError sees it."""


def break_at(monkeypatch, number, error, short_writes=False):
    """The `number`th write, fsync or rename raises `error`; returns the list of calls so far."""
    calls = []

    class Os:
        def __getattr__(self, name):
            if name not in OPERATIONS:
                return getattr(os, name)

            def call(*arguments):
                calls.append(name)
                if len(calls) == number:
                    raise error
                if name == "write" and short_writes:
                    return os.write(arguments[0], arguments[1][:1000])
                return getattr(os, name)(*arguments)

            return call

    monkeypatch.setattr(durable, "os", Os())
    return calls


def files_in(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), Crash()])
@pytest.mark.parametrize("number", range(1, 13))
def test_a_folder_is_the_old_or_the_new_one_after_a_failure_at_each_step(
    tmp_path, monkeypatch, number, error
):
    folder = tmp_path / "last"
    durable.write_folder(folder, OLD)
    with monkeypatch.context() as patch:
        calls = break_at(patch, number, error)
        try:
            durable.write_folder(folder, NEW)
        except (OSError, Crash):
            assert len(calls) >= number
    assert files_in(durable.recover(folder)) in (OLD, NEW)
    durable.write_folder(folder, NEW)
    assert files_in(folder) == NEW
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), Crash()])
@pytest.mark.parametrize("number", range(1, 5))
def test_a_file_is_the_old_or_the_new_one_after_a_failure_at_each_step(tmp_path, monkeypatch, number, error):
    path = tmp_path / "file"
    durable.write_file(path, b"old")
    with monkeypatch.context() as patch:
        break_at(patch, number, error)
        with pytest.raises(type(error)):
            durable.write_file(path, b"new")
    assert path.read_bytes() == (b"new" if number == 4 else b"old")  # the fourth is the fsync of the folder
    durable.write_file(path, b"newer")
    assert files_in(tmp_path) == {"file": b"newer"}


def test_each_file_and_folder_is_synced_before_the_rename(tmp_path, monkeypatch):
    calls = break_at(monkeypatch, 0, None)
    durable.write_folder(tmp_path / "last", NEW)
    assert calls == ["write", "fsync", "write", "fsync", "fsync", "rename", "fsync"]
    calls.clear()
    durable.write_folder(tmp_path / "last", NEW)
    assert calls == ["write", "fsync", "write", "fsync", "fsync", "rename", "rename", "fsync"]
    calls.clear()
    durable.write_file(tmp_path / "file", b"x")
    assert calls == ["write", "fsync", "replace", "fsync"]


def test_what_did_not_fit_is_taken_off_the_disk(tmp_path, monkeypatch):
    break_at(monkeypatch, 3, OSError(28, "No space left on device"))
    with pytest.raises(OSError, match="No space left on device"):
        durable.write_folder(tmp_path / "last", NEW)
    assert list(tmp_path.iterdir()) == []


def test_short_writes_are_continued(tmp_path, monkeypatch):
    break_at(monkeypatch, 0, None, short_writes=True)
    durable.write_file(tmp_path / "file", b"0123456789" * 450)
    assert (tmp_path / "file").read_bytes() == b"0123456789" * 450


def test_recovering_takes_the_predecessor_of_a_folder_that_was_being_replaced(tmp_path):
    durable.write_folder(tmp_path / "last", OLD)
    (tmp_path / "last").rename(tmp_path / "last.replaced")
    (tmp_path / "last.writing").mkdir()
    assert files_in(durable.recover(tmp_path / "last")) == OLD
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


@pytest.mark.parametrize(("refusals", "arrives"), [(2, True), (7, False)])
@pytest.mark.parametrize(
    ("write", "old", "new"),
    [(durable.write_file, b"old", b"new"), (durable.write_folder, OLD, NEW)],
    ids=["file", "folder"],
)
def test_windows_is_asked_again_while_something_is_open(
    tmp_path, monkeypatch, write, old, new, refusals, arrives
):
    path, waited = tmp_path / "last", []
    write(path, old)
    refused = iter(range(refusals))

    class Windows:
        name = "nt"

        def __getattr__(self, name):
            def moved(*arguments):
                if arguments[1] == path and next(refused, None) is not None:
                    raise PermissionError(13, "The process cannot access the file")
                return getattr(os, name)(*arguments)

            return moved if name in ("replace", "rename") else getattr(os, name)

    monkeypatch.setattr(durable, "os", Windows())
    monkeypatch.setattr(durable, "time", SimpleNamespace(sleep=waited.append))
    if arrives:
        write(path, new)
        assert waited == durable.WAITS[:2]
    else:
        with pytest.raises(PermissionError):
            write(path, new)
        assert waited == durable.WAITS
    found = files_in(path) if path.is_dir() else path.read_bytes()
    assert found == (new if arrives else old)
