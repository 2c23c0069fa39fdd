"""The crash log: every uncaught exception of every thread, with versions, without a word of the user's."""

import logging
import logging.handlers
import os
import re
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from desktop_app import crash_log
from desktop_app.crash_log import CrashLog, describe, log_path, versions

REPOSITORY = Path(__file__).resolve().parents[2]
SECRET = "my dear diary"


def fail(message=SECRET):
    text = message  # noqa: F841 - a local variable of a frame must not be written either
    raise ValueError(f"cannot translate {message!r}")


def caught(function, *arguments):
    try:
        function(*arguments)
    except BaseException as error:  # noqa: BLE001 - that is what is wanted
        return error
    raise AssertionError("nothing was raised")


def run(code, folder, environment=None):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(folder)],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60, env={**os.environ, **(environment or {})},
    )  # fmt: skip


# ---- what is written ---------------------------------------------------------------------------


def test_kind_and_place_are_written_and_the_message_is_not(tmp_path):
    path = CrashLog(tmp_path / "deep" / "log").record(caught(fail))
    text = path.read_text("utf-8")
    assert path == tmp_path / "deep" / "log" / "crash.log"
    assert re.match(r"==== \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00, thread MainThread\nPython 3\.", text)
    assert re.search(r'File "tests/desktop_app/test_crash_log.py", line \d+, in fail\n', text)
    assert text.endswith("builtins.ValueError\n")
    assert SECRET not in text
    assert str(REPOSITORY) not in text  # a path may hold the user's name
    assert str(Path.home()) not in text


def test_causes_and_parts_are_written_without_their_messages():
    def chain():
        try:
            fail()
        except ValueError as error:
            raise KeyError(SECRET) from error

    def during():
        try:
            fail()
        except ValueError:
            raise OSError(28, SECRET)  # noqa: B904 - the context is what is tested

    def hidden():
        try:
            fail()
        except ValueError:
            raise KeyError(SECRET) from None

    def group():
        raise ExceptionGroup(SECRET, [caught(fail), caught(during)])

    lines = describe(caught(chain)).splitlines()
    assert lines.index("builtins.ValueError") < lines.index("which led to") < lines.index("builtins.KeyError")
    lines = describe(caught(during)).splitlines()
    assert lines.index("during which came") < lines.index("builtins.OSError (errno 28)")
    assert "ValueError" not in describe(caught(hidden)).replace("except ValueError", "")
    lines = describe(caught(group)).splitlines()
    assert lines.index("builtins.ExceptionGroup") < lines.index("with")
    assert lines.count("builtins.ValueError") == 2
    assert describe(caught(sqlite3.connect, "/nowhere/file")).endswith(
        "sqlite3.OperationalError (SQLITE_CANTOPEN)\n"
    )
    for function in (chain, during, hidden, group):
        assert SECRET not in describe(caught(function))


def test_a_circle_of_causes_ends():
    one, other = ValueError(SECRET), KeyError(SECRET)
    one.__context__, other.__context__ = other, one
    assert describe(one).count("builtins.") == 2
    error = ValueError()
    for _ in range(1000):
        following = ValueError()
        following.__cause__ = error
        error = following
    assert describe(error).count("builtins.") == 20


def test_versions_name_everything_that_runs():
    line = versions()
    assert f"Python {sys.version.split()[0]}" in line
    for name in ("keras_transformer", "onnxruntime", "tokenizers", "numpy"):
        assert re.search(rf"{name} \d+\.", line)
    assert os.uname().sysname in line if os.name == "posix" else True
    assert "\n" not in line


def test_the_version_of_tk_is_named_where_tk_runs():
    pytest.importorskip("tkinter")
    assert re.search(r"Tk [89]\.\d+\.\d+", versions())


# ---- how much is written -----------------------------------------------------------------------


def test_an_error_that_comes_again_is_written_once(tmp_path):
    log = CrashLog(tmp_path)
    for _ in range(50):
        path = log.record(caught(fail))
    assert path.read_text("utf-8").count("====") == 1
    log.record(caught(int, SECRET))
    assert path.read_text("utf-8").count("====") == 2


def test_the_files_rotate(tmp_path, monkeypatch):
    monkeypatch.setattr(crash_log, "_FILE_BYTES", 3000)
    for _ in range(40):
        CrashLog(tmp_path).record(caught(fail))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "crash.log", "crash.log.1", "crash.log.2", "crash.log.3",
    ]  # fmt: skip
    assert all(0 < path.stat().st_size <= 3000 for path in tmp_path.iterdir())


def test_leaving_is_no_crash(tmp_path):
    log = CrashLog(tmp_path / "log")
    assert log.record(KeyboardInterrupt()) is None
    assert log.record(SystemExit(3)) is None
    assert not (tmp_path / "log").exists()


def test_without_a_place_nothing_is_written_and_nothing_fails(tmp_path, caplog, monkeypatch):
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING, logger="desktop_app.crash_log"):
        assert CrashLog(tmp_path / "file").record(caught(fail)) is None
    assert "the crash log was not written" in caplog.text
    assert SECRET not in caplog.text
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    assert log_path() is None
    assert CrashLog(log_path()).record(caught(fail)) is None


def test_a_full_disk_is_logged_without_the_record(tmp_path, caplog, capsys, monkeypatch):
    class Full(logging.handlers.RotatingFileHandler):
        def format(self, record):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("logging.handlers.RotatingFileHandler", Full)
    assert CrashLog(tmp_path).record(caught(fail)) is None
    assert "No space left on device" in caplog.text
    assert capsys.readouterr().err == ""


def test_the_log_lies_in_the_users_logs(monkeypatch, tmp_path):
    pytest.importorskip("platformdirs", reason="platformdirs (extra `desktop`) is not installed")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = log_path()
    assert "keras_transformer" in path.parts
    if sys.platform == "linux":
        assert path.is_relative_to(tmp_path)


# ---- where it comes from -----------------------------------------------------------------------

INSTALLED = """
import sys, threading
from pathlib import Path
from desktop_app.crash_log import CrashLog
log = CrashLog(Path(sys.argv[1]))
log.install()
def fail():
    raise ValueError("my dear diary")
"""


def test_an_uncaught_exception_of_the_main_thread(tmp_path):
    done = run(INSTALLED + "fail()", tmp_path)
    assert done.returncode == 1
    assert "ValueError: my dear diary" in done.stderr  # the terminal is the user's own
    text = (tmp_path / "crash.log").read_text("utf-8")
    assert "thread MainThread" in text
    assert "in fail" in text
    assert SECRET not in text


def test_an_uncaught_exception_of_a_worker(tmp_path):
    code = "worker = threading.Thread(target=fail, name='translation-worker')\nworker.start()\nworker.join()"
    done = run(INSTALLED + code, tmp_path)
    assert done.returncode == 0
    text = (tmp_path / "crash.log").read_text("utf-8")
    assert "thread translation-worker" in text
    assert text.endswith("builtins.ValueError\n")
    assert SECRET not in text


def test_an_exception_of_a_tk_callback(tmp_path, display):
    code = """
    import tkinter
    root = tkinter.Tk()
    root.report_callback_exception = lambda kind, error, trace: log.record(error)
    root.after(0, fail)
    root.after(50, root.destroy)
    root.mainloop()
    """
    done = run(INSTALLED + textwrap.dedent(code), tmp_path, {"DISPLAY": display})
    assert (done.returncode, done.stderr) == (0, "")
    text = (tmp_path / "crash.log").read_text("utf-8")
    assert "in fail" in text
    assert re.search(r"Tk 8\.|Tk 9\.", text)
    assert SECRET not in text


@pytest.mark.skipif(os.name != "posix", reason="SIGSEGV of a POSIX system")
def test_a_crash_of_native_code(tmp_path):
    done = run(INSTALLED + "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", tmp_path)
    assert done.returncode == -signal.SIGSEGV
    text = (tmp_path / "fault.log").read_text("utf-8")
    assert "Segmentation fault" in text
    assert not (tmp_path / "crash.log").exists()


def test_a_long_fault_log_is_put_aside(tmp_path, monkeypatch):
    monkeypatch.setattr(crash_log, "_FILE_BYTES", 100)
    monkeypatch.setattr(crash_log.faulthandler, "enable", lambda file: file.close())
    (tmp_path / "fault.log").write_text("x" * 101)
    CrashLog(tmp_path)._watch_native_code()
    assert (tmp_path / "fault.log.1").stat().st_size == 101
    assert (tmp_path / "fault.log").stat().st_size == 0


def test_many_threads_write_whole_reports(tmp_path):
    log = CrashLog(tmp_path)

    def work(number):
        error = caught(fail)
        error.__cause__ = type(f"Error{number}", (Exception,), {})()
        log.record(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text = (tmp_path / "crash.log").read_text("utf-8")
    assert len(re.findall(r"^==== .*\nPython .*\n.*Error\d+\nwhich led to\n", text, re.MULTILINE)) == 20
