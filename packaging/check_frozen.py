"""Start the frozen folder as on a machine without Python, on a display of its own, and use it.

    python packaging/check_frozen.py [FOLDER]     # default: dist/keras-transformer; needs Xvfb, jwm, xdotool

It runs from a copy elsewhere, without PATH and with an empty home. Exit code 0 if the translations came, the program
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
from tests.desktop_app.hands import Hands, dragged  # noqa: E402

SOURCE, TRANSLATION = "Good morning.", "Buongiorno."
LIMIT_SECONDS = 60.0
_FOREIGN = re.compile(r"python|tcl|/libtk|onnxruntime", re.IGNORECASE)


class Program:
    """The frozen program on a display, for `Hands`."""

    def __init__(self, path: Path, display: str, folder: Path) -> None:
        self.display, self.folder = display, folder
        self.environment = {**os.environ, "DISPLAY": display}  # of xdotool; the program's own is bare
        home = folder / "home"
        home.mkdir()
        bare = {"DISPLAY": display, "XAUTHORITY": authority(), "HOME": str(home), "PATH": "/nonexistent"}
        self.bare = {**bare, "LANG": "C.UTF-8"}
        self.path = path

    def xdotool(self, *arguments: str) -> str:
        """Press keys, move the mouse, look for windows."""
        return subprocess.run(
            ["xdotool", *arguments], env=self.environment, capture_output=True, text=True
        ).stdout

    def windows(self) -> list[str]:
        """Return the windows that show."""
        return self.xdotool("search", "--onlyvisible", "--name", "^Keras Transformer$").split()


def main() -> int:
    """Run the check, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", default=REPOSITORY / "dist" / "keras-transformer")
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as elsewhere, fresh_display() as display:
        moved = Path(shutil.copytree(folder, Path(elsewhere, "moved"), symlinks=True))
        program = Program(moved / "keras-transformer", display, Path(elsewhere))
        command = subprocess.run(
            [program.path, "translate"], env=program.bare, input=f"{SOURCE}\n", capture_output=True, text=True
        )
        assert command.stdout == f"{TRANSLATION}\n", command.stderr
        begun = time.monotonic()
        process = subprocess.Popen([program.path], env=program.bare, cwd="/")
        try:
            seconds = use_window(program, begun)
            maps = Path(f"/proc/{process.pid}/maps").read_text()
            program.xdotool("key", "ctrl+q")
            code = process.wait(LIMIT_SECONDS)
        finally:
            process.kill()
        loaded = {line.split()[-1] for line in maps.splitlines() if "/" in line}
        foreign = [name for name in loaded if not name.startswith(elsewhere) and _FOREIGN.search(name)]
        assert any(name.startswith(elsewhere) for name in loaded)
        assert not foreign, foreign
        assert code == 0, code
        sys.stdout.write(
            f"one could type after {seconds:.2f} s; it translated, took a dropped file, saved a picture, "
            f"and closed with {code}\n"
        )
    return 0


def use_window(program: Program, begun: float) -> float:
    """Type, read, drop a file, and save a picture; returns the seconds until one could type."""
    import tkinter

    root = tkinter.Tk(screenName=program.display)  # the eyes
    root.withdraw()
    hands = Hands(program, root)
    hands.has_keyboard(".!mainframe*")
    seconds = time.monotonic() - begun
    hands.type(SOURCE)
    hands.reads(lambda text: text == TRANSLATION)
    document, target = program.folder / "in.txt", program.folder / "out.txt"
    document.write_text(f"{SOURCE}\n")
    x, y = hands.middle(hands.pane("target"))
    with dragged(hands, document):
        for step in range(4):
            program.xdotool("mousemove", str(x + step), str(y + step))
        hands.says("Drop the files here: *")
        program.xdotool("mouseup", "1")
        hands.file_dialog(target)
        hands.says("out.txt is written.")
    assert target.read_text() == f"{TRANSLATION}\n"
    program.xdotool("windowactivate", "--sync", program.windows()[0])
    hands.has_keyboard(".!mainframe*")
    window = hands.dialog("ctrl+i", "attentionwindow")
    picture = program.folder / "attention.png"
    save = "[winfo class $w] eq {TButton} && [$w cget -text] eq {Save as PNG…} && [$w instate !disabled]"
    hands.wait(lambda: hands.find(save), "the heat map")
    hands.press("Save as PNG…")
    hands.file_dialog(picture)
    hands.says("Saved as attention.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    hands.close(window)
    root.destroy()
    return seconds


if __name__ == "__main__":
    sys.exit(main())
