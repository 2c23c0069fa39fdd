import pytest

from tests.training import runs


@pytest.fixture
def files(tmp_path):
    """The corpus of `runs`: two paths."""
    return runs.write_corpus(tmp_path)
