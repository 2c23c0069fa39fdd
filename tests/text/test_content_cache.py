"""What is made once for the same content."""

import pytest

from keras_transformer.text.content_cache import content_digest, made_once
from keras_transformer.text.corpus import read_parallel


def test_a_file_is_made_once_for_its_key(tmp_path):
    made = []

    def write(path):
        made.append(path)
        with open(path, "w") as file:
            file.write("x" * len(made))

    first = made_once(["a", 1], ".txt", write, tmp_path)
    assert made_once(["a", 1], ".txt", write, tmp_path) == first
    assert first.read_text() == "x"
    assert made_once(["a", 2], ".txt", write, tmp_path) != first
    assert len(made) == 2
    assert first.suffix == ".txt"


def test_a_file_that_fails_leaves_nothing(tmp_path):
    def write(path):
        with open(path, "w") as file:
            file.write("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        made_once(["a"], ".txt", write, tmp_path)
    assert list((tmp_path / "keras_transformer").iterdir()) == []


def test_the_digest_is_of_the_content(tmp_path):
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path, text in zip(paths, ("one", "one", "two"), strict=True):
        path.write_text(text)
    one, same, other = map(content_digest, paths)
    assert one == same != other


def test_the_same_text_elsewhere_is_the_same_data_set(tmp_path):
    """The fingerprint, by which what is made of a data set is found again, follows the text alone."""
    found = []
    for folder, target in (("a", "uno\ndue\n"), ("b", "uno\ndue\n"), ("c", "uno\ntre\n")):
        (tmp_path / folder).mkdir()
        paths = [tmp_path / folder / name for name in ("en", "it")]
        for path, text in zip(paths, ("one\ntwo\n", target), strict=True):
            path.write_text(text)
        found.append(read_parallel(*paths, cache_dir=tmp_path / folder))
    assert found[0]._fingerprint == found[1]._fingerprint != found[2]._fingerprint
    assert found[2]["target"][1] == "tre"
