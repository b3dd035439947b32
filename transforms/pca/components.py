"""From a second moment to principal components, as exactly as a singular value decomposition of all rows gives them.

The eigenvalues of a second moment are the squares of singular values: what is below 1e-8 of the largest singular value
drowns in the rounding of the largest square. Where the smallest is that small, the moment of the rotated rows is taken
in another pass. Its columns are nearly orthogonal, so that each of its entries is exact relative to the two columns
that it is of, and nothing large hides what is small. (The same reason makes one-sided Jacobi accurate: Demmel and
Veselic, Jacobi's method is more accurate than QR, 1992.) A tree of QR factorisations would be as exact in one pass, but
costs several times the product of matrices for all data, and hardly any data needs it.
"""

import dataclasses

import numpy as np

from molino.transforms.pca.second_moment import Moment

# of the largest singular value: below it the error of a root, about 1e-15 / ratio, would come near 1e-10
LEAST_RATIO = 1e-3
EXACT = 1e-10  # of the largest: what singular values are exact to
TIED = 1 - 1e-9  # loadings as large as this part of the largest count as equal to it, and the first decides the sign


@dataclasses.dataclass(frozen=True, kw_only=True)
class Components:
    """Principal components of some rows."""

    rows: int
    # (numbers,) singular values of the matrix of all rows, falling; about the mean where there is one
    singular: np.ndarray
    axes: np.ndarray  # (numbers, numbers), a component in each column, orthonormal, signs fixed
    mean: np.ndarray | None = None  # (numbers,) that is subtracted before the rotation, or None

    @property
    def deviations(self) -> np.ndarray:
        """Standard deviations as R's prcomp has them, centred or not: over the rows less one."""
        return self.singular / np.sqrt(max(1, self.rows - 1))

    @property
    def proportions(self) -> np.ndarray:
        """Proportion of the variance of each component; 0 where there is none at all."""
        largest = self.singular[0] if len(self.singular) else 0.0
        squares = (self.singular / largest) ** 2 if largest > 0 else np.zeros(len(self.singular))
        return squares / (squares.sum() or 1.0)

    @property
    def spanned(self) -> int:
        """Number of components that have any variance; what is below the error of the others counts as none."""
        return int((self.singular > EXACT * self.singular[0]).sum())

    @property
    def needs_refinement(self) -> bool:
        """Whether small singular values are not exact yet."""
        return bool(self.singular[-1] < LEAST_RATIO * self.singular[0])


def find_components(moment: Moment) -> Components:
    """Return the components of a second moment; singular values below LEAST_RATIO of the largest are not exact."""
    values, axes = np.linalg.eigh(moment.high + moment.low)
    order = np.argsort(-values, kind="stable")
    singular = np.ldexp(np.sqrt(np.maximum(values[order], 0)), moment.exponent)
    mean = None if moment.mean is None else np.ldexp(moment.mean, moment.exponent)
    return Components(rows=moment.rows, singular=singular, axes=fix_signs(axes[:, order]), mean=mean)


def refine_components(rough: Components, moment: Moment) -> Components:
    """Return the exact components, from the moment of the same rows rotated by the rough ones."""
    whole = moment.high + moment.low
    scale = np.sqrt(np.maximum(whole.diagonal(), 0))
    divisor = np.where(scale > 0, scale, 1)
    values, turned = np.linalg.eigh(whole / divisor / divisor[:, None])
    # a square root of the moment: R.T @ R, each column as exact as it is large
    root = np.sqrt(np.maximum(values, 0))[:, None] * turned.T * scale
    _, singular, rows = np.linalg.svd(root)
    axes = rough.axes @ rows.T
    return dataclasses.replace(rough, singular=np.ldexp(singular, moment.exponent), axes=fix_signs(axes))


def fix_signs(axes: np.ndarray) -> np.ndarray:
    """Return components with the largest absolute loading positive; of equal ones the first.

    >>> fix_signs(np.array([[0.6, -0.8], [-0.8, -0.6]])).tolist()
    [[-0.6, 0.8], [0.8, 0.6]]
    """
    sizes = np.abs(axes)
    largest = (sizes >= TIED * sizes.max(axis=0)).argmax(axis=0)
    return axes * np.where(np.take_along_axis(axes, largest[None], axis=0) < 0, -1.0, 1.0)


def rotate_vectors(vectors: np.ndarray, axes: np.ndarray, mean: np.ndarray | None = None) -> np.ndarray:
    """Return the scores of vectors on components, (rows, components) float64.

    The product is made for at least two components and an even number of rows of 16: a product with a single row or
    column goes through another kernel, whose sums differ in the last bit.

    >>> rotate_vectors(np.array([[3.0, 4.0]]), np.array([[0.0, -1.0], [1.0, 0.0]])).tolist()
    [[4.0, -3.0]]
    """
    rows, kept = len(vectors), axes.shape[1]
    block = np.zeros((-(-rows // 16) * 16, vectors.shape[1]))
    np.subtract(vectors, 0 if mean is None else mean, out=block[:rows])
    if kept == 1:
        axes = np.repeat(axes, 2, axis=1)
    return (block @ axes)[:rows, :kept]
