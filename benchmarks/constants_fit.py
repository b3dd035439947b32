"""From measured runs to the constants of `molino plan`: least squares, and no term below zero."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import harness
from molino.jobs.forecast.estimate import sum_costs
from molino.jobs.forecast.sizes import Size

CORES = (1, 2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """What of a job is measured.

    Attributes:
      stages: those that report progress, in order; the last stage, `finish`, is the rest.
      seconds: by stage, the amounts that its time grows with.
      written: amounts that the output grows with.
      memory: amounts that a process grows with; `worker` and `chunk` are of each worker.
      datasets: whose rows are a share of those read.
    """

    stages: tuple[str, ...]
    seconds: Mapping[str, tuple[str, ...]]
    written: tuple[str, ...]
    memory: tuple[str, ...]
    datasets: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ran:
    """One command line, run on each number of cores: its size, and what it took."""

    arguments: tuple[str, ...]
    size: Size
    measures: Mapping[int, harness.Measure]
    stages: Mapping[str, float]
    manifest: Mapping[str, Any]


def fit(rows: Sequence[Sequence[float]], values: Sequence[float]) -> list[float]:
    """Return the least squares of relative errors without negative terms: what comes out negative is left out.

    >>> [round(x, 3) for x in fit([[1, 10], [1, 20], [1, 40]], [7, 12, 22])]
    [2.0, 0.5]
    """
    matrix = np.array(rows, float) / np.array(values)[:, None]
    scale = np.abs(matrix).max(axis=0)
    scale[scale == 0] = 1.0
    kept = [place for place in range(matrix.shape[1]) if np.abs(matrix[:, place]).max() > 0]
    while kept:
        solved = np.linalg.lstsq(matrix[:, kept] / scale[kept], np.ones(len(values)), rcond=None)[0]
        if solved.min() >= 0:
            break
        kept.pop(int(solved.argmin()))
    found = np.zeros(matrix.shape[1])
    found[kept] = solved / scale[kept] if kept else 0
    return found.tolist()


def constants_of(spec: Spec, ran: Sequence[Ran]) -> dict[str, Any]:
    """Return the constants of a job."""
    seconds = {}
    for stage, amounts in spec.seconds.items():
        took = [stage_seconds(spec, one, stage) for one in ran]
        rows = [[1.0, *(one.size.amounts.get(name, 0.0) for name in amounts)] for one in ran]
        seconds[stage] = dict(zip(amounts, (1e6 * cost for cost in fit(rows, took)[1:]), strict=True))
    start, efficiency = clock_of(seconds, ran)
    counters, read = [one.manifest["counters"] for one in ran], ran[0].manifest["balance"][0]
    kept = {name: float(np.mean([c[name] / c[read] for c in counters])) for name in spec.datasets}
    # made-up inputs of different sizes have different shares of duplicates
    more = [c[name] / c[read] / share for c in counters for name, share in [*kept.items(), (read, 1.0)][:1]]
    written = [one.manifest["used"]["written_bytes"] for one in ran]
    rows = [
        [1.0, *(part * one.size.amounts.get(name, 0.0) for name in spec.written)]
        for one, part in zip(ran, more, strict=True)
    ]
    fixed, *sizes = fit(rows, written)
    return {
        "start": start,
        "efficiency": efficiency,
        "seconds": seconds,
        "written": {"fixed": fixed, **dict(zip(spec.written, sizes, strict=True))},
        "kept": kept,
        "memory": memory_of(spec, ran),
        "runs": [
            {
                "rows": one.manifest["counters"][read],
                "options": " ".join(word for word in one.arguments if "/" not in word and word != "--input"),
                "seconds": [one.measures[1].wall, one.measures[1].cpu, one.measures[2].wall],
                "peaks": [one.measures[cores].peak for cores in CORES],
            }
            for one in ran
        ],
    }


def clock_of(
    seconds: Mapping[str, Mapping[str, float]], ran: Sequence[Ran]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return, by cores, the seconds of the start, and the share of a core's second that is work after it.

    A stage of one piece has one core, and that core's share.
    """
    work = [{stage: sum_costs(costs, one.size.amounts) / 1e6 for stage, costs in seconds.items()} for one in ran]
    start: dict[str, float] = {}
    share: dict[int, float] = {}
    for cores in CORES:
        rows, walls = [], []
        for one, cpu in zip(ran, work, strict=True):
            shared = {stage: min(cores, one.size.pieces.get(stage, 1)) for stage in seconds}
            alone = sum(cpu[stage] / share[n] for stage, n in shared.items() if n < cores)
            rows.append([1.0, sum(cpu[stage] / cores for stage, n in shared.items() if n == cores)])
            walls.append(max(one.measures[cores].wall - alone, 1e-3))
        start[str(cores)], slower = fit(rows, walls)
        share[cores] = min(1.0, 1 / max(slower, 1e-3))
    return start, {str(cores): each for cores, each in share.items()}


def stage_seconds(spec: Spec, one: Ran, stage: str) -> float:
    """Return the CPU seconds of a stage on one core; those of the start are in the first."""
    ends = [one.stages.get(name, 0.0) for name in spec.stages]
    ends[-1] = max(one.stages.values())  # of stages side by side the later one
    if stage == "finish":
        return max(1e-3, one.measures[1].cpu - ends[-1])
    place = spec.stages.index(stage)
    return max(1e-3, ends[place] - (ends[place - 1] if place else 0.0))


def memory_of(spec: Spec, ran: Sequence[Ran]) -> dict[str, float]:
    """Return what the peaks of memory are made of."""
    rows, peaks = [], []
    for one in ran:
        for cores in CORES:
            own = {"worker": cores, "chunk": cores * one.size.chunk}
            rows.append([1.0, *(own.get(name, one.size.amounts.get(name, 0.0)) for name in spec.memory)])
            peaks.append(one.measures[cores].peak - one.size.held)
    base, *grown = fit(rows, peaks)
    return {"base": base, **dict(zip(spec.memory, grown, strict=True))}
