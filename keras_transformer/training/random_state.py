"""The random numbers of an update, which follow from the seed and the update's number alone.

Dropout is drawn from Keras's seed generators, variables of the model that a resume point keeps; on torch's GPU,
and where layers of Keras draw it, from torch's global generator, which data loaders and evaluations use too: only a
seed before each update makes a run the same whatever happened between its updates.
"""

import keras
import numpy as np


def seed_update(seed, step, rank=0):
    """Fix what update `step` of a run with `seed` draws from a global generator, in the process `rank`."""
    if keras.config.backend() == "torch":
        import torch

        numbers = np.random.SeedSequence((seed, step), spawn_key=(rank,) if rank else ())
        torch.manual_seed(int(numbers.generate_state(1, np.uint64)[0] >> 1))


def seed_layers(model, rank):
    """Let the layers of each replica of the process `rank` draw for themselves: all have the state of the first one.

    Under JAX there is one draw for the whole batch.
    """
    backend = keras.config.backend()
    if backend == "jax":
        return
    for layer in model._flatten_layers():
        generator = getattr(layer, "seed_generator", None)
        if generator is None:
            continue
        seed, draws = (int(number) for number in keras.ops.convert_to_numpy(generator.state.value))
        # Under TensorFlow's strategies a variable has a part for each of the process's replicas.
        mirrored = getattr(generator.state.value, "values", None) if backend == "tensorflow" else None
        parts = mirrored or [generator.state]
        for replica, part in enumerate(parts, start=rank * len(parts)):
            if replica:
                part.assign([int(np.random.SeedSequence((seed, replica)).generate_state(1)[0] >> 1), draws])
