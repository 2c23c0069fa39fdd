"""What a run starts from: its text as batches, and the weights and vocabulary of another run."""

import shutil

from keras_transformer.errors import UserError
from keras_transformer.run_folder import run_of
from keras_transformer.text.tokenizer import Tokenizer
from keras_transformer.training.batches import COMPILED_SHAPES, MAX_SHAPES, Batches
from keras_transformer.training.checkpoint import find_checkpoint, read_description
from keras_transformer.training.feeds import compiles_shapes


def source_checkpoint(config, folder):
    """The checkpoint to start from, its vocabulary copied into `folder`."""
    source = find_checkpoint(config.train.init_from)
    sizes, wanted = read_description(source)["model"], config.model.to_dict()
    # The vocabulary decides its own size and ids; dropout may be chosen anew.
    free = {
        "vocabulary_size",
        "pad_id",
        "bos_id",
        "eos_id",
        "unk_id",
        "dropout_rate",
        "attention_dropout_rate",
    }
    for name in wanted.keys() - free:
        if sizes[name] != wanted[name]:
            raise UserError(
                f"--init-from needs model.{name} = {sizes[name]!r} as in {source}, got {wanted[name]!r}. "
                "Leave --preset and CONFIG out, or give it the same sizes."
            )
    vocabulary = run_of(source) / "tokenizer.json"
    if not vocabulary.is_file():
        raise UserError(
            f"--init-from must be a run with its vocabulary, found none at {vocabulary}. Bring it back."
        )
    Tokenizer.from_file(vocabulary)  # refuses a damaged one
    shutil.copyfile(vocabulary, folder / "tokenizer.json")
    return source


def make_batches(pairs, model_config, train_config, max_shapes=None):
    """`Batches` of tokenised pairs, in the number of shapes that suits the backend where none is given."""
    suitable = COMPILED_SHAPES if compiles_shapes() else MAX_SHAPES
    return Batches(
        pairs.sources,
        pairs.targets,
        batch_tokens=train_config.batch_tokens,
        pad_id=model_config.pad_id,
        bos_id=model_config.bos_id,
        eos_id=model_config.eos_id,
        seed=train_config.seed,
        max_shapes=max_shapes or train_config.max_shapes or suitable,
    )
