"""A card's Markdown as styled text: no sign of the markup, no word lost."""

import re

from desktop_app.model_card import card_runs
from desktop_app.models import SHIPPED_FOLDER, read_card

CARD = """# The model

Translates English
to Italian, **offline**, with `--model`.

## Scores

| test | BLEU | chrF |
|---|---|---:|
| embedded | 40.0 | 61.2 |
| `valid` | 9.9 | 2,000 |

- one item
  that goes on
- another, see [the page](https://example.org/a_(b))
* third

    python -m keras_transformer.translate
    echo

```
# no heading
```
The end.
"""


def test_every_kind_of_block():
    assert card_runs(CARD) == [
        ("The model\n", "title"),
        ("Translates English to Italian, ", "text"), ("offline", "strong"), (", with ", "text"),
        ("--model", "code"), (".", "text"), ("\n", "text"),
        ("Scores\n", "heading"),
        ("test      BLEU  chrF\nembedded  40.0   61.2\nvalid      9.9  2,000\n", "code"),
        ("•  ", "item"), ("one item that goes on", "item"), ("\n", "item"),
        ("•  ", "item"), ("another, see ", "item"), ("the page", "item"), (")", "item"), ("\n", "item"),
        ("•  ", "item"), ("third", "item"), ("\n", "item"),
        ("python -m keras_transformer.translate\necho\n", "code"),
        ("# no heading\n", "code"),
        ("The end.", "text"), ("\n", "text"),
    ]  # fmt: skip


def test_nothing_and_odd_things():
    assert card_runs("") == []
    assert card_runs("\n\n") == []
    assert card_runs("```\nunclosed") == [("unclosed\n", "code")]
    assert card_runs("|\n") == [("\n", "code")]
    assert card_runs("|---|---|\n") == [("", "code")]
    assert card_runs("| a | b\n| c\n") == [("a  b\nc\n", "code")]
    assert card_runs("2 * 3 ** 4 `x") == [("2 * 3 ** 4 `x", "text"), ("\n", "text")]


def test_no_word_of_the_shipped_card_is_lost():
    for folder in SHIPPED_FOLDER.iterdir():
        card = read_card(folder)
        text = "".join(run for run, _ in card_runs(card))
        wanted = re.findall(r"[\w.,%]+", re.sub(r"^\|[-|]+\|$", "", card, flags=re.MULTILINE))
        assert wanted
        assert re.findall(r"[\w.,%]+", text) == wanted
