"""Sinusoidal positions in NumPy: one table for the Keras layer, the exporter and the oracle of both."""

import numpy as np
from numpy.typing import NDArray


def sinusoidal_positions(max_length: int, model_dim: int) -> NDArray[np.float32]:
    """Table of position encodings (Vaswani et al. 2017, section 3.5).

    PE(p, 2i) = sin(p / 10000^(2i/D)), PE(p, 2i+1) = cos(p / 10000^(2i/D)), p from 0.

    Args:
        max_length: Number of positions L, at least 1.
        model_dim: Width D, even.

    Returns:
        float32 (L, D), computed in float64 and rounded once.

    Raises:
        ValueError: `max_length` is below 1, or `model_dim` is odd or below 2.
    """
    if max_length < 1:
        raise ValueError(f"`max_length` must be at least 1, got {max_length}. Give the longest sequence.")
    if model_dim < 2 or model_dim % 2:
        raise ValueError(
            f"`model_dim` must be even and at least 2 (sine and cosine pairs), got {model_dim}. "
            "Use an even width."
        )
    positions = np.arange(max_length, dtype=np.float64)[:, None]  # (L, 1)
    rates = 10000.0 ** (-np.arange(0, model_dim, 2, dtype=np.float64) / model_dim)  # (D/2,)
    angles = positions * rates  # (L, D/2)
    table = np.stack([np.sin(angles), np.cos(angles)], axis=-1)  # (L, D/2, 2)
    return table.reshape(max_length, model_dim).astype(np.float32)
