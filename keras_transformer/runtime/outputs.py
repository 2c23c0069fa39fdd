"""From the model's hypotheses for sentences to translations of texts.

What the model wrote for each text it was given becomes the outputs of a sentence, and the outputs of all
sentences become a translation, and the text so far of one that is not done.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from keras_transformer.decoding.steps import Hypothesis
from keras_transformer.runtime.results import Progress, ScoredText, Translation
from keras_transformer.runtime.scheduler import SearchOptions
from keras_transformer.text.layout import Document
from keras_transformer.text.reading import Settled
from keras_transformer.text.tokenizer import Tokenizer

OnProgress = Callable[[Progress], None]

_LINE_ENDS = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")


@dataclass(frozen=True)
class Output:
    """One hypothesis for a sentence: its text, the sum of its tokens' log-probabilities, their number, flags."""

    text: str
    log_prob: float | None
    num_tokens: int
    flags: frozenset[str]


Outputs = tuple[Output, ...]  # of one sentence, the best first


def on_one_line(text: str) -> str:
    """A sentence stays on its line, whatever the model wrote."""
    return _LINE_ENDS.sub(" ", text)


def to_output(found: Hypothesis, tokenizer: Tokenizer) -> Output:
    """What a hypothesis says."""
    flag = "cut_loop" if found.cut else "" if found.finished else "cut_length"
    text = on_one_line(tokenizer.decode(found.tokens.tolist())).strip()
    log_prob, num_tokens = None, 0
    if found.log_probs is not None:
        log_prob, num_tokens = float(found.log_probs.sum(dtype=np.float64)), len(found.log_probs)
    return Output(text, log_prob, num_tokens, frozenset({flag} - {""}))


class Report:
    """Tells `on_progress` about each sentence that is done."""

    def __init__(
        self, documents: Sequence[Document], outputs: dict[str, Outputs], on_progress: OnProgress
    ) -> None:
        self.is_one_text = len(documents) == 1
        self._document = documents[0] if documents else None
        self._outputs = outputs
        self._on_progress = on_progress
        self._counts: dict[str, int] = {}
        for document in documents:
            for sentence in document.sentences:
                self._counts[sentence] = self._counts.get(sentence, 0) + 1
        self._total = sum(self._counts.values())
        self._done = 0
        self._begun: list[str | None] = []  # the translations that the text so far holds
        self._text = ""
        for sentence in outputs:
            self._done += self._counts[sentence]
        if self._done:
            self._tell()

    def __call__(self, sentence: str) -> None:
        self._done += self._counts[sentence]
        self._tell()

    def _tell(self) -> None:
        if self.is_one_text and self._document is not None:
            known = len(self._begun)
            for sentence in self._document.sentences[known:]:
                if sentence not in self._outputs:
                    break
                self._begun.append(self._outputs[sentence][0].text or None)
            if len(self._begun) > known:
                self._text = self._document.text_so_far(self._begun)
        self._on_progress(Progress(self._done, self._total, self._text))


def settle(settled: Settled, found: dict[str, Outputs]) -> Outputs:
    """The hypotheses for a sentence, out of those for the texts that the model read."""
    if not settled.texts:
        return (Output("", None, 0, frozenset()),)
    outputs = []
    for rank, text in enumerate(settled.texts):
        used = [found[asked][min(rank, len(found[asked]) - 1)] for asked in settled.asked]
        if text is not None:
            log_probs = [output.log_prob for output in used if output.log_prob is not None]
            flags = settled.flags.union(*(output.flags for output in used))
            log_prob = sum(log_probs) if log_probs else None
            outputs.append(Output(text, log_prob, sum(output.num_tokens for output in used), flags))
    return tuple(outputs)


def put_together(
    text: str, document: Document, outputs: dict[str, Outputs], options: SearchOptions
) -> Translation:
    found = [outputs[sentence] for sentence in document.sentences]
    ranks = max(map(len, found), default=1) if options.num_hypotheses > 1 else 1
    texts: list[ScoredText] = []
    for rank in range(ranks):
        used = [of_one[min(rank, len(of_one) - 1)] for of_one in found]
        restored = document.put_together([output.text or None for output in used])
        if rank == 0:
            best = restored
            flags = restored.flags.union(*(output.flags for output in used))
            pairs = tuple(
                pair._replace(flags=tuple(sorted(output.flags if output.text else {*output.flags, "kept"})))
                for pair, output in zip(restored.pairs, used, strict=True)
            )
        if restored.text not in [other.text for other in texts]:
            texts.append(ScoredText(restored.text, _mean_log_prob(used)))
    return Translation(
        text=best.text,
        source=text,
        flags=tuple(sorted(flags)),
        score=texts[0].score if options.scores else None,
        hypotheses=tuple(texts) if options.num_hypotheses > 1 else (),
        sentences=pairs,
    )


def _mean_log_prob(outputs: Sequence[Output]) -> float:
    num_tokens = sum(output.num_tokens for output in outputs)
    return sum(output.log_prob or 0.0 for output in outputs) / num_tokens if num_tokens else 0.0
