"""An X display of our own with a window manager: Xvfb, jwm and xdotool (Debian: xvfb jwm xdotool)."""

import atexit
import contextlib
import functools
import os
import secrets
import shutil
import struct
import subprocess
import tempfile
import time
from pathlib import Path

NEEDED_COMMANDS = ("Xvfb", "jwm", "xdotool")

# -displayfd: the server picks a free number and says which.
XVFB = ["Xvfb", "-displayfd", "1", "-nolisten", "tcp", "-noreset", "-dpi", "96", "-screen", "0"]


def missing_commands():
    """The commands of `NEEDED_COMMANDS` that this machine lacks."""
    return [name for name in NEEDED_COMMANDS if shutil.which(name) is None]


@functools.cache
def authority():
    """A file with the key of our displays, for servers and programs alike; goes when this process ends.

    A display with a key lets Tk's `send` through: a test can ask a running application what it shows.
    """
    folder = tempfile.mkdtemp(prefix="display-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    # Xauthority: family 0xffff (any address), address, display ("": any), name, key; each with its length.
    fields = (b"", b"", b"MIT-MAGIC-COOKIE-1", secrets.token_bytes(16))
    path = Path(folder, "authority")
    path.write_bytes(b"\xff\xff" + b"".join(struct.pack(">H", len(field)) + field for field in fields))
    return str(path)


@contextlib.contextmanager
def fresh_display(size="1280x900"):
    """Start a display of `size` and its window manager; yields the display's name, such as ":3".

    Whoever connects must have `authority()` in the variable XAUTHORITY; this process has, from now on.
    """
    os.environ["XAUTHORITY"] = authority()
    with contextlib.ExitStack() as stack:
        command = [*XVFB, f"{size}x24", "-auth", authority()]
        server = stack.enter_context(_running(command, stdout=subprocess.PIPE))
        name = f":{server.stdout.readline().decode().strip()}"
        assert name != ":", "Xvfb did not start"
        environment = {**os.environ, "DISPLAY": name}
        manager = stack.enter_context(_running(["jwm"], env=environment, stdout=subprocess.DEVNULL))
        end = time.perf_counter() + 20.0
        # A manager that answers this speaks EWMH: windows can be activated.
        while (
            subprocess.run(["xdotool", "get_desktop"], env=environment, capture_output=True).returncode != 0
        ):
            assert manager.poll() is None, "jwm did not start"
            assert time.perf_counter() < end, "jwm does not answer"
            time.sleep(0.05)
        yield name


@contextlib.contextmanager
def _running(command, **options):
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()
