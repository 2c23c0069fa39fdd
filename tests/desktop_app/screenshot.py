"""Make docs/window*.png: `python -m tests.desktop_app.screenshot TEXT OUTPUT [--dark] [--scale 2] [--keys …]`."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image, ImageChops, ImageGrab

from desktop_app.theme import DARK, LIGHT
from tests.desktop_app.display import fresh_display

ROOM = {1: "1280x900", 1.5: "1920x1350", 2: "2560x1800"}  # of the screen, by scale


def content_box(picture, ground):
    """The box of the window without its frame: `ground`, the window's own colour, lies all around it."""
    difference = ImageChops.difference(picture.convert("RGB"), Image.new("RGB", picture.size, ground))
    red, green, blue = difference.split()
    largest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    return largest.point([255] + [0] * 255).getbbox()


def with_scale(folder, scale):
    """A PATH on which `xrdb` says what a desktop of this scale says."""
    script = Path(folder) / "xrdb"
    script.write_text(f"#!/bin/sh\necho 'Xft.dpi: {round(96 * scale)}'\n")
    script.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def main():
    """Start the application on a display of its own, type TEXT, press KEYS, save what its window shows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="bundle folder (default: the shipped model)")
    parser.add_argument("--dark", action="store_true", help="as a desktop that prefers dark")
    parser.add_argument("--scale", type=float, default=1, choices=sorted(ROOM))
    parser.add_argument("--language", default="en")
    parser.add_argument("--seconds", type=float, default=5.0, help="time for load and translation")
    parser.add_argument("--keys", nargs="*", default=[], help="xdotool's names, pressed in the end")
    parser.add_argument("--whole", action="store_true", help="the whole screen, with dialogs")
    parser.add_argument("text")
    parser.add_argument("output")
    options = parser.parse_args()
    palette = DARK if options.dark else LIGHT
    model = ["--model", options.model] if options.model else []
    with fresh_display(ROOM[options.scale]) as display, tempfile.TemporaryDirectory() as folder:
        own = dict.fromkeys(("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"), folder)
        environment = {
            **os.environ, **own, "DISPLAY": display, "LANGUAGE": options.language,
            "PATH": with_scale(folder, options.scale),
            "GTK_THEME": "Adwaita:dark" if options.dark else "Adwaita",
        }  # fmt: skip

        def xdotool(*arguments):
            return subprocess.run(
                ["xdotool", *arguments], env=environment, check=True, capture_output=True, text=True
            ).stdout

        app = subprocess.Popen([sys.executable, "-m", "desktop_app", *model], env=environment)
        try:
            window = xdotool("search", "--sync", "--onlyvisible", "--name", "^Keras Transformer$").split()[0]
            xdotool("windowactivate", "--sync", window)
            for number, line in enumerate(options.text.split("\n")):
                if number:
                    xdotool("key", "Return")
                xdotool("type", "--delay", "10", line)
            time.sleep(options.seconds)
            for key in options.keys:
                xdotool("key", key)
                time.sleep(0.4)
            picture = ImageGrab.grab(xdisplay=display)
            if not options.whole:
                picture = picture.crop(content_box(picture, palette.window))
            picture.save(options.output, optimize=True)
            xdotool("key", "Escape", "ctrl+q")
        finally:
            try:
                app.wait(5)
            except subprocess.TimeoutExpired:
                app.kill()
                app.wait()


if __name__ == "__main__":
    main()
