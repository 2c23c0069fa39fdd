"""What is compared: two models on two real corpora, and who trains them."""

from dataclasses import dataclass

from keras_transformer.config import ModelConfig

OURS = ("torch", "tensorflow", "jax")  # the backends
PEERS = ("plain-torch", "joeynmt", "joeynmt-own-batches")
SYSTEMS = (*OURS, *PEERS)

BATCH_TOKENS = 4096
ROUND = 8  # updates; under JAX each of their shapes must be compiled first
LABEL_SMOOTHING = 0.1
LEARNING_RATE = 1e-3  # constant: the schedule costs nothing and changes no speed
BETA_2, EPSILON = 0.98, 1e-9


@dataclass(frozen=True)
class Cell:
    """One model on one corpus.

    Attributes:
        name: Of rows and folders.
        train, valid: Source and target file below the data folder.
        languages: Their codes.
        pairs: Pairs of the corpus that are used, the first; 0 means all.
        model: Shape; `vocabulary_size` is an upper bound.
    """

    name: str
    train: tuple[str, str]
    valid: tuple[str, str]
    languages: tuple[str, str]
    pairs: int
    model: ModelConfig


CELLS = (
    Cell(
        "tiny",
        ("multi30k/train.lc.norm.tok.en.gz", "multi30k/train.lc.norm.tok.de.gz"),
        ("multi30k/val.lc.norm.tok.en.gz", "multi30k/val.lc.norm.tok.de.gz"),
        ("en", "de"),
        0,
        ModelConfig(
            vocabulary_size=10_000,
            model_dim=128,
            feed_forward_dim=256,
            num_heads=4,
            num_encoder_layers=4,
            num_decoder_layers=4,
            dropout_rate=0.3,
            norm_placement="pre",
        ),
    ),
    Cell(
        "small",
        ("en-it/train.en.gz", "en-it/train.it.gz"),
        ("en-it/valid.en", "en-it/valid.it"),
        ("en", "it"),
        60_000,
        ModelConfig(
            vocabulary_size=8_000,
            model_dim=256,
            feed_forward_dim=1024,
            num_heads=8,
            num_encoder_layers=6,
            num_decoder_layers=2,
            dropout_rate=0.1,
            norm_placement="pre",
        ),
    ),
)
