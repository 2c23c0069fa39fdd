"""A small window to drag files out of, as a file manager's: `python -m tests.desktop_app.drag_source X Y FILE …`.

After one drag it prints what became of it ("copy", "refuse_drop") and ends.
"""

import sys
from pathlib import Path

from tkinterdnd2 import COPY, DND_FILES, TkinterDnD

SIZE = 80

# tkdnd offers files as 32-bit numbers; file managers offer them as bytes, which tkdnd can send as well.
SEND_BYTES = """
proc ::tkdnd::xdnd::_SendData {type offset bytes args} {
  foreach name {drag_source selection_requestor selection_property selection_target selection_time} {
    variable _dodragdrop_$name
  }
  XChangeProperty $_dodragdrop_drag_source $_dodragdrop_selection_requestor $_dodragdrop_selection_property \
    $_dodragdrop_selection_target 8 $_dodragdrop_selection_time $::uris [string length $::uris]
  return -code break
}
"""


def main():
    left, top, *files = sys.argv[1:]
    root = TkinterDnD.Tk()
    root.title("Files")
    root.geometry(f"{SIZE}x{SIZE}+{left}+{top}")
    uris = "".join(f"{Path(name).as_uri()}\r\n" for name in files)
    root.setvar("uris", uris)  # ASCII: all else is percent-encoded
    root.tk.eval(SEND_BYTES)
    root.drag_source_register(1, DND_FILES)
    root.dnd_bind("<<DragInitCmd>>", lambda event: (COPY, DND_FILES, tuple(files)))

    def end(event):
        print(event.action, flush=True)
        root.after_idle(root.destroy)

    root.dnd_bind("<<DragEndCmd>>", end)
    root.mainloop()


if __name__ == "__main__":
    main()
