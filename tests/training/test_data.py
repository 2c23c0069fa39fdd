import json

import pytest
from rich.console import Console

from keras_transformer.config import load_config
from keras_transformer.training.data import prepare


@pytest.fixture
def files(tmp_path):
    sides = {"a.en": "{} dogs of {}.", "a.it": "{} cani di {}.", "b.en": "{} cats.", "b.it": "{} gatti."}
    for number, (name, form) in enumerate(sides.items()):
        lines = range(40) if number < 2 else range(5)
        (tmp_path / name).write_text("".join(f"{form.format(i, 100 + i)}\n" for i in lines))
    return [str(tmp_path / name) for name in sides]


def prepared(files, folder, **rates):
    folder.mkdir()
    overrides = [f"data.augment_{kind}_rate={rate}" for kind, rate in rates.items()]
    config = load_config(
        preset="tiny", overrides=[f"data.train={files[:2]}", f"data.valid={files[2:]}", *overrides]
    )
    with (folder / "words").open("w") as words:
        found = prepare(config, folder, Console(file=words, width=200))
    return found, json.loads((folder / "data_report.json").read_text())


def test_augmentation_touches_the_training_side_alone_and_is_counted(files, tmp_path):
    plain, report = prepared(files, tmp_path / "plain")
    assert report["train"]["augmented"] == {"capitals": 0, "title_case": 0, "no_full_stop": 0}
    more, report = prepared(files, tmp_path / "more", capitals=0.1, title_case=0.05, no_full_stop=1)
    assert report["train"]["augmented"] == {"capitals": 4, "title_case": 2, "no_full_stop": 40}
    assert (report["train"]["kept"], report["pairs"]) == (40, {"train": 86, "valid": 5})
    assert sorted(more.valid_texts) == sorted(plain.valid_texts)
    decoded = [more.tokenizer.decode(more.train.sources[i].tolist()) for i in range(86)]
    assert sum(text.isupper() for text in decoded) == 4
    assert sum(not text.endswith(".") for text in decoded) == 40
    assert (
        "train: once more 4 capitals, 2 title case, 40 no full stop" in (tmp_path / "more/words").read_text()
    )
    assert len({text.casefold().rstrip(".") for text in decoded}) == 40
