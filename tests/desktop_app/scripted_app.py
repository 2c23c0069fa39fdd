"""The real application over a scripted model: `python -m tests.desktop_app.scripted_app MODE`.

Modes: `shout` answers in capitals, `endless` translates until it is cancelled, `deaf` until the process
ends, `damaged` fails to load as a damaged bundle does, `broken` as a bug does.
"""

import sys
import time
from pathlib import Path

from desktop_app import __main__ as app
from desktop_app.service import Answer, LoadedModel
from keras_transformer.errors import UserError


def load(mode):
    """Return the scripted model of a mode, after a load that takes a moment."""
    time.sleep(0.2)
    if mode == "damaged":
        raise UserError("The bundle is damaged. Copy or export the bundle again.")
    if mode == "broken":
        raise RuntimeError("a bug")

    def translate(text, should_stop):
        if mode != "shout":
            Path("translating").touch()  # the test waits for it
            while mode == "deaf" or not should_stop():
                time.sleep(0.001)
            raise RuntimeError("cancelled")
        return Answer(text.upper())

    return LoadedModel(translate, "en", "it", "cpu", precision="int8")


if __name__ == "__main__":
    app.load_bundle = lambda folder, device: load(sys.argv[1])
    app._CLOSE_SECONDS = 1.0
    sys.exit(app.main([]))
