"""The Transformer (section 3): encoder, decoder, tied projection; one cached decoding step."""

import contextlib
from pathlib import Path

import keras
import numpy as np
from keras import ops

from keras_transformer.config import ModelConfig
from keras_transformer.errors import UserError
from keras_transformer.generation import generate
from keras_transformer.layers import (
    DecoderLayer,
    Dropout,
    EncoderLayer,
    PositionalEncoding,
    TokenEmbedding,
)
from keras_transformer.layers.sub_layers import layer_norm


@keras.saving.register_keras_serializable("keras_transformer")
class Transformer(keras.Model):
    """Encoder-decoder Transformer (Vaswani et al. 2017, section 3).

    Weights are stacks of `EncoderLayer` and `DecoderLayer` over one tied `TokenEmbedding`. Dropout acts
    on each sub-layer's output and on embeddings plus positions (section 5.4).

    Args:
        config: ModelConfig.

    Call arguments:
        inputs: {"source_ids": int (B, S), "target_input_ids": int (B, T)}; right-padded with `pad_id`.
            Sources end with EOS; target inputs start with BOS.

    Returns:
        Logits, float (B, T, V): at t the scores of the token that follows target_input_ids[:, t].

    Raises:
        UserError: from ModelConfig, for a field that breaks its rule.
    """

    def __init__(self, config, **kwargs):
        super().__init__(**kwargs)
        self.config = config
        self.embedding = TokenEmbedding(
            config.vocabulary_size, config.model_dim, dtype=self.dtype_policy, name="embedding"
        )
        self.positional_encoding = PositionalEncoding(
            config.max_length, dtype=self.dtype_policy, name="positional_encoding"
        )
        self.dropout = Dropout(config.dropout_rate, dtype=self.dtype_policy, name="dropout")
        shared = {
            "num_heads": config.num_heads,
            "feed_forward_dim": config.feed_forward_dim,
            "dropout_rate": config.dropout_rate,
            "attention_dropout_rate": config.attention_dropout_rate,
            "norm_placement": config.norm_placement,
            "activation": config.activation,
            "dtype": self.dtype_policy,
        }
        self.encoder_layers = [
            EncoderLayer(**shared, name=f"encoder_layers_{i}") for i in range(config.num_encoder_layers)
        ]
        self.decoder_layers = [
            DecoderLayer(**shared, name=f"decoder_layers_{i}") for i in range(config.num_decoder_layers)
        ]
        if config.norm_placement == "pre":
            self.encoder_norm = layer_norm("encoder_norm", self.dtype_policy)
            self.decoder_norm = layer_norm("decoder_norm", self.dtype_policy)
        self._loss_projects = False
        # Keras averages its own loss by rows; a long batch must count for its tokens.
        self.token_loss = keras.metrics.Mean(name="token_loss")

    def build(self, input_shape=None):
        hidden_shape = (None, None, self.config.model_dim)
        self.embedding.build()
        for layer in (self.positional_encoding, *self.encoder_layers, *self.decoder_layers):
            layer.build(hidden_shape)
        if self.config.norm_placement == "pre":
            self.encoder_norm.build(hidden_shape)
            self.decoder_norm.build(hidden_shape)
        self.built = True

    def call(self, inputs, training=False):
        source_ids = inputs["source_ids"]
        encoder_outputs = self.encode(source_ids, training=training)
        source_padding_mask = self.padding_mask(source_ids)
        decode = self._decoder_outputs if self._loss_projects else self.decode
        return decode(inputs["target_input_ids"], encoder_outputs, source_padding_mask, training=training)

    def padding_mask(self, token_ids):
        """True where a token is real: bool (B, S) from int (B, S)."""
        return ops.not_equal(token_ids, self.config.pad_id)

    def encode(self, source_ids, training=False):
        """Encoder outputs (B, S, D) of `source_ids` int (B, S)."""
        mask = self.padding_mask(source_ids)
        hidden = self._embed(source_ids, 0, training)
        for layer in self.encoder_layers:
            hidden = layer(hidden, source_padding_mask=mask, training=training)
        return self.encoder_norm(hidden) if self.config.norm_placement == "pre" else hidden

    def decode(self, target_input_ids, encoder_outputs, source_padding_mask, training=False):
        """Logits (B, T, V) of all target positions at once."""
        hidden = self._decoder_outputs(target_input_ids, encoder_outputs, source_padding_mask, training)
        return self.embedding.project(hidden)

    def _decoder_outputs(self, target_input_ids, encoder_outputs, source_padding_mask, training):
        """What is projected to logits: float (B, T, D)."""
        hidden = self._embed(target_input_ids, 0, training)
        for layer in self.decoder_layers:
            hidden = layer(
                hidden, encoder_outputs, source_padding_mask=source_padding_mask, training=training
            )
        return self.decoder_norm(hidden) if self.config.norm_placement == "pre" else hidden

    def initial_caches(self, encoder_outputs, max_length):
        """A tuple of `LayerCache`, one a decoder layer, for `max_length` target positions."""
        return tuple(layer.initial_cache(encoder_outputs, max_length) for layer in self.decoder_layers)

    def decode_step(self, token_ids, position, caches, source_padding_mask):
        """Logits of one position and the caches after it.

        Args:
            token_ids: int (B, 1), the token at `position`.
            position: int scalar, 0-based.
            caches: From `initial_caches` or the step before.
            source_padding_mask: bool (B, S).

        Returns:
            Logits (B, V) and the new caches.
        """
        hidden = self._embed(token_ids, position, training=False)
        new_caches = []
        for layer, cache in zip(self.decoder_layers, caches, strict=True):
            hidden, cache = layer.step(hidden, cache, position, source_padding_mask)
            new_caches.append(cache)
        if self.config.norm_placement == "pre":
            hidden = self.decoder_norm(hidden)
        return self.embedding.project(hidden)[:, 0], tuple(new_caches)

    def generate(self, source_ids, max_length=None, sampler="greedy"):
        """Translations, with caches.

        Args:
            source_ids: int (B, S), each row ending with EOS, right-padded.
            max_length: Most target tokens, EOS counted; the default and the limit is `config.max_length`.
            sampler: "greedy", "beam", "top_k", "top_p" or "random" as in KerasHub; or with its arguments,
                {"class_name": "top_k", "config": {"k": 5, "temperature": 0.7, "seed": 3}}, or a KerasHub sampler.
                With a seed each call draws the same; without one `keras.utils.set_random_seed` decides.

        Returns:
            A list of B int arrays without BOS and EOS.

        Raises:
            ValueError: `max_length` is outside 1..config.max_length, or `sampler` is not one of these.
        """
        limit = self.config.max_length
        max_length = limit if max_length is None else max_length
        if not 1 <= max_length <= limit:
            raise ValueError(
                f"`max_length` must be in 1..{limit} (config.max_length), got {max_length}. Choose a value there."
            )
        return generate(self, np.asarray(source_ids), max_length, sampler)

    def train_step(self, *arguments):
        with self._loss_on_hidden():
            return super().train_step(*arguments)

    def test_step(self, *arguments):
        with self._loss_on_hidden():
            return super().test_step(*arguments)

    @contextlib.contextmanager
    def _loss_on_hidden(self):
        """In a step of `fit` or `evaluate` a loss that can do the projection itself gets the decoder's output.

        The step alone can know that nobody looks at the logits: metrics given to `compile` do.
        """
        self._loss_projects = (
            self._compile_metrics is None
            and "of_hidden" in vars(type(self.loss))  # a subclass may compute something else in `call`
            and self.loss.reduction == "mean_with_sample_weight"  # what `of_hidden` gives
            and self._compile_loss._user_loss_weights is None
        )
        try:
            yield
        finally:
            self._loss_projects = False

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        if y is not None and sample_weight is not None:  # a weight a sentence counts for each of its tokens
            weights = ops.convert_to_tensor(sample_weight)
            weights = weights[:, None] if len(weights.shape) == 1 else weights
            sample_weight = ops.broadcast_to(weights, ops.shape(y))  # (B, T)
        if self._loss_projects:
            loss = self.loss.of_hidden(y, y_pred, self.embedding.table, sample_weight, training)
            for penalty in self.losses:  # of the weights
                loss = loss + ops.cast(penalty, loss.dtype)
        else:
            loss = super().compute_loss(
                x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training
            )
        if y is not None:
            # Without weights every real target counts, as in LabelSmoothedCrossEntropy.
            weights = ops.not_equal(y, self.config.pad_id) if sample_weight is None else sample_weight
            self.token_loss.update_state(loss, sample_weight=ops.sum(ops.cast(weights, "float32")))
        return loss

    def _embed(self, token_ids, position, training):
        embedded = self.positional_encoding(self.embedding(token_ids), position=position)  # (B, T, D)
        return self.dropout(embedded, training=training)

    def named_weights(self):
        """The trainable variables by their published names, such as `decoder_layers/0/feed_forward/inner/bias`."""
        named = {}
        for layer in [self.embedding, *self.encoder_layers, *self.decoder_layers, *self._final_norms()]:
            prefix = layer.name.replace("_layers_", "_layers/")
            named.update(_named(layer, prefix))
        return named

    def _final_norms(self):
        return [self.encoder_norm, self.decoder_norm] if self.config.norm_placement == "pre" else []

    def save_safetensors(self, path):
        """Write the trainable weights, float32, to a safetensors file."""
        from safetensors.numpy import save_file

        arrays = {
            name: np.ascontiguousarray(ops.convert_to_numpy(variable.value), dtype=np.float32)
            for name, variable in self.named_weights().items()
        }
        save_file(arrays, str(path))

    def load_safetensors(self, path):
        """Set the weights from a file of `save_safetensors`, under any backend.

        Raises:
            UserError: the file is missing or damaged, or its names or shapes are not this model's.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        if not Path(path).is_file():
            raise UserError(f"`path` must be a safetensors file, found none at {path}. Train one with fit.")
        try:
            arrays = load_file(str(path))
        except SafetensorError as error:
            raise UserError(
                f"{path} must be whole, it is not: {error}. Bring it back or train it anew."
            ) from None
        named = self.named_weights()
        if arrays.keys() != named.keys():
            difference = sorted(arrays.keys() ^ named.keys())
            raise UserError(f"{path} must hold this model's weights; these names differ: {difference[:4]}.")
        for name, variable in named.items():  # all of them before the first is set: all or nothing
            if arrays[name].shape != tuple(variable.shape):
                raise UserError(
                    f"{path}: {name} must have shape {tuple(variable.shape)}, got {arrays[name].shape}. "
                    "Build the model with the sizes of its own model.json."
                )
        for name, variable in named.items():
            variable.assign(arrays[name])

    def get_config(self):
        return {**super().get_config(), "config": self.config.to_dict()}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        values = dict(config)
        return cls(ModelConfig.from_dict(values.pop("config")), **values)


def build_transformer(config, dtype=None):
    """A built `Transformer`: its weights exist before the first batch. `dtype` as in any Keras layer."""
    model = Transformer(config, dtype=dtype, name="transformer")
    model.build()
    return model


def _named(layer, prefix):
    """Variables below `layer` by path; every sub-layer's name is its attribute's meaning."""
    named = {f"{prefix}/{variable.name}": variable for variable in layer._trainable_variables}
    for child in layer._layers:
        named.update(_named(child, f"{prefix}/{child.name}"))
    return named
