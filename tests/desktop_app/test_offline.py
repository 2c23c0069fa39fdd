"""No network, ever: neither Python nor native code opens an internet socket from start to close."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SHIPPED_BUNDLE = REPOSITORY / "keras_transformer" / "pretrained" / "en-it"

SOURCE, TRANSLATION = "Good morning.", "Buongiorno."

needs_bundle = pytest.mark.skipif(
    not SHIPPED_BUNDLE.is_dir(), reason=f"no model is shipped at {SHIPPED_BUNDLE}"
)
needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="no strace on this machine: apt-get install strace"
)

# Any use of a socket by Python ends in an error, and is written down in case somebody swallows it.
DEAF = """
import socket, sys
from pathlib import Path

def refuse(*arguments, **options):
    with Path("sockets").open("a") as file:
        file.write(f"{arguments} {options}\\n")
    raise OSError("no network, ever")

class Refused(socket.socket):
    __init__ = refuse

socket.socket = socket.SocketType = Refused
for name in ("create_connection", "create_server", "getaddrinfo", "gethostbyname", "socketpair"):
    setattr(socket, name, refuse)
"""


def environment(folder, display):
    """Every folder of the user below `folder`; what continuous integration sets is no excuse for silence."""
    values = {**os.environ, "PYTHONPATH": str(REPOSITORY), "HOME": str(folder), "DISPLAY": display}
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "CI",
                 "ORT_DISABLE_TELEMETRY", "WAYLAND_DISPLAY"):  # fmt: skip
        values.pop(name, None)
    return values


def translate_in_the_window(folder, display, root, command):
    """Start a command that opens the window, type, see the translation copied, wait a while, quit."""
    values = environment(folder, display)

    def xdotool(*arguments):
        done = subprocess.run(
            ["xdotool", *arguments], env=values, capture_output=True, text=True, timeout=120
        )
        return done.stdout.split()

    # A session of its own: what strace started goes with it.
    process = subprocess.Popen(
        command, cwd=folder, env=values, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        end = time.perf_counter() + 60.0
        while not (windows := xdotool("search", "--onlyvisible", "--name", "^Keras Transformer$")):
            assert process.poll() is None, process.stderr.read()
            assert time.perf_counter() < end, "no window"
            time.sleep(0.05)
        xdotool("windowactivate", "--sync", windows[0])
        text = ""
        while text != TRANSLATION:
            assert time.perf_counter() < end, f"no translation, the clipboard holds {text!r}"
            xdotool("key", "ctrl+a")  # what was typed before the pane had the keyboard is lost
            xdotool("type", "--delay", "20", SOURCE)
            time.sleep(1.0)
            xdotool("key", "ctrl+shift+c")
            time.sleep(0.2)
            root.update()  # it may have owned the clipboard for an earlier test
            try:
                text = root.selection_get(selection="CLIPBOARD", type="UTF8_STRING")
            except Exception:  # noqa: BLE001 - nothing there yet
                text = ""
        time.sleep(3.0)  # time for somebody's background thread
        xdotool("key", "ctrl+q")
        _, errors = process.communicate(timeout=30)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert (process.returncode, errors) == (0, "")


@needs_bundle
def test_the_window_works_with_sockets_that_raise(display, session_root, tmp_path):
    script = tmp_path / "deaf.py"
    script.write_text(DEAF + "from desktop_app.__main__ import main\nsys.exit(main([]))\n", "utf-8")
    translate_in_the_window(tmp_path, display, session_root, [sys.executable, str(script)])
    assert not (tmp_path / "sockets").exists()
    # ONNX Runtime's reports begin with an identity of the device in the user's cache.
    assert not [path for path in tmp_path.rglob("*") if "microsoft" in path.name.lower()]


def test_the_sockets_of_that_test_raise(tmp_path):
    code = DEAF + textwrap.dedent("""
        import urllib.request
        try:
            urllib.request.urlopen("http://127.0.0.1:9")
        except OSError as error:
            print(error)
    """)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert "no network, ever" in done.stdout
    assert (tmp_path / "sockets").exists()


def traced(folder, command):
    """The command that runs `command` and writes every socket call of all its threads to folder/trace."""
    return [
        "strace",
        "-f",
        "-qq",
        "-e",
        "trace=socket,connect,sendto,sendmsg,bind",
        "-o",
        str(folder / "trace"),
        *command,
    ]


def internet_calls(folder):
    return [
        line for line in (folder / "trace").read_text("utf-8", "replace").splitlines() if "AF_INET" in line
    ]


@needs_strace
def test_the_ear_hears_native_code(tmp_path):
    code = (
        "import ctypes, socket\n"
        "ctypes.CDLL(None).socket(int(socket.AF_INET), int(socket.SOCK_DGRAM), 0)"  # not through Python's socket
    )
    subprocess.run(traced(tmp_path, [sys.executable, "-c", code]), check=True, timeout=60)
    assert len(internet_calls(tmp_path)) == 1


@needs_bundle
@needs_strace
def test_native_code_opens_no_internet_socket_either(display, session_root, tmp_path):
    command = traced(tmp_path, [sys.executable, "-m", "desktop_app"])
    translate_in_the_window(tmp_path, display, session_root, command)
    assert "AF_UNIX" in (tmp_path / "trace").read_text("utf-8", "replace")  # the display: it was listened to
    assert internet_calls(tmp_path) == []


@pytest.mark.parametrize("module", ["keras_transformer.runtime.sessions", "desktop_app.models"])
def test_onnx_runtime_is_told_before_it_is_loaded(tmp_path, module):
    code = (
        "import builtins, ctypes, json, os, sys\n"
        "real, told = builtins.__import__, []\n"
        "def watch(name, *rest):\n"
        "    if name.partition('.')[0] == 'onnxruntime' and 'onnxruntime' not in sys.modules:\n"
        "        libc = ctypes.CDLL(None); libc.getenv.restype = ctypes.c_char_p\n"
        "        told.append((libc.getenv(b'ORT_DISABLE_TELEMETRY') or b'').decode())\n"
        "    return real(name, *rest)\n"
        "builtins.__import__ = watch\n"
        f"import {module}\n"
        "import onnxruntime\n"
        "print(json.dumps(told))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env=environment(tmp_path, ""), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert told, done.stderr
    assert set(told) == {"1"}
