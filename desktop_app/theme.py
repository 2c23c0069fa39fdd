"""Colours, fonts and spacing of the window: one ttk theme, light or dark, changed while it runs."""

from __future__ import annotations

import tkinter
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from tkinter import font as tkfont
from tkinter import ttk
from typing import Literal

_POINTS_PER_INCH = 72.0
_NOMINAL_DPI = 96.0
SASH = 10  # width of the line between two panes, at 96 dots an inch


@dataclass(frozen=True)
class Palette:
    """Colours as "#rrggbb"; text on its ground has a contrast of at least 4.5 to 1 (WCAG 2.1 AA)."""

    window: str
    pane: str
    text: str
    muted: str
    border: str
    control: str
    control_active: str
    accent: str
    selection: str
    error: str
    lit: str  # ground of a word the pointer is on, and of the strongest link
    unsure: str  # ground of a word the model was least sure of


LIGHT = Palette(
    window="#f3f4f6", pane="#ffffff", text="#1c1f24", muted="#59616b", border="#c9ced6",
    control="#ffffff", control_active="#e6e9ee", accent="#2563c9", selection="#c7dbff", error="#b3261e",
    lit="#ffd75e", unsure="#f7c1b5",
)  # fmt: skip
DARK = Palette(
    window="#1e2126", pane="#262a30", text="#e7e9ec", muted="#a3abb5", border="#424851",
    control="#2f343b", control_active="#3b414a", accent="#7fb0ff", selection="#34507e", error="#ff9a91",
    lit="#7a5c0c", unsure="#74382d",
)  # fmt: skip


def blend(ground: str, colour: str, share: float) -> str:
    """Return the colour that lies `share` of the way from `ground` to `colour`, in [0, 1]."""
    pairs = [(int(ground[i : i + 2], 16), int(colour[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


class Theme:
    """The look of one window, already applied to its root.

    Args:
        root: The root whose scaling and ttk styles are set.
        dark: Whether the window is dark.
        dpi: Dots per inch the desktop asks for, or None for what Tk found.
        font_size: Of the texts, in points.
    """

    def __init__(
        self, root: tkinter.Tk, *, dark: bool, dpi: float | None = None, font_size: int = 12
    ) -> None:
        if dpi is not None:
            root.tk.call("tk", "scaling", dpi / _POINTS_PER_INCH)
        self._root = root
        self.windowing_system = str(root.tk.call("tk", "windowingsystem"))  # "x11", "win32" or "aqua"
        self._scale = max(1.0, root.winfo_fpixels("1i") / _NOMINAL_DPI)
        self._style = ttk.Style(root)
        self._listeners: list[weakref.WeakMethod[Callable[[], None]]] = []
        self.text_font = _font(root, "TranslatorText", "TkTextFont", size=font_size)
        self.heading_font = _font(root, "TranslatorHeading", "TkDefaultFont", size=11, weight="bold")
        self.small_font = _font(root, "TranslatorSmall", "TkDefaultFont", size=9)
        _keep_focus(root)
        self._apply(dark)

    @property
    def dark(self) -> bool:
        """Whether the window is dark now."""
        return self.palette is DARK

    def set_dark(self, dark: bool) -> None:
        """Change between light and dark, and tell every listener."""
        if dark == self.dark:
            return
        self._apply(dark)
        for reference in list(self._listeners):
            listener = reference()
            if listener is None:
                self._listeners.remove(reference)
            else:
                listener()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Have a bound method called after `set_dark`, as long as its object lives."""
        self._listeners.append(weakref.WeakMethod(listener))

    def set_font_size(self, points: int) -> None:
        """Change the size of the texts."""
        self.text_font.configure(size=points)

    def pixels(self, nominal: float) -> int:
        """Return a length given for 96 dots an inch in pixels of this screen."""
        return round(nominal * self._scale)

    def style_text(self, text: tkinter.Text) -> None:
        """Give a text pane this theme's font, spacing and colours."""
        text.configure(
            font=self.text_font, wrap="word", relief="flat", borderwidth=0,
            padx=self.pixels(12), pady=self.pixels(10), spacing1=self.pixels(1), spacing3=self.pixels(3),
            highlightthickness=self.pixels(1), insertwidth=self.pixels(2),
        )  # fmt: skip
        if self.is_native:
            return
        colours = self.palette
        text.configure(
            background=colours.pane, foreground=colours.text, insertbackground=colours.text,
            selectbackground=colours.selection, selectforeground=colours.text,
            inactiveselectbackground=colours.selection,
            highlightbackground=colours.border, highlightcolor=colours.accent,
        )  # fmt: skip

    def style_menu(self, menu: tkinter.Menu) -> None:
        """Give a menu this theme's colours."""
        if self.is_native:
            return
        colours = self.palette
        menu.configure(
            background=colours.window, foreground=colours.text, activebackground=colours.selection,
            activeforeground=colours.text, disabledforeground=colours.muted, selectcolor=colours.text,
            relief="flat", borderwidth=self.pixels(1), activeborderwidth=self.pixels(2),
        )  # fmt: skip

    def dress(self, window: tkinter.Toplevel) -> None:
        """Make a dialog belong to its parent: ground colour, Escape closes it, placed over the parent."""
        parent = window.master
        if not self.is_native:
            window.configure(background=self.palette.window)
        window.withdraw()
        if isinstance(parent, tkinter.Wm):
            window.transient(parent)
        window.bind("<Escape>", lambda _: window.destroy())
        window.bind("<Destroy>", lambda event: self._go_back(event.widget is window), add=True)
        window.after_idle(lambda: self._place(window))

    def _go_back(self, closed: bool) -> None:
        """Give the keyboard to the main window when a dialog has closed; not every window manager does."""
        if closed and self._root.winfo_viewable():
            back = "catch [list focus -force [focus -lastfor .]]"
            self._root.tk.call("after", "idle", back)

    def _place(self, window: tkinter.Toplevel) -> None:
        if not window.winfo_exists():
            return
        window.update_idletasks()
        width, height = window.winfo_reqwidth(), window.winfo_reqheight()
        root = self._root
        left = root.winfo_rootx() + (root.winfo_width() - width) // 2
        top = root.winfo_rooty() + (root.winfo_height() - height) // 3
        left = max(0, min(left, root.winfo_screenwidth() - width))
        top = max(0, min(top, root.winfo_screenheight() - height))
        window.geometry(f"+{left}+{top}")
        window.deiconify()

    def _apply(self, dark: bool) -> None:
        style = self._style
        self.palette = DARK if dark else LIGHT
        # The desktop's own widgets where there are any; those of Windows are light only.
        controls = {"aqua": "aqua", "win32": "clam" if dark else "vista"}.get(self.windowing_system, "clam")
        self.is_native = controls == "aqua"  # all colours are the desktop's, and follow it by themselves
        style.theme_use(controls)
        style.configure("Heading.TLabel", font=self.heading_font)
        style.configure("Treeview", rowheight=self._row_height())
        if not self.is_native:
            self._colour_root()
        if controls == "clam":
            self._colour_plain()
            self._colour_controls()

    def _row_height(self) -> int:
        return tkfont.nametofont("TkDefaultFont", root=self._root).metrics("linespace") + self.pixels(8)

    def _colour_root(self) -> None:
        """Colour what no ttk style reaches."""
        colours, root = self.palette, self._root
        root.configure(background=colours.window)
        for option, colour in (
            ("background", colours.pane),
            ("foreground", colours.text),
            ("selectBackground", colours.selection),
            ("selectForeground", colours.text),
        ):
            root.option_add(f"*TCombobox*Listbox.{option}", colour)

    def _colour_plain(self) -> None:
        colours, style = self.palette, self._style
        style.configure(
            ".", background=colours.window, foreground=colours.text, bordercolor=colours.border,
            lightcolor=colours.window, darkcolor=colours.window, troughcolor=colours.window,
            focuscolor=colours.accent, font="TkDefaultFont", insertcolor=colours.text,
            selectbackground=colours.selection, selectforeground=colours.text,
        )  # fmt: skip
        style.map(".", foreground=[("disabled", colours.muted)])
        style.configure("Muted.TLabel", foreground=colours.muted)
        style.configure("Error.TLabel", foreground=colours.error)
        style.configure("Key.TLabel", font="TkFixedFont")
        style.configure(
            "Placeholder.TLabel", background=colours.pane, foreground=colours.muted, font=self.text_font
        )
        style.configure("Sash", sashthickness=self.pixels(SASH), gripcount=0)
        style.configure(
            "TProgressbar", background=colours.accent, troughcolor=colours.border,
            bordercolor=colours.border, lightcolor=colours.accent, darkcolor=colours.accent,
            thickness=self.pixels(6),
        )  # fmt: skip
        for side in ("Vertical", "Horizontal"):
            sticky = "ns" if side == "Vertical" else "ew"
            style.layout(  # a thumb without arrows
                f"{side}.TScrollbar",
                [(f"{side}.Scrollbar.trough",
                  {"sticky": sticky, "children": [(f"{side}.Scrollbar.thumb", {})]})],
            )  # fmt: skip
            style.configure(
                f"{side}.TScrollbar", background=colours.border, troughcolor=colours.pane,
                bordercolor=colours.pane, lightcolor=colours.border, darkcolor=colours.border,
                arrowsize=self.pixels(9), gripcount=0, relief="flat",
            )  # fmt: skip
            thumb = [("pressed", colours.accent), ("active", colours.muted)]
            style.map(f"{side}.TScrollbar", background=thumb, lightcolor=thumb, darkcolor=thumb)

    def _colour_controls(self) -> None:
        colours, style = self.palette, self._style
        padding = (self.pixels(10), self.pixels(4))
        style.configure(
            "TButton", background=colours.control, relief="raised", lightcolor=colours.control,
            darkcolor=colours.control, padding=padding, width=0,
        )  # fmt: skip
        style.map(
            "TButton",
            background=[("disabled", colours.window), ("active", colours.control_active)],
            lightcolor=[("active", colours.control_active)],
            darkcolor=[("active", colours.control_active)],
            bordercolor=[("focus", colours.accent)],
            foreground=[("disabled", colours.muted)],
        )
        for kind in ("TEntry", "TCombobox", "TSpinbox"):
            style.configure(
                kind, fieldbackground=colours.pane, background=colours.control, foreground=colours.text,
                arrowcolor=colours.text, arrowsize=self.pixels(12), lightcolor=colours.pane,
                darkcolor=colours.pane, padding=self.pixels(4),
            )  # fmt: skip
            style.map(
                kind, bordercolor=[("focus", colours.accent)],
                fieldbackground=[("disabled", colours.window), ("readonly", colours.pane)],
                foreground=[("disabled", colours.muted)],
                selectbackground=[("!focus", colours.pane)], selectforeground=[("!focus", colours.text)],
                lightcolor=[("focus", colours.pane)], background=[("active", colours.control_active)],
            )  # fmt: skip
        style.configure(
            "TCheckbutton", indicatorbackground=colours.pane, indicatorforeground=colours.text,
            upperbordercolor=colours.muted, lowerbordercolor=colours.muted,
            indicatorsize=self.pixels(12), padding=(0, self.pixels(3)),
            indicatormargin=(self.pixels(2), self.pixels(2), self.pixels(6), self.pixels(2)),
        )  # fmt: skip
        style.map(
            "TCheckbutton", background=[("active", colours.window)],
            indicatorbackground=[("pressed", colours.control_active)],
            upperbordercolor=[("focus", colours.accent)], lowerbordercolor=[("focus", colours.accent)],
        )  # fmt: skip
        style.configure("Treeview", background=colours.pane, fieldbackground=colours.pane)
        style.map(
            "Treeview",
            background=[("selected", colours.selection)],
            foreground=[("selected", colours.text)],
        )
        style.configure("Treeview.Heading", background=colours.control, padding=self.pixels(4))
        style.map("Treeview.Heading", background=[("active", colours.control_active)])


def _keep_focus(root: tkinter.Tk) -> None:
    """Give the keyboard back to a combobox when its list has closed; some window managers give it elsewhere."""
    if "focus -force" not in str(root.tk.call("bind", "ComboboxPopdown", "<Unmap>")):
        give_back = "+after idle [list catch [list focus -force [winfo parent %W]]]"
        root.tk.call("bind", "ComboboxPopdown", "<Unmap>", give_back)


def _font(
    root: tkinter.Tk, name: str, base: str, size: int, weight: Literal["normal", "bold"] = "normal"
) -> tkfont.Font:
    """Return a named font of the root: `base` in another size, in points.

    Named, because Python may collect a `Font` of its own on another thread, and would call Tk from there.
    """
    if name not in tkfont.names(root):
        root.tk.call("font", "create", name)
    font = tkfont.nametofont(name, root=root)
    font.configure(family=tkfont.nametofont(base, root=root).cget("family"), size=size, weight=weight)
    return font
