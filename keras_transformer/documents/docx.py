"""Word documents: the text of paragraphs is translated, in the body, notes, comments, headers and footers.

A docx is a zip of XML. Its XML is read as a list of tags and text, not parsed into a tree and written again:
whatever is not a translated paragraph keeps its bytes (`word_xml`).
"""

from __future__ import annotations

import html
import io
import lzma
import re
import struct
import zipfile
import zlib
from xml.parsers import expat

from keras_transformer.documents.parts import Segment, written
from keras_transformer.documents.word_xml import read_xml
from keras_transformer.errors import UserError
from keras_transformer.text.segmentation import is_copied

_TRANSLATED = re.compile(r"word/(?:document|footnotes|endnotes|comments|header\d*|footer\d*)\.xml")
# Diagrams and charts hold text that is left as it is; so do formulas, readings (ruby) and descriptions of pictures.
_PICTURES = re.compile(r"word/(?:diagrams/data\d*|charts/chart(?:ex)?\d*)\.xml", re.IGNORECASE)
_LEFT = re.compile(
    r"<m:oMath(?:\s[^>]*)?>.*?</m:oMath>|<w:ruby(?:\s[^>]*)?>.*?</w:ruby>|<a:t(?:\s[^>]*)?>[^<]*</a:t>|<wp:docPr\s[^>]*?\bdescr=\"(?P<described>[^\"]+)\"",
    re.DOTALL,
)
_PICTURE_TEXT = re.compile(r"<[amw]:t(?:\s[^>]*)?>([^<]*)<")
_DAMAGED = (  # what zipfile raises for one; RuntimeError: encrypted, or of a compression it does not know
    zipfile.BadZipFile,
    expat.ExpatError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)
_LARGEST = 256 * 2**20  # bytes of XML in one file of the zip: more is a bomb


def read(data: bytes, name: str) -> tuple[dict[str, list[str | Segment]], list[str], zipfile.ZipFile]:
    """The parts of each XML file that holds text, the texts that are left as they are, and the zip.

    Raises:
        UserError: it is not a docx, or is damaged, even where nothing is to be translated: it is all written again.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        infos = [info for info in archive.infolist() if _TRANSLATED.fullmatch(info.filename)]
        if not any(info.filename == "word/document.xml" for info in infos):
            raise zipfile.BadZipFile("there is no word/document.xml in it")
        files, left = {}, []
        for info in infos:
            if info.file_size > _LARGEST:
                raise zipfile.BadZipFile(f"{info.filename} is larger than {_LARGEST // 2**20} MiB")
            content = archive.read(info)
            files[info.filename] = read_xml(content)
            left += _left(content)
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f"{damaged} in it is damaged")
        for info in archive.infolist():
            if _PICTURES.fullmatch(info.filename) and info.file_size <= _LARGEST:
                left += _left(archive.read(info))
    except _DAMAGED as error:
        reason = str(error) or "it is damaged"
        raise UserError(
            f"{name} must be a Word document (docx): {reason}. Save it again from a word processor."
        ) from None
    return files, left, archive


def _left(xml: bytes) -> list[str]:
    """What a reader sees of formulas, diagrams and charts, and the descriptions of pictures."""
    found = []
    for match in _LEFT.finditer(xml.decode("utf-8", "replace")):
        text = match["described"] or "".join(_PICTURE_TEXT.findall(match[0]))
        found.append(" ".join(html.unescape(text).split()))
    return [text for text in found if not is_copied(text)]


def write(files: dict[str, list[str | Segment]], archive: zipfile.ZipFile) -> bytes:
    """The zip again, with the translations there are; all other files, and all that is said of them, unchanged."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as new:
        new.comment = archive.comment
        for info in archive.infolist():
            content = archive.read(info)
            if info.filename in files:
                content = written(files[info.filename]).encode("utf-8")
            new.writestr(info, content)
    return target.getvalue()
