"""Joint BPE over both languages: one tokenizer.json serves training and translating.

Byte-pair encoding as in Sennrich et al. 2016, on Hugging Face `tokenizers`, with a byte token for every
character outside the alphabet, so that no text is unknown: ``decode(encode(x)) == normalise(x)``.
"""

import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

from keras_transformer.errors import UserError
from keras_transformer.text.alphabet import Alphabet

SPACE_MARK = "\u2581"  # stands for a space inside a token, as in SentencePiece
_SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<unk>")  # in the order of their ids
_BYTE_TOKENS = tuple(f"<0x{byte:02X}>" for byte in range(256))
_FIXED_TOKENS = _SPECIAL_TOKENS + _BYTE_TOKENS
_PRINTABLE_ASCII = frozenset(map(chr, range(33, 127)))
_ALPHABET_RATE = 1e-5  # a character rarer than once in 100,000 is spelled in bytes

# Words with their leading space; an apostrophe closes its word ("dell'" + "acqua"); every other mark
# and every digit stands alone. Merges never cross these borders, so the literal text "<pad>" or
# "<0x41>" can never become the token of that name.
_PIECES = (
    rf"{SPACE_MARK}?[^{SPACE_MARK}\p{{P}}\p{{S}}\p{{N}}]+['’]?"
    rf"|{SPACE_MARK}?[[\p{{P}}\p{{S}}\p{{N}}]&&[^{SPACE_MARK}]]"
    rf"|{SPACE_MARK}"
)


def normalise(text: str) -> str:
    """The text that a tokenizer keeps exactly.

    Surrogate pairs are joined and lone surrogates become U+FFFD; U+2581 becomes a space; then Unicode NFC.
    Nothing else changes: spaces, tabs, line ends and emoji stay as they are.

    Args:
        text: Any string.

    Returns:
        The normal form; `normalise` of it is itself.
    """
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # surrogates
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return unicodedata.normalize("NFC", text.replace(SPACE_MARK, " "))


class Tokenizer:
    """Text to token ids and back.

    The special ids never come out of `encode` and leave no trace in `decode`; a user's own "<pad>" is
    ordinary text.

    Args:
        backend: A `tokenizers.Tokenizer` with the special and byte tokens in its BPE vocabulary.

    Attributes:
        pad_id, bos_id, eos_id, unk_id: The special ids.
        alphabet: The characters that have a token of their own.

    Raises:
        UserError: the special or byte tokens are missing, or are added tokens.
    """

    def __init__(self, backend: Any) -> None:
        vocabulary: dict[str, int] = backend.get_vocab(with_added_tokens=False)
        missing = [token for token in _FIXED_TOKENS if token not in vocabulary]
        if missing:
            raise UserError(
                f"the tokenizer must hold the token {missing[0]!r}; it does not. "
                "Use a tokenizer.json written by `keras_transformer.fit`."
            )
        if added := sorted(token.content for token in backend.get_added_tokens_decoder().values()):
            raise UserError(
                f"the tokenizer must have no added tokens, since they would swallow a user's text, "
                f"got {added[0]!r}. Use a tokenizer.json written by `keras_transformer.fit`."
            )
        self._backend = backend
        self.pad_id, self.bos_id, self.eos_id, self.unk_id = (vocabulary[t] for t in _SPECIAL_TOKENS)
        self._special_ids = frozenset((self.pad_id, self.bos_id, self.eos_id, self.unk_id))
        self.alphabet = Alphabet(token for token in vocabulary if len(token) == 1)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> "Tokenizer":
        """Read a tokenizer.json.

        Raises:
            UserError: the file is missing or is not such a tokenizer; the message names it.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise UserError(
                f"no tokenizer at {path.absolute()}. Train one with `python -m keras_transformer.fit`."
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read the tokenizer {path.absolute()}: {error}.") from None
        try:
            return cls.from_json(text)
        except UserError as error:
            raise UserError(f"{path.absolute()}: {error}") from None

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        """Read the content of a tokenizer.json.

        Raises:
            UserError: the text is not such a tokenizer.
        """
        try:
            backend = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # noqa: BLE001 - the library raises bare Exception
            raise UserError(f"not a tokenizer.json: {error}.") from None
        return cls(backend)

    def to_json(self) -> str:
        """The content of tokenizer.json: the same tokenizer gives the same text."""
        return str(self._backend.to_str(pretty=True)) + "\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write tokenizer.json at `path`."""
        Path(path).write_text(self.to_json(), encoding="utf-8", newline="\n")

    @property
    def vocabulary_size(self) -> int:
        """Number of ids V, special and byte tokens counted."""
        return int(self._backend.get_vocab_size(with_added_tokens=False))

    def encode(self, text: str) -> list[int]:
        """Ids of `text` after `normalise`; no special ids; none for an empty text."""
        return list(self._backend.encode(normalise(text), add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, on all cores: the same as `encode` of each, much faster."""
        encodings = self._backend.encode_batch_fast([normalise(t) for t in texts], add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def encode_with_spans(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The ids of `encode`, and where each token stands in `text`: (start, end) in characters.

        The space before a word belongs to no token. A token that stands for a space alone has an empty span;
        several byte tokens of one character have its span each.
        """
        normal = normalise(text)
        encoding = self._backend.encode(normal, add_special_tokens=False)
        origins = _origins(text, normal)
        spans = []
        for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True):
            if token == SPACE_MARK:
                start = end = end if normal[start : start + 1] == " " else start
            elif token.startswith(SPACE_MARK):
                start += len(normal[start:end]) - len(normal[start:end].lstrip(" "))
            if start == end:
                place = origins[start][0]
                spans.append((place, place))
            else:
                spans.append((origins[start][0], origins[end - 1][1]))
        return list(encoding.ids), spans

    def decode(self, token_ids: Iterable[int]) -> str:
        """Text of `token_ids`; special ids are left out, byte runs that are not UTF-8 become U+FFFD.

        Raises:
            ValueError: an id is outside the vocabulary.
        """
        kept = []
        for token_id in map(int, token_ids):
            if not 0 <= token_id < self.vocabulary_size:
                raise ValueError(
                    f"`token_ids` must be in [0, {self.vocabulary_size}), got {token_id}. "
                    "Decode with the tokenizer that the model was trained with."
                )
            if token_id not in self._special_ids:
                kept.append(token_id)
        return str(self._backend.decode(kept, skip_special_tokens=False))

    def token(self, token_id: int) -> str:
        """The written form of one id, such as "▁casa" or "<0x0A>".

        Raises:
            ValueError: the id is outside the vocabulary.
        """
        if not 0 <= token_id < self.vocabulary_size:
            raise ValueError(
                f"`token_id` must be in [0, {self.vocabulary_size}), got {token_id}. "
                "Use the tokenizer that the model was trained with."
            )
        return str(self._backend.id_to_token(token_id))


def _origins(text: str, normal: str) -> list[tuple[int, int]]:
    """Of each character of `normal`, which is `normalise(text)`, the span of `text` it comes from; and the end."""
    if text == normal:
        spans = [(i, i + 1) for i in range(len(text))]
    else:
        # Characters join only with combining marks, jamo or surrogates behind them: cut before all others.
        starts = [i for i, character in enumerate(text) if i == 0 or not _joins(character)]
        spans = []
        for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
            spans += [(start, end)] * len(normalise(text[start:end]))
    if len(spans) != len(normal):  # a rule of Unicode that the cut does not know
        spans = [(0, len(text))] * len(normal)
    return [*spans, (len(text), len(text))]


def _joins(character: str) -> bool:
    return (
        unicodedata.combining(character) > 0
        or unicodedata.category(character) in ("Mn", "Mc", "Cs")
        or "\u1160" <= character <= "\u11ff"
    )


def train_tokenizer(sentences: Iterable[str], vocabulary_size: int) -> Tokenizer:
    """Learn a joint BPE from the training side of both languages.

    The same sentences give the same tokenizer, byte for byte. A small corpus may give fewer tokens than
    asked for: read `Tokenizer.vocabulary_size`.

    Args:
        sentences: Sentences of both languages. Gone over twice; an iterator is first held in memory.
        vocabulary_size: Largest number of ids V: 4 special, 256 bytes, the alphabet and the merges.

    Returns:
        The tokenizer.

    Raises:
        UserError: `vocabulary_size` leaves no room for the alphabet, or there is no text.
    """
    smallest = len(_FIXED_TOKENS) + 2 * len(_PRINTABLE_ASCII)
    if vocabulary_size < smallest:
        raise UserError(
            f"`vocabulary_size` must be at least {smallest} (256 bytes, specials and an alphabet), "
            f"got {vocabulary_size}. Raise model.vocabulary_size."
        )
    if isinstance(sentences, Iterator):
        sentences = list(sentences)
    alphabet = _alphabet(sentences, (vocabulary_size - len(_FIXED_TOKENS)) // 2)
    backend = tokenizers.Tokenizer(models.BPE())
    backend.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Replace(SPACE_MARK, " "),
            normalizers.Prepend(SPACE_MARK),
            normalizers.Replace(" ", SPACE_MARK),
        ]
    )
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(_PIECES), "isolated")
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace(SPACE_MARK, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    # The alphabet is chosen here: the trainer's own cut breaks ties by hash order.
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=2,
        special_tokens=list(_FIXED_TOKENS),
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    backend.train_from_iterator(map(normalise, sentences), trainer)
    # The trainer makes its special tokens AddedTokens, which would be found in any text: undo that.
    state = json.loads(backend.to_str())
    state["added_tokens"] = []
    state["model"]["byte_fallback"] = True
    return Tokenizer.from_json(json.dumps(state, ensure_ascii=False))


def _alphabet(sentences: Iterable[str], largest: int) -> list[str]:
    """Printable ASCII, the space mark and the frequent characters, most frequent first, at most `largest`."""
    counts: Counter[str] = Counter()
    for sentence in sentences:
        counts.update(normalise(sentence))
    if not counts:
        raise UserError("the tokenizer needs text to learn from, got none. Check the training corpus.")
    for blank in [character for character in counts if character.isspace()]:
        del counts[blank]  # a space is the mark; tabs and line ends are bytes
    always = sorted(_PRINTABLE_ASCII | {SPACE_MARK})
    floor = _ALPHABET_RATE * counts.total()
    frequent = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    others = [c for c, count in frequent if count >= floor and c not in _PRINTABLE_ASCII]
    return (always + others)[: max(largest, len(always))]
