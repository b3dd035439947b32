"""What leaving out components costs, against sums over every pair."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molino.transforms.pca.components import find_components
from molino.transforms.pca.cosine_errors import (
    bound_error,
    choose_components,
    cosines,
    cosines_by_components,
    count_errors,
    draw_pairs,
    nearest,
    score_sample,
)
from molino.transforms.pca.second_moment import second_moment


def sample_of(vectors, *, center=False, **more):
    components = find_components(second_moment(vectors, center=center))
    return score_sample(np.arange(len(vectors)), vectors, components, **more), components


def draw(rows=80, numbers=6, seed=0):
    random = np.random.default_rng(seed)
    return random.standard_normal((rows, numbers)) / np.arange(1, numbers + 1) + 0.2


def errors_of(sample, components, kept, vector_type="float64", against=None):
    stored = np.ldexp(sample.scores[:, :kept].astype(vector_type).astype(float), -sample.exponents[:, None])
    how = {"column": "v", "against": against, "stored": stored, "vector_type": vector_type, "seed": 1}
    return count_errors(sample, components, **how).to_pylist()


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 40), st.integers(1, 8), st.integers(0, 99), st.booleans())
def test_no_mean_error_of_all_pairs_is_above_the_bound(rows, numbers, seed, unit):
    vectors = draw(rows, numbers, seed)
    if unit:
        vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    sample, components = sample_of(vectors)
    pairs = np.array(list(itertools.product(range(rows), repeat=2)))
    error = np.abs(cosines_by_components(sample.after, pairs) - cosines(vectors, pairs)[:, None])
    weights = np.prod((vectors**2).sum(axis=1)[pairs], axis=1)
    assert (np.average(error, axis=0, weights=weights) <= bound_error(components) + 1e-12).all()


@pytest.mark.parametrize("scale", [1e-150, 1.0, 1e150])
def test_all_components_lose_nothing(scale):
    sample, components = sample_of(draw() * scale)
    [*_, all_of_them, written] = errors_of(sample, components, 6)
    for row in (all_of_them, written):
        assert row["cosine_error_max"] < 1e-14
        assert row["magnitude_min"] == pytest.approx(1, abs=1e-14)
    assert [written[f"recall_{k}"] for k in (1, 10, 100)] == [1, 1, None]
    assert written["written"]


def test_errors_are_those_of_the_pairs():
    vectors = draw()
    sample, components = sample_of(vectors)
    pairs = draw_pairs(80, 6, 1)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    kept = vectors @ components.axes[:, :2]
    error = np.abs(cosines(kept, pairs) - cosines(vectors, pairs))
    row = errors_of(sample, components, 3)[1]
    assert row["components"] == 2
    assert row["cosine_error_mean"] == pytest.approx(error.mean(), rel=1e-12)
    assert row["cosine_error_p99"] == pytest.approx(np.quantile(error, 0.99), rel=1e-12)
    ratio = np.linalg.norm(kept, axis=1) / np.linalg.norm(vectors, axis=1)
    assert (row["magnitude_mean"], row["magnitude_min"]) == pytest.approx((ratio.mean(), ratio.min()), rel=1e-12)


def test_recall_is_that_of_all_distances():
    vectors = draw(300, 6)
    sample, components = sample_of(vectors)
    row = errors_of(sample, components, 2)[-1]
    kept = vectors @ components.axes[:, :2]

    def ten_nearest(points):
        units = points / np.linalg.norm(points, axis=1)[:, None]
        near = units @ units.T
        np.fill_diagonal(near, -2)
        return np.argsort(-near, axis=1, kind="stable")[:, :10]

    shared = [len(set(a) & set(b)) / 10 for a, b in zip(ten_nearest(vectors), ten_nearest(kept), strict=True)]
    assert row["recall_10"] == pytest.approx(np.mean(shared))  # with 300 rows each is a query


def test_the_fewest_components_are_chosen():
    sample, components = sample_of(draw(200, 8))
    errors = [row["cosine_error_mean"] for row in errors_of(sample, components, 8)[:-1]]
    for limit in (0.5, 0.1, 0.01, 1e-9):
        kept = choose_components(sample, components, limit, 1)
        assert errors[kept - 1] <= limit
        assert all(error > limit for error in errors[: kept - 1])
    assert choose_components(sample, components, 1e-300, 1) == 8


def test_centring_costs_cosines():
    sample, components = sample_of(draw() + 3, center=True)
    rows = errors_of(sample, components, 6)
    assert rows[-1]["cosine_error_mean"] > 0.1
    assert rows[-1]["bound"] is None
    assert choose_components(sample, components, 0.01, 1) is None


def test_rounding_has_its_error():
    sample, components = sample_of(draw())
    exact, half = errors_of(sample, components, 6)[-2], errors_of(sample, components, 6, "float16")[-1]
    assert exact["cosine_error_max"] < 1e-14 < half["cosine_error_mean"] < 1e-3
    assert half["vector_type"] == "float16"


def test_against_another_column():
    vectors = draw()
    other = np.column_stack([vectors * 7, np.zeros(80)])  # the same cosines, of another length
    other[3] = np.nan
    sample, components = sample_of(vectors, against=other)
    before, after = errors_of(sample, components, 1, against="w")[-2:]
    assert (before["reference"], before["components"], after["components"]) == ("w", 0, 1)
    assert before["cosine_error_max"] < 1e-14 < after["cosine_error_mean"]
    assert before["correlation"] == pytest.approx(1)
    assert before["recall_10"] == 1


def test_vectors_of_zeros_are_left_out():
    vectors = draw(20)
    vectors[4] = 0
    sample, _ = sample_of(vectors, labels=[str(n) for n in range(20)])
    assert sample.rows.tolist() == [n for n in range(20) if n != 4]
    assert sample.labels[4] == "5"


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows(rows):
    sample, components = sample_of(draw(rows, 3))
    row = errors_of(sample, components, 2)[-1]
    assert (row["pairs"], row["cosine_error_mean"], row["recall_1"]) == (0, None, None)
    assert choose_components(sample, components, 0.1, 1) == 3


def test_copies_are_near_in_the_order_of_rows():
    vectors = np.array([[1.0, 0], [0.6, 0.8], [1.0, 0], [2.0, 0]])
    assert nearest(vectors, np.array([0]), 9).tolist() == [[2, 3, 1]]
