"""A model without a network: every sentence in capitals, word by word, with an attention one can work out."""

import re

from desktop_app.inspection import Alternative, Attention, Place, words
from desktop_app.service import Answer, LoadedModel
from keras_transformer.decoding.cancellation import Cancellation

_SENTENCE = re.compile(r"[^.!?\n]*[^.!?\n\s][^.!?\n]*[.!?]*")


def shout(text, cancellation=None, on_progress=None):
    """The text in capitals, with the place of each sentence."""
    places = []
    for match in _SENTENCE.finditer(text):
        begin = match.start() + len(match[0]) - len(match[0].lstrip())
        places.append(Place(begin, match.end(), begin, match.end()))
    return Answer(text.upper(), (), tuple(places))


class ScriptedInspector:
    """Head 1 looks at the word itself (0.8), head 2 at the next one; the rest goes to the sentence's end."""

    def __init__(self):
        self.asked = []

    def attention(self, source, target):
        self.asked.append(("attention", source, target))
        spans = [*words(source), (len(source), len(source))]
        rows = [*words(target), (len(target), len(target))]
        size = len(spans)

        def head(step):
            table = []
            for row in range(len(rows)):
                values = [0.0] * size
                values[-1] += 0.2
                values[min(row + step, size - 1)] += 0.8
                table.append(tuple(values))
            return tuple(table)

        return Attention(tuple(spans), tuple(rows), (head(0), head(1)))

    def confidence(self, source, target):
        """The first word is sure, the second is not, the third half."""
        return [(span, (0.9, 0.1, 0.4)[number % 3]) for number, span in enumerate(words(target))]

    def alternatives(self, source, target, begin):
        self.asked.append(("alternatives", source, target, begin))
        present = next(target[b:e] for b, e in words(target) if b == begin)
        others = [Alternative(word, 0.1) for word in ("ALPHA", "BETA", "GAMMA", "DELTA")]
        return [Alternative(present, 0.6), *others]

    def choose(self, source, target, begin, word):
        """What comes after the word is 'translated again': into small letters."""
        end = next(e for b, e in words(target) if b == begin)
        return target[:begin] + word + target[end:].lower()

    def forget(self):
        self.asked.append(("forget",))


def scripted_model(translate=None, **facts):
    """A loaded model whose translation is the text in capitals, or what `translate` says."""
    values = {
        "new_cancellation": Cancellation, "source_language": "en", "target_language": "it",
        "device": "cpu", "precision": "int8", "inspector": ScriptedInspector(), **facts,
    }  # fmt: skip
    return LoadedModel(translate or shout, **values)
