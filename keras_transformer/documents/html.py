"""HTML: text, and the attributes that people read, are translated; every other byte is copied.

Python's own tokenizer says where text and tags stand; nothing is parsed into a tree and written again, so
malformed pages stay as they are. From a tag or a comment that is never ended on, browsers show nothing more: this
rest is copied too.
"""

from __future__ import annotations

import codecs
import html
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from html.parser import HTMLParser
from typing import NamedTuple

from keras_transformer.documents.parts import Code, Codes, Left, Segment, byte_order_mark, written
from keras_transformer.text.segmentation import is_copied

_INLINE = re.compile(
    "a|abbr|acronym|b|bdi|bdo|big|cite|data|del|dfn|em|font|i|ins|label|mark|nobr|q|rb|rt|ruby|s|small|span|"
    "strike|strong|sub|sup|time|tt|u"
)
_POINTS = frozenset(["img", "wbr", "input"])
_WORDS = frozenset(
    ["code", "kbd", "samp", "var", "math", "svg"]
)  # inside a sentence, but not of its language
_RAW = frozenset(["script", "style", "textarea", "iframe"])  # holds no tags, only its own end
_COPIED = _RAW | {"pre"}
_UNREAD = frozenset(["script", "style", "iframe"])  # holds no text that a reader sees
_VOID = re.compile("area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr")

_TABLE = frozenset(["table", "template"])
_SCOPE = _TABLE | {"applet", "button", "caption", "html", "marquee", "object", "td", "th"}
_CELLS = frozenset(["td", "th"])
_ROWS = _CELLS | {"tr", "caption", "colgroup"}
_GROUPS = _ROWS | {"tbody", "tfoot", "thead"}
# Where end tags may be left out: start tags, the elements they end, and those they do not reach out of.
_IMPLIED_ENDS = (
    (re.compile("li"), frozenset(["li"]), _SCOPE | {"ul", "ol", "menu"}),
    (re.compile("d[dt]"), frozenset(["dd", "dt"]), _SCOPE | {"dl"}),
    (re.compile("t[dh]"), _CELLS, _TABLE),
    (re.compile("tr"), _ROWS, _TABLE),
    (re.compile("tbody|tfoot|thead"), _GROUPS, _TABLE),
    (re.compile("option"), frozenset(["option"]), _SCOPE | {"select", "datalist"}),
    (re.compile("optgroup"), frozenset(["option", "optgroup"]), _SCOPE | {"select"}),
    (re.compile("r[btp]|rtc"), frozenset(["rb", "rt", "rp"]), _SCOPE | {"ruby"}),
    (re.compile("body"), frozenset(["head"]), _SCOPE),
    (
        re.compile(
            "address|article|aside|blockquote|center|d[dlt]|details|dialog|dir|div|fieldset|figcaption|figure|footer|"
            "form|h[1-6]|header|hgroup|hr|li|listing|main|menu|nav|[ou]l|p|plaintext|pre|search|section|summary|"
            "table|xmp"
        ),
        frozenset(["p"]),
        _SCOPE,
    ),
)

# An attribute's name and its value, in one of three spellings; from where a name starts, so that it is read once.
_ATTRIBUTE = re.compile(
    r"""(?<![^\s"'<>/=])([^\s"'<>/=]+)\s*=\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[^\s"'<>]+?)(?=[\s>]|/>))"""
)
_READ = frozenset(["alt", "title", "placeholder", "aria-label", "aria-description", "label"])  # by people
_META = frozenset(["description", "keywords", "og:title", "og:description", "twitter:title"])
_BUTTONS = frozenset(["submit", "button", "reset"])
_LINKS = frozenset(["a", "label"])  # each with a text of its own
_UNENDED = re.compile("<[A-Za-z/!?]")

_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?([\w.:-]+)""", re.IGNORECASE)
# The encodings of the web (as WHATWG lists them) by Python's names, and what browsers read other names as.
_ENCODINGS = re.compile(
    "utf-8|cp866|iso8859-(?:[2-8]|1[03-6])|koi8-[ru]|mac-(?:roman|cyrillic)|cp(?:874|125[0-8]|932|949)|gbk|gb18030|"
    "big5(?:hkscs)?|euc_jp|iso2022_jp"
)
_READ_AS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gbk",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "windows-874": "cp874",
    "x-sjis": "cp932",
    "x-gbk": "gbk",
    "x-euc-jp": "euc_jp",
    "x-mac-cyrillic": "mac-cyrillic",
    # Whoever could read the name has not read UTF-16.
    "utf-16": "utf-8",
    "utf-16-le": "utf-8",
    "utf-16-be": "utf-8",
}
_UNASSIGNED = "unassigned in windows-1252"  # bytes that HTML reads as the control characters of their numbers
_SPACE = " \t\r\n\f"
_SPACES = re.compile(f"[{_SPACE}]+")


def decode(data: bytes) -> tuple[str, Callable[[str], bytes]]:
    """A page's text, and what turns text into such a page again.

    The encoding is that of a byte order mark, else the one the page names, as browsers understand it, else UTF-8,
    else windows-1252; what it cannot hold is written as a character reference. In a page that says it is UTF-8, a
    byte that is not comes as a lone surrogate, and is written as it was: the translator carries it over.
    """
    mark, marked = byte_order_mark(data)
    named = _CHARSET.search(data[:4096])
    names = [marked, _encoding_named(named[1].decode("ascii", "replace")) if named else ""]
    for encoding in filter(None, names):
        encode = partial(_encode, mark, encoding)
        try:
            text = data[len(mark) :].decode(encoding, _errors(encoding, "strict"))
            if encode(text) == data:
                return text, encode
        except UnicodeError:
            continue
    try:
        return data.decode("utf-8"), partial(_encode, b"", "utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", _UNASSIGNED), partial(_encode, b"", "cp1252")


def _encoding_named(label: str) -> str:
    """Python's name of the encoding that a page names; "" if it is none of the web's."""
    try:
        name = codecs.lookup(_READ_AS.get(label.lower(), label)).name
    except LookupError:
        return ""
    name = _READ_AS.get(name, name)
    return name if _ENCODINGS.fullmatch(name) else ""


def _encode(mark: bytes, encoding: str, text: str) -> bytes:
    return mark + text.encode(encoding, _errors(encoding, "xmlcharrefreplace"))


def _errors(encoding: str, usual: str) -> str:
    return {"cp1252": _UNASSIGNED, "utf-8": "surrogateescape"}.get(encoding, usual)


def _unassigned(error: UnicodeError) -> tuple[str | bytes, int]:
    """Read and write the bytes that Python's windows-1252 does not know; refer to any other character."""
    if isinstance(error, UnicodeDecodeError):
        return error.object[error.start : error.end].decode("latin-1"), error.end
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if character in "\x81\x8d\x8f\x90\x9d":
        return character.encode("latin-1"), error.start + 1
    return f"&#{ord(character)};", error.start + 1


codecs.register_error(_UNASSIGNED, _unassigned)


def read(text: str) -> list[str | Segment]:
    """Cut a page into its texts and all else."""
    tokenizer = _Tokenizer(text)
    return _Reader(tokenizer.tokens).parts


class _Token(NamedTuple):
    """A piece of a page.

    Attributes:
        kind: "text", "start", "empty", "end", "other" or "rest"; in a `_Reader` also "word", a whole element.
        name: Of the tag.
        source: As it stands in the page.
    """

    kind: str
    name: str
    source: str


class _Tokenizer(HTMLParser):
    """The page in tokens; they joined are the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text
        self._found: list[tuple[str, str, int]] = []
        self._line_starts = [0]
        for index, character in enumerate(text):
            if character == "\n":  # HTMLParser counts no other line ends
                self._line_starts.append(index + 1)
        self.feed(text)
        self._add_rest(len(text) - len(self.rawdata))
        starts = [start for _, _, start in self._found] or [len(text)]
        self.tokens = [_Token("other", "", text[: starts[0]])]
        for (kind, name, start), end in zip(self._found, [*starts[1:], len(text)], strict=False):
            self.tokens.append(_Token(kind, name, text[start:end]))

    def _add(self, kind: str, name: str = "") -> None:
        line, column = self.getpos()
        start = self._line_starts[line - 1] + column
        # A tag that is none to HTMLParser comes as text.
        if kind == "text" and self.cdata_elem is None and _UNENDED.match(self._text[start : start + 2]):
            kind = "rest"
        if not (self._found and self._found[-1][0] == "rest"):
            self._found.append((kind, name, start))

    def _add_rest(self, start: int) -> None:
        """What HTMLParser still waits for the end of: a tag, a comment, an element like <script>, or text."""
        if start < len(self._text):
            is_text = self.cdata_elem is None and not _UNENDED.match(self._text[start : start + 2])
            self._found.append(("text" if is_text else "rest", "", start))

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._add("start", tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self._add("empty", tag)

    def handle_endtag(self, tag: str) -> None:
        self._add("end", tag)

    def handle_data(self, data: str) -> None:
        self._add("text")

    def handle_comment(self, data: str) -> None:
        self._add("other")

    def handle_decl(self, decl: str) -> None:
        self._add("other")

    def handle_pi(self, data: str) -> None:
        self._add("other")

    def unknown_decl(self, data: str) -> None:
        self._add("other")

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """Read "<![…" to its end; one of a name it does not know is a comment, as in browsers."""
        position = self.getpos()
        try:
            return super().parse_marked_section(i, report)
        except AssertionError:
            self.lineno, self.offset = position
            return self.parse_bogus_comment(i, report)


class _Elements:
    """Where the elements of a page end, as browsers see it; in one pass.

    Attributes:
        ends: The token after an element, by the token of its start tag; for those that hold tokens.
    """

    def __init__(self, tokens: Sequence[_Token]) -> None:
        self.ends: dict[int, int] = {}
        self._names: list[str] = []  # of what is open, from the outside in
        self._starts: list[int] = []  # their tokens
        self._places: dict[str, list[int]] = {}  # in these two, by name
        self._blocks: list[int] = []  # places of what is not inline
        raw = ""
        for index, (kind, name, _) in enumerate(tokens):
            if raw and not (kind == "end" and name == raw):
                continue
            raw = ""
            if kind == "end":
                self._end(name, index)
            elif kind == "start" and not _VOID.fullmatch(name):
                self._end_implied(name, index)
                self._places.setdefault(name, []).append(len(self._names))
                if not _is_inline(name):
                    self._blocks.append(len(self._names))
                self._names.append(name)
                self._starts.append(index)
                raw = name if name in _RAW else ""
            elif kind == "start":
                self._end_implied(name, index)
        self._close(0, len(tokens))

    def _last(self, names: frozenset[str]) -> int:
        """The place of the innermost open element of one of these names; -1 if there is none."""
        return max((self._places[name][-1] for name in names if self._places.get(name)), default=-1)

    def _end_implied(self, name: str, index: int) -> None:
        for starts, ended, scope in _IMPLIED_ENDS:
            while starts.fullmatch(name) and self._last(ended) > self._last(scope - ended):
                self._close(self._last(ended), index)

    def _end(self, name: str, index: int) -> None:
        """The end tag at `index`: of the innermost open element of its name, and of those in it."""
        place = self._last(frozenset([name]))
        if place <= self._last((_TABLE if name in _GROUPS | _TABLE else _SCOPE) - {name}):
            return
        self.ends[self._starts[place]] = index + 1
        if _is_inline(name) and self._blocks and self._blocks[-1] > place:
            self._places[name].pop()  # it ended within a block that goes on
        else:
            self._close(place, index)

    def _close(self, place: int, end: int) -> None:
        """End the elements from a place on."""
        while len(self._names) > place:
            name = self._names.pop()
            self.ends.setdefault(self._starts.pop(), end)
            for places in (self._places[name], self._blocks):
                if places and places[-1] == len(self._names):
                    places.pop()


def _is_inline(name: str) -> bool:
    return _INLINE.fullmatch(name) is not None or name in _WORDS | _POINTS


class _Reader:
    """Gathers the tokens between two blocks into a segment."""

    def __init__(self, tokens: list[_Token]) -> None:
        self.parts: list[str | Segment] = []
        self._run: list[_Token] = []
        ends = _Elements(tokens).ends
        index = 0
        while index < len(tokens):
            kind, name, source = tokens[index]
            end = index + 1
            if kind in ("start", "empty") and (name in _COPIED | _WORDS or _is_kept(source)):
                end = ends.get(index, end)
                kind, source = "word", _left(name, tokens[index:end])
            is_comment = kind == "other" and source.startswith("<!--")
            if kind == "text" or _is_inline(name) or (is_comment and self._run):
                self._run.append(_Token(kind, name, source))
            else:
                self._flush()
                if kind == "rest":
                    source = Left(source, source)
                self.parts += _tag_parts(name, source) if kind in ("start", "empty") else [source]
            index = end
        self._flush()

    def _flush(self) -> None:
        start = 0
        for end in [*_borders(self._run), len(self._run)]:
            run = self._run[start:end]
            raw = [_token_parts(token) for token in run]
            own = "".join(html.unescape(source) for kind, _, source in run if kind == "text")
            original = [part for parts in raw for part in parts]
            self.parts += original if is_copied(own) else [_segment(run, raw, own, original)]
            start = end
        self._run = []


def _borders(run: Sequence[_Token]) -> list[int]:
    """Where a run is several texts that no white space parts, as in the menu of a page without any.

    That is between the end of an element and the start of the next of the same name, where a word stands on each
    side: always between two links; between others only before a capital, since <b>a wo</b><b>rd</b> is one word.
    """
    borders = []
    before, ended, border, name = "", "", -1, ""
    for index, token in enumerate(run):
        if token.kind == "text":
            text = html.unescape(token.source)
            is_word = len(before.strip()) > 1 and before[-1].isalpha() and text[:1].isalnum()
            if border >= 0 and is_word and (name in _LINKS or text[0].isupper()):
                borders.append(border)
            before, ended, border = text, "", -1
        elif token.kind == "end":
            ended = token.name
        elif token.kind == "start" and not _VOID.fullmatch(token.name):
            if ended == token.name and not (border >= 0 and name in _LINKS):
                border, name = index, ended
            ended = ""
        elif token.kind == "word":
            before, ended, border = "", "", -1
    return borders


def _left(name: str, tokens: Sequence[_Token]) -> str:
    """An element that is copied; with what a reader sees of it."""
    source = "".join(token.source for token in tokens)
    if name in _UNREAD and tokens[-1].kind == "end":  # without its end it hides the rest of the page
        return source
    texts = (token.source for token in tokens if token.kind in ("text", "rest"))
    return Left(source, html.unescape("".join(texts)))


def _segment(
    run: Sequence[_Token], raw: list[list[str | Segment]], own: str, original: list[str | Segment]
) -> Segment:
    codes, opened = Codes(own), [""]
    texts: list[str] = []
    closing = _closing(run)
    closed = frozenset(closing.values())
    for index, (kind, _, source) in enumerate(run):
        if kind == "text":
            texts.append(html.unescape(source))
        elif kind == "word":
            texts.append("{" + codes.add(Code("k", raw[index])) + "}")
        elif index in closing:
            opened.append(codes.add(Code("g", raw[index], run[closing[index]].source)))
            texts.append(f"<{opened[-1]}>")
        elif index in closed:
            texts.append(f"</{opened.pop()}>")
        else:  # a point, or a tag without its partner
            texts.append(f"<{codes.add(Code('x', raw[index]))}/>")
    text = "".join(texts)
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


def _closing(run: Sequence[_Token]) -> dict[int, int]:
    """Where each start tag's partner stands, for tags that are properly nested within the run."""
    partners: dict[int, int] = {}
    opened: list[int] = []
    names: Counter[str] = Counter()  # of what is opened
    for index, (kind, name, _) in enumerate(run):
        if kind == "start" and not _VOID.fullmatch(name):
            opened.append(index)
            names[name] += 1
        elif kind == "end" and names[name]:
            start = opened.pop()
            while run[start].name != name:  # never closed
                names[run[start].name] -= 1
                start = opened.pop()
            names[name] -= 1
            partners[start] = index
    return partners


def _tag_parts(name: str, source: str) -> list[str | Segment]:
    """A tag, with the attributes in it that people read as segments."""
    found = _attributes(source)
    values = _values(found)
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


def _attributes(source: str) -> list[tuple[re.Match[str], str]]:
    """The attributes of a tag, each with the name of the group that holds its value."""
    return [(match, match.lastgroup or "") for match in _ATTRIBUTE.finditer(source)]


def _values(found: list[tuple[re.Match[str], str]]) -> dict[str, str]:
    return {match[1].lower(): match[spelling].strip().lower() for match, spelling in found}


def _is_kept(source: str) -> bool:
    """Whether a tag says that its element is not to be translated."""
    if "translate" not in source.lower():
        return False
    values = _values(_attributes(source))
    return values.get("translate") == "no" or "notranslate" in values.get("class", "").split()


def _token_parts(token: _Token) -> list[str | Segment]:
    return _tag_parts(token.name, token.source) if token.kind in ("start", "empty") else [token.source]


def _attribute(spelling: str, text: str) -> str:
    if spelling == "single":
        return _escape(text).replace("'", "&#39;")
    value = _escape(text).replace('"', "&quot;")
    return value if spelling == "double" else f'"{value}"'  # one bare word may become several


def _escape(text: str) -> str:
    return html.escape(text, quote=False).replace("\xa0", "&nbsp;")
