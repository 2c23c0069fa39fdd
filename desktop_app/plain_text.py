"""Text that Tk can hold: no lone surrogates, no line so long that the pane freezes. Knows no Tk."""

from __future__ import annotations

# Tk lays out a whole line at a time: 5,000 characters are felt, 100,000 freeze the window.
MAX_LINE_CHARACTERS = 2000


def clean_text(text: str) -> str:
    """Return `text` with whole code points and "\\n" line ends only.

    Surrogate pairs become the character they stand for, a lone surrogate becomes U+FFFD (Tk and the
    tokenizer refuse it), NUL is dropped (Tcl ends strings with it), CR LF and CR become LF.
    """
    try:
        text.encode()  # refuses surrogates: without one the text is as it should be
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\x00", "").replace("\r\n", "\n").replace("\r", "\n")


def split_long_line(line: str, limit: int = MAX_LINE_CHARACTERS) -> list[str]:
    """Cut one line into pieces of at most `limit` characters, after a space where there is one.

    Joining the pieces gives the line back. `limit` must be at least 1.
    """
    pieces: list[str] = []
    begin = 0
    while len(line) - begin > limit:
        space = line.rfind(" ", begin + limit // 2, begin + limit)
        end = begin + limit if space < 0 else space + 1
        pieces.append(line[begin:end])
        begin = end
    pieces.append(line[begin:])
    return pieces


def common_ends(old: str, new: str) -> tuple[int, int]:
    """Return how many characters two texts share at the beginning, and how many of the rest at the end."""
    limit = min(len(old), len(new))
    first = _common(old, new, limit)
    return first, _common(old[first:][::-1], new[first:][::-1], limit - first)


def _common(old: str, new: str, limit: int) -> int:
    """Return the length of the common beginning, at most `limit`: slices compare at the speed of C."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if old[low:middle] == new[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
