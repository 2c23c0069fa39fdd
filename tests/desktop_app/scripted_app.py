"""The real application over a scripted model: `python -m tests.desktop_app.scripted_app MODE`.

Modes: `shout` answers in capitals, `endless` translates until it is cancelled, `deaf` until the process
ends, `damaged` fails to load as a damaged bundle does, `broken` as a bug does.
"""

import sys
import time
from pathlib import Path

from desktop_app import __main__ as app
from keras_transformer.errors import UserError


def load(mode):
    """Return the scripted model of a mode, after a load that takes a moment."""
    from tests.desktop_app.scripted_model import scripted_model, shout  # NumPy: on the worker's thread

    time.sleep(0.2)
    if mode == "damaged":
        raise UserError("The bundle is damaged. Copy or export the bundle again.")
    if mode == "broken":
        raise RuntimeError("a bug")

    def translate(text, cancellation, on_progress):
        if mode != "shout":
            Path("translating").touch()  # the test waits for it
            while mode == "deaf" or not cancellation.cancelled:
                time.sleep(0.001)
            raise RuntimeError("cancelled")
        return shout(text)

    return scripted_model(translate)


if __name__ == "__main__":
    mode = sys.argv[1]
    app.load_bundle = lambda folder, device: load(mode)
    sys.exit(app.main([]))
