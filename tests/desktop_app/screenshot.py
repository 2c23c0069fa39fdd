"""Make docs/window.png: `python -m tests.desktop_app.screenshot [--model BUNDLE] [--dark] TEXT OUTPUT`."""

import argparse
import os
import subprocess
import sys
import tempfile
import time

from PIL import Image, ImageChops, ImageGrab

from desktop_app.theme import DARK, LIGHT
from tests.desktop_app.display import fresh_display


def content_box(picture, ground):
    """The box of the window without its frame: `ground`, the window's own colour, lies all around it."""
    difference = ImageChops.difference(picture.convert("RGB"), Image.new("RGB", picture.size, ground))
    red, green, blue = difference.split()
    largest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    return largest.point([255] + [0] * 255).getbbox()


def main():
    """Start the application on a display of its own, type TEXT, and save what its window shows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="bundle folder (default: the shipped model)")
    parser.add_argument("--dark", action="store_true", help="as a desktop that prefers dark")
    parser.add_argument("--seconds", type=float, default=5.0, help="time for load and translation")
    parser.add_argument("text")
    parser.add_argument("output")
    options = parser.parse_args()
    palette = DARK if options.dark else LIGHT
    model = ["--model", options.model] if options.model else []
    with fresh_display() as display, tempfile.TemporaryDirectory() as settings:
        environment = {
            **os.environ, "DISPLAY": display, "XDG_CONFIG_HOME": settings,
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
            picture = ImageGrab.grab(xdisplay=display)
            picture.crop(content_box(picture, palette.window)).save(options.output, optimize=True)
            xdotool("key", "ctrl+q")
        finally:
            app.wait(30)


if __name__ == "__main__":
    main()
