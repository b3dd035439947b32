"""What a run will take, from how much there is to do and from constants that were measured: pure arithmetic.

One linear model for all jobs: an amount (rows, numbers, pixels ...) costs so much time, disk and memory, and

    seconds = fixed + work / min(workers, parts)

Stages have different parts, and machines different speeds: the time lies between the most parts on a fast one and the
fewest on a slow one.
"""

import dataclasses
import functools
import json
import math
import os
from collections.abc import Mapping
from typing import Any

from molino.jobs.options import EMBEDDED

CONSTANTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "constants.json")
MILLION = 1e6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """What a run is expected to meet. What does not apply to a job is 0 or empty."""

    rows: int | None = None  # records: rows, images or networks; None is not known
    exact: bool = True  # whether the rows were listed, and not reckoned from a sample
    # rows of the main data sets at most: of how many are duplicates or rejects nothing is known
    datasets: Mapping[str, int] = dataclasses.field(default_factory=dict)
    files: int = 0  # input files, or members of zips
    read_bytes: int = 0  # of the input, unpacked
    shuffle_bytes: int = 0  # that are brought together
    overhead_bytes: int = 0  # those of them that are no rows: each batch is cut into as many pieces as there are shards
    # of each stage, how many parts of it can be worked on side by side
    parts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    # what time, disk and memory grow with, by the names that the constants have
    amounts: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Forecast(Size):
    """What a run is expected to meet and to take; None is not known."""

    # runner, workers: that the run is planned for: threads of one process on the embedded runner, else processes
    runner: str
    workers: int
    unknown: str = ""  # why something is not known; "" where all is
    # numbers; mypy would have each looked at for None, where `unknown` tells of all
    written_bytes: Any = None  # data sets and views
    disk_bytes: Any = None  # free bytes that the output's disk must have: an earlier output stays until the commit
    # worker_bytes, memory_bytes: memory of a process with one worker, and of all workers
    worker_bytes: Any = None
    memory_bytes: Any = None
    # seconds, between: on the clock; from the least that they may be to the most
    seconds: Any = None
    between: Any = None
    core_hours: Any = None  # processors kept for the run, whether at work or not, times hours

    def plan(self) -> dict[str, Any]:
        """Return what is known of it, as a manifest keeps it."""
        facts = dataclasses.asdict(self)
        return {name: fact for name, fact in facts.items() if fact not in (None, "") and name != "amounts"}


@functools.cache
def read_constants() -> Mapping[str, Any]:
    """Return the constants: microseconds and bytes for each of an amount; of runners seconds, times and the spread."""
    with open(CONSTANTS, encoding="utf-8") as file:
        return json.load(file)


def forecast(
    job: str, size: Size, *, workers: int, runner: str = EMBEDDED, spills: bool = True, costs: Mapping | None = None
) -> Forecast:
    """Return what a run will take.

    `spills`: rows are brought together through bucket files, and not in the runner's shuffle. `costs`: constants; by
    default those of the file.
    """
    constants = costs or read_constants()
    of, engine = constants["jobs"].get(job), constants["runners"].get(runner)
    unknown = "" if of and engine else f"{runner if of else f'the job {job}'} was not measured"
    met = Forecast(**vars(size), runner=runner, workers=workers, unknown=unknown)
    if not of:
        return met
    written, held, own = (round(cost_of(of[what], size.amounts)) for what in ("written", "memory", "worker"))
    met = dataclasses.replace(
        met,
        written_bytes=written,
        disk_bytes=written + (size.shuffle_bytes if spills else 0),
        worker_bytes=held + own,
        memory_bytes=held + workers * own if runner == EMBEDDED else workers * (held + own),
    )
    if not engine:
        return met
    start = engine["fixed"] + of["microseconds"]["fixed"] / MILLION
    work = engine["work"] * cost_of({**of["microseconds"], "fixed": 0}, size.amounts) / MILLION
    shared = [max(1, min(workers, parts(size.parts.values()))) for parts in (max, min)]
    least, most = (start + work / n for n in shared)
    seconds, spread = round(math.sqrt(least * most), 3), engine["spread"]
    between = (round(least / spread, 3), round(most * spread, 3))
    return dataclasses.replace(met, seconds=seconds, between=between, core_hours=workers * seconds / 3600)


def cost_of(costs: Mapping[str, float], amounts: Mapping[str, float]) -> float:
    """Return what so much of each amount costs, and what is fixed; an amount that does not occur costs nothing."""
    return sum(cost * (1.0 if name == "fixed" else amounts.get(name, 0.0)) for name, cost in costs.items())


def show_bytes(size: float) -> str:
    """Return bytes as a person reads them.

    >>> show_bytes(950), show_bytes(1.26e6), show_bytes(6.8e11)
    ('950 B', '1.26 MB', '680 GB')
    """
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}" if size < 999.5 * unit else f"{size / unit:,.0f} {name}"
    return f"{size:.0f} B"


def show_time(seconds: float) -> str:
    """Return seconds as a person reads them.

    >>> show_time(4.21), show_time(110), show_time(150), show_time(9000), show_time(400000)
    ('4.2 s', '110 s', '2.5 min', '2.5 h', '4.6 days')
    """
    for unit, name in ((86400.0, "days"), (3600.0, "h"), (60.0, "min"), (1.0, "s")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.{int(seconds < 10 * unit)}f} {name}"
    return f"{seconds:.1f} s"
