"""The history as CSV and JSON: read back by other programs' eyes, whole or not at all."""

import csv
import json

import pytest

from desktop_app.history import Entry, History
from desktop_app.history_export import export_history
from keras_transformer.errors import UserError

TEXTS = [
    ("plain", "semplice"),
    ('say "cat", then; go', "di' «gatto»\tpoi"),
    ("two\nlines\n\n  indented", "due\nrighe"),
    ("=SUM(A1)", "città 猫 🐈"),
]


@pytest.fixture
def history(tmp_path):
    one = History(tmp_path / "history.sqlite")
    for source, target in TEXTS:
        one.add(source, target, "en", "it")
    return one


def read(path):
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["history.csv", "history.json", "HISTORY.CSV"])
def test_every_text_comes_back_oldest_first(history, tmp_path, name):
    assert export_history(history.entries(), tmp_path / name) == 4
    path = tmp_path / name
    if path.suffix == ".CSV":
        path = path.rename(tmp_path / "lower.csv")
    rows = read(path)
    assert [(row["source"], row["target"]) for row in rows] == TEXTS
    assert {row["source_language"] + row["target_language"] for row in rows} == {"enit"}
    assert list(rows[0]) == ["time", "source_language", "target_language", "source", "target"]


@pytest.mark.parametrize("name", ["a.csv", "a.json"])
def test_the_time_is_said_in_utc(tmp_path, name):
    export_history([Entry(7, 1_700_000_000.4, "en", "it", "cat", "gatto")], tmp_path / name)
    assert read(tmp_path / name)[0]["time"] == "2023-11-14T22:13:20+00:00"


@pytest.mark.parametrize(("name", "content"), [("a.csv", []), ("a.json", [])])
def test_an_empty_history_is_an_empty_file_of_its_kind(tmp_path, name, content):
    assert export_history([], tmp_path / name) == 0
    assert read(tmp_path / name) == content


def test_more_than_one_batch(tmp_path):
    history = History(tmp_path / "history.sqlite")
    rows = [(float(n), f"{n} cats", f"{n} gatti") for n in range(2503)]
    history._database.write(
        lambda c: c.executemany("INSERT INTO entries VALUES (NULL, ?, 'en', 'it', ?, ?)", rows)
    )
    assert export_history(history.entries(), tmp_path / "all.json") == 2503
    assert [row["source"] for row in read(tmp_path / "all.json")] == [row[1] for row in rows]


def test_what_stops_half_way_leaves_the_older_file(history, tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("older")

    def stopped():
        yield next(history.entries())
        raise KeyError("stop")

    with pytest.raises(KeyError):
        export_history(stopped(), path)
    assert path.read_text() == "older"
    assert not list(tmp_path.glob(".history*"))


def test_another_ending_is_refused(history, tmp_path):
    with pytest.raises(UserError) as caught:
        export_history(history.entries(), tmp_path / "history.pdf")
    assert str(caught.value) == (
        "The export must be a .csv or .json file, got history.pdf. Choose one of the two."
    )


def test_a_place_that_cannot_be_written_is_said(history, tmp_path):
    path = tmp_path / "nowhere" / "history.csv"
    with pytest.raises(UserError) as caught:
        export_history(history.entries(), path)
    assert str(caught.value) == (
        f"The export must be writable at {path}, it is not: No such file or directory. Choose another place."
    )
