"""The cells of the benchmark: which are asked for, and how many sentences each gets.

A cell is one model, precision, batch, number of threads and search.
"""

from dataclasses import dataclass, fields
from itertools import product

from benchmarks.engine_peers.engines import BEAM_SIZE

FILE = 0  # as a batch: a whole file, in batches of the engine's own choice
BATCHES = (1, 8, 32, FILE)
THREADS = (1, 2)
BEAMS = (1, BEAM_SIZE)
FILE_SENTENCES = 1000
PASS_SECONDS = 0.25  # what one pass of a batch cell should take at least, where its least size allows
FILE_PASS_SECONDS = 0.8
# So that the whole ends in a quarter of an hour, the large models get no beam search on two threads and no
# long sentences, unless everything is asked for.
LARGE = ("base", "deep-shallow")
LARGE_LONGEST = 32  # tokens, EOS counted
FEWEST = {1: 3, 8: 8, 32: 32, FILE: 64}
# Seconds a sentence at batch 32, fp32, greedy, 1 thread, on one core of an AMD EPYC (Zen 5): for planning only.
SECONDS = {"base": 0.07, "deep-shallow": 0.045, "small": 0.007, "shipped": 0.007}
BATCH_FACTOR = {1: 2.0, 8: 1.2, 32: 1.0, FILE: 0.9}


@dataclass(frozen=True)
class Cell:
    """What is measured at once. `batch` 0 is a whole file."""

    model: str
    precision: str
    batch: int
    threads: int
    beam_size: int

    @property
    def tags(self) -> dict[str, str]:
        """What `--only` may name, by field."""
        return {
            "model": self.model,
            "precision": self.precision,
            "batch": f"b{self.batch}" if self.batch else "file",
            "threads": f"t{self.threads}",
            "beam_size": "greedy" if self.beam_size == 1 else "beam",
        }

    @property
    def search(self) -> str:
        """ "greedy" or "beam 4"."""
        return "greedy" if self.beam_size == 1 else f"beam {self.beam_size}"

    def num_sentences(self, available: int, *, quick: bool, whole_file: bool) -> int:
        """Sentences of one pass, a multiple of the batch."""
        if self.batch == FILE and whole_file:
            return min(FILE_SENTENCES, available)
        cost = SECONDS[self.model] * BATCH_FACTOR[self.batch] / self.threads
        cost *= (0.45 if self.precision == "int8" else 1.0) * (2.5 if self.beam_size > 1 else 1.0)
        seconds = (FILE_PASS_SECONDS if self.batch == FILE else PASS_SECONDS) / (2 if quick else 1)
        step = max(1, self.batch)
        wanted = max(FEWEST[self.batch], int(seconds / cost) // step * step)
        return min(wanted, FILE_SENTENCES, available // step * step or available)


def all_cells(
    models: tuple[str, ...], precisions: tuple[str, ...], max_threads: int, *, everything: bool = False
) -> list[Cell]:
    """The cells of a run, those that share two processes side by side."""
    threads = [count for count in THREADS if count <= max_threads]
    cells = [
        Cell(model, precision, batch, count, beam)
        for model, precision, count, beam, batch in product(models, precisions, threads, BEAMS, BATCHES)
    ]
    if everything:
        return cells
    return [cell for cell in cells if not (cell.model in LARGE and cell.threads > 1 and cell.beam_size > 1)]


def chosen(cells: list[Cell], only: str) -> list[Cell]:
    """The cells that `only` names: tags with commas between; tags of one field add up, fields narrow down.

    Raises:
        ValueError: a tag that no cell has.
    """
    wanted: dict[str, set[str]] = {}
    for tag in filter(None, only.split(",")):
        field = next((f.name for f in fields(Cell) if any(cell.tags[f.name] == tag for cell in cells)), None)
        if field is None:
            known = sorted({value for cell in cells for value in cell.tags.values()})
            raise ValueError(f"--only must name tags of cells ({', '.join(known)}), got {tag!r}.")
        wanted.setdefault(field, set()).add(tag)
    return [cell for cell in cells if all(cell.tags[field] in tags for field, tags in wanted.items())]
