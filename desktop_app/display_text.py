"""A text widget whose lines stay short enough for Tk, and whose undo knows which line breaks are its own."""

from __future__ import annotations

import contextlib
import tkinter
from collections.abc import Callable, Iterator
from typing import Any

from desktop_app.plain_text import MAX_LINE_CHARACTERS, clean_text, split_long_line
from desktop_app.undo import Edit, UndoHistory

# A newline with this tag is ours: it keeps a very long line bearable and is no part of the text.
_SOFT_BREAK = "soft_break"
# The same where a text is spelled as it is displayed; clean text holds none.
SOFT = "\x00"
_MAX_STEPS = 1000


class DisplayText(tkinter.Text):
    """A text in display lines: "\\n" ends a line of the text, `SOFT` one that only the screen has.

    Tk's undo restores characters and no tags, so that our line breaks would come back as the user's: this widget
    remembers its edits itself. Tk's bindings reach it through the widget's Tcl command, which is replaced.

    Args:
        parent: The widget that holds it.
        undo: Whether edits are remembered; without it only `put` may change the text.
        changed: Called after every change.
        options: Of `tkinter.Text`, but `undo`.
    """

    def __init__(
        self, parent: tkinter.Misc, *, undo: bool, changed: Callable[[], None], **options: Any
    ) -> None:
        super().__init__(parent, **options)
        self._changed = changed
        self._history = UndoHistory(_MAX_STEPS) if undo else None
        self._own = str(self)  # Tk's own command
        if undo:
            self._own = f"own{self}"
            self.tk.call("rename", str(self), self._own)
            handler = self.register(self._command)
            body = (
                "set undoing [expr {$option eq {edit} && [lindex $args 0] in {undo redo separator reset}}]\n"
                "if {$undoing || $option in {insert delete}} "
                f"{{return [{handler} $option {{*}}$args]}}\n"
                f"tailcall {{{self._own}}} $option {{*}}$args"
            )
            self.tk.call("proc", str(self), "option args", body)

    def put(self, begin: str, end: str, display: str) -> None:
        """Replace what stands from `begin` to `end` by a text in display lines."""
        last = self.index("end-1c")
        begin, end = (last if self.compare(index, ">", last) else self.index(index) for index in (begin, end))
        removed = self.displayed(begin, end) if self.compare(begin, "<", end) else ""
        if not removed and not display:
            return
        self._make(Edit(begin, removed, display), separate=self._separates())
        if self._history is not None:
            touched = {_line_of(begin), _line_of(_after(begin, display))}
            for line in sorted(touched, reverse=True):  # a cut renumbers the lines after it
                self._cut(line)
        self._changed()

    def displayed(self, begin: str, end: str) -> str:
        """Return the text from `begin` to `end` in display lines."""
        text = clean_text(self.get(begin, end))
        ranges = [str(index) for index in self.tag_ranges(_SOFT_BREAK)] if "\n" in text else []
        if not ranges:
            return text
        lines = text.split("\n")
        soft: set[int] = set()  # lines whose newline is ours
        for first, last in zip(ranges[::2], ranges[1::2], strict=True):
            soft.update(range(_line_of(first), _line_of(last)))
        number = _line_of(self.index(begin))
        ends = (SOFT if number + position in soft else "\n" for position in range(len(lines) - 1))
        return "".join(line + line_end for line, line_end in zip(lines, [*ends, ""], strict=True))

    @contextlib.contextmanager
    def one_step(self) -> Iterator[None]:
        """Have one undo take back everything that is changed within."""
        self.edit_separator()
        self.configure(autoseparators=False)
        try:
            yield
        finally:
            self.configure(autoseparators=True)
            self.edit_separator()

    def destroy(self) -> None:
        """Remove the widget and its command."""
        super().destroy()
        if self._history is not None:
            self.tk.call("rename", str(self), "")

    # ---- what Tk's bindings call ---------------------------------------------------------------

    def _command(self, option: str, *arguments: str) -> str:
        if str(self.cget("state")) == "disabled":
            return ""
        if option == "insert":
            self.put(arguments[0], arguments[0], display_lines(clean_text("".join(arguments[1::2]))))
        elif option == "delete":
            self.put(arguments[0], arguments[1] if len(arguments) > 1 else f"{arguments[0]}+1c", "")
        else:
            self._edit(arguments[0])
        return ""

    def _edit(self, action: str) -> None:
        history = self._history
        if history is None:
            return
        if action == "reset":
            self._history = UndoHistory(_MAX_STEPS)
        elif action == "separator":
            history.separate()
        elif edits := history.undo() if action == "undo" else history.redo():
            for edit in edits:
                self._replace(edit)
            self.mark_set("insert", _after(edits[-1].index, edits[-1].inserted))
            self.see("insert")
            self._changed()

    def _replace(self, edit: Edit) -> None:
        if edit.removed:
            self.tk.call(self._own, "delete", edit.index, _after(edit.index, edit.removed))
        if edit.inserted:
            runs = edit.inserted.split(SOFT)
            chunks: list[str | tuple[str, ...]] = [runs[0], ()]  # text, tags, text, tags, …
            for run in runs[1:]:
                chunks += ["\n", (_SOFT_BREAK,), run, ()]
            self.tk.call(self._own, "insert", edit.index, *chunks)

    def _cut(self, line: int) -> None:
        """Cut a line that was typed or joined beyond what Tk lays out quickly."""
        if int(self.index(f"{line}.0 lineend").partition(".")[2]) <= 2 * MAX_LINE_CHARACTERS:
            return
        text = clean_text(self.get(f"{line}.0", f"{line}.end"))
        offset, cuts = 0, []
        for piece in split_long_line(text)[:-1]:
            offset += tk_length(piece)
            cuts.append(offset)
        for cut in reversed(cuts):
            self._make(Edit(f"{line}.{cut}", "", SOFT), separate=False)

    def _make(self, edit: Edit, *, separate: bool) -> None:
        """Change the text, and remember it."""
        self._replace(edit)
        if self._history is not None:
            self._history.record(edit, separate=separate)

    def _separates(self) -> bool:
        return bool(self.getboolean(self.cget("autoseparators")))


def display_lines(text: str) -> str:
    """Return a clean text as it is displayed: long lines with `SOFT` breaks."""
    if len(text) <= MAX_LINE_CHARACTERS:
        return text
    return "\n".join(SOFT.join(split_long_line(line)) for line in text.split("\n"))


def tk_length(text: str) -> int:
    """Return how many index characters Tk counts for `text`: UTF-16 units before Tk 9."""
    return len(text) if tkinter.TkVersion >= 9 else len(text.encode("utf-16-le", "replace")) // 2


def _line_of(index: str) -> int:
    return int(index.partition(".")[0])


def _after(index: str, display: str) -> str:
    """Return the index at the end of a text that begins at `index`."""
    line, _, column = index.partition(".")
    lines = display.replace(SOFT, "\n").split("\n")
    if len(lines) == 1:
        return f"{line}.{int(column) + tk_length(display)}"
    return f"{int(line) + len(lines) - 1}.{tk_length(lines[-1])}"
