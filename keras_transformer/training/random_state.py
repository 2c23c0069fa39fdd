"""The random numbers of an update, which follow from the seed and the update's number alone.

TensorFlow and JAX draw dropout from Keras seed generators, variables of the model that a resume point
keeps. Keras under torch draws it from torch's global generator, which data loaders and evaluations use
too: only a seed before each update makes a run the same whatever happened between its updates.
"""

import keras
import numpy as np


def seed_update(seed, step):
    """Fix what update `step` of a run with `seed` draws from a global generator."""
    if keras.config.backend() == "torch":
        import torch

        torch.manual_seed(int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0] >> 1))
