import pytest

from keras_transformer.training.ranking import Ranking


def row(chrf=0.0, bleu=0.0, loss=0.0):
    return {"chrf": chrf, "bleu": bleu, "valid_loss": loss}


def test_the_best_and_how_long_none_was_better():
    ranking = Ranking("chrf", keep=2)
    bests = [
        ranking.add(step, row(chrf=value)) for step, value in ((5, 3.0), (10, 7.0), (15, 7.0), (20, 5.0))
    ]
    assert bests == [True, True, False, False]  # an equal one is not better
    assert ranking.best == [[7.0, 10], [7.0, 15]]
    assert ranking.stale == 2
    assert ranking.add(25, row(chrf=7.5))
    assert (ranking.steps(), ranking.stale) == ([25, 10], 0)


@pytest.mark.parametrize(("metric", "best"), [("chrf", 1), ("bleu", 2), ("loss", 3)])
def test_each_metric_has_its_own_best(metric, best):
    ranking = Ranking(metric, keep=1)
    for step, values in enumerate([(9.0, 1.0, 5.0), (1.0, 9.0, 5.0), (1.0, 1.0, 4.0)], start=1):
        ranking.add(step, row(*values))
    assert ranking.steps() == [best]


def test_nan_is_never_best():
    ranking = Ranking("loss", keep=3)
    assert not ranking.add(1, row(loss=float("nan")))
    assert ranking.add(2, row(loss=9.0))
    assert (ranking.steps(), ranking.stale) == ([2], 0)


def test_it_goes_on_from_what_it_was():
    ranking = Ranking("chrf", keep=2)
    for step, value in ((1, 5.0), (2, 4.0), (3, 3.0)):
        ranking.add(step, row(chrf=value))
    again = Ranking("chrf", keep=2)
    again.restore(ranking.to_dict())
    assert (again.best, again.stale) == ([[5.0, 1], [4.0, 2]], 2)
    assert not again.add(4, row(chrf=4.5))
    assert again.steps() == [1, 4]
