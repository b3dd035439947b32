"""What the jobs take on a Flink cluster on this machine, that of deploy/flink, beside the embedded runner."""

import math
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.constants_inputs import INPUTS
from benchmarks.harness import ROOT
from molino.jobs.commands import plan
from molino.jobs.forecast.estimate import MILLION, cost_of
from molino.jobs.job import load_job

SCRIPTS = ROOT / "deploy/flink"
SLOTS = (1, 2)


def measure_flink(data: Path, jobs: Mapping[str, Any]) -> dict[str, float]:
    """Return seconds that a run takes there besides the job's own start, and how many times as much work.

    Args:
      jobs: constants of the jobs on the embedded runner.
    """
    took: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for slots in SLOTS:
        _script("start", slots, 1)
        try:
            for job, line in [(name, line) for name in jobs for line in INPUTS[name](data)[:2]]:
                planned, _ = plan.plan_run(load_job(job), *plan.plan_parser(load_job(job)).parse_strictly(line))
                costs, seconds = jobs[job]["microseconds"], _submit(data, job, line)
                print(f"{job} on Flink, {slots} slots: {seconds:.1f} s, {shlex.join(line)}", flush=True)
                work = cost_of({**costs, "fixed": 0}, planned.size().amounts) / MILLION / slots
                took.setdefault((job, slots), []).append((work, seconds - costs["fixed"] / MILLION))
        finally:
            _script("stop")
    return costs_of(list(took.values()))


def costs_of(took: Sequence[Sequence[tuple[float, float]]]) -> dict[str, float]:
    """Return what is fixed, how many times the work, and the spread, from pairs of runs: work, and seconds it took.

    >>> costs_of([[(1, 13), (2, 14)], [(1, 16), (3, 24)]])
    {'fixed': 12.0, 'work': 2.0, 'spread': 2.0}
    """
    # work that is hidden in the start is not done in less than here
    times = [max(1.0, (more - few) / (large - small)) for (small, few), (large, more) in took]
    fixed = [few - slower * small for slower, ((small, few), _) in zip(times, took, strict=True)]
    work, spread = math.sqrt(max(times) * min(times)), math.sqrt(max(times) / min(times))
    return {"fixed": round(float(np.median(fixed)), 1), "work": round(work, 1), "spread": round(spread, 1)}


def is_fetched() -> bool:
    """Return whether deploy/flink/fetch has been here."""
    there = 'source "$0/settings" && test -e "$BOOT" -a -e "$JOB_SERVER" -a -d "$FLINK_JARS"'
    return subprocess.run(["bash", "-c", there, SCRIPTS], check=False).returncode == 0


def _script(name: str, *arguments: object) -> None:
    subprocess.run([str(SCRIPTS / name), *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def _submit(data: Path, job: str, line: Sequence[str]) -> float:
    """Return the seconds of the whole command."""
    output = data / "out-flink"
    shutil.rmtree(output, ignore_errors=True)
    started = time.perf_counter()
    _script("submit", job, *line, "--output", output, "--quiet")
    return time.perf_counter() - started
