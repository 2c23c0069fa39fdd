import json
import struct
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from tensorboardX.proto.event_pb2 import Event, SessionLog

from keras_transformer.errors import UserError
from keras_transformer.training import report
from keras_transformer.training.account import longest_source


def row(step, **changes):
    return {
        "step": step, "train_loss": 5.0, "valid_loss": 4.0 + 1 / step, "bleu": 10.0, "chrf": 30.5,
        "learning_rate": 0.1, "tokens_per_second": 900.0, "bleu_signature": "b|c", "chrf_signature": "d|e", **changes,
    }  # fmt: skip


def test_rows_are_kept_and_those_of_later_updates_dropped(tmp_path):
    metrics = report.Metrics(tmp_path, 0)
    for step in (2, 4, 6):
        metrics.add(row(step))
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [row(2), row(4), row(6)]
    again = report.Metrics(tmp_path, 4)
    assert [each["step"] for each in again.rows] == [2, 4]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2
    again.add(row(6))
    assert (tmp_path / "metrics.jsonl").read_text().splitlines() == lines


@pytest.mark.parametrize("text", [None, "", '{"step": 2}\n{"st', '{"step": 2}\n5\n', '{"step": 6}\n'])
def test_evaluations_that_are_gone_are_told_at_the_start(tmp_path, text):
    if text is not None:
        (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(
        UserError, match=r"metrics\.jsonl must hold the evaluations until update 4, it does not\."
    ):
        report.Metrics(tmp_path, 4)


def test_curves_show_losses_scores_the_rate_and_the_speed(tmp_path, monkeypatch):
    drawn, save = {}, Figure.savefig

    def looked_at(figure, *arguments, **options):
        for axes in figure.axes:
            drawn[axes.get_ylabel()] = {line.get_label(): line.get_ydata().tolist() for line in axes.lines}
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", looked_at)
    report.draw_curves(tmp_path, [row(1), row(2, learning_rate=0.2, bleu=12.0)])
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert drawn == {
        "nats a token": {"train_loss": [5.0, 5.0], "valid_loss": [5.0, 4.5]},
        "score": {"bleu": [10.0, 12.0], "chrf": [30.5, 30.5]},
        "learning rate": {"learning_rate": [0.1, 0.2]},
        "target tokens/s": {"tokens_per_second": [900.0, 900.0]},
    }


def test_the_summary_by_hand():
    table = report.summary_table({"pairs": "7 en–it"}, {"best": row(2), "averaged": row(1000, bleu=1.234)})
    assert table == (
        "| run | |\n|---|---|\n| pairs | 7 en–it |\n\n"
        "| checkpoint | update | valid loss | BLEU | chrF |\n|---|---|---|---|---|\n"
        "| best | 2 | 4.5000 | 10.00 | 30.50 |\n"
        "| averaged | 1,000 | 4.0010 | 1.23 | 30.50 |\n\n"
        "Greedy search, cased; `b|c`, `d|e`.\n"
    )


def events(folder):
    """The records of TensorBoard's event files, read as the format says: length, CRC, data, CRC."""
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            yield Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]


def test_tensorboard_gets_the_numbers_and_forgets_those_that_are_made_again(tmp_path):
    board = report.Board(("tensorboard",), tmp_path, 3, {})
    board.numbers(4, {"train/loss": 2.5})
    board.text(4, "samples", ["one", "two"])
    board.close()
    found = list(events(tmp_path / "tensorboard"))
    values = {value.tag: (event.step, value) for event in found for value in event.summary.value}
    assert values["train/loss"][0] == 4
    assert values["train/loss"][1].simple_value == 2.5
    assert b"two" in values["samples/text_summary"][1].tensor.string_val[0]
    starts = [event.step for event in found if event.session_log.status == SessionLog.START]
    assert starts == [4]  # what an earlier call wrote from update 4 on is hidden


def test_weights_and_biases_gets_the_same_numbers(tmp_path, monkeypatch):
    calls = []

    class Wandb:
        __spec__ = "found"

        def init(self, **options):
            calls.append(options)
            return self

        def log(self, values, step):
            calls.append((step, values))

        def finish(self):
            calls.append("finished")

    monkeypatch.setitem(sys.modules, "wandb", Wandb())
    board = report.Board(("wandb",), tmp_path / "run", 0, {"train": {"seed": 1}})
    board.numbers(4, {"train/loss": 2.5})
    board.text(4, "samples", ["not sent"])
    board.close()
    assert calls[0]["config"] == {"train": {"seed": 1}}
    assert (calls[0]["name"], calls[0]["resume"]) == ("run", "allow")
    assert calls[1:] == [(4, {"train/loss": 2.5}), "finished"]
    (tmp_path / "run").rename(tmp_path / "moved")
    report.Board(("wandb",), tmp_path / "moved", 4, {})
    assert calls[-1]["id"] == calls[0]["id"]  # a resumed run goes on in the same one
    report.Board(("wandb",), tmp_path / "moved", 0, {})
    assert calls[-1]["id"] != calls[0]["id"]  # another run at the same path does not


def test_a_viewer_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(report.importlib.util, "find_spec", lambda name: None)
    message = r"train\.loggers names 'wandb', which needs wandb: pip install wandb, or leave it out\."
    with pytest.raises(UserError, match=message):
        report.check_loggers(("wandb",))
    report.check_loggers(())
    report.Board((), tmp_path, 0, {}).numbers(1, {"train/loss": 1.0})  # none asked for, none needed


def test_the_longest_source_to_read_at_once_is_what_nearly_all_were():
    lengths = np.arange(1, 1001)  # 980 of them are at most 980
    assert longest_source(lengths) == 980
    assert longest_source(lengths[:20]) == 40  # a model of short sentences is not made to read halves of them
