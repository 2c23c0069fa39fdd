"""A model card's Markdown as runs of styled text: what cards use of it, and nothing more. Knows no Tk."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

Style = Literal["title", "heading", "text", "strong", "item", "code"]
Run = tuple[str, Style]

_INLINE = re.compile(r"`([^`]+)`|\*\*(.+?)\*\*|!?\[([^\]]*)\]\([^)]*\)")
_RULE = re.compile(r"\|?[\s:|-]+\|[\s:|-]*")


def card_runs(markdown: str) -> list[Run]:
    """Return the runs of a card, each with its line ends.

    Paragraphs are joined into one line each, tables become columns of the fixed font, links their words.
    """
    runs: list[Run] = []
    for block in _blocks(markdown):
        first = block[0]
        if heading := re.match(r"(#{1,6})\s+(.*)", first):
            runs.append((f"{_plain(heading[2])}\n", "title" if len(heading[1]) == 1 else "heading"))
        elif first.startswith("|"):
            runs.append((_table(block), "code"))
        elif first.startswith(("    ", "```")):
            lines = [line.removeprefix("    ") for line in block if not line.startswith("```")]
            runs.append(("\n".join(lines).strip("\n") + "\n", "code"))
        elif item := re.match(r"\s*[-*+]\s+", first):
            text = " ".join(line.strip() for line in [first[item.end() :], *block[1:]])
            runs += [("•  ", "item"), *_inline(text, "item"), ("\n", "item")]
        else:
            runs += [*_inline(" ".join(line.strip() for line in block), "text"), ("\n", "text")]
    return runs


def _blocks(markdown: str) -> Iterator[list[str]]:
    """Lines that belong together: a heading, a paragraph, one item of a list, a table, a piece of code."""
    block: list[str] = []
    fenced = False
    for line in [*markdown.splitlines(), ""]:
        if fenced:
            block.append(line)
            fenced = not line.startswith("```")
            continue
        kind = _kind(line)
        if block and (kind in ("blank", "heading", "item", "fence") or kind != _kind(block[-1]) != "item"):
            yield block
            block = []
        if kind != "blank":
            block.append(line)
        fenced = kind == "fence"
        if kind == "heading":
            yield block
            block = []
    if block:
        yield block


def _kind(line: str) -> str:
    if not line.strip():
        return "blank"
    for kind, pattern in (
        ("fence", "```"), ("heading", r"#{1,6}\s"), ("table", r"\|"), ("item", r"\s*[-*+]\s+"),
        ("code", " {4}"),
    ):  # fmt: skip
        if re.match(pattern, line):
            return kind
    return "text"


def _inline(text: str, style: Style) -> Iterator[Run]:
    position = 0
    for match in _INLINE.finditer(text):
        if match.start() > position:
            yield text[position : match.start()], style
        code, strong, link = match.groups()
        if code is not None:
            yield code, "code"
        elif strong is not None:
            yield strong, "strong"
        else:
            yield link, style
        position = match.end()
    if position < len(text):
        yield text[position:], style


def _plain(text: str) -> str:
    return "".join(run for run, _ in _inline(text, "text"))


def _table(lines: list[str]) -> str:
    rows = [
        [_plain(cell.strip()) for cell in line.strip().strip("|").split("|")]
        for line in lines
        if not _RULE.fullmatch(line.strip())
    ]
    if not rows:
        return ""
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    padded = [
        "  ".join(
            cell.rjust(width) if i and _is_number(cell) else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=False))
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in padded) + "\n"


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"[-+−]?[\d.,]+\s*%?", cell) is not None
