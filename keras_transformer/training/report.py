"""What a run leaves for people: metrics.jsonl, curves.png, TensorBoard or Weights & Biases, summary.md."""

import importlib.util
import io
import json
import secrets

from keras_transformer.errors import UserError
from keras_transformer.training.durable import write_file

METRICS_FILE = "metrics.jsonl"
SUMMARY_FILE = "summary.md"
WANDB_FILE = "wandb_id"


class Metrics:
    """The rows of metrics.jsonl, one an evaluation; the file is replaced whole at each.

    Args:
        folder: The run's folder.
        last_step: The last evaluation's update, 0 before the first. Rows of later ones are dropped: a run that
            goes on makes them again.

    Raises:
        UserError: the file is damaged or lacks that evaluation.
    """

    def __init__(self, folder, last_step):
        self.path = folder / METRICS_FILE
        lines = self.path.read_text("utf-8").splitlines() if self.path.is_file() else []
        try:
            self.rows = [row for row in map(json.loads, lines) if row["step"] <= last_step]
        except (ValueError, TypeError, KeyError):
            self.rows = []
        if last_step and last_step not in [row["step"] for row in self.rows]:
            raise UserError(
                f"{self.path} must hold the evaluations until update {last_step}, it does not. "
                "Bring the file back or start a new run."
            )
        if len(self.rows) < len(lines):
            self._write()

    def add(self, row):
        """One more evaluation.

        Raises:
            OSError: the disk is full; the file still holds the rows before.
        """
        self.rows.append(row)
        self._write()

    def _write(self):
        write_file(self.path, "".join(json.dumps(row) + "\n" for row in self.rows).encode())


def check_loggers(loggers):
    """Refuse `train.loggers` whose library is not installed.

    Raises:
        UserError: the first one.
    """
    for name, module in (("tensorboard", "tensorboardX"), ("wandb", "wandb")):
        if name in loggers and importlib.util.find_spec(module) is None:
            raise UserError(
                f"train.loggers names {name!r}, which needs {module}: pip install {module}, or leave it out."
            )


class Board:
    """The same numbers for the viewers named in `train.loggers`.

    Args:
        loggers: Names among "tensorboard" and "wandb".
        folder: The run's folder; event files go to its tensorboard/, the id of its Weights & Biases run to wandb_id.
        start_step: Later numbers of an earlier call are hidden.
        config: Plain values by section, shown beside a Weights & Biases run.
    """

    def __init__(self, loggers, folder, start_step, config):
        self._events = self._wandb = None
        if "tensorboard" in loggers:
            from tensorboardX import SummaryWriter

            # Numbers after `start_step` are made again; a file's first event tells TensorBoard to forget them.
            self._events = SummaryWriter(
                str(folder / "tensorboard"), purge_step=start_step + 1 if start_step else None
            )
        if "wandb" in loggers:
            import wandb

            # Of the run, not of its folder: the next run may lie at the same path, this one be moved.
            file = folder / WANDB_FILE
            if not start_step or not file.is_file():
                write_file(file, secrets.token_hex(8).encode())
            self._wandb = wandb.init(
                project="keras_transformer",
                name=folder.name,
                dir=str(folder),
                id=file.read_text("ascii"),
                resume="allow",
                config=config,
            )

    def numbers(self, step, values):
        """Named numbers at an update."""
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log(dict(values), step=step)

    def text(self, step, name, lines):
        """Lines of text at an update."""
        if self._events is not None:
            self._events.add_text(name, "\n".join(f"    {line}" for line in lines), step)

    def close(self):
        """Write out what is still in memory."""
        if self._events is not None:
            self._events.close()
        if self._wandb is not None:
            self._wandb.finish()


def draw_curves(folder, rows):
    """curves.png: loss, BLEU and chrF, learning rate, target tokens a second."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    panels = (
        (("train_loss", "valid_loss"), "nats a token"),
        (("bleu", "chrf"), "score"),
        (("learning_rate",), "learning rate"),
        (("tokens_per_second",), "target tokens/s"),
    )
    for axes, (names, label) in zip(figure.subplots(2, 2).flat, panels, strict=True):
        for name in names:
            axes.plot([row["step"] for row in rows], [row[name] for row in rows], marker=".", label=name)
        axes.set_xlabel("updates")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        if len(names) > 1:
            axes.legend()
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120)
    write_file(folder / "curves.png", image.getvalue())


def summary_table(facts, results):
    """A Markdown table of `facts` (name → text) and one of `results` (checkpoint → metrics)."""
    lines = ["| run | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items()), ""]
    lines += ["| checkpoint | update | valid loss | BLEU | chrF |", "|---|---|---|---|---|"]
    for name, row in results.items():
        lines.append(
            f"| {name} | {row['step']:,} | {row['valid_loss']:.4f} | {row['bleu']:.2f} | {row['chrf']:.2f} |"
        )
    signature = next(iter(results.values()), None)
    if signature:
        lines += [
            "",
            f"Greedy search, cased; `{signature['bleu_signature']}`, `{signature['chrf_signature']}`.",
        ]
    return "\n".join(lines) + "\n"
