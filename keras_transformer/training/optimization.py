"""What is optimised and how: the model with the paper's optimizer, and the float32 twin that is published."""

from types import MethodType

import keras
import numpy as np
from keras import ops

from keras_transformer.model import build_transformer
from keras_transformer.training.accumulation import AccumulatingTransformer
from keras_transformer.training.feeds import compiles_shapes, has_gpu
from keras_transformer.training.losses import LabelSmoothedCrossEntropy
from keras_transformer.training.replicas import Replicas
from keras_transformer.training.schedule import WarmupInverseSquareRoot


def compiled_model(model_config, train_config, replicas=None):
    """A built and compiled `Transformer` with the paper's optimizer, loss and schedule, on all `replicas`."""
    replicas = replicas or Replicas()
    with replicas.scope():
        dtype = precision(train_config)
        if train_config.accumulate_steps > 1 or replicas.steps:
            model = AccumulatingTransformer(
                model_config, train_config.accumulate_steps, replicas, dtype=dtype, name="transformer"
            )
            model.build()
        else:
            model = build_transformer(model_config, dtype=dtype)
        optimizer = keras.optimizers.Adam(
            schedule(model_config, train_config),
            beta_1=0.9,
            beta_2=train_config.beta_2,
            epsilon=train_config.epsilon,
            global_clipnorm=train_config.clip_norm or None,
            use_ema=train_config.ema_decay > 0,
            ema_momentum=train_config.ema_decay,
        )
        # On the instance: a subclass would not get the form of Adam that Keras has for torch, all weights at once.
        optimizer._update_model_variables_moving_average = MethodType(move_averages, optimizer)
        if keras.config.backend() == "torch":
            from keras_transformer.training import torch_adam

            if torch_adam.fits(model.trainable_variables):
                optimizer._parallel_update_step = MethodType(torch_adam.update_all, optimizer)
        if replicas.steps:  # the gradients are the replicas' sums already: Keras would clip before it adds up
            optimizer._all_reduce_sum_gradients = MethodType(_summed_already, optimizer)
        model.compile(
            optimizer=optimizer,
            loss=LabelSmoothedCrossEntropy(train_config.label_smoothing, model_config.pad_id),
            jit_compile=_jit(train_config.jit_compile, replicas),
        )
        model.optimizer.build(model.trainable_variables)  # its state is saved before the first update
    return model


def _summed_already(optimizer, grads_and_vars):
    return grads_and_vars


def move_averages(optimizer, trainable_variables):
    """The moving averages after an update, as Keras has them, with the momentum made once.

    Keras makes it anew for each weight, from Python numbers: under torch on a GPU three copies from the host for
    each, some four hundred of an update, which waits for every one.
    """
    if optimizer.use_ema:
        momentum = ops.cast(ops.not_equal(optimizer.iterations, 0), "float32") * optimizer.ema_momentum
        rest = 1.0 - momentum
        averages = optimizer._model_variables_moving_average
        for variable, average in zip(trainable_variables, averages, strict=True):
            average.assign(
                ops.cast(momentum, average.dtype) * average + ops.cast(rest, average.dtype) * variable
            )


def schedule(model_config, train_config):
    """The learning rate by update."""
    return WarmupInverseSquareRoot(
        model_config.model_dim,
        train_config.warmup_steps,
        factor=train_config.learning_rate,
        max_steps=train_config.max_steps,
        cooldown_steps=train_config.cooldown_steps,
    )


def float32_twin(model_config, train_config):
    """What is decoded, scored and saved: computed in float32, however the weights are trained."""
    twin = build_transformer(model_config, dtype="float32")
    twin.compile(
        loss=LabelSmoothedCrossEntropy(train_config.label_smoothing, model_config.pad_id),
        jit_compile=_jit(train_config.jit_compile, Replicas()),
    )
    return twin


def publish_weights(model, twin):
    """Give `twin` the weights of `model`, or their moving average where the optimizer keeps one."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # float16 wraps it
    values = optimizer._model_variables_moving_average if optimizer.use_ema else model.trainable_variables
    for variable, value in zip(twin.trainable_variables, values, strict=True):
        # Through NumPy: JAX gives the model's own buffers away at its next update, and of several processes one
        # alone may not compute with arrays that belong to all.
        variable.assign(np.array(ops.convert_to_numpy(value.value), "float32"))


def sync_state(model):
    """Inside `fit` JAX keeps the state beside the model: bring it back where a callback reads or writes it."""
    if keras.config.backend() == "jax":
        model.jax_state_sync()


def precision(train_config):
    """The Keras dtype policy of `train.precision`."""
    if train_config.precision != "auto":
        return train_config.precision
    return "mixed_bfloat16" if has_gpu() else "float32"


def _jit(jit_compile, replicas):
    if jit_compile != "auto":
        return jit_compile == "on"
    # XLA compiles no sums between TensorFlow's replicas.
    return compiles_shapes() and (keras.config.backend() == "jax" or replicas.count == 1)
