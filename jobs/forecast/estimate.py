"""What a run will take, from how much there is to do and from constants that were measured: pure arithmetic.

A stage's processor time is a sum of amounts (rows, numbers, pixels ...) times what each costs. It is shared by the
workers, but by no more of them than the stage has pieces, and less well the more there are:

    seconds = start + sum over stages of work / (n * efficiency(n)),  n = min(workers, pieces of the stage)

The constants stand in constants.json, written by benchmarks/constants.py.
"""

import dataclasses
import functools
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from molino.jobs.forecast.sizes import Size

CONSTANTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "constants.json")
MILLION = 1e6
UNDISTURBED = {"1": 1.0}  # efficiency of workers of which none keeps another from working
READING = ("reduce", "write")  # stages that read what was brought together


@dataclasses.dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run is expected to take.

    Attributes:
      rows, exact, files: as in Size.
      datasets: rows of the main data sets.
      shares: those of them of which only the usual share of the rows is known.
      read_bytes: of the input, unpacked.
      shuffle_bytes: in the bucket files, or through the runner's shuffle.
      spills: whether they lie in bucket files.
      overhead_bytes: those of them that are no rows: what the pieces cost.
      by_span: as in Size: larger spans would make fewer pieces.
      written_bytes: data sets and views.
      worker_bytes: memory of a process with one worker.
      memory_bytes: of all workers: threads of one process on the embedded runner, else processes.
      widest: the stage through which most bytes go, in and out.
      width: those bytes.
      pieces: parts of that stage: more workers than these do not help it.
      runner: that the run is planned for.
      workers: that share the work.
      seconds: on machines like that of the constants; None for a runner that was not measured.
      start: those of them before the first row and after the last.
      work: processor seconds of each stage.
    """

    rows: float
    exact: bool
    files: int
    datasets: Mapping[str, float]
    shares: Sequence[str]
    read_bytes: float
    shuffle_bytes: float
    spills: bool
    overhead_bytes: float
    by_span: bool
    written_bytes: float
    worker_bytes: float
    memory_bytes: float
    widest: str
    width: float
    pieces: int
    runner: str
    workers: int
    seconds: float | None
    start: float
    work: Mapping[str, float]

    @property
    def disk_bytes(self) -> float:
        """Free bytes that the output's disk must have: an earlier output stays until the commit."""
        return self.written_bytes + (self.shuffle_bytes if self.spills else 0.0)

    @property
    def core_hours(self) -> float:
        """Processors kept for the run, whether at work or not, times hours."""
        return self.workers * (self.seconds or 0.0) / 3600

    @property
    def gb_hours(self) -> float:
        """Gigabytes of memory (10^9 bytes) kept for the run, times hours."""
        return self.memory_bytes / 1e9 * (self.seconds or 0.0) / 3600

    def plan(self) -> dict[str, Any]:
        """Return what a manifest keeps of it."""
        return {
            "rows": round(self.rows),
            "datasets": {name: round(rows) for name, rows in self.datasets.items()},
            "read_bytes": round(self.read_bytes),
            "shuffle_bytes": round(self.shuffle_bytes),
            "written_bytes": round(self.written_bytes),
            "memory_bytes": round(self.memory_bytes),
            "runner": self.runner,
            "workers": self.workers,
            "seconds": None if self.seconds is None else round(self.seconds, 3),
        }


@functools.cache
def read_constants() -> Mapping[str, Any]:
    """Return the constants of all jobs."""
    with open(CONSTANTS, encoding="utf-8") as file:
        return json.load(file)


def forecast(
    job: str, size: Size, *, workers: int, runner: str = "embedded", spills: bool = True, given: Mapping | None = None
) -> Forecast:
    """Return what a run will take.

    Args:
      workers: threads on the embedded runner; else processes of one core each.
      spills: rows are brought together through bucket files, and not in the runner's shuffle.
      given: constants; by default those of the file.
    """
    constants = read_constants() if given is None else given
    of, common = constants["jobs"][job], constants["shuffle"]
    embedded = runner == "embedded"
    shards = size.pieces.get("write", 0)
    cut = size.batches * (shards if spills else min(shards, size.rows / max(1, size.batches)))
    overhead = cut * (size.piece if spills else size.message)
    written = of["written"].get("fixed", 0.0) + sum_costs(of["written"], size.amounts)
    work = {stage: sum_costs(costs, size.amounts) / MILLION for stage, costs in of["seconds"].items()}
    if size.shuffle:
        write, read = ("write_piece", "read_piece") if spills else ("write_message", "read_message")
        work["read"] += cut * common[write] / MILLION
        # every shard opens every bucket file
        find = cut * (common[read] + (shards * common["pass_piece"] if spills else 0.0))
        for stage in READING:
            if stage in work:
                work[stage] += find / MILLION
    start, slower, efficiency = _measured(of["start"], workers), 1.0, of["efficiency"]
    if not embedded:
        measured = constants["runners"].get(runner, {"jobs": {}})["jobs"].get(job)
        start, slower = (_measured(measured[name], workers) for name in ("start", "work")) if measured else (0.0, 0.0)
        efficiency = UNDISTURBED  # what more of them do less well is in `slower`
    shuffle = size.shuffle + overhead
    seconds = start + slower * _shared(work, size, workers, efficiency)
    held = of["memory"]["base"] + size.held + sum_costs(of["memory"], size.amounts)
    own = of["memory"].get("worker", 0.0) + of["memory"].get("chunk", 0.0) * size.chunk
    widest, width = max(_flows(size, shuffle, written).items(), key=lambda flow: flow[1])
    return Forecast(
        rows=size.rows,
        exact=size.exact,
        files=size.files,
        datasets={**{name: share * size.rows for name, share in of.get("kept", {}).items()}, **size.datasets},
        shares=tuple(of.get("kept", {})),
        read_bytes=size.bytes,
        shuffle_bytes=shuffle,
        spills=spills,
        overhead_bytes=overhead,
        by_span=size.by_span,
        written_bytes=written,
        worker_bytes=held + own,
        memory_bytes=held + workers * own if embedded else workers * (held + own),
        widest=widest,
        width=width,
        pieces=size.pieces[widest],
        runner=runner,
        workers=workers,
        seconds=seconds if slower else None,
        start=start,
        work=work,
    )


def sum_costs(costs: Mapping[str, float], amounts: Mapping[str, float]) -> float:
    """Return what so much of each amount costs; an amount that does not occur costs nothing."""
    return sum(cost * amounts[name] for name, cost in costs.items() if name in amounts)


def shared_seconds(found: Forecast, size: Size) -> float:
    """Return the seconds that a forecast's work takes its workers where none keeps another from working."""
    return _shared(found.work, size, found.workers, UNDISTURBED)


def _shared(work: Mapping[str, float], size: Size, workers: int, efficiency: Mapping[str, float]) -> float:
    """Return the seconds of all stages; of more workers than were measured each is as good as of the most that were."""
    sharing = {stage: max(1, min(workers, size.pieces[stage])) for stage in work}
    return sum(cpu / (sharing[stage] * _measured(efficiency, sharing[stage])) for stage, cpu in work.items())


def _measured(by_cores: Mapping[str, float], cores: int) -> float:
    """Return what was measured on so many cores, or on the most that are fewer."""
    return by_cores[str(max(int(measured) for measured in by_cores if int(measured) <= cores))]


def _flows(size: Size, shuffle: float, written: float) -> dict[str, float]:
    """Return the bytes that go into and out of each stage."""
    if size.shuffle:
        return {"read": size.bytes + shuffle, "write": shuffle + written}
    if "write" in size.pieces:
        return {"read": float(size.bytes), "write": size.bytes + written}
    return {"read": size.bytes + written}
