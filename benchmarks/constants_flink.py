"""What the jobs take on a Flink cluster on this machine, beside the CPU time of the embedded runner.

The cluster is that of deploy/flink. A job's small input and its large one give what starts it and what its work costs.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.constants_fit import fit
from benchmarks.constants_inputs import INPUTS
from benchmarks.harness import ROOT
from molino.jobs.commands import plan
from molino.jobs.forecast.estimate import forecast, shared_seconds
from molino.jobs.runners.flags import FLINK

SCRIPTS = ROOT / "deploy/flink"
CLUSTERS = {1: (1, 1), 2: (2, 1), 4: (2, 2)}  # by workers: TaskManagers, and slots of each
# of a job's lines in INPUTS, one of few rows and one of many
LINES = {"names": (0, 1), "titles": (3, 4), "predict": (0, 1), "pca": (0, 1), "whales": (0, 1), "shapes": (0, 1)}


def measure_flink(data: Path, jobs: Sequence[str], constants: Mapping[str, Any]) -> dict[str, Any]:
    """Return, by job, start and work on so many slots, and the seconds of each run.

    Slots beyond the processors are timed too, with many rows; no cost is taken from them.

    Args:
      constants: with those of the jobs on the embedded runner.
    """
    made = {job: INPUTS[job](data) for job in jobs}
    lines = {job: [made[job][place] for place in LINES[job]] for job in jobs}
    took: dict[str, dict[int, list[float]]] = {job: {} for job in jobs}
    for slots, (managers, each) in CLUSTERS.items():
        _script("start", managers, each)
        try:
            _submit(data, jobs[0], lines[jobs[0]][0])  # the JVMs load their classes
            for job in jobs:
                took[job][slots] = [_submit(data, job, line) for line in lines[job][slots > _processors() :]]
                shown = ", ".join(f"{seconds:.1f} s" for seconds in took[job][slots])
                print(f"{job} on Flink, {slots} slots: {shown}", flush=True)
        finally:
            _script("stop")
    return {job: _costs(job, lines[job], took[job], constants) for job in jobs}


def _costs(
    job: str, lines: Sequence[tuple[str, ...]], took: Mapping[int, Sequence[float]], constants: Mapping[str, Any]
) -> dict[str, Any]:
    sizes = [plan.size_of(job, *plan.parser_of(job).parse_strictly(line)) for line in lines]
    found: dict[str, Any] = {"start": {}, "work": {}}
    for slots, seconds in took.items():
        if slots <= _processors():
            work = [
                shared_seconds(forecast(job, size, workers=slots, runner=FLINK, spills=False, given=constants), size)
                for size in sizes
            ]
            start, times = fit([[1.0, each] for each in work], seconds)
            if times < 1:  # work that was hidden in the start: a worker there does not do it in less
                start, times = max(0.0, float(np.mean(np.array(seconds) - work))), 1.0
            found["start"][str(slots)], found["work"][str(slots)] = start, times
    found["runs"] = [
        {"rows": round(size.rows), "slots": slots, "seconds": measured}
        for slots, seconds in took.items()
        for size, measured in zip(sizes[-len(seconds) :], seconds, strict=True)
    ]
    return found


def _processors() -> int:
    return os.cpu_count() or 1


def is_fetched() -> bool:
    """Return whether deploy/flink/fetch has been here."""
    told = subprocess.run(
        ["bash", "-c", 'source "$0/settings" && test -e "$BOOT" -a -e "$JOB_SERVER" -a -d "$FLINK_JARS"', SCRIPTS],
        check=False,
    )
    return told.returncode == 0


def _script(name: str, *arguments: object) -> None:
    subprocess.run([str(SCRIPTS / name), *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def _submit(data: Path, job: str, line: Sequence[str]) -> float:
    """Return the seconds of the whole command."""
    output = data / "out-flink"
    shutil.rmtree(output, ignore_errors=True)
    started = time.perf_counter()
    _script("submit", job, *line, "--output", output, "--quiet")
    return time.perf_counter() - started
