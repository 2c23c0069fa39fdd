"""The likeliest token without the whole projection: an estimate in integers, and a proof.

The decoder estimates all logits from rounded copies of its last hidden state x and of the table's rows w.
By Cauchy and Schwarz an estimate differs from its logit by at most

    |x·w - x'·w'| = |x·(w - w') + (x - x')·w'| <= |x| |w - w'| + |x - x'| |w'|

so that only a token whose estimate, with this added, reaches the logit of the best estimate can be the
likeliest. These few are computed in full. The result is that of the whole product, at a quarter of the bytes.

Letters: R rows, V vocabulary, D model_dim, N candidates.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS, ZERO = 127, 128  # a hidden state's integers: so many on either side of this one
# The estimate's own roundings, as a share of |x| |w'|: the sums are exact, three scales are multiplied.
_ESTIMATE_ROUNDING = 1e-6
_MOST_CANDIDATES = 512  # a row; more cost more than the product (measured)


class Screen:
    """Chooses the likeliest token.

    Args:
        table: (V, D), the projection's rows w.
        norms: (2, V), |w'| and |w - w'|, rounded up.
    """

    def __init__(self, table: NDArray[np.float32], norms: NDArray[np.float32]) -> None:
        self.table = table
        self._rounded_norms, self._lost_norms = norms
        self._highest_norms = norms.max(axis=1)

    def likeliest(
        self,
        estimates: NDArray[np.float32],
        units: NDArray[np.float32],
        hidden: NDArray[np.float32],
        rounded: NDArray[np.uint8],
    ) -> NDArray[np.int64] | None:
        """The token with the greatest logit of each row (R,), the lowest id of equals.

        Args:
            estimates: (R, V), in units of their row.
            units: (R, 1).
            hidden, rounded: x and the integers of x', (R, D): x' is (integer - ZERO) / LEVELS units.

        Returns:
            None where too many tokens may be the likeliest: compute the logits.

        Raises:
            FloatingPointError: the best estimate of a row is not a finite number.
        """
        lost = rounded.astype(np.float32)
        lost -= np.float32(ZERO)
        lost *= units / np.float32(-LEVELS)
        lost += hidden  # x - x'
        lengths = np.sqrt(np.einsum("rd,rd->r", hidden, hidden))  # |x|, (R)
        losses = np.sqrt(np.einsum("rd,rd->r", lost, lost)) + _ESTIMATE_ROUNDING * lengths  # |x - x'|, (R)
        bounds = losses * self._highest_norms[0] + lengths * self._highest_norms[1]  # of any token, (R)
        best: NDArray[np.int64] = estimates.argmax(axis=1)
        highest = self._logits(best, hidden)  # (R)
        units = units[:, 0].astype(np.float64)
        limits = (highest - bounds) / units
        if not np.isfinite(limits).all():
            raise FloatingPointError("The best logit must be a finite number, it is not. Check the weights.")
        # Doubles rounded up to floats could pass over an equal: one step down.
        rows, tokens = _at_least(
            estimates, np.nextafter(limits.astype(np.float32), np.float32(-np.inf))
        )  # (N)
        if len(tokens) > 8 * _MOST_CANDIDATES * len(best):
            return None
        if len(tokens) > len(best):  # others than the best of each row
            errors = losses[rows] * self._rounded_norms[tokens] + lengths[rows] * self._lost_norms[tokens]
            remain = estimates[rows, tokens] * units[rows] + errors >= highest[rows]
            remain &= tokens != best[rows]
            rows, tokens = rows[remain], tokens[remain]
            if len(tokens) > _MOST_CANDIDATES * len(best):
                return None
            # One at a time, lowest id first: few are left.
            for row, token, logit in zip(rows, tokens, self._logits(tokens, hidden[rows]), strict=True):
                if (logit, -token) > (highest[row], -best[row]):
                    highest[row], best[row] = logit, token
        return best

    def _logits(self, tokens: NDArray[Any], hidden: NDArray[np.float32]) -> NDArray[np.float64]:
        """Of one token each, (N) for hidden (N, D), in doubles: one sum, whatever stands beside it."""
        return np.asarray(np.einsum("nd,nd->n", self.table[tokens], hidden, dtype=np.float64))


def _at_least(values: NDArray[np.float32], limits: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows and columns of what is not below its row's limit."""
    found = np.flatnonzero(values >= limits[:, None])
    if len(limits) == 1:
        return np.zeros_like(found), found
    rows, columns = np.divmod(found, values.shape[1])
    return rows, columns
