"""The second moment: equal to the product of the whole matrix, whatever the blocks and the magnitudes."""

import functools

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that
from hypothesis import given, settings
from hypothesis import strategies as st

from molino.transforms.pca.second_moment import AddMoments, add_in_order, add_moments, no_moment, second_moment

GAPS = st.lists(st.integers(1, 60), max_size=12)


def draw(rows, numbers, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, numbers)) + 0.5


def moment_of(vectors, cuts, *, center=False):
    blocks = np.split(vectors, cuts)
    numbered = [(n, second_moment(block, center=center)) for n, block in enumerate(blocks)]
    return add_in_order(numbered, numbers=vectors.shape[1], center=center)


def value(moment):
    return np.ldexp(moment.high + moment.low, 2 * moment.exponent) if moment.rows else moment.high


@settings(max_examples=40, deadline=None)
@given(GAPS, st.booleans())
def test_any_batching_gives_the_same(gaps, center):
    vectors = draw(200, 6)
    cuts = np.cumsum(gaps)[np.cumsum(gaps) < 200]
    moved = vectors - vectors.mean(axis=0) if center else vectors
    found = moment_of(vectors, cuts, center=center)
    assert found.rows == 200
    np.testing.assert_allclose(value(found), moved.T @ moved, rtol=1e-13, atol=1e-12)
    if center:
        np.testing.assert_allclose(np.ldexp(found.mean, found.exponent), vectors.mean(axis=0), rtol=1e-13)


def test_the_order_of_blocks_does_not_matter():
    blocks = [second_moment(draw(50, 8, seed) * 10.0**seed, center=False) for seed in range(9)]
    there, back = functools.reduce(add_moments, blocks), functools.reduce(add_moments, blocks[::-1])
    assert np.array_equal(there.high + there.low, back.high + back.low)


@pytest.mark.parametrize("power", [-1000, -540, -200, 0, 200, 500])
def test_powers_of_two_change_nothing_else(power):
    vectors = draw(30, 4)
    plain, scaled = second_moment(vectors, center=True), second_moment(np.ldexp(vectors, power), center=True)
    shift = scaled.exponent - plain.exponent - power
    np.testing.assert_allclose(np.ldexp(scaled.high, 2 * shift), plain.high, rtol=1e-14)
    np.testing.assert_allclose(np.ldexp(scaled.mean, shift), plain.mean, rtol=1e-14)


def test_blocks_of_very_different_magnitude_add_up():
    large, small = draw(20, 3) * 1e150, draw(20, 3, 1) * 1e-150
    both = add_moments(second_moment(small, center=False), second_moment(large, center=False))
    alone = second_moment(large, center=False)
    assert both.rows == 40
    np.testing.assert_array_equal(both.high, alone.at(both.exponent).high)


def test_zeros_and_nothing():
    zeros = second_moment(np.zeros((7, 3)), center=True)
    assert (zeros.rows, zeros.high.any(), zeros.mean.any()) == (7, False, False)
    assert second_moment(np.zeros((0, 3)), center=False).rows == 0
    some = second_moment(draw(5, 3), center=True)
    both = add_moments(zeros, some)
    expected = np.concatenate([np.zeros((7, 3)), draw(5, 3)])
    expected -= expected.mean(axis=0)
    np.testing.assert_allclose(value(both), expected.T @ expected, rtol=1e-13)
    assert add_moments(no_moment(3, center=True), some) is some


@pytest.mark.parametrize("count", [0, 1, 16, 17, 40])
def test_add_moments_on_the_embedded_runner(count):
    numbered = [(n, second_moment(draw(10, 3, n), center=False)) for n in range(count)]
    rows = [draw(10, 3, n) for n in range(count)]

    def check(found):
        [total] = found
        assert total.rows == 10 * count
        expected = np.concatenate([np.zeros((0, 3)), *rows])
        np.testing.assert_allclose(value(total), expected.T @ expected, rtol=1e-13)

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        added = pipeline | beam.Create(numbered[::-1]) | AddMoments(count=count, numbers=3, center=False)
        assert_that(added, check)
