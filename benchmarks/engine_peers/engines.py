"""Two engines behind one interface: token ids in, token ids out, each in its own process.

Nothing here imports an engine before it is opened: the time to the first translation counts its imports.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

BEAM_SIZE = 4
LENGTH_PENALTY = 0.6
SPECIAL_IDS = {0: "<pad>", 1: "<s>", 2: "</s>", 3: "<unk>"}  # of the shipped tokenizer
PAD_ID, BOS_ID, EOS_ID = 0, 1, 2
Rows = Sequence[Sequence[int]]


class PeerEngine(Protocol):
    """What a worker drives."""

    def first(self, sentence: str) -> str:
        """Translate one sentence from text to text, the way its users do."""
        ...

    def translate(self, rows: Rows, beam_size: int, max_batch_tokens: int) -> list[list[int]]:
        """The best output of each source, EOS counted in the source and not in the output.

        All rows come in one call. `max_batch_tokens` is for an engine that has to be told how to cut a file
        into batches; 0: one batch.
        """
        ...

    def choices(self, rows: Rows, outputs: Rows) -> list[list[int]]:
        """What this engine finds likeliest after each prefix of the other's greedy `outputs`, EOS counted.

        The outputs themselves if, and only if, its own greedy search would write them. An engine that writes
        the outputs is given none and returns them.
        """
        ...


class Ours:
    """This project's engine, with as many batches at a time as the translator would run."""

    def __init__(self, bundle: Path, precision: str, threads: int) -> None:
        from keras_transformer.runtime.bundle import Bundle
        from keras_transformer.runtime.scheduler import Scheduler
        from keras_transformer.runtime.sessions import Engine

        self._bundle = Bundle.open(bundle)
        self._engine = Engine.load(self._bundle, "cpu", threads, precision=precision)
        self._scheduler = Scheduler(self._engine, self._bundle.manifest, num_workers=threads)

    def first(self, sentence: str) -> str:
        from keras_transformer.runtime.translator import Translator
        from keras_transformer.text.tokenizer import Tokenizer

        tokenizer = Tokenizer.from_file(self._bundle.tokenizer_path)
        return Translator(self._engine, tokenizer, self._bundle.manifest).translate(sentence).text

    def translate(self, rows: Rows, beam_size: int, max_batch_tokens: int) -> list[list[int]]:
        import numpy as np

        from keras_transformer.runtime.scheduler import SearchOptions

        outputs: list[list[int]] = [[]] * len(rows)

        def take(ended: Any) -> None:
            outputs[ended.row] = ended.hypotheses[0].tokens.tolist()

        options = SearchOptions(beam_size, LENGTH_PENALTY)
        self._scheduler.run([np.array(row, np.int64) for row in rows], options, take)
        return outputs

    def choices(self, rows: Rows, outputs: Rows) -> list[list[int]]:
        import numpy as np

        longest = max(map(len, outputs))
        fed = np.full((len(outputs), longest), PAD_ID, np.int64)
        for row, tokens in zip(fed, outputs, strict=True):
            row[: len(tokens)] = [BOS_ID, *tokens[:-1]]
        state = self._engine.start([np.array(row, np.int64) for row in rows], longest)
        chosen = state.feed(fed).argmax(axis=-1)  # (B, T)
        return [row[: len(tokens)].tolist() for row, tokens in zip(chosen, outputs, strict=True)]


class CTranslate2:
    """The peer. Greedy search asks for no scores; a file is cut and sorted by its own batching."""

    def __init__(self, folder: Path, tokenizer: Path, precision: str, threads: int, workers: int) -> None:
        import ctranslate2

        self._tokenizer_path = tokenizer
        self._ids = {token: index for index, token in SPECIAL_IDS.items()}
        self._model = ctranslate2.Translator(
            str(folder),
            compute_type={"fp32": "float32", "int8": "int8"}[precision],
            inter_threads=workers,
            intra_threads=threads // workers,
        )

    def first(self, sentence: str) -> str:
        from keras_transformer.text.tokenizer import Tokenizer

        tokenizer = Tokenizer.from_file(self._tokenizer_path)
        return tokenizer.decode(self.translate([[*tokenizer.encode(sentence), EOS_ID]], 1, 0)[0])

    def translate(self, rows: Rows, beam_size: int, max_batch_tokens: int) -> list[list[int]]:
        return self._translate(rows, beam_size, max_batch_size=max_batch_tokens, batch_type="tokens")

    def choices(self, rows: Rows, outputs: Rows) -> list[list[int]]:
        return self._translate(rows, 1, return_end_token=True)

    def _translate(self, rows: Rows, beam_size: int, **options: object) -> list[list[int]]:
        results = self._model.translate_batch(
            [[SPECIAL_IDS.get(index) or str(index) for index in row] for row in rows],
            beam_size=beam_size,
            length_penalty=LENGTH_PENALTY if beam_size > 1 else 1.0,
            max_input_length=0,
            max_decoding_length=2 * max(map(len, rows)) + 10,
            **options,
        )
        ids = self._ids
        return [
            [ids[token] if token in ids else int(token) for token in result.hypotheses[0]]
            for result in results
        ]
