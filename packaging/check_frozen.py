"""Start the frozen folder as on a machine without Python, on a display of its own: type, read, close.

    python packaging/check_frozen.py [FOLDER]     # default: dist/keras-transformer; needs Xvfb, jwm, xdotool

It runs from a copy elsewhere, without PATH and with an empty home. Exit code 0 if the translation came, the program
closed with 0, and neither Python nor Tk was loaded from outside the folder.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))  # for the display of the tests

from tests.desktop_app.display import authority, fresh_display  # noqa: E402

SOURCE, TRANSLATION = "Good morning.", "Buongiorno."
LIMIT_SECONDS = 60.0
_FOREIGN = re.compile(r"python|tcl|/libtk|onnxruntime", re.IGNORECASE)


def main() -> int:
    """Run the check, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", default=REPOSITORY / "dist" / "keras-transformer")
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as elsewhere, fresh_display() as display:
        home = Path(elsewhere, "home")
        home.mkdir()
        program = Path(shutil.copytree(folder, Path(elsewhere, "moved"), symlinks=True), "keras-transformer")
        bare = {
            "DISPLAY": display,
            "HOME": str(home),
            "PATH": "/nonexistent",
            "LANG": "C.UTF-8",
            "XAUTHORITY": authority(),
        }
        command = subprocess.run(
            [program, "translate"], env=bare, input=f"{SOURCE}\n", capture_output=True, text=True
        )
        assert command.stdout == f"{TRANSLATION}\n", command.stderr
        begun = time.monotonic()
        process = subprocess.Popen([program], env=bare, cwd="/")
        try:
            seconds = use_window(display, begun)
            maps = Path(f"/proc/{process.pid}/maps").read_text()
            subprocess.run(["xdotool", "key", "ctrl+q"], env={**os.environ, "DISPLAY": display}, check=True)
            code = process.wait(LIMIT_SECONDS)
        finally:
            process.kill()
        loaded = {line.split()[-1] for line in maps.splitlines() if "/" in line}
        foreign = [name for name in loaded if not name.startswith(elsewhere) and _FOREIGN.search(name)]
        assert any(name.startswith(elsewhere) for name in loaded)
        assert not foreign, foreign
        assert code == 0, code
        sys.stdout.write(f"the window showed after {seconds:.2f} s, translated, and closed with {code}\n")
    return 0


def use_window(display: str, begun: float) -> float:
    """Type, and wait for the translation on the clipboard; returns the seconds until the window showed."""
    import tkinter

    values = {**os.environ, "DISPLAY": display}

    def xdotool(*arguments: str) -> list[str]:
        return subprocess.run(
            ["xdotool", *arguments], env=values, capture_output=True, text=True
        ).stdout.split()

    while not (windows := xdotool("search", "--onlyvisible", "--name", "^Keras Transformer$")):
        assert time.monotonic() - begun < LIMIT_SECONDS, "no window"
        time.sleep(0.02)
    seconds = time.monotonic() - begun
    root = tkinter.Tk(screenName=display)  # reads the clipboard
    root.withdraw()
    xdotool("windowactivate", "--sync", windows[0])
    text = ""
    while text != TRANSLATION:
        assert time.monotonic() - begun < LIMIT_SECONDS, f"the clipboard holds {text!r}"
        xdotool("key", "ctrl+a")  # what was typed before the pane had the keyboard is lost
        xdotool("type", "--delay", "10", SOURCE)
        time.sleep(1.0)
        xdotool("key", "ctrl+shift+c")
        time.sleep(0.2)
        root.update()
        try:
            text = root.selection_get(selection="CLIPBOARD", type="UTF8_STRING")
        except tkinter.TclError:
            text = ""
    root.destroy()
    return seconds


if __name__ == "__main__":
    sys.exit(main())
