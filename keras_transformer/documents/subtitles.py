"""Subtitles, SubRip (srt) and WebVTT (vtt): numbers, names, timings and notes are copied, cues translated.

A sentence over the lines of a cue is translated as one and broken into as many lines again. A sentence over
several cues is translated cue by cue. What stands in braces, "{\\i1}very{\\i0}", moves with its words as tags do.
"""

from __future__ import annotations

import html
import re
from functools import partial

from keras_transformer.documents.parts import Code, Codes, Left, Segment, written
from keras_transformer.text.segmentation import is_copied

_TIMING = re.compile(r"[ \t]*(?:\d+:)?\d+:\d+[.,]\d+[ \t]*-->")
_LINE_END = re.compile(r"(\r\n|\r|\n)")
_SPEAKER = re.compile(r"(?:<v[^<>]*>|\{\\(?![bisu]1\})[^{}]*\}|\s)*")  # <v Roger>, {\an8}
_TURN = re.compile(r"\s*(?:<[^<>]*>|\{\\[^{}]*\})*[-–—♪]")  # of a dialogue
_SENTENCE_END = re.compile(r"[.!?…][\"'”’»)]*(?:</[^<>]*>|\{\\[^{}]*\})*\s*\Z")
_OVERRIDE = re.compile(r"\{\\(?:([bisu])([01])|[^{}]*)\}")  # {\i1}, {\i0}; all others stand for a point
_BLOCK = re.compile(r"\ufeff?(?:WEBVTT|NOTE|STYLE|REGION)\b")  # up to a blank line, and never shown
# What stands for a character in WebVTT; but not for one that would look like a tag, or like such a reference.
_REFERENCE = re.compile(r"&(?!lt;|gt;|amp;(?:lt|gt);)#?\w+;")
_REFERRED = {"\xa0": "&nbsp;", "\u200e": "&lrm;", "\u200f": "&rlm;"}
_REFERS = re.compile(r"[\xa0\u200e\u200f]|&(?!lt;|gt;|amp;(?:lt|gt);|#\w+;)")
_BREAK = re.compile(r" (?![^<>]*>)(?![^{}]*\})")


def read(text: str) -> list[str | Segment]:
    """Cut subtitles into cues' text and all else."""
    pieces = _LINE_END.split(text)
    lines = list(zip(pieces[::2], [*pieces[1::2], ""], strict=True))
    parts: list[str | Segment] = []
    cue: list[tuple[str, str]] = []
    is_webvtt = text.startswith("WEBVTT")
    in_cue = in_block = False
    for (line, end), (following, _) in zip(lines, [*lines[1:], ("", "")], strict=True):
        is_timing = _TIMING.match(line) is not None
        # The number of the next cue, where no blank line stands before it.
        is_number = line.strip().isdecimal() and _TIMING.match(following) is not None
        if in_cue and line.strip() and not (is_timing or is_number):
            cue.append((line, end))
            continue
        parts += _cue(cue, is_webvtt)
        cue = []
        in_block = (in_block or _BLOCK.match(line) is not None) and bool(line.strip())
        # What stands neither in a cue nor in its name nor in a block belongs to nothing: a damaged timing.
        is_lost = not (is_timing or in_block or _TIMING.match(following))
        parts.append(Left(line + end, line) if is_lost else line + end)
        in_cue = is_timing
    return parts + _cue(cue, is_webvtt)


def _cue(lines: list[tuple[str, str]], is_webvtt: bool) -> list[str | Segment]:
    """The lines of a cue as segments: those of one sentence together."""
    parts: list[str | Segment] = []
    together: list[tuple[str, str]] = []
    for line, end in lines:
        if together and (_TURN.match(line) or _SENTENCE_END.search(together[-1][0])):
            parts += _sentence(together, is_webvtt)
            together = []
        together.append((line, end))
    return parts + (_sentence(together, is_webvtt) if together else [])


def _sentence(lines: list[tuple[str, str]], is_webvtt: bool) -> list[str | Segment]:
    first = lines[0][0]
    speaker = _SPEAKER.match(first)
    start = speaker.end() if speaker else 0
    texts = [first[start:], *(line for line, _ in lines[1:])]
    text = " ".join(line.strip() for line in texts)
    raw = "".join(line + end for line, end in lines)
    if is_webvtt:
        text = _REFERENCE.sub(_referred, text)
    if is_copied(_OVERRIDE.sub("", text)):
        return [raw]
    text, codes = _coded(text)
    ends = [end for _, end in lines]
    original = raw[start : len(raw) - len(ends[-1])]
    return [raw[:start], Segment(text, [original], partial(_broken, ends[:-1], is_webvtt, codes)), ends[-1]]


def _coded(text: str) -> tuple[str, Codes]:
    """The text with codes for overrides: pairs for what is switched on and, within what else is, off again."""
    overrides = list(_OVERRIDE.finditer(text))
    opened: list[int] = []
    closing: dict[int, int] = {}
    for index, override in enumerate(overrides):
        if override[2] == "1":
            opened.append(index)
        elif override[2] and opened and overrides[opened[-1]][1] == override[1]:
            closing[opened.pop()] = index
    codes, parts, position = Codes(text), [], 0
    closes: dict[int, str] = {}
    for index, override in enumerate(overrides):
        if index in closing:
            name = codes.add(Code("g", [override[0]], overrides[closing[index]][0]))
            closes[closing[index]] = f"</{name}>"
            code = f"<{name}>"
        else:
            code = closes.get(index) or f"<{codes.add(Code('x', [override[0]]))}/>"
        parts += [text[position : override.start()], code]
        position = override.end()
    return "".join([*parts, text[position:]]), codes


def _referred(reference: re.Match[str]) -> str:
    character = html.unescape(reference[0])
    return reference[0] if character in "<>" else character


def _broken(ends: list[str], is_webvtt: bool, codes: Codes, text: str) -> str:
    """A text over as many lines as there were, of like length, broken at spaces outside tags."""
    if is_webvtt:
        text = _REFERS.sub(lambda match: _REFERRED.get(match[0], "&amp;"), text)
    text = "".join(
        plain if code is None else code.closing if is_closing else written(code.opening)
        for plain, code, is_closing in codes.pieces(text)
    )
    rest, lines = " ".join(text.split()), []
    for index, end in enumerate(ends):
        spaces = [match.start() for match in _BREAK.finditer(rest)]
        if not spaces:
            break
        wanted = len(rest) / (len(ends) + 1 - index)
        place = min(spaces, key=lambda space: abs(space - wanted))
        lines.append(rest[:place] + end)
        rest = rest[place + 1 :]
    return "".join([*lines, rest])
