"""What the tests of this room share: a translator that needs no model, and small files of each format."""

from __future__ import annotations

import io
import zipfile

from keras_transformer.decoding.cancellation import Cancellation
from keras_transformer.runtime.results import Translation
from keras_transformer.text.layout import take_apart
from keras_transformer.text.reading import Readings

WORDPROCESSING = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


class Shouting:
    """The whole way through `text`, with a model that answers in capitals and knows no word."""

    fingerprint = "shouting"

    def __init__(self, speak=str.upper, fail_after=None):
        self.speak = speak
        self.texts: list[str] = []
        self.fail_after = fail_after

    def translate(self, text, *, beam_size=1, length_penalty=0.6, cancellation: Cancellation | None = None):
        found = []
        for one in text:
            if cancellation is not None:
                cancellation.check()
            if self.fail_after is not None and len(self.texts) >= self.fail_after:
                raise KeyboardInterrupt
            self.texts.append(one)
            found.append(self._translate(one))
        return found

    def _translate(self, text):
        document = take_apart(text, "en", lambda sentence: True)
        readings = Readings(list(dict.fromkeys(document.sentences)), "en", "it", lambda text: True)
        while asks := readings.asks():
            for ask in asks:
                readings.take(ask, [self.speak(ask)])
        texts = [readings.settled[sentence].texts for sentence in document.sentences]
        restored = document.put_together([found[0] if found else None for found in texts])
        return Translation(restored.text, text, tuple(sorted(restored.flags)))


def word_document(body: str, **others: str) -> bytes:
    """A docx with `body` in its body; `others` are further files, "__" for "/" and "_xml" at the end."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", word_xml(body))
        for name, content in others.items():
            archive.writestr(f"word/{name}.xml", content)
        archive.writestr("word/media/image1.png", bytes(range(256)))
    return target.getvalue()


def word_xml(body: str) -> str:
    return (
        f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\r\n<w:document xmlns:w="{WORDPROCESSING}">'
        f"<w:body>{body}</w:body></w:document>"
    )


def read_word(data: bytes, name: str = "word/document.xml") -> str:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(name).decode()
