"""Case before and after a translation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_transformer.text.casing import (
    Style,
    capitalise_first,
    emphasised,
    restore_case,
    usual_case,
    usual_forms,
    without_emphasis,
)


@pytest.mark.parametrize(
    ("sentence", "text", "style"),
    [
        ("TOM AND MARY ARE IN ROME.", "Tom and Mary are in Rome.", Style.CAPS),
        ("I DON'T KNOW!", "I don't know!", Style.CAPS),
        ("WARNING", "warning", Style.CAPS),
        ("Z1 IS NOT FOUND", "Z1 is not found", Style.CAPS),
        ("U.S. TROOPS LEAVE", "U.S. troops leave", Style.CAPS),
        ("Where Is The Station?", "Where is the station?", Style.TITLE_ALL),
        ("The House of My Father", "The house of my father", Style.TITLE),
        ("How To Speak English In The USA", "How to speak English in the USA", Style.TITLE_ALL),
        ("Red Wine", "Red wine", Style.TITLE_ALL),
        ("Dog", "dog", Style.FIRST),
        ("Monday", "Monday", Style.FIRST),
        ("dog", "dog", Style.PLAIN),
        ("TV", "TV", Style.PLAIN),
        ("I", "I", Style.PLAIN),
        ("NATO", "NATO", Style.PLAIN),
        ("Tom is here.", "Tom is here.", Style.PLAIN),
        ("Thank you, Mr Cappato.", "Thank you, Mr Cappato.", Style.PLAIN),
        ("Gina Bianchi", "Gina Bianchi", Style.PLAIN),
        ("Tom Brown", "Tom Brown", Style.PLAIN),
        ("I am from the USA.", "I am from the USA.", Style.PLAIN),
        ("42", "42", Style.PLAIN),
        ("", "", Style.PLAIN),
    ],
)
def test_usual_case(sentence, text, style):
    assert usual_case(sentence, "en") == (text, style)


@pytest.mark.parametrize(
    ("text", "style", "restored"),
    [
        ("La porta è aperta.", Style.CAPS, "LA PORTA È APERTA."),
        ("la casa di mio padre", Style.TITLE, "La Casa di mio Padre"),
        ("la casa di mio padre", Style.TITLE_ALL, "La Casa Di Mio Padre"),
        ("l'acqua Z1 e x86", Style.TITLE_ALL, "L'Acqua Z1 E x86"),
        ("«cane»", Style.FIRST, "«Cane»"),
        ("cane", Style.PLAIN, "cane"),
        ("", Style.CAPS, ""),
    ],
)
def test_restore_case(text, style, restored):
    assert restore_case(text, style) == restored


@given(st.text(max_size=60), st.sampled_from(["en", "it", "de", "xx", "", "../en"]))
def test_only_case_changes(sentence, language):
    text, style = usual_case(sentence, language)
    assert text.casefold() == sentence.casefold() or not sentence.isascii()
    assert restore_case(text, style).casefold() == text.casefold() or not sentence.isascii()


def test_a_language_without_a_list_lowers_capitals_and_leaves_titles():
    assert usual_forms("xx") == {}
    assert usual_case("TOM IS HERE", "xx") == ("Tom is here", Style.CAPS)
    assert usual_case("Dog Food For All", "xx").style is Style.PLAIN
    assert usual_case("Hund", "de") == ("Hund", Style.PLAIN)


def test_emphasis_is_a_common_word_in_capitals():
    sentence = "This is VERY good for the US, NATO and the XYZQ."
    assert emphasised(sentence, "en") == ["VERY"]
    assert without_emphasis(sentence, "en") == "This is very good for the US, NATO and the XYZQ."


@pytest.mark.parametrize("language", ["en", "it"])
def test_the_lists_hold_one_form_a_word(language):
    forms = usual_forms(language)
    assert len(forms) > 5000
    assert all(word == form.lower() for word, form in forms.items())
    assert forms["tom"] == "Tom"
    assert forms["italia" if language == "it" else "italy"][0] == "I"


@pytest.mark.parametrize(("text", "found"), [("«è»", "«È»"), ("3 a", "3 a"), ("", ""), ("- a b", "- A b")])
def test_capitalise_first(text, found):
    assert capitalise_first(text) == found
