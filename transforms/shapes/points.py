"""Points of the square from -1 to 1, and the six shapes that say which of them are true."""

import dataclasses
import functools
import random

import numpy as np
import pyarrow as pa

from molino.schemas.shapes import POINTS

# name: radius or frequency where none is given; None for a shape that has none
PROBLEMS = {"positivos": None, "linear": None, "circle": 0.75, "ring": 0.75, "cos": 8.0, "polar": 4.0}
SPLITS = ("train", "validation", "test")
GENERATED, STUDY = "generated", "study"
STUDY_SEED = 19700601  # of the training points; the next are of validation and test
STUDY_ROWS = 200_000
BLOCK_ROWS = 1 << 17


@dataclasses.dataclass(frozen=True, order=True)
class Problem:
    """A shape: its name, and its radius or frequency (None for those without)."""

    name: str
    r: float | None

    def __str__(self) -> str:
        return self.name if (self.r is None or self.r == PROBLEMS[self.name]) else f"{self.name}={self.r:g}"


def parse_problem(text: str) -> Problem:
    """Return the problem that NAME or NAME=R means.

    Raises ValueError where there is no such problem, or r does not do for it.

    >>> parse_problem("circle"), str(parse_problem("cos=12"))
    (Problem(name='circle', r=0.75), 'cos=12')
    """
    name, mark, value = text.partition("=")
    if name not in PROBLEMS:
        raise ValueError(f"{name!r} is no problem; there are {', '.join(PROBLEMS)}")
    if not mark:
        return Problem(name, PROBLEMS[name])
    if PROBLEMS[name] is None:
        raise ValueError(f"{name} has neither radius nor frequency, so {text!r} means nothing")
    try:
        r = float(value)
    except ValueError:
        raise ValueError(f"{value!r} in {text!r} is no number") from None
    if not 0 < r <= 1000:
        raise ValueError(f"{text!r}: the radius or frequency must be above 0 and at most 1000")
    return Problem(name, r)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Points:
    """Which points are drawn."""

    kind: str  # generated, by PCG64 and a seed a block, or study: the study's own, by Python's Mersenne Twister
    rows: int  # training points; validation and test have a twentieth of them each, and one at least
    seed: int  # of generated points

    def count(self, split: str) -> int:
        """Return the points of a split."""
        return self.rows if split == "train" else max(1, self.rows // 20)

    def blocks(self, split: str) -> range:
        """Return the numbers of the blocks of a split."""
        return range(-(-self.count(split) // BLOCK_ROWS))


def label_points(problem: Problem, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return whether each point lies in the shape, as bool; x and y are float64."""
    r = 0.0 if problem.r is None else problem.r
    if problem.name == "positivos":
        return x > 0
    if problem.name == "linear":
        return y > x
    if problem.name == "circle":
        return x * x + y * y < r * r
    if problem.name == "ring":
        square = x * x + y * y
        return (square < r * r) & (square > (r / 2) * (r / 2))
    if problem.name == "cos":
        return y - np.cos(r * x) > 0
    with np.errstate(divide="ignore", invalid="ignore"):  # on the line x = 0 the angle is a right one
        angle = np.arctan(y / x)
    return np.sqrt(x * x + y * y) < np.sin(r * angle)


def draw_block(points: Points, split: str, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (x, y) of one block of a split, float64, each from -1 to 1; it depends on nothing but its number.

    The study's points come one after another out of one generator: a block draws those before it too.
    """
    start = block * BLOCK_ROWS
    rows = min(BLOCK_ROWS, points.count(split) - start)
    if points.kind == STUDY:
        generator = random.Random(STUDY_SEED + SPLITS.index(split))
        drawn = [generator.uniform(-1, 1) for _ in range(2 * (start + rows))]
        pairs = np.array(drawn[2 * start :]).reshape(rows, 2)
    else:
        pairs = np.random.default_rng([points.seed, SPLITS.index(split), block]).uniform(-1, 1, (rows, 2))
    return np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])


@functools.lru_cache(maxsize=8)
def draw_split(points: Points, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (x, y) of a whole split, float64; kept, since every network of a process needs it. Not to be changed."""
    blocks = [draw_block(points, split, block) for block in points.blocks(split)]
    x, y = (np.concatenate([block[axis] for block in blocks]) for axis in (0, 1))
    x.flags.writeable = y.flags.writeable = False
    return x, y


def make_shard(
    shard: tuple[tuple[int, ...], Problem, str, int], points: Points
) -> tuple[tuple[int, ...], list[pa.RecordBatch]]:
    """Return a block of a split as a shard of POINTS, as WriteParquet takes it."""
    key, problem, split, block = shard
    x, y = draw_block(points, split, block)
    same = [pa.repeat(value, len(x)) for value in (problem.name, pa.scalar(problem.r, pa.float64()), split)]
    numbers = np.arange(block * BLOCK_ROWS, block * BLOCK_ROWS + len(x), dtype=np.int32)
    columns = [*same, numbers, x, y, label_points(problem, x, y)]
    return key, [pa.RecordBatch.from_arrays([pa.array(column) for column in columns], schema=POINTS)]
