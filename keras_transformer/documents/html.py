"""HTML: text, and the attributes that people read, are translated; every other byte is copied.

Python's own tokenizer says where text and tags stand; nothing is parsed into a tree and written again, so
malformed pages stay as they are.
"""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Callable
from functools import partial
from html.parser import HTMLParser

from keras_transformer.documents.parts import Code, Codes, Left, Segment, written
from keras_transformer.text.segmentation import is_copied

_INLINE = re.compile(
    "a|abbr|acronym|b|bdi|bdo|big|cite|data|del|dfn|em|font|i|ins|label|mark|nobr|q|rb|rt|ruby|s|small|span|"
    "strike|strong|sub|sup|time|tt|u"
)
_POINTS = frozenset(["img", "wbr", "input"])
_WORDS = frozenset(
    ["code", "kbd", "samp", "var", "math", "svg"]
)  # inside a sentence, but not of its language
_COPIED = frozenset(["script", "style", "pre", "textarea", "iframe"])
_UNREAD = frozenset(["script", "style", "iframe"])  # holds no text that a reader sees
_VOID = re.compile("area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr")

_ATTRIBUTE = re.compile(  # its name and its value, in one of three spellings
    r"""([^\s"'<>/=]+)\s*=\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[^\s"'<>]+?)(?=[\s>]|/>))"""
)
_READ = frozenset(["alt", "title", "placeholder", "aria-label", "aria-description", "label"])  # by people
_META = frozenset(["description", "keywords", "og:title", "og:description", "twitter:title"])
_BUTTONS = frozenset(["submit", "button", "reset"])
_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?([\w-]+)""", re.IGNORECASE)
_KEEP = re.compile(r"""\btranslate\s*=\s*["']?no\b|\bclass\s*=\s*["'][^"']*\bnotranslate\b""", re.IGNORECASE)
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_SPACE = " \t\r\n\f"
_SPACES = re.compile(f"[{_SPACE}]+")


def decode(data: bytes) -> tuple[str, Callable[[str], bytes]]:
    """A page's text, and what turns text into such a page again.

    The encoding is that of a byte order mark, else the one the page names, else UTF-8, else windows-1252;
    what it cannot hold is written as a character reference.
    """
    names = ["utf-8", "windows-1252"]
    if named := _CHARSET.search(data[:4096]):
        names.insert(0, named[1].decode("ascii", "replace"))
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            names.insert(0, encoding)
            break
    else:
        mark = b""
    for name in names:
        try:
            encoding = codecs.lookup(name).name
            text = data[len(mark) :].decode(encoding)
        except (LookupError, UnicodeDecodeError):
            continue
        if mark + text.encode(encoding) == data:
            return text, partial(_encode, mark, encoding)
    return data.decode("latin-1"), partial(_encode, b"", "latin-1")


def _encode(mark: bytes, encoding: str, text: str) -> bytes:
    return mark + text.encode(encoding, "xmlcharrefreplace")


def read(text: str) -> list[str | Segment]:
    """Cut a page into its texts and all else."""
    tokenizer = _Tokenizer(text)
    return _Reader(tokenizer.tokens).parts


class _Tokenizer(HTMLParser):
    """The page in tokens: kind ("text", "start", "end", "other"), name of the tag, source text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=False)
        self._found: list[tuple[str, str, int]] = []
        self._line_starts = [0]
        for index, character in enumerate(text):
            if character == "\n":  # HTMLParser counts no other line ends
                self._line_starts.append(index + 1)
        self.feed(text)
        self.close()
        starts = [start for _, _, start in self._found] or [len(text)]
        self.tokens = [("other", "", text[: starts[0]])]
        for (kind, name, start), end in zip(self._found, [*starts[1:], len(text)], strict=False):
            self.tokens.append((kind, name, text[start:end]))

    def _add(self, kind: str, name: str = "") -> None:
        line, column = self.getpos()
        self._found.append((kind, name, self._line_starts[line - 1] + column))

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._add("start", tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self._add("empty", tag)

    def handle_endtag(self, tag: str) -> None:
        self._add("end", tag)

    def handle_data(self, data: str) -> None:
        self._add("text")

    def handle_entityref(self, name: str) -> None:
        self._add("text")

    def handle_charref(self, name: str) -> None:
        self._add("text")

    def handle_comment(self, data: str) -> None:
        self._add("other")

    def handle_decl(self, decl: str) -> None:
        self._add("other")

    def handle_pi(self, data: str) -> None:
        self._add("other")

    def unknown_decl(self, data: str) -> None:
        self._add("other")


class _Reader:
    """Gathers the tokens between two blocks into a segment."""

    def __init__(self, tokens: list[tuple[str, str, str]]) -> None:
        self.parts: list[str | Segment] = []
        self._run: list[tuple[str, str, str]] = []  # kind, name, source; kind "word" holds a whole element
        index = 0
        while index < len(tokens):
            kind, name, source = tokens[index]
            end = index + 1
            starts = kind in ("start", "empty")
            inline = _INLINE.fullmatch(name) is not None or name in _WORDS | _POINTS
            if starts and (name in _COPIED | _WORDS or _KEEP.search(source)):
                end = _element_end(tokens, index)
                kind, source = "word", _left(name, tokens[index:end])
            if kind == "text" or inline or (kind == "other" and self._run and source.startswith("<!--")):
                self._run.append((kind, name, source))
            else:
                self._flush()
                self.parts += _tag_parts(name, source) if kind != "word" else [source]
            index = end
        self._flush()

    def _flush(self) -> None:
        run, self._run = self._run, []
        raw = [_token_parts(kind, name, source) for kind, name, source in run]
        own = "".join(html.unescape(source) for kind, _, source in run if kind == "text")
        original = [part for parts in raw for part in parts]
        self.parts += original if is_copied(own) else [_segment(run, raw, own, original)]


def _left(name: str, tokens: list[tuple[str, str, str]]) -> str:
    """An element that is copied; with what a reader sees of it."""
    source = "".join(token[2] for token in tokens)
    if name in _UNREAD:
        return source
    return Left(source, html.unescape("".join(text for kind, _, text in tokens if kind == "text")))


def _segment(
    run: list[tuple[str, str, str]], raw: list[list[str | Segment]], own: str, original: list[str | Segment]
) -> Segment:
    codes, text, opened = Codes(own), "", []
    closes = _closing(run)
    for index, (kind, _, source) in enumerate(run):
        if kind == "text":
            text += html.unescape(source)
        elif kind == "word":
            text += "{" + codes.add(Code("k", raw[index])) + "}"
        elif index in closes:
            opened.append(codes.add(Code("g", raw[index], run[closes[index]][2])))
            text += f"<{opened[-1]}>"
        elif index in closes.values():
            text += f"</{opened.pop()}>"
        else:  # a point, or a tag without its partner
            text += f"<{codes.add(Code('x', raw[index]))}/>"
    bare = _SPACES.sub(" ", text).strip(" ")
    inner = text.strip(_SPACE)
    start = text.index(inner)
    before, after = text[:start], text[start + len(inner) :]

    def render(translation: str) -> str:
        parts = []
        for plain, code, is_closing in codes.pieces(translation):
            parts.append(
                _escape(plain) if code is None else code.closing if is_closing else written(code.opening)
            )
        return "".join([before, *parts, after])

    return Segment(bare, original, render)


def _closing(run: list[tuple[str, str, str]]) -> dict[int, int]:
    """Where each start tag's partner stands, for tags that are properly nested within the run."""
    partners: dict[int, int] = {}
    opened: list[int] = []
    for index, (kind, name, _) in enumerate(run):
        if kind == "start" and not _VOID.fullmatch(name):
            opened.append(index)
        elif kind == "end" and name in [run[start][1] for start in opened]:
            while run[opened[-1]][1] != name:
                opened.pop()  # never closed
            partners[opened.pop()] = index
    return partners


def _tag_parts(name: str, source: str) -> list[str | Segment]:
    """A tag, with the attributes in it that people read as segments."""
    if not source.startswith("<") or source.startswith(("</", "<!")):
        return [source]
    found = [(match, match.lastgroup or "") for match in _ATTRIBUTE.finditer(source)]
    values = {match[1].lower(): match[spelling].strip().lower() for match, spelling in found}
    read = _READ
    if name == "meta" and _META & {values.get("name"), values.get("property")}:
        read = _READ | {"content"}
    elif name == "input" and values.get("type") in _BUTTONS:
        read = _READ | {"value"}
    parts: list[str | Segment] = []
    position = 0
    for match, spelling in found:
        bare = " ".join(html.unescape(match[spelling]).split())
        if match[1].lower() not in read or is_copied(bare):
            continue
        parts += [
            source[position : match.start(spelling)],
            Segment(bare, [match[spelling]], partial(_attribute, spelling)),
        ]
        position = match.end(spelling)
    return [*parts, source[position:]]


def _token_parts(kind: str, name: str, source: str) -> list[str | Segment]:
    return _tag_parts(name, source) if kind in ("start", "empty") else [source]


def _attribute(spelling: str, text: str) -> str:
    if spelling == "single":
        return _escape(text).replace("'", "&#39;")
    value = _escape(text).replace('"', "&quot;")
    return value if spelling == "double" else f'"{value}"'  # one bare word may become several


def _escape(text: str) -> str:
    return html.escape(text, quote=False).replace("\xa0", "&nbsp;")


def _element_end(tokens: list[tuple[str, str, str]], start: int) -> int:
    """The token after an element; after its start tag where it has no end."""
    kind, name, _ = tokens[start]
    if kind == "empty" or _VOID.fullmatch(name):
        return start + 1
    depth = 0
    for index in range(start, len(tokens)):
        if tokens[index][1] == name:
            depth += {"start": 1, "end": -1}.get(tokens[index][0], 0)
            if depth == 0:
                return index + 1
    return start + 1
