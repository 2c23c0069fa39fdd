"""Some rows of a large data set."""

from collections.abc import Callable
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from datasets import Dataset

Rows = dict[str, list[str]]


def map_chosen(
    dataset: "Dataset", chosen: NDArray[np.bool_], change: Callable[[Rows], Rows], desc: str
) -> "Dataset":
    """What `change` makes of the chosen rows, in their order, on disk where `dataset` is.

    Not `Dataset.select`: it makes a list of numbers, 48 bytes a row, and is slow to read through.

    Args:
        dataset: Columns `source` and `target`.
        chosen: (rows), True = goes in.
        change: Of batches; may give back fewer rows. Of a module or a `functools.partial`: the cache's key.
        desc: For the progress bar.
    """
    return dataset.map(
        _changed,
        with_indices=True,
        batched=True,
        batch_size=10_000,
        fn_kwargs={"chosen": chosen, "change": change},
        desc=desc,
    )


def _changed(
    rows: Rows, indices: list[int], chosen: NDArray[np.bool_], change: Callable[[Rows], Rows]
) -> Rows:
    wanted = chosen[indices].tolist()
    return change({side: list(compress(rows[side], wanted)) for side in ("source", "target")})
