"""The paper's building blocks as Keras layers; they use `keras` and `keras.ops` only.

Shape letters, everywhere: B batch, S source length, T target length, D model_dim, F feed_forward_dim,
H num_heads, K head_dim = D / H, V vocabulary. Batch first. Masks are boolean, True = may attend, and
are always passed explicitly: Keras's implicit masks are lost between stacked decoder layers.
"""

from keras_transformer.layers.attention import MultiHeadAttention
from keras_transformer.layers.decoder_layer import DecoderLayer, LayerCache
from keras_transformer.layers.dropout import Dropout
from keras_transformer.layers.embedding import TokenEmbedding
from keras_transformer.layers.encoder_layer import EncoderLayer
from keras_transformer.layers.feed_forward import FeedForward
from keras_transformer.layers.positional_encoding import PositionalEncoding

__all__ = [
    "DecoderLayer",
    "Dropout",
    "EncoderLayer",
    "FeedForward",
    "LayerCache",
    "MultiHeadAttention",
    "PositionalEncoding",
    "TokenEmbedding",
]
