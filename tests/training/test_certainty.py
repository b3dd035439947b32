import itertools

import numpy as np
import pytest

from molino.training import certainty
from molino.training.certainty import Trial


def trial(name, labels, right, *, model="m", sample="s"):
    labels, right = np.asarray(labels), np.asarray(right, bool)
    return Trial(name=name, model=model, sample=sample, labels=labels, predictions=np.where(right, labels, labels + 1))


def test_titles_are_drawn_within_their_category():
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [40, 90, 1])
    one = trial("a", labels, random.random(131) < 0.7)
    drawn = certainty.resample_titles([one], 4000, 1)[:, 0]
    shares = [np.mean((one.predictions == labels)[labels == c]) for c in range(3)]
    assert drawn.mean() == pytest.approx(one.figure, abs=0.003)
    variance = sum(p * (1 - p) / n for p, n in zip(shares, (40, 90, 1), strict=True)) / 9
    assert drawn.std() == pytest.approx(variance**0.5, rel=0.06)


def test_the_interval_of_one_trial_is_of_draws_within_its_categories():
    one = trial("a", np.repeat([0, 1], 400), np.arange(800) % 4 > 0)
    low, high = certainty.interval_over_titles(one.labels, one.predictions)
    assert (low, high) == pytest.approx((0.72, 0.78), abs=0.006)
    assert certainty.interval_over_titles(one.labels, one.labels) == pytest.approx((1, 1))


def test_trials_of_one_sample_get_the_same_titles():
    labels = np.repeat([0, 1], 50)
    right = np.arange(100) % 3 > 0
    twins = [trial("a", labels, right), trial("b", labels, right), trial("c", labels, right, sample="other")]
    drawn = certainty.resample_titles(twins, 50, 0)
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert (drawn[:, 0] != drawn[:, 2]).any()
    assert (drawn == certainty.resample_titles(twins, 50, 0)).all()


def test_few_repeats_vary_as_much_as_many_would():
    figures = np.array([0.70, 0.72, 0.71, 0.75])
    chosen = certainty.resample_repeats([range(4)], 20_000, 0)[0]
    found = certainty.means_of(figures, chosen)
    assert found.mean() == pytest.approx(figures.mean(), abs=1e-3)
    assert found.std() == pytest.approx(figures.std(ddof=1) / 2, rel=0.02)


def test_one_repeat_has_the_titles_alone():
    drawn = np.array([[0.1], [0.2], [0.4]])
    assert certainty.means_of(drawn, np.zeros((3, 1), int)).tolist() == [0.1, 0.2, 0.4]


def test_the_test_is_that_of_all_ways_to_change_places():
    figures = np.array([0.74, 0.75, 0.73, 0.71, 0.72, 0.735])
    strata = [([0, 1, 2], [3, 4, 5])]
    difference, bounds, p = certainty.measure_effect(strata, figures, lambda own: np.full(1000, own[0] / 10), 1000, 3)
    assert difference == pytest.approx(figures[:3].mean() - figures[3:].mean())
    ways = [figures[list(c)].mean() - np.delete(figures, c).mean() for c in itertools.combinations(range(6), 3)]
    exact = np.mean(np.abs(ways) >= difference - 1e-12)
    assert p == pytest.approx(exact, abs=0.01)
    assert bounds == pytest.approx((-0.3, -0.3))


def test_nothing_is_found_where_nothing_is():
    random = np.random.default_rng(5)
    small = 0
    for seed in range(40):
        figures = random.normal(0.7, 0.01, 8)
        strata = [([0, 1], [2, 3]), ([4, 5], [6, 7])]
        small += certainty.measure_effect(strata, figures, lambda own: np.zeros(100), 100, seed)[2] < 0.1
    assert small <= 9


def test_strata_differ_in_one_thing_alone():
    traits = [
        {"language": "es", "dim": "50"},
        {"language": "en", "dim": "50"},
        {"language": "es", "dim": "128"},
        {"language": None, "dim": "128"},
        {"language": "en", "dim": None},
    ]
    assert certainty.find_strata(traits, "language", "es", "en") == [(0, 1)]
    assert certainty.find_strata(traits, "dim", "128", "50") == [(2, 0)]
