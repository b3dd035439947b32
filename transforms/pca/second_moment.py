"""The second moment of vectors: the sum of their outer products, over any number of rows, in one pass.

Each block of rows is one product of matrices in float64. Blocks are added up in pairs of floats (Knuth's two-sum), so
that their number and order add no error of their own; spans are added in a fixed tree, so that the bits are the same
for any workers. Powers of two keep data of any magnitude from overflow and underflow.
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence

import apache_beam as beam
import numpy as np

from molino.transforms.rows.gather import Gather

FAN_IN = 16  # moments that one worker adds up: what it holds, and not more
NONE = -(1 << 16)  # exponent of a moment that is 0
# sums of squares that are far from both ends of float64, so that nothing that counts is lost
SMALL, LARGE = 2.0**-500, 2.0**500


@dataclasses.dataclass(frozen=True, kw_only=True)
class Moment:
    """Second moment of some rows, divided by 4 ** exponent; about their mean where there is one."""

    rows: int
    exponent: int
    # high, low: (numbers, numbers) float64, symmetric; the moment is their sum, low below a rounding of high
    high: np.ndarray
    low: np.ndarray
    mean: np.ndarray | None = None  # (numbers,) float64 divided by 2 ** exponent, or None for a moment about 0

    def at(self, exponent: int) -> "Moment":
        """Return the same moment with a larger exponent."""
        if not (by := exponent - self.exponent):
            return self
        high, low = np.ldexp(self.high, -2 * by), np.ldexp(self.low, -2 * by)
        mean = None if self.mean is None else np.ldexp(self.mean, -by)
        return Moment(rows=self.rows, exponent=exponent, high=high, low=low, mean=mean)


def no_moment(numbers: int, *, center: bool) -> Moment:
    """Return the moment of no rows."""
    zero = np.zeros((numbers, numbers))
    return Moment(rows=0, exponent=NONE, high=zero, low=zero, mean=np.zeros(numbers) if center else None)


def second_moment(vectors: np.ndarray, *, center: bool) -> Moment:
    """Return the moment of one block, (rows, numbers), finite; about the mean where it is to `center`."""
    block = np.ascontiguousarray(vectors, dtype=np.float64)
    if not len(block):
        return no_moment(block.shape[1], center=center)
    with np.errstate(over="ignore", invalid="ignore"):
        moment = _moment(block, 0, center=center)
        largest = float(np.abs(moment.high.diagonal()).max())
    if SMALL < largest < LARGE:
        return moment
    exponent = int(np.frexp(np.abs(block).max())[1])
    if not block.any():
        return dataclasses.replace(no_moment(block.shape[1], center=center), rows=len(block))
    return _moment(np.ldexp(block, -exponent), exponent, center=center)


def _moment(block: np.ndarray, exponent: int, *, center: bool) -> Moment:
    mean = None
    if center:
        mean = block.mean(axis=0)
        block = block - mean
    high = block.T @ block
    return Moment(rows=len(block), exponent=exponent, high=high, low=np.zeros_like(high), mean=mean)


def add_moments(one: Moment, other: Moment) -> Moment:
    """Return the moment of the rows of both.

    About the mean, by Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm (1979).
    """
    if not one.rows or not other.rows:
        return one if one.rows else other
    exponent = max(one.exponent, other.exponent)
    one, other = one.at(exponent), other.at(exponent)
    rows = one.rows + other.rows
    high, low = _two_sum(one.high, other.high)
    low += one.low + other.low
    mean = None
    if one.mean is not None and other.mean is not None:
        apart = other.mean - one.mean
        mean = one.mean + apart * (other.rows / rows)
        high, rest = _two_sum(high, np.outer(apart, apart) * (one.rows * (other.rows / rows)))
        low += rest
    high, low = _two_sum(high, low)
    return Moment(rows=rows, exponent=exponent, high=high, low=low, mean=mean)


def _two_sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rounded sum and what rounding took: together they are exactly a + b."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


@dataclasses.dataclass(kw_only=True)
class AddMoments(beam.PTransform):
    """Add up the moments of numbered spans, FAN_IN at a time, in a tree that depends on their number alone.

    Input: (number, Moment), numbers from 0, one for each. Output: one Moment.
    """

    count: int  # of the spans
    numbers: int  # of a vector
    center: bool  # about the mean

    def expand(self, moments: beam.PCollection) -> beam.PCollection:
        count, level = self.count, 0
        arguments = {"numbers": self.numbers, "center": self.center}
        while count > FAN_IN:
            moments = (
                moments
                | f"Group{level}" >> beam.MapTuple(_group)
                | f"Bring{level}" >> beam.GroupByKey()
                | f"Add{level}" >> beam.Map(_add_group, **arguments)
            )
            count, level = -(-count // FAN_IN), level + 1
        return moments | "Add" >> Gather(into=add_in_order, arguments=arguments).with_output_types(Moment)


def add_in_order(numbered: Sequence[tuple[int, Moment]], *, numbers: int, center: bool) -> Moment:
    """Return the moment of all rows, added in the order of the numbers."""
    moments = (moment for _, moment in sorted(numbered, key=lambda one: one[0]))
    return functools.reduce(add_moments, moments, no_moment(numbers, center=center))


def _group(number: int, moment: Moment) -> tuple[int, tuple[int, Moment]]:
    return number // FAN_IN, (number, moment)


def _add_group(group: tuple[int, Iterable[tuple[int, Moment]]], *, numbers: int, center: bool) -> tuple[int, Moment]:
    return group[0], add_in_order(list(group[1]), numbers=numbers, center=center)
