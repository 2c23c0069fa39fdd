import pytest
from datasets import Dataset

from keras_transformer.text.augmentation import KINDS, augment, in_capitals, in_title_case, without_full_stop
from keras_transformer.text.cleaning import sentence_key

NONE = dict.fromkeys(KINDS, 0.0)
PAIRS = [
    ("He saw the cat.", "Vide il gatto."),
    ("Wait... here.", "Aspetta qui!"),
    ("STOP.", "Fermo."),
    ("Where is dad's water?", "Dov'è l'acqua di papà?"),
    ("It is 5 p.m.", "Sono le 17."),
    ("Yes…", "你好。"),
]


def corpus(pairs):
    return Dataset.from_dict({"source": [s for s, _ in pairs], "target": [t for _, t in pairs]})


def pairs_of(dataset):
    return [(row["source"], row["target"]) for row in dataset]


@pytest.mark.parametrize(
    ("change", "text", "changed"),
    [
        (in_capitals, "Straße zu {0}, perché?", "STRASSE ZU {0}, PERCHÉ?"),
        (in_title_case, "the end of dad's 2nd day", "The End Of Dad's 2nd Day"),
        (in_title_case, "l'acqua della NASA è mia", "L'Acqua Della NASA È Mia"),
        (without_full_stop, "Good morning.", "Good morning"),
        (without_full_stop, "早上好。", "早上好"),
        (without_full_stop, "Wait...", "Wait..."),
        (without_full_stop, "At 5 p.m.", "At 5 p.m."),
        (without_full_stop, "Really?", "Really?"),
        (without_full_stop, "Hello .", "Hello ."),
        (without_full_stop, ".", "."),
        (without_full_stop, "", ""),
    ],
)
def test_one_text_in_another_writing(change, text, changed):
    assert change(text) == changed


def test_every_pair_that_changes_comes_once_more_behind_the_others():
    dataset, added = augment(corpus(PAIRS), {**NONE, "capitals": 1.0, "no_full_stop": 1.0}, seed=3)
    assert pairs_of(dataset) == [
        *PAIRS,
        ("HE SAW THE CAT.", "VIDE IL GATTO."),
        ("WAIT... HERE.", "ASPETTA QUI!"),
        ("WHERE IS DAD'S WATER?", "DOV'È L'ACQUA DI PAPÀ?"),
        ("IT IS 5 P.M.", "SONO LE 17."),
        ("YES…", "你好。"),  # a script without capitals
        ("He saw the cat", "Vide il gatto"),
        ("STOP", "Fermo"),
    ]
    assert added == {"capitals": 5, "title_case": 0, "no_full_stop": 2}


def test_what_is_held_out_stays_held_out():
    dataset, _ = augment(corpus(PAIRS), dict.fromkeys(KINDS, 1.0), seed=0)
    keys = {tuple(map(sentence_key, pair)) for pair in PAIRS}
    assert {tuple(map(sentence_key, pair)) for pair in pairs_of(dataset)} == keys


def test_a_rate_draws_by_the_seed():
    pairs = [(f"dog {i}", f"cane {i}") for i in range(50)]
    drawn = {}
    for seed in (1, 2, 1):
        dataset, added = augment(corpus(pairs), {**NONE, "capitals": 0.1, "title_case": 0.14}, seed)
        assert added == {"capitals": 5, "title_case": 7, "no_full_stop": 0}
        rows = pairs_of(dataset)[50:]
        assert [row[0].split()[0] for row in rows] == ["DOG"] * 5 + ["Dog"] * 7
        assert drawn.setdefault(seed, rows) == rows
    assert drawn[1] != drawn[2]
    assert len({row[0].split()[1] for row in drawn[1]}) > 7  # each kind draws for itself
    assert pairs_of(augment(corpus(pairs), NONE, 1)[0]) == pairs
