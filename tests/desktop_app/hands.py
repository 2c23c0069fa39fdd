"""Keyboard, mouse and eyes in front of one running application.

What is done is done by xdotool, as a user does it. What is to be seen is asked of the application by Tk's own `send`
(displays with a key let it through), so that every step waits for what must come and for no length of time.
"""

import contextlib
import fnmatch
import subprocess
import sys
import time
from pathlib import Path

from desktop_app.theme import DARK, LIGHT

LIMIT_SECONDS = 20.0  # only a hang takes that long

# Every widget, in the order it was made; a Tcl program runs in the application in one go.
_WIDGETS = """
set todo .
set all {}
while {[llength $todo]} {
    set todo [lassign $todo w]
    lappend all $w
    lappend todo {*}[winfo children $w]
}
"""


class Hands:
    """In front of an application whose window is open, or about to.

    Args:
        app: `test_app.App`.
        root: A Tk root on the same display; it also holds the clipboard.
    """

    def __init__(self, app, root):
        self.app, self.root = app, root
        own = root.tk.call("tk", "appname")
        others = lambda: [n for n in root.tk.splitlist(root.tk.call("winfo", "interps")) if n != own]  # noqa: E731
        (self.name,) = self.wait(others, "the application")

    # ---- eyes ----------------------------------------------------------------------------------

    def ask(self, script):
        """What a Tcl script returns in the application; "" where it fails (a widget that has gone)."""
        caught = f"if {{[catch {{apply {{{{}} {{{script}}}}}}} answer]}} {{set answer {{}}}}; set answer"
        return str(self.root.tk.call("send", "--", self.name, caught))

    def wait(self, condition, what, pause_seconds=0.01):
        """Wait until a condition holds, and return what it said."""
        end = time.perf_counter() + LIMIT_SECONDS
        while not (found := condition()):
            if time.perf_counter() > end:
                picture = self.picture()
                picture.save(self.app.folder / "screen.png")
                raise AssertionError(
                    f"waited in vain for {what}. The keyboard is at {self.ask('focus')!r}; "
                    f"the labels say {self.labels()}; left: {self.text('source')[:200]!r}, "
                    f"right: {self.text('target')[:200]!r}; {self.app.folder / 'screen.png'} shows the screen"
                )
            self.root.update()  # serves the clipboard
            time.sleep(pause_seconds)
        return found

    def picture(self):
        from PIL import ImageGrab

        return ImageGrab.grab(xdisplay=self.app.display).convert("RGB")

    def find(self, condition, what="$w"):
        """Ask the same of every widget on the screen that a Tcl condition on $w holds for; returns all answers."""
        script = (
            f"{_WIDGETS} set found {{}}\n"
            f"foreach w $all {{if {{[winfo viewable $w] && {condition}}} {{lappend found {what}}}}}; set found"
        )
        return self.root.tk.splitlist(self.ask(script))

    def widgets(self, kind):
        """The paths of the widgets of a class that are on the screen."""
        return self.find(f"[winfo class $w] eq {{{kind}}}")

    def labels(self):
        """What the labels on the screen say."""
        return self.find("[winfo class $w] eq {TLabel}", "[$w cget -text]")

    def says(self, pattern):
        """Wait until a label says something like `pattern` ("*" stands for anything); returns all of it."""
        found = lambda: [text for text in self.labels() if fnmatch.fnmatchcase(text, pattern)]  # noqa: E731
        return self.wait(found, f"a label like {pattern!r}")[0]

    def named(self, kind, text):
        """Wait for the widget of a class with a text on it; returns its path."""
        condition = f"[winfo class $w] eq {{{kind}}} && [$w cget -text] eq {{{text}}}"
        return self.wait(lambda: self.find(condition), f"the {kind} {text!r}")[0]

    def pane(self, side):
        """The path of a text pane: "source" or "target"."""
        texts = [path for path in self.widgets("Text") if path.startswith(".!mainframe")]
        return texts[side == "target"] if len(texts) == 2 else "."

    def text(self, side):
        """What stands in a pane."""
        return self.ask(f"{self.pane(side)} get 1.0 end-1c")

    def reads(self, condition, what="the translation"):
        """Wait until the translation on the right is as a condition wants it, and belongs to the text on the left."""

        def is_there():
            text = self.text("target")
            is_grey = self.ask(f"{self.pane('target')} cget -foreground") in (LIGHT.muted, DARK.muted)
            return text if text and not is_grey and condition(text) else None

        return self.wait(is_there, what)

    def has_keyboard(self, pattern):
        """Wait until the keyboard is at a widget: what is typed from now on arrives there."""
        return self.wait(
            lambda: fnmatch.fnmatchcase(at := self.ask("focus"), pattern) and at, f"focus {pattern}"
        )

    def lit(self, side, tags="lit link1 link2 link3 link4 link5"):
        """The words of a pane that are lit, or carry one of `tags`."""
        found = self.ask(
            f"set t {self.pane(side)}; set found {{}}\nforeach tag {{{tags}}} {{foreach {{a b}} [$t tag ranges $tag] "
            "{lappend found [$t get $a $b]}}; set found"
        )
        return list(self.root.tk.splitlist(found))

    def clipboard(self):
        self.root.update()  # hears that the clipboard is another's now
        try:
            return self.root.selection_get(selection="CLIPBOARD", type="UTF8_STRING")
        except Exception:  # noqa: BLE001 - nothing there yet
            return ""

    # ---- hands ---------------------------------------------------------------------------------

    def key(self, *keys):
        self.app.xdotool("key", "--delay", "15", *keys)

    def type(self, text):
        self.app.xdotool("type", "--delay", "4", text)

    def write(self, text):
        """Go to the left pane, replace everything there by typing."""
        self.to_source()
        self.key("ctrl+a")
        self.type(text)
        self.wait(lambda: self.text("source") == text, f"{text!r} on the left")

    def to_source(self):
        pane = self.pane("source")
        if self.ask("focus") != pane:
            self.click(pane)
        self.has_keyboard(pane)

    def paste(self, text):
        """Replace the text on the left by the clipboard's; this process holds the clipboard."""
        self.root.clipboard_clear()
        self.root.clipboard_append(text)
        self.root.update()
        self.to_source()
        self.key("ctrl+a", "ctrl+v")
        # The clipboard comes in hundreds of pieces: no pause between them. A long line is broken on the screen.
        length = f"string length [{self.pane('source')} get 1.0 end-1c]"
        self.wait(lambda: int(self.ask(length) or 0) >= len(text), "the paste", pause_seconds=0.0)

    def middle(self, path):
        """The point in the middle of a widget, once it is there and nothing lies over it."""

        def point():
            x, y, width, height = map(
                int,
                self.ask(
                    f"list [winfo rootx {path}] [winfo rooty {path}] [winfo width {path}] [winfo height {path}]"
                ).split()
                or (0, 0, 0, 0),
            )
            x, y = x + width // 2, y + height // 2
            return (x, y) if self.ask(f"winfo containing {x} {y}") == path else None

        return self.wait(point, f"a free sight of {path}")

    def click(self, path, times=1):
        x, y = self.middle(path)
        self.app.xdotool("mousemove", str(x), str(y), "click", "--repeat", str(times), "1")

    def press(self, button):
        """Click on the button that is called so."""
        self.click(self.named("TButton", button))

    def word(self, side, word):
        """The point on a word of a pane."""
        pane = self.pane(side)
        script = (
            f"set i [{pane} search -- {{{word}}} 1.0]\n"
            f"list {{*}}[{pane} bbox $i] [winfo rootx {pane}] [winfo rooty {pane}]"
        )
        box = self.wait(lambda: len(answer := self.ask(script).split()) == 6 and answer, f"the word {word!r}")
        x, y, width, height, left, top = map(int, box)
        return left + x + width // 2, top + y + height // 2

    def point_at(self, side, word):
        x, y = self.word(side, word)
        self.app.xdotool("mousemove", str(x), str(y))

    def click_word(self, word):
        x, y = self.word("target", word)
        self.app.xdotool("mousemove", str(x), str(y), "click", "1")

    # ---- dialogs -------------------------------------------------------------------------------

    def dialog(self, keys, kind):
        """Open a dialog by its key; returns its path once it has the keyboard."""
        self.key(keys)
        at = self.has_keyboard(f".!{kind}*")
        return "." + at.split(".")[1]

    def closed(self, path):
        """Wait until a dialog has gone and the keyboard is back in the window."""
        self.wait(lambda: self.ask(f"winfo exists {path}") == "0", f"the end of {path}")
        self.has_keyboard(".!mainframe*")

    def close(self, path):
        self.key("Escape")
        self.closed(path)

    def file_dialog(self, name):
        """Write a name into the file dialog that opens, and take it."""
        entry = self.has_keyboard("*.__tk_filedialog.contents.f2.ent")
        self.key("ctrl+slash")  # Tk's "select all" of a line
        self.type(str(name))
        self.wait(lambda: self.ask(f"{entry} get") == str(name), f"{name} in the file dialog")
        self.key("Return")
        # Gone, or the next one already, which is the same widget to Tk.
        shows = f"if {{[winfo viewable {entry}]}} {{{entry} get}}"
        self.wait(lambda: self.ask(shows) != str(name), "the end of the file dialog")

    def folder_dialog(self, name):
        """Write a name into the dialog for a folder that opens: the first Enter goes there, the second takes it."""
        entry = self.has_keyboard("*.__tk_choosedir.contents.f2.ent")
        self.key("ctrl+slash")
        self.type(str(name))
        self.wait(lambda: self.ask(f"{entry} get") == str(name), f"{name} in the dialog")
        self.key("Return", "Return")
        self.wait(lambda: self.ask(f"winfo viewable {entry}") in ("", "0"), "the end of the dialog")

    def choose(self, box, entry):
        """Take an entry of a combobox that has the keyboard."""
        self.has_keyboard(box)
        values = self.root.tk.splitlist(self.ask(f"{box} cget -values"))
        steps = values.index(entry) - int(self.ask(f"{box} current"))
        self.key("Down")  # opens the list, on the entry that holds
        self.has_keyboard(f"{box}.popdown*")
        self.key(*["Down" if steps > 0 else "Up"] * abs(steps), "Return")
        self.wait(lambda: self.ask(f"{box} get") == entry, f"{entry!r} chosen")
        self.has_keyboard(box)

    def menu(self):
        """Wait for a menu that stands open (the bar is none); returns its path."""
        found = lambda: [m for m in self.widgets("Menu") if self.ask(f"{m} cget -type") != "menubar"]  # noqa: E731
        return self.wait(found, "a menu")[-1]

    def entries(self, menu):
        """What a menu offers."""
        last = int(self.ask(f"{menu} index end"))
        return [self.ask(f"catch {{{menu} entrycget {n} -label}} l; set l") for n in range(last + 1)]

    def take(self, menu, label):
        """Click on an entry of an open menu."""
        number = self.entries(menu).index(label)
        script = (
            f"list [winfo rootx {menu}] [winfo rooty {menu}] [winfo width {menu}] "
            f"[{menu} yposition {number}] [{menu} yposition {number}]"
        )
        left, top, width, y, _ = map(int, self.ask(script).split())
        self.app.xdotool("mousemove", str(left + width // 2), str(top + y + 8))
        self.wait(lambda: self.ask(f"{menu} index active") == str(number), f"{label!r} under the pointer")
        self.app.xdotool("click", "1")
        self.wait(lambda: self.ask(f"winfo viewable {menu}") in ("", "0"), "the end of the menu")


@contextlib.contextmanager
def dragged(hands, *files):
    """Another program's window with files, under the pressed mouse."""
    command = [sys.executable, "-m", "tests.desktop_app.drag_source", "1100", "700", *map(str, files)]
    process = subprocess.Popen(
        command, cwd=Path(__file__).parents[2], env=hands.app.environment, stdout=subprocess.PIPE, text=True
    )
    try:
        search = ("search", "--onlyvisible", "--name", "^Files$")
        window = hands.wait(lambda: hands.app.xdotool(*search).split(), "the files")[0]
        hands.app.xdotool("mousemove", "--window", window, "40", "40", "mousedown", "1")
        hands.app.xdotool("mousemove_relative", "--", "-12", "-12")
        yield process
    finally:
        process.kill()
        process.communicate()
