"""An X display of our own with a window manager: Xvfb, jwm and xdotool (Debian: xvfb jwm xdotool)."""

import contextlib
import os
import shutil
import subprocess
import time

NEEDED_COMMANDS = ("Xvfb", "jwm", "xdotool")

# -displayfd: the server picks a free number and says which.
XVFB = ["Xvfb", "-displayfd", "1", "-nolisten", "tcp", "-noreset", "-dpi", "96", "-screen", "0"]


def missing_commands():
    """The commands of `NEEDED_COMMANDS` that this machine lacks."""
    return [name for name in NEEDED_COMMANDS if shutil.which(name) is None]


@contextlib.contextmanager
def fresh_display(size="1280x900"):
    """Start a display of `size` and its window manager; yields the display's name, such as ":3"."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(_running([*XVFB, f"{size}x24"], stdout=subprocess.PIPE))
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
