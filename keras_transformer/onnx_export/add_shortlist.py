"""Learns a bundle's shortlist from parallel text, and puts it into the bundle."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from keras_transformer.onnx_export.lexicon import IdPairs, learn_lexicon, make_shortlist
from keras_transformer.onnx_export.publish import new_folder
from keras_transformer.onnx_export.quality import Pairs
from keras_transformer.runtime import names
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.runtime.manifest import FileRecord, Manifest, write_manifest
from keras_transformer.runtime.shortlist import Shortlist
from keras_transformer.text.tokenizer import Tokenizer

_ENCODED_AT_ONCE = 10_000


def learn_shortlist(
    tokenizer_path: Path, pairs: Pairs, report: Callable[[str], None] = lambda line: None
) -> Shortlist:
    """Learn from `pairs`, in the tokens of a model.

    Raises:
        UserError: no pair is one to learn from.
    """
    report(f"shortlist: learning from {len(pairs)} pairs")
    tokenizer = Tokenizer.from_file(tokenizer_path)
    lexicon = learn_lexicon(_encoded(tokenizer, pairs), tokenizer.vocabulary_size)
    special = (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id)  # an unknown token is not covered
    return make_shortlist(lexicon, special)


def write_shortlist(folder: Path, manifest: Manifest, shortlist: Shortlist) -> Manifest:
    """Write the file into a bundle's folder; returns the manifest that names it."""
    path = folder / names.SHORTLIST_FILE
    path.write_bytes(shortlist.to_bytes())
    return replace(manifest, shortlist=FileRecord.of(path))


def add_shortlist(folder: Path, pairs: Pairs, report: Callable[[str], None] = lambda line: None) -> Bundle:
    """Give the bundle in `folder` a shortlist, or another one.

    Raises:
        UserError: there is no bundle, it cannot be written, or no pair is one to learn from.
    """
    folder = folder.resolve()  # where it is the process's own, "." names no folder after it is replaced
    bundle = Bundle.open(folder)
    with new_folder(folder) as partial:
        shortlist = learn_shortlist(bundle.tokenizer_path, pairs, report)
        shutil.copytree(folder, partial, dirs_exist_ok=True)
        write_manifest(partial, write_shortlist(partial, bundle.manifest, shortlist))
    return Bundle.open(folder)


def _encoded(tokenizer: Tokenizer, pairs: Pairs) -> IdPairs:
    """Token ids in an order that mixes the sources of a corpus: not all of it may be read."""
    order = np.random.default_rng(0).permutation(len(pairs))
    for start in range(0, len(order), _ENCODED_AT_ONCE):
        some: Sequence[tuple[str, str]] = [pairs[row] for row in order[start : start + _ENCODED_AT_ONCE]]
        sides = (tokenizer.encode_batch([pair[side] for pair in some]) for side in (0, 1))
        yield from zip(*sides, strict=True)
