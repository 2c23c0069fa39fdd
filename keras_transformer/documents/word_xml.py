"""The XML of a Word document: paragraphs as segments, every other byte as it stands.

A stretch of one format becomes one run in that format; pictures, breaks, fields and links keep their place
between the words.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.parsers import expat

from keras_transformer.documents.parts import Code, Codes, LostCode, Segment, written
from keras_transformer.text.segmentation import is_copied

_TOKEN = re.compile(
    r"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<\?.*?\?>|<(?:[^<>\"']|\"[^\"]*\"|'[^']*')*>|[^<]+", re.DOTALL
)
_NAME = re.compile(r"<(/?)([^\s/>]+)")
# Around runs: their start and end stay around the words of the runs.
_WRAPPERS = frozenset(
    [
        "w:hyperlink",
        "w:ins",
        "w:moveTo",
        "w:smartTag",
        "w:fldSimple",
        "w:customXml",
        "w:sdt",
        "w:bdo",
        "w:dir",
    ]
)
_SEPARATORS = {"w:tab": "\t", "w:ptab": "\t", "w:br": "\n", "w:cr": "\n"}  # as the translator sees them
_SEPARATOR = re.compile(r"([\t\n])")
_SPACES = re.compile(r"[\t\r\n]+")
_WHITE = " \t\r\n"  # of XML; a no-break space is text
_FIELD = frozenset(["begin", "separate", "end"])
_FORMAT = "a run's format"  # marks a code that is written with each run, not around them


def read_xml(data: bytes) -> list[str | Segment]:
    """Cut one XML file into paragraphs and all else.

    Raises:
        expat.ExpatError: it is not well-formed.
        UnicodeDecodeError: it is not UTF-8.
    """
    text = data.decode("utf-8")
    expat.ParserCreate().Parse(data, True)
    return _parts(_tokens(text))


def _tokens(text: str) -> list[str]:
    """Tags, text and all else; white space that lays the XML out, for it is no text, goes with what it follows."""
    tokens: list[str] = []
    in_text = False
    for token in _TOKEN.findall(text):
        if tokens and not in_text and not token.strip(_WHITE):
            tokens[-1] += token
            continue
        name = _name(token)
        in_text = (in_text and name != "/w:t") or (name == "w:t" and not _is_empty(token))
        tokens.append(token)
    return tokens


def _parts(tokens: Sequence[str]) -> list[str | Segment]:
    parts: list[str | Segment] = []
    index = 0
    while index < len(tokens):
        if _name(tokens[index]) == "w:p" and not _is_empty(tokens[index]):
            end = _element_end(tokens, index)
            parts += [tokens[index], *_paragraph(tokens[index + 1 : end - 1]), tokens[end - 1]]
            index = end
        else:
            parts.append(tokens[index])
            index += 1
    return parts


@dataclass(frozen=True)
class _Text:
    """Text of one format: the start tags of its run and of the text, the run's properties."""

    run: str
    properties: str
    tag: str
    text: str


@dataclass(frozen=True)
class _Other:
    """What stands between texts.

    `kind` is "open" or "close" of something around runs, "point", or a separator character.
    """

    kind: str
    parts: list[str | Segment]


def _paragraph(tokens: Sequence[str]) -> list[str | Segment]:
    """The content of one paragraph: one segment, or copied where there is no text to translate."""
    before: list[str | Segment] = []  # properties, bookmarks: what stands before the first text
    original: list[str | Segment] = []
    content: list[_Text | _Other] = []
    index = 0
    while index < len(tokens):
        found, end = _item(tokens, index)
        content += found[0]
        original += found[1]
        index = end
        if all(isinstance(item, _Other) and item.kind == "point" for item in content):
            before += original
            content, original = [], []
    own = "".join(item.text for item in content if isinstance(item, _Text))
    return [*before, *(original if is_copied(own) else [_segment(_fields(content), original, own)])]


_Found = tuple[list[_Text | _Other], list[str | Segment]]  # what it means, and as it stands


def _item(tokens: Sequence[str], index: int) -> tuple[_Found, int]:
    """One child of a paragraph, and where the next one begins."""
    name, end = _name(tokens[index]), _element_end(tokens, index)
    if name == "w:r":
        return _run(tokens[index:end]), end
    raw: list[str | Segment]
    if name in _WRAPPERS and end > index + 1:
        inner, last = index + 1, end - 1
        if _name(tokens[inner]) == name + "Pr":
            inner = _element_end(tokens, inner)
        if name == "w:sdt":
            while inner < last and _name(tokens[inner]) != "w:sdtContent":
                inner = _element_end(tokens, inner)
            inner += 1
        if inner <= last:  # else an sdt without content, which is a point
            raw = ["".join(tokens[index:inner])]
            return ([_Other("open", raw)], raw), inner
    if name.startswith("/"):
        while name == "/w:sdtContent" and _name(tokens[end]) != "/w:sdt":
            end = _element_end(tokens, end)
        end += name == "/w:sdtContent"
        raw = ["".join(tokens[index:end])]
        return ([_Other("close", raw)], raw), end
    raw = _parts(tokens[index:end])
    return ([_Other("point", raw)], raw), end


def _run(tokens: Sequence[str]) -> _Found:
    """The texts and the other things in a run."""
    start, index, properties = tokens[0], 1, ""
    if len(tokens) < 3:
        return [_Other("point", [*tokens])], [*tokens]
    if _name(tokens[1]) == "w:rPr":
        index = _element_end(tokens, 1)
        properties = "".join(token.strip(_WHITE) for token in tokens[1:index])  # runs are compared by them
    found: list[_Text | _Other] = []
    raw: list[str | Segment] = [*tokens[:index]]
    while index < len(tokens) - 1:
        end, name = _element_end(tokens, index), _name(tokens[index])
        if name == "w:t":
            text = _SPACES.sub(" ", "".join(map(_characters, tokens[index + 1 : end - 1])))
            found.append(_Text(start, properties, tokens[index], text))
            raw += tokens[index:end]
        else:
            inner = _parts(tokens[index:end])
            kind = _SEPARATORS.get(name, "point")
            if name == "w:fldChar":
                kind = next(
                    (word for word in ("begin", "separate", "end") if f'"{word}"' in tokens[index]), kind
                )
            found.append(_Other(kind, [start, properties, *inner, "</w:r>"]))
            raw += inner
        index = end
    return found, [*raw, tokens[-1]]


def _fields(content: Sequence[_Text | _Other]) -> list[_Text | _Other]:
    """Fields as pairs around their results; one without a result, or not ended here, as points."""
    found: list[_Text | _Other] = []
    started: list[tuple[int, bool]] = []  # where in `found`, and whether its result has begun
    for item in content:
        kind = item.kind if isinstance(item, _Other) else ""
        if kind == "begin":
            started.append((len(found), False))
        elif kind == "separate" and started and not started[-1][1]:
            place = started.pop()[0]
            parts = [
                part for other in (*found[place:], item) if isinstance(other, _Other) for part in other.parts
            ]
            started.append((place, True))
            found[place:] = [_Other("open", parts)]
            continue
        elif kind == "end" and started:
            place, has_result = started.pop()
            if has_result and isinstance(item, _Other):
                found.append(_Other("close", item.parts))
            else:
                parts = [
                    part
                    for other in (*found[place:], item)
                    if isinstance(other, _Other)
                    for part in other.parts
                ]
                found[place:] = [_Other("point", parts)]
            continue
        found.append(_Other("point", item.parts) if isinstance(item, _Other) and kind in _FIELD else item)
    return found


def _segment(content: list[_Text | _Other], original: list[str | Segment], own: str) -> Segment:
    """One segment: the most used format is written without codes, every other between the codes of a pair."""
    formats: Counter[str] = Counter()
    tags: dict[str, _Text] = {}
    for item in content:
        if isinstance(item, _Text):
            formats[item.properties] += len(item.text)
            tags.setdefault(item.properties, item)
    base = formats.most_common(1)[0][0]
    codes, parts, opened = Codes(own), [""], [""]
    separators: list[list[str | Segment]] = []
    partners = _partners(content)
    current = base
    for index, item in enumerate(content):
        properties = item.properties if isinstance(item, _Text) else base
        if properties != current and (
            isinstance(item, _Text) or index in partners or index in partners.values()
        ):
            if current != base:
                parts.append(f"</{opened.pop()}>")
            if properties != base:
                opened.append(codes.add(Code("g", [properties], _FORMAT)))
                parts.append(f"<{opened[-1]}>")
            current = properties
        if isinstance(item, _Text):
            parts.append(item.text)
        elif item.kind in _SEPARATORS.values():
            parts.append(item.kind)
            separators.append(item.parts)
        elif index in partners:
            closing = content[partners[index]]
            end = written(closing.parts) if isinstance(closing, _Other) else ""
            opened.append(codes.add(Code("g", item.parts, end)))
            parts.append(f"<{opened[-1]}>")
        elif index in partners.values():
            parts.append(f"</{opened.pop()}>")
        else:
            parts.append(f"<{codes.add(Code('x', item.parts))}/>")
    if current != base:
        parts.append(f"</{opened.pop()}>")
    text = "".join(parts)
    bare = text.strip()
    start = text.index(bare)

    def render(translation: str) -> str:
        whole = text[:start] + translation + text[start + len(bare) :]
        if len(_SEPARATOR.findall(whole)) != len(separators):
            raise LostCode
        return _rendered(codes.pieces(whole), tags, base, iter(separators))

    return Segment(bare, original, render)


def _rendered(
    pieces: Sequence[tuple[str, Code | None, bool]],
    tags: dict[str, _Text],
    base: str,
    separators: Iterator[list[str | Segment]],
) -> str:
    """The XML of a translated paragraph."""
    parts: list[str] = []
    formats = [base]
    for plain, code, is_closing in pieces:
        if code is None:
            for text in filter(None, _SEPARATOR.split(plain)):
                parts.append(
                    written(next(separators)) if text in "\t\n" else _run_of(text, tags[formats[-1]])
                )
        elif code.closing == _FORMAT:
            if is_closing:
                formats.pop()
            else:
                formats.append(written(code.opening))
        else:
            parts.append(code.closing if is_closing else written(code.opening))
    return "".join(parts)


def _run_of(text: str, like: _Text) -> str:
    tag = like.tag if text == text.strip() or "preserve" in like.tag else '<w:t xml:space="preserve">'
    return f"{like.run}{like.properties}{tag}{_escape(text)}</w:t></w:r>"


def _partners(content: Sequence[_Text | _Other]) -> dict[int, int]:
    """Where each opening's closing stands, within the same paragraph."""
    partners: dict[int, int] = {}
    opened: list[int] = []
    for index, item in enumerate(content):
        if isinstance(item, _Other) and item.kind == "open":
            opened.append(index)
        elif isinstance(item, _Other) and item.kind == "close" and opened:
            partners[opened.pop()] = index
    return partners


def _characters(token: str) -> str:
    """What a token between tags says."""
    if token.startswith("<![CDATA["):
        return token[len("<![CDATA[") : -len("]]>")]
    return "" if token.startswith("<") else html.unescape(token)


def _escape(text: str) -> str:
    return html.escape(text, quote=False)


def _name(token: str) -> str:
    """Of a tag: "w:p", "/w:p"; of all else ""."""
    match = _NAME.match(token)
    return match[1] + match[2] if match and not token.startswith(("<!", "<?")) else ""


def _is_empty(token: str) -> bool:
    """Whether a tag is an element without content."""
    return token.rstrip(_WHITE).endswith("/>")


def _element_end(tokens: Sequence[str], start: int) -> int:
    """The token after the element that starts at `start`; after the token itself if none starts there."""
    name = _name(tokens[start])
    if not name or name.startswith("/") or _is_empty(tokens[start]):
        return start + 1
    depth = 0
    for index in range(start, len(tokens)):
        other = _name(tokens[index])
        if other == name and not _is_empty(tokens[index]):
            depth += 1
        elif other == "/" + name:
            depth -= 1
            if depth == 0:
                return index + 1
    return len(tokens)
