"""The random numbers of an update, which follow from the seed and the update's number alone.

TensorFlow and JAX draw dropout from Keras seed generators, variables of the model that a resume point
keeps. Keras under torch draws it from torch's global generator, which data loaders and evaluations use
too: only a seed before each update makes a run the same whatever happened between its updates.
"""

import keras
import numpy as np


def seed_update(seed, step, rank=0):
    """Fix what update `step` of a run with `seed` draws from a global generator, in the process `rank`."""
    if keras.config.backend() == "torch":
        import torch

        numbers = np.random.SeedSequence((seed, step), spawn_key=(rank,) if rank else ())
        torch.manual_seed(int(numbers.generate_state(1, np.uint64)[0] >> 1))
