"""What of a run is on disk: published checkpoints, weights to average, the resume point; and what is removed."""

import re
import shutil

from keras_transformer.errors import UserError
from keras_transformer.training.checkpoint import load_average, save_checkpoint, save_weights
from keras_transformer.training.durable import recover
from keras_transformer.training.optimization import publish_weights, sync_state
from keras_transformer.training.resume import FILE, save_resume_point

MEBIBYTE = 2**20


class Keeper:
    """Writes a run's checkpoints so that at any moment the last resume point fits what lies beside it.

    Files are added before the resume point that names them and removed after the one that no longer does;
    a run that goes on from it makes those in between again, the same.

    Args:
        folder: The run's checkpoints/.
        train_config: TrainConfig.
        model, twin: What is trained, and the float32 `Transformer` that is published.
        ranking: Ranking of the evaluations so far.
        recent: Updates whose weights wait to be averaged, oldest first.
        describe: Metrics → the description of a published checkpoint.
        refer: Called without arguments for the twin's reference outputs.
    """

    def __init__(self, folder, train_config, model, twin, ranking, recent, describe, refer):
        self.folder, self.train_config = folder, train_config
        self.model, self.twin = model, twin
        self.ranking, self.recent = ranking, list(recent)
        self.describe, self.refer = describe, refer

    @property
    def resume_file(self):
        """Where the resume point is."""
        return self.folder / FILE

    def publish(self, metrics, is_best):
        """Write the twin, just evaluated, to last/, and to best/ and step_N/ if it is among the best.

        Raises:
            OSError: the disk is full.
        """
        description, reference = self.describe(metrics), self.refer()
        names = ["last"]
        if self.train_config.keep_best > 1 and metrics["step"] in self.ranking.steps():
            names.append(f"step_{metrics['step']}")
        if is_best:
            names.append("best")
        for name in names:
            save_checkpoint(self.folder / name, self.twin, description, reference)

    def commit(self, record):
        """Write the resume point and remove what it no longer needs; returns its size in bytes.

        Raises:
            OSError: the disk is full.
            RunFailedError: the weights are not finite.
        """
        sync_state(self.model)
        step, keep = record["step"], self.train_config.average_last
        if keep and step and step % self.train_config.checkpoint_every == 0 and step not in self.recent:
            publish_weights(self.model, self.twin)
            save_weights(self._recent_file(step), self.twin)
            self.recent.append(step)
        self.recent = self.recent[-keep:] if keep else []
        record |= {"ranking": self.ranking.to_dict(), "recent": self.recent}
        size = save_resume_point(self.resume_file, self.model, record)
        self._prune()
        return size

    def average(self):
        """Give the twin the mean of the weights that wait; returns how many there are, 0 where none was asked for."""
        if not self.train_config.average_last:
            return 0
        if self.recent:
            load_average([self._recent_file(step) for step in self.recent], self.twin)
        return len(self.recent)

    def publish_average(self, metrics):
        """Write the twin to averaged/.

        Raises:
            OSError: the disk is full.
        """
        save_checkpoint(self.folder / "averaged", self.twin, self.describe(metrics), self.refer())

    def check_room(self, resume_bytes):
        """Refuse to start where the disk could not hold what the run will write; its resume point does not stay then.

        Args:
            resume_bytes: Size of the resume point that was just written.

        Raises:
            UserError: too little is free.
        """
        config = self.twin.config
        weights = 4 * self.twin.count_params()
        published = weights + 4 * config.vocabulary_size * 400  # logits of about 400 positions
        folders = 3 + (self.train_config.keep_best if self.train_config.keep_best > 1 else 0)
        averaged = self.train_config.average_last
        wanted = resume_bytes + folders * published + (averaged + 1) * weights * bool(averaged)
        free = shutil.disk_usage(self.folder).free
        if free < wanted:
            self.resume_file.unlink()
            raise UserError(
                f"--output must have room for {wanted / MEBIBYTE:,.0f} MiB of checkpoints beside the first, "
                f"{self.folder.absolute()} has {free / MEBIBYTE:,.0f} MiB free. Free some or choose another disk."
            )

    def recover(self):
        """Put right what a crash left of folders that were being replaced."""
        for path in list(self.folder.glob("*")):
            name = re.sub(r"\.(writing|replaced)$", "", path.name)
            if name != path.name and path.is_dir():
                recover(self.folder / name)
        self._prune()  # as the crash may have come between a resume point and this

    def _recent_file(self, step):
        return self.folder / "recent" / f"{step}.safetensors"

    def _prune(self):
        best = {f"step_{step}" for step in self.ranking.steps()} if self.train_config.keep_best > 1 else set()
        for path in self.folder.glob("step_*"):
            if path.name not in best:
                shutil.rmtree(path, ignore_errors=True)
        for path in (self.folder / "recent").glob("*"):
            if path.stem not in map(str, self.recent):
                path.unlink(missing_ok=True)
