"""What leaving out components costs: cosines, nearest neighbours and magnitudes of a sample, before and after."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from molino.schemas.pca import ERRORS
from molino.transforms.pca.components import Components

SAMPLE_ROWS = 10_000
PAIRS = 20_000
CELLS = 4 << 20  # pairs times components, at most: what is held at once
AT_ONCE = 1024  # pairs that are worked on together
QUERIES_AT_ONCE = 50
QUERIES = 400  # vectors whose neighbours are sought among the sample
NEIGHBOURS = (1, 10, 100)
SAME = 12  # digits after which cosines count as equal, and the earlier row comes first


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """Rows drawn from all, in their order, each divided by a power of two of its own so that squares are finite."""

    rows: np.ndarray  # (n,) place in all files, from 0
    before: np.ndarray  # (n, numbers) float64
    after: np.ndarray  # (n, numbers) float64, scores on all components
    exponents: np.ndarray  # (n,) of those powers
    labels: Sequence[str] | None = None  # of each row, or none
    # (n, any) float64, another column's vectors; NaN where there is none that can be used; or None
    against: np.ndarray | None = None

    @property
    def magnitudes(self) -> np.ndarray:
        """Magnitudes before, (n,), all divided by one power of two."""
        return np.ldexp(np.linalg.norm(self.before, axis=1), self.exponents - self.exponents.max(initial=0))

    @property
    def scores(self) -> np.ndarray:
        """Scores as they are, (n, numbers)."""
        return np.ldexp(self.after, self.exponents[:, None])


def score_sample(
    rows: np.ndarray,
    vectors: np.ndarray,
    components: Components,
    labels: Sequence[str] | None = None,
    against: np.ndarray | None = None,
) -> Sample:
    """Return the sample of some rows; a vector of zeros has no cosine, and is left out."""
    some = np.asarray(vectors.any(axis=1))
    if not some.all():
        labels = None if labels is None else [label for label, is_some in zip(labels, some, strict=True) if is_some]
        rows, vectors, against = rows[some], vectors[some], None if against is None else against[some]
    exponents = np.frexp(np.abs(vectors).max(axis=1, initial=0))[1]
    before = np.ldexp(vectors, -exponents[:, None])
    moved = before if components.mean is None else np.ldexp(vectors - components.mean, -exponents[:, None])
    after = moved @ components.axes
    return Sample(rows=rows, before=before, after=after, exponents=exponents, labels=labels, against=against)


def draw_pairs(rows: int, numbers: int, seed: int) -> np.ndarray:
    """Return pairs of different rows, (pairs, 2); none where there are fewer than two rows."""
    pairs = min(PAIRS, max(CELLS // max(numbers, 1), 1000))
    if rows < 2:
        return np.zeros((0, 2), np.int64)
    random = np.random.default_rng([seed, 1])
    first = random.integers(rows, size=pairs)
    second = random.integers(rows - 1, size=pairs)
    return np.stack([first, second + (second >= first)], axis=1)


def cosines(vectors: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the cosine of each pair of rows; 0 where one of the two is 0.

    >>> cosines(np.array([[3.0, 4.0], [4.0, 3.0]]), np.array([[0, 1]])).round(12).tolist()
    [0.96]
    """
    found = np.zeros(len(pairs))
    for start in range(0, len(pairs), AT_ONCE):
        a, b = (_unit(vectors[pairs[start : start + AT_ONCE, side]]) for side in (0, 1))
        found[start : start + AT_ONCE] = np.einsum("ij,ij->i", a, b)
    return found


def cosines_by_components(scores: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the cosine of each pair by the first component, by the first two, and so on: (pairs, components)."""
    found = np.zeros((len(pairs), scores.shape[1]))
    for start in range(0, len(pairs), AT_ONCE):
        a, b = scores[pairs[start : start + AT_ONCE, 0]], scores[pairs[start : start + AT_ONCE, 1]]
        norms = np.sqrt(np.cumsum(a * a, axis=1)) * np.sqrt(np.cumsum(b * b, axis=1))
        np.divide(np.cumsum(a * b, axis=1), norms, out=found[start : start + AT_ONCE], where=norms > 0)
    return found


def bound_error(components: Components) -> np.ndarray:
    """Return what the weighted mean cosine error cannot exceed, for each number of components: (numbers,).

    Let `left` be the part of the variance that is left out. Of a vector x it leaves out sin(x) ** 2, and
    |difference of cosines| <= 1 - cos(x) cos(y) + sin(x) sin(y). Over all pairs, each vector weighted by its squared
    magnitude, the mean of sin ** 2 is `left`, that of cos is at least 1 - left, and that of sin at most its root.
    So the mean is at most 1 - (1 - left) ** 2 + left.
    """
    left = np.append(np.cumsum(components.proportions[::-1])[::-1][1:], 0.0)
    return np.minimum(3 * left - left**2, 2.0)


def choose_components(sample: Sample, components: Components, limit: float, seed: int) -> int | None:
    """Return the fewest components whose mean cosine error is at most `limit`, all that were tried; None if none are.

    Without centring all of them together always hold it: they lose nothing but a rounding.
    """
    numbers = sample.before.shape[1]
    pairs = draw_pairs(len(sample.rows), numbers, seed)
    if not len(pairs):
        return numbers
    after, before = cosines_by_components(sample.after, pairs), cosines(sample.before, pairs)
    found = np.array([np.abs(column - before).mean() for column in after.T])
    held = np.flatnonzero(found <= limit)
    if len(held):
        return int(held[0]) + 1
    return numbers if components.mean is None else None


def count_errors(
    sample: Sample,
    components: Components,
    *,
    column: str,
    against: str | None,
    stored: np.ndarray,
    vector_type: str,
    seed: int,
) -> pa.RecordBatch:
    """Return ERRORS: of every number of components in float64, of the vectors as they are written, and against another.

    `stored` is (n, components that are written) float64, the scores as they are written, in `vector_type`, widened.
    """
    numbers, kept = sample.before.shape[1], stored.shape[1]
    pairs = draw_pairs(len(sample.rows), numbers, seed)
    before = cosines(sample.before, pairs)
    after = cosines_by_components(sample.after, pairs)
    bounds = [None] * numbers if components.mean is not None else bound_error(components).tolist()
    weights = np.prod(sample.magnitudes[pairs] ** 2, axis=1)
    sizes = np.sqrt(np.cumsum(sample.after**2, axis=1)) / np.linalg.norm(sample.before, axis=1)[:, None]
    rows = [
        {"reference": column, "components": k + 1, "vector_type": "float64", "written": False, "bound": bounds[k]}
        | _cosine_errors(before, after[:, k], weights)
        | _magnitudes(sizes[:, k])
        for k in range(numbers)
    ]
    ratio = np.linalg.norm(stored, axis=1) / np.linalg.norm(sample.before, axis=1)
    written = {"components": kept, "vector_type": vector_type, "written": True}
    rows.append(
        {"reference": column, "bound": bounds[kept - 1], **written}
        | _cosine_errors(before, cosines(stored, pairs), weights)
        | _magnitudes(ratio)
        | _recalls(sample.before, stored, seed)
    )
    if against is not None and sample.against is not None:
        usable = np.isfinite(sample.against).all(axis=1) & sample.against.any(axis=1)
        other = _unit(sample.against[usable])
        pairs = draw_pairs(len(other), numbers, seed)
        for made, of in (
            ({"components": 0, "vector_type": "float64", "written": False}, sample.before[usable]),
            (written, stored[usable]),
        ):
            found = _cosine_errors(cosines(other, pairs), cosines(of, pairs), None)
            rows.append({"reference": against, **made} | found | _recalls(other, of, seed))
    return pa.RecordBatch.from_pylist(rows, schema=ERRORS)


def _cosine_errors(before: np.ndarray, after: np.ndarray, weights: np.ndarray | None) -> dict[str, float | int | None]:
    if not len(before):
        return {"pairs": 0}
    error = np.abs(after - before)
    middle, most = np.quantile(error, [0.5, 0.99])
    told = {"pairs": len(before), "cosine_error_mean": error.mean(), "cosine_error_max": error.max()}
    told |= {"cosine_error_p50": middle, "cosine_error_p99": most}
    if weights is not None and weights.sum() > 0:
        told["cosine_error_weighted"] = (error * weights).sum() / weights.sum()
    one, other = before - before.mean(), after - after.mean()
    spread = np.sqrt((one @ one) * (other @ other))
    return told | {"correlation": min(1.0, one @ other / spread) if spread > 1e-12 * len(before) else None}


def _magnitudes(ratio: np.ndarray) -> dict[str, float]:
    if not len(ratio):
        return {}
    return {"magnitude_mean": ratio.mean(), "magnitude_min": ratio.min(), "magnitude_max": ratio.max()}


def _recalls(before: np.ndarray, after: np.ndarray, seed: int) -> dict[str, float | None]:
    queries = draw_queries(len(before), seed)
    most = max(NEIGHBOURS)
    ours, theirs = (nearest(vectors, queries, most) for vectors in (before, after))
    found: dict[str, float | None] = {}
    for k in NEIGHBOURS:
        if len(before) > k:
            same = [len(set(a[:k]) & set(b[:k])) for a, b in zip(ours.tolist(), theirs.tolist(), strict=True)]
            found[f"recall_{k}"] = sum(same) / (k * len(queries))
    return found


def draw_queries(rows: int, seed: int) -> np.ndarray:
    """Return the places of the vectors whose neighbours are sought."""
    return np.random.default_rng([seed, 2]).permutation(rows)[:QUERIES]


def nearest(vectors: np.ndarray, queries: np.ndarray, most: int) -> np.ndarray:
    """Return the places of the rows with the largest cosines to each query, itself apart: (queries, most or fewer).

    >>> nearest(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1]]), np.array([0]), 2).tolist()
    [[2, 1]]
    """
    units = _unit(vectors)
    most = max(0, min(most, len(vectors) - 1))
    found = np.zeros((len(queries), most), np.int64)
    for start in range(0, len(queries) if most else 0, QUERIES_AT_ONCE):
        part = queries[start : start + QUERIES_AT_ONCE]
        for place, near in enumerate(np.round(units[part] @ units.T, SAME)):
            near[part[place]] = -np.inf
            least = np.partition(near, -most)[-most]
            some = np.flatnonzero(near >= least)  # those that tie with the last too, of which the first rows are taken
            found[start + place] = some[np.argsort(-near[some], kind="stable")[:most]]
    return found


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Return the vectors at length 1, those of zeros as they are; a power of two first, so that squares are finite."""
    scaled = np.ldexp(vectors, -np.frexp(np.abs(vectors).max(axis=1, initial=0))[1][:, None])
    norms = np.linalg.norm(scaled, axis=1)
    return scaled / np.where(norms > 0, norms, 1)[:, None]
