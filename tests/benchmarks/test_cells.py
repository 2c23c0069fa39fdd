"""Which cells are measured, and on how many sentences."""

import re

import pytest

from benchmarks.engine_peers.cells import Cell, all_cells, chosen

CELLS = all_cells(("base", "small"), ("fp32", "int8"), max_threads=2, everything=True)


def test_every_combination_is_there_once():
    assert len(CELLS) == len(set(CELLS)) == 2 * 2 * 4 * 2 * 2


def test_only_everything_has_large_beams_on_two_threads():
    fewer = all_cells(("base", "small"), ("fp32", "int8"), max_threads=2)
    left_out = set(CELLS) - set(fewer)
    assert {(cell.model, cell.threads, cell.beam_size) for cell in left_out} == {("base", 2, 4)}
    assert len(left_out) == 8


def test_no_more_threads_than_the_machine_has():
    assert {cell.threads for cell in all_cells(("small",), ("fp32",), max_threads=1)} == {1}


@pytest.mark.parametrize(
    ("only", "count"),
    [("", 64), ("small", 32), ("small,int8", 16), ("small,int8,b8", 4), ("b1,b8,t1,greedy,small,fp32", 2)],
)
def test_tags_of_one_field_add_up_and_fields_narrow_down(only, count):
    cells = chosen(CELLS, only)
    assert len(cells) == count
    assert all(set(only.split(",")) & {*cell.tags.values(), ""} for cell in cells)


def test_an_unknown_tag_is_named():
    with pytest.raises(ValueError, match=re.escape("got 'b9'")):
        chosen(CELLS, "small,b9")


@pytest.mark.parametrize("batch", [1, 8, 32])
@pytest.mark.parametrize("quick", [True, False])
def test_a_pass_is_whole_batches(batch, quick):
    cell = Cell("small", "int8", batch, 1, 1)
    count = cell.num_sentences(1000, quick=quick, whole_file=False)
    assert count >= batch
    assert count % batch == 0


def test_a_whole_file_is_a_thousand_sentences():
    cell = Cell("base", "fp32", 0, 1, 4)
    assert cell.num_sentences(1012, quick=False, whole_file=True) == 1000
    assert cell.num_sentences(1012, quick=False, whole_file=False) < 1000
    assert cell.num_sentences(40, quick=False, whole_file=False) == 40
