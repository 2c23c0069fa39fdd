"""A display of our own with a window manager, one Tk root for the session, and windows over it."""

import os
import time
from pathlib import Path

import pytest

from desktop_app.messages import Messages
from desktop_app.service import TranslationService
from desktop_app.settings import WindowSettings
from tests.desktop_app.display import fresh_display, missing_commands
from tests.desktop_app.scripted_model import scripted_model

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """A time limit that ends the process: what a signal raises inside a Tk callback is reported there and lost."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(method="thread"))


def _missing(reason):
    """Skip, or fail where the machine promised a display (CI does)."""
    if os.environ.get("KERAS_TRANSFORMER_REQUIRE_DISPLAY") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def display():
    """The name of a fresh X display with a window manager; never the developer's own desktop."""
    if absent := missing_commands():
        _missing(f"no {', '.join(absent)} on this machine: apt-get install xvfb jwm xdotool")
    with fresh_display("2560x1800") as name:  # room for windows at twice the scale
        yield name


@pytest.fixture(scope="session")
def session_root(display):
    """The one Tk root of the session: a second one in the same process shares hidden state."""
    try:
        import tkinter
    except ImportError:
        _missing("this Python has no tkinter")
    root = tkinter.Tk(screenName=display, className="keras_transformer")
    root.withdraw()  # an empty window must not take the keyboard from the application under test
    yield root
    root.destroy()


@pytest.fixture
def root(session_root):
    """The session's root, empty and hidden before and after."""
    session_root.withdraw()
    yield session_root
    for timer in session_root.tk.splitlist(session_root.tk.call("after", "info")):
        session_root.tk.call("after", "cancel", timer)  # `after_cancel` wants the widget it was made on
    for child in session_root.winfo_children():
        child.destroy()
    session_root.withdraw()
    session_root.update()


def pump(root, condition, seconds=10.0):
    """Run the event loop until `condition()` holds; fail after `seconds`."""
    end = time.perf_counter() + seconds
    while not condition():
        assert time.perf_counter() < end, "the window did not get there in time"
        root.update()
        time.sleep(0.002)


def pump_for(root, seconds):
    """Run the event loop for a time."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        root.update()
        time.sleep(0.002)


@pytest.fixture
def open_window(root):
    """A function that opens a window over a scripted load, focused and ready for keys."""
    from desktop_app.rooms import Rooms
    from desktop_app.theme import Theme
    from desktop_app.window import Window

    opened = []

    def open_one(load=scripted_model, *, settings=None, dark=False, wait=True, language="en", **more):
        settings = settings or WindowSettings(look="dark" if dark else "light", language=language)
        rooms = {name: more.pop(name) for name in ("history", "models", "report") if name in more}
        other = more.pop("load_other", lambda folder: load)
        service = TranslationService(load)
        service.start()
        theme = Theme(root, dark=dark, font_size=settings.font_size)
        window = Window(root, service, theme, Messages(language), settings, Rooms(other, **rooms), **more)
        opened.append((window, service))
        root.deiconify()
        pump(root, lambda: window.source.text.winfo_viewable())
        window.source.text.focus_force()
        if wait:
            pump(root, lambda: window.live.model is not None)
        return window

    yield open_one
    for window, service in opened:
        window.live.close()
        assert window.close(5.0), "a background thread did not end"
        assert service.close(5.0), "the worker did not end"
