"""How certain a comparison is: bootstraps over titles and over repeats, and permutation tests, in plain NumPy."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from molino.training.scores import balanced_accuracy

LEVEL = 0.95
DRAWS = 1000  # of the interval of one trial
PERMUTED = 20  # permutations for each draw of a bootstrap


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """One training, and what it predicted. `labels`, `predictions`: int (n,); classes are those that any trial has."""

    name: str  # of the trial
    model: str  # the language model; trials of one model are its repeats
    sample: str  # what titles were predicted: trials of one sample have the same titles, in the same order
    labels: np.ndarray
    predictions: np.ndarray

    @property
    def figure(self) -> float:
        """Balanced accuracy."""
        return balanced_accuracy(self.labels, self.predictions)


def resample_titles(trials: Sequence[Trial], draws: int, seed: int) -> np.ndarray:
    """Return the balanced accuracy of every trial on titles drawn with replacement, (draws, trials) float64.

    Each category's titles are drawn from its own, as many as there are: drawn from all, rare categories would drop out
    of a draw, and since they are the harder ones the figure would rise. What is drawn so varies somewhat too little
    for a category of few titles, and not at all for one of a single title. Trials of one sample get the same titles in
    a draw, so that what they have in common cancels out where they are compared.
    """
    found = np.empty((draws, len(trials)))
    for number, sample in enumerate(sorted({trial.sample for trial in trials})):
        members = [place for place, trial in enumerate(trials) if trial.sample == sample]
        labels = trials[members[0]].labels
        order = np.argsort(labels, kind="stable")
        _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
        starts, sizes = np.repeat(starts, counts), np.repeat(counts, counts)
        right = np.stack([(trials[p].labels == trials[p].predictions)[order] for p in members], 1).astype(np.float64)
        right /= (sizes * len(counts))[:, None]  # a figure is their sum
        numbers = np.random.default_rng([seed, number])
        for draw in range(draws):
            chosen = starts + (numbers.random(len(sizes)) * sizes).astype(np.int64)
            found[draw, members] = right[chosen].sum(0)
    return found


def interval_over_titles(labels: np.ndarray, predictions: np.ndarray) -> tuple[float, float]:
    """Return the interval of the balanced accuracy of one trial."""
    trial = Trial(name="", model="", sample="", labels=labels, predictions=predictions)
    return interval(resample_titles([trial], DRAWS, 0)[:, 0])


def resample_repeats(members: Sequence[Sequence[int]], draws: int, seed: int) -> list[np.ndarray]:
    """Return for each model trials of its own drawn with replacement, (draws, repeats) int, each draw as many."""
    numbers = np.random.default_rng([seed, 1 << 20])
    return [np.asarray(own)[numbers.integers(0, len(own), (draws, len(own)))] for own in members]


def means_of(figures: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return the mean figure of the chosen trials of each draw, (draws,).

    Few repeats drawn with replacement vary too little, by the factor (k - 1) / k of the variance; their deviations from
    the mean of all k are stretched by its root. One repeat alone says nothing of how repeats vary. `figures`: (draws,
    trials), or (trials,) where titles are not drawn. `chosen`: (draws, k) places of trials.
    """
    rows = np.broadcast_to(figures, (len(chosen), figures.shape[-1]))
    taken = np.take_along_axis(rows, chosen, 1).mean(1)
    own = np.unique(chosen)
    if len(own) < 2:
        return taken
    middle = rows[:, own].mean(1)
    return middle + (taken - middle) * np.sqrt(len(own) / (len(own) - 1))


def interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Return the interval that holds the middle share of the values."""
    tail = 50 * (1 - level)
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def measure_effect(
    strata: Sequence[tuple[Sequence[int], Sequence[int]]],
    figures: np.ndarray,  # of every trial, (trials,)
    drawn: Callable[[Any], np.ndarray],  # from a model's trials to its mean in every draw of titles and repeats
    draws: int,
    seed: int,
) -> tuple[float, tuple[float, float], float]:
    """Return a factor's difference, its interval, and the p-value of a permutation test within each stratum."""
    pairs = [(np.asarray(one), np.asarray(other)) for one, other in strata]
    difference = float(np.mean([figures[one].mean() - figures[other].mean() for one, other in pairs]))
    spread = np.mean([drawn(one) - drawn(other) for one, other in pairs], axis=0)
    numbers = np.random.default_rng([seed, 1 << 21])
    times = PERMUTED * draws  # they cost little
    moved = np.zeros(times)
    for one, other in pairs:
        both = figures[np.concatenate([one, other])]
        shuffled = numbers.permuted(np.broadcast_to(both, (times, len(both))), axis=1)
        moved += shuffled[:, : len(one)].mean(1) - shuffled[:, len(one) :].mean(1)
    moved /= len(pairs)
    # the trials as they are is one of the ways; a hair's breadth for sums in another order
    as_large = np.sum(np.abs(moved) >= abs(difference) - 1e-12)
    return difference, interval(spread), float((1 + as_large) / (1 + times))


def least_chance(sizes: Sequence[tuple[int, int]]) -> float:
    """Return the smallest p-value of `measure_effect` where each stratum has so many trials of either value.

    Of all the ways in which trials can change places, the trials as they are is one, and so is their mirror image
    where both values have as many.

    >>> round(least_chance([(2, 2)]), 3), least_chance([(1, 1), (1, 1)])
    (0.333, 0.5)
    """
    ways = math.prod(math.comb(one + other, one) for one, other in sizes)
    return (1 + all(one == other for one, other in sizes)) / ways


def correct_by_holm(chances: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm, 1979): the smallest by all of them, the next by one less, ...

    >>> correct_by_holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(chances, kind="stable")
    corrected, least = [0.0] * len(chances), 0.0
    for rank, place in enumerate(order):
        least = max(least, min(1.0, (len(chances) - rank) * chances[place]))
        corrected[place] = least
    return corrected


def find_strata(traits: Sequence[dict[str, str | None]], factor: str, high: str, low: str) -> list[tuple[int, int]]:
    """Return the pairs of models, by their places, that differ in this factor and in nothing else that is known."""
    found = []
    for one, other in itertools.product(range(len(traits)), repeat=2):
        others = {name: value for name, value in traits[one].items() if name != factor}
        same = others == {name: value for name, value in traits[other].items() if name != factor}
        if same and None not in others.values() and (traits[one][factor], traits[other][factor]) == (high, low):
            found.append((one, other))
    return found
