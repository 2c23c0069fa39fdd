"""The window's start: seconds until one can type, until the first translation after that, and memory.

    python benchmarks/desktop.py [--model BUNDLE] [--rounds 7]

Each round is a process of its own on a display of its own (needs Xvfb, jwm and xdotool), with the settings of a
first start. Seconds count from the command. `typing`: the window shows and its text pane has the keyboard;
`first_key`: a key pressed by xdotool then stands in it (xdotool's own start included); `translation`: from `typing`
until the translation of the typed sentence shows, the pause of 350 ms after the last key included. Memory is the
process's, in MB of 10^6 bytes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))  # for the display of the tests

from tests.desktop_app.display import fresh_display, missing_commands  # noqa: E402

SENTENCE = "Where is the station?"
LIMIT_SECONDS = 60.0

# Runs the real command, and watches from inside its event loop: polling the screen from outside is slower than it.
PROBE = """
import json, sys, time, tkinter
from desktop_app.__main__ import main

def texts(widget):
    found = [widget] if isinstance(widget, tkinter.Text) else []
    return sum((texts(child) for child in widget.winfo_children()), found)

def tell(event):
    print(json.dumps([event, time.monotonic()]), flush=True)

def watch(root, source=None, seen=()):
    if source is None:
        focus = root.focus_get()
        if isinstance(focus, tkinter.Text) and focus.winfo_viewable():
            source, seen = focus, ("typing",)
            tell("typing")
    elif "first_key" not in seen:
        if source.get("1.0", "end-1c"):
            seen += ("first_key",)
            tell("first_key")
    elif source.get("1.0", "end-1c") == SENTENCE:
        if any(text.get("1.0", "end-1c") for text in texts(root) if text is not source):
            tell("translation")
            return
    root.after(2, watch, root, source, seen)

class Watched(tkinter.Tk):
    def mainloop(self, n=0):
        self.after_idle(watch, self)
        super().mainloop(n)

SENTENCE = sys.argv.pop(1)
tkinter.Tk = Watched
sys.exit(main(sys.argv[1:]))
"""


def measure(model: str) -> dict[str, float]:
    """One round: seconds and megabytes."""
    with fresh_display() as display, tempfile.TemporaryDirectory() as home:
        values = {**os.environ, "DISPLAY": display, "HOME": home, "PYTHONPATH": str(REPOSITORY)}
        for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
            values.pop(name, None)

        def xdotool(*arguments: str) -> None:
            subprocess.run(["xdotool", *arguments], env=values, check=True, stdout=subprocess.DEVNULL)

        arguments = ["--model", model] if model else []
        begun = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-c", PROBE, SENTENCE, *arguments],
            env=values, cwd=home, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            found: dict[str, float] = {}

            def wait(event: str) -> None:
                name, moment = json.loads(process.stdout.readline())
                assert name == event, name
                found[event] = moment - begun

            wait("typing")
            xdotool("key", SENTENCE[0])
            wait("first_key")
            xdotool("type", "--delay", "1", SENTENCE[1:])
            wait("translation")
            found["translation"] -= found["typing"]
            time.sleep(1.0)
            status = dict(
                line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
            )
            for name, field in (("resident_mb", "VmRSS"), ("peak_mb", "VmHWM")):
                found[name] = int(status[field].split()[0]) * 1024 / 1e6
            xdotool("key", "ctrl+q")
            assert process.wait(LIMIT_SECONDS) == 0
            return found
        finally:
            process.kill()
            process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="", help="a bundle (default: the shipped one)")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if absent := missing_commands():
        sys.exit(f"error: this benchmark needs {', '.join(absent)}: apt-get install xvfb jwm xdotool")
    measure(options.model)  # once uncounted: files into the disk's cache, sources into bytecode
    rounds = [measure(options.model) for _ in range(options.rounds)]
    for key in rounds[0]:
        values = [one[key] for one in rounds]
        row = {
            "what": key if key.endswith("_mb") else f"{key}_seconds", "median": round(statistics.median(values), 3),
            "lowest": round(min(values), 3), "highest": round(max(values), 3), "rounds": len(values),
        }  # fmt: skip
        print(json.dumps(row))


if __name__ == "__main__":
    main()
