"""What can be undone of a text: edits, grouped into steps. Knows no Tk."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """At `index` ("line.column"), `removed` was replaced by `inserted`."""

    index: str
    removed: str
    inserted: str

    def inverse(self) -> Edit:
        """Return the edit that takes this one back."""
        return Edit(self.index, self.inserted, self.removed)


class UndoHistory:
    """The edits made so far, and those taken back.

    Args:
        max_steps: How many steps are remembered; older ones are forgotten.
    """

    def __init__(self, max_steps: int) -> None:
        self._done: deque[list[Edit]] = deque(maxlen=max_steps)
        self._undone: list[list[Edit]] = []
        self._open = False  # the last step still grows

    def record(self, edit: Edit, *, separate: bool) -> None:
        """Remember an edit, in the step of the one before; what was taken back can no longer be redone.

        Args:
            edit: What was changed.
            separate: Begin a step where typing turns into deleting, or the other way round.
        """
        self._undone.clear()
        if separate and self._open and bool(edit.removed) != bool(self._done[-1][-1].removed):
            self.separate()
        if not self._open:
            self._done.append([])
            self._open = True
        self._done[-1].append(edit)

    def separate(self) -> None:
        """Let the next edit begin a step."""
        self._open = False

    def undo(self) -> list[Edit]:
        """Return what is to be done to take the last step back; nothing where there is none."""
        self.separate()
        if not self._done:
            return []
        self._undone.append(self._done.pop())
        return [edit.inverse() for edit in reversed(self._undone[-1])]

    def redo(self) -> list[Edit]:
        """Return what is to be done to repeat the step taken back last; nothing where there is none."""
        self.separate()
        if not self._undone:
            return []
        self._done.append(self._undone.pop())
        return self._done[-1]
