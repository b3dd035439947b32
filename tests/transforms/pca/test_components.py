"""Principal components: those of numpy.linalg.svd to 1e-10, on matrices that a second moment alone would get wrong."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molino.transforms.pca.components import find_components, fix_signs, refine_components, rotate_vectors
from molino.transforms.pca.second_moment import add_moments, second_moment

# printed by the study: its rotation, its points, their scores, and the cosines of each to the second
ROTATION = np.array([[0.691987, -0.721910], [0.721910, 0.691987]])
POINTS = np.array(
    [
        (-77.25932, -57.56371837),
        (24.45988, -0.03487656),
        (21.85495, 36.04947094),
        (24.67589, 22.49148848),
        (72.18308, 107.83523462),
        (28.06212, 23.19322747),
    ]
)
SCORES = np.array(
    [
        (-95.01826, 15.940928),
        (16.90074, -17.681966),
        (41.14781, 9.168461),
        (33.31222, -2.249953),
        (127.79708, 22.510896),
        (36.16204, -4.208914),
    ]
)
COSINES = (-0.8010403, 1, 0.5171996, 0.7381007, 0.5550765, 0.7698978)


def components_of(vectors, *, center=False, block=1000):
    """Do in one process what the job's passes do."""
    blocks = [vectors[start : start + block] for start in range(0, len(vectors), block)]
    found = find_components(functools.reduce(add_moments, (second_moment(b, center=center) for b in blocks)))
    if not found.needs_refinement:
        return found
    rotated = (rotate_vectors(b, found.axes, found.mean) for b in blocks)
    return refine_components(found, functools.reduce(add_moments, (second_moment(r, center=center) for r in rotated)))


def assert_as_svd(vectors, *, center=False):
    """Compare with the singular value decomposition of the whole matrix, all of it relative to its largest value."""
    found = components_of(vectors, center=center)
    moved = vectors - vectors.mean(axis=0) if center else vectors
    _, singular, rows = np.linalg.svd(moved, full_matrices=False)
    numbers = vectors.shape[1]
    singular = np.append(singular, np.zeros(numbers - len(singular)))
    top = singular[0] or 1.0
    np.testing.assert_allclose(found.singular / top, singular / top, atol=1e-10)
    np.testing.assert_allclose(found.axes.T @ found.axes, np.eye(numbers), atol=1e-12)
    # the scores have these magnitudes: the components are right where singular values are equal, too
    scores = rotate_vectors(moved / top, found.axes)
    np.testing.assert_allclose(np.linalg.norm(scores, axis=0), singular / top, atol=1e-10)
    np.testing.assert_allclose(scores @ found.axes.T, moved / top, atol=1e-10)
    apart = [np.abs(np.delete(singular, k) - singular[k]).min(initial=top) > 1e-3 * top for k in range(len(rows))]
    np.testing.assert_allclose(found.axes[:, : len(rows)][:, apart], fix_signs(rows.T)[:, apart], atol=1e-10)


def normal(rows, numbers, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, numbers))


def turned(singular, rows, seed=0):
    """Return a matrix with these singular values and any directions."""
    left = np.linalg.qr(normal(rows, len(singular), seed))[0]
    right = np.linalg.qr(normal(len(singular), len(singular), seed + 1))[0]
    return left * singular @ right


MATRICES = {
    "random": normal(3000, 20),
    "falling": normal(3000, 20) / np.arange(1, 21),
    "rank of 5": normal(3000, 5) @ normal(5, 20, 1),
    "rank of 1": np.outer(normal(500, 1), normal(1, 9, 1)),
    "sixteen powers of ten": turned(np.logspace(0, -16, 20), 3000),
    "constant column": np.column_stack([normal(2000, 7), np.full(2000, 3.0)]),
    "columns of zeros": np.column_stack([normal(2000, 4), np.zeros((2000, 3))]),
    "n < d": normal(5, 20),
    "n < d, in several blocks": np.repeat(normal(4, 30), 900, axis=0),
    "one row": normal(1, 6),
    "one number": normal(50, 1),
    "tiny": normal(3000, 8) / np.arange(1, 9) * 1e-150,
    "huge": normal(3000, 8) / np.arange(1, 9) * 1e150,
    "tiny, rank of 3": normal(2000, 3) @ normal(3, 8, 1) * 1e-150,
    "huge, rank of 3": normal(2000, 3) @ normal(3, 8, 1) * 1e150,
    "tiny and huge": np.concatenate([normal(2000, 5) * 1e-150, normal(2000, 5, 1) * 1e150]),
    "zeros": np.zeros((100, 4)),
}


@pytest.mark.parametrize("center", [False, True], ids=["about 0", "centred"])
@pytest.mark.parametrize("name", MATRICES)
def test_components_are_those_of_svd(name, center):
    assert_as_svd(MATRICES[name], center=center)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 60),
    numbers=st.integers(1, 12),
    rank=st.integers(1, 12),
    power=st.integers(-150, 150),
    center=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_components_of_any_matrix_are_those_of_svd(rows, numbers, rank, power, center, seed):
    vectors = normal(rows, min(rank, numbers), seed) @ normal(min(rank, numbers), numbers, seed + 1)
    assert_as_svd(vectors * 10.0**power, center=center)


@pytest.mark.parametrize("block", [1, 7, 100, 4096])
def test_any_batching_gives_the_same_components(block):
    vectors = normal(4096, 16) / np.arange(1, 17)
    whole, cut = components_of(vectors, block=5000), components_of(vectors[: len(vectors)], block=block)
    np.testing.assert_allclose(cut.axes, whole.axes, atol=1e-12)
    np.testing.assert_allclose(cut.singular, whole.singular, rtol=1e-12)


def test_without_the_second_pass_small_values_would_be_wrong():
    vectors = normal(3000, 5) @ normal(5, 20, 1)
    rough = find_components(second_moment(vectors, center=False))
    assert rough.needs_refinement
    assert rough.singular[5:].max() > 1e-10 * rough.singular[0]


def test_deviations_and_proportions_are_those_of_r():
    vectors = normal(50, 3) * [3, 2, 1]
    found = components_of(vectors, center=True)
    covariance = np.cov(vectors.T)
    np.testing.assert_allclose(found.deviations**2, np.sort(np.linalg.eigvalsh(covariance))[::-1], rtol=1e-12)
    assert found.proportions.sum() == pytest.approx(1)
    assert components_of(np.zeros((3, 2))).proportions.tolist() == [0, 0]


def test_the_largest_loading_is_positive():
    axes = fix_signs(np.linalg.qr(normal(9, 9))[0])
    assert all(axes[np.abs(axes[:, k]).argmax(), k] > 0 for k in range(9))
    # equal but for a rounding: the first decides
    half = np.sqrt(0.5)
    assert fix_signs(np.array([[-half], [half * (1 + 1e-15)]]))[0, 0] > 0


# --- the study


def test_the_study_s_scores():
    np.testing.assert_allclose(rotate_vectors(POINTS, ROTATION), SCORES, atol=1e-5)


def test_the_study_s_cosines():
    def to_second(points):
        units = points / np.linalg.norm(points, axis=1)[:, None]
        return units @ units[1]

    assert tuple(to_second(POINTS).round(7)) == COSINES
    assert tuple(to_second(rotate_vectors(POINTS, ROTATION)).round(7)) == COSINES


# --- rows


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 40), max_size=10), st.integers(1, 9))
def test_a_row_s_scores_do_not_depend_on_its_block(gaps, kept):
    vectors, axes = normal(150, 9), np.ascontiguousarray(np.linalg.qr(normal(9, 9, 1))[0][:, :kept])
    cuts = np.cumsum(gaps)[np.cumsum(gaps) < 150]
    parts = [rotate_vectors(part, axes) for part in np.split(vectors, cuts)]
    assert np.array_equal(np.concatenate(parts), rotate_vectors(vectors, axes))


def test_no_rows():
    assert rotate_vectors(np.zeros((0, 3)), np.eye(3)).shape == (0, 3)
