"""Where a checkpoint lies in its run's folder: for training and for the exporter, which share no framework."""

from pathlib import Path

MODEL_FILE = "model.json"  # of a checkpoint


def checkpoint_in(run: Path) -> Path | None:
    """`run` itself if it is a checkpoint, else its best one, else its last; None if there is none."""
    for folder in (run, run / "checkpoints" / "best", run / "checkpoints" / "last"):
        if (folder / MODEL_FILE).is_file():
            return folder
    return None


def run_of(checkpoint: Path) -> Path:
    """The run that a checkpoint lies in; the folder itself if it lies in none."""
    place = checkpoint.absolute()  # "best" and "." have no parents' names
    return place.parents[1] if place.parent.name == "checkpoints" else checkpoint
