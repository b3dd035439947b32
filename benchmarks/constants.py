"""Measure the constants of `molino plan`, jobs/forecast/constants.json: python benchmarks/constants.py.

Each job runs whole on made-up inputs, with one worker and with two. What counts is processor time, so that a machine
with other work gives nearly the same.
"""

import argparse
import dataclasses
import json
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script, Python looks only in this file's folder

from benchmarks import harness  # noqa: E402
from benchmarks.constants_flink import is_fetched, measure_flink  # noqa: E402
from benchmarks.constants_inputs import INPUTS  # noqa: E402
from molino.jobs.commands import plan as plan_command  # noqa: E402
from molino.jobs.forecast.estimate import CONSTANTS, MILLION, cost_of  # noqa: E402
from molino.jobs.job import load_job  # noqa: E402
from molino.jobs.options import FLINK  # noqa: E402

WORKERS = (1, 2)
PIECES, TURNS = (100, 80_000), 5
PACKAGES = ("apache-beam", "numpy", "pyarrow")
WIDTH = 240  # of a line of the file
PIECE, LISTED = 170.0, 594.0  # microseconds of a piece of a bucket file, bytes of an image in a list: 28 November 2026
# the amounts that each cost of a job is made of, besides what is fixed; a number is known, and not measured here
SPECS: dict[str, dict[str, Mapping[str, float | None]]] = {
    "names": {
        "microseconds": {"rows": None, "pieces": PIECE},
        "written": {"rows": None},
        "worker": {"fixed": None, "chunk": None},
    },
    "titles": {
        "microseconds": {"rows": None, "numbers": None, "pieces": PIECE},
        "written": {"bytes": None, "vectors": 1.0},
        "memory": {"models": 1.0},
        "worker": {"fixed": None, "chunk": None},
    },
    "predict": {"microseconds": {"rows": None, "pieces": PIECE}, "written": {"rows": None}, "worker": {"fixed": None}},
    "pca": {"microseconds": {"numbers": None, "squares": None}, "written": {"written": 1.0}, "worker": {"fixed": None}},
    "whales": {
        "microseconds": {"images": None, "pixels": None},
        "written": {"images": None, "cropped": None, "shown": None, "square": 1.0},
        "memory": {"images": LISTED},
        "worker": {"fixed": None, "pixel": None},
    },
    "shapes": {
        "microseconds": {"training": None, "pictures": None, "points": None, "networks": None},
        "written": {"points": None, "predictions": None, "pictures": None},
        "memory": {"split": None},
        "worker": {"fixed": None},
    },
}
PARTS = [*SPECS, "flink"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ran:
    """One run of a job: its amounts and workers, and what it took: CPU seconds, bytes at the peak, bytes written."""

    amounts: Mapping[str, float]
    workers: int
    cpu: float
    peak: int
    written: int


def run_all(job: str, data: Path, lines: Sequence[tuple[str, ...]]) -> list[Ran]:
    """Run the command lines with one worker and with two.

    What was measured is kept in the folder of the inputs: an interrupted call is taken up by the next.
    """
    kept = data / f"measured-{job}.json"
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    for key, line, workers in ((f"{shlex.join(line)} by {n}", line, n) for line in lines for n in WORKERS):
        if key not in found:
            found[key] = dataclasses.asdict(run_once(job, data, line, workers))
            kept.write_text(json.dumps(found))
            print(f"{key}: {found[key]['cpu']:.2f} CPU s, {found[key]['peak'] / 1e6:.0f} MB", flush=True)
    return [Ran(**found[f"{shlex.join(line)} by {n}"]) for line in lines for n in WORKERS]


def run_once(job: str, data: Path, line: tuple[str, ...], workers: int) -> Ran:
    """Run a job once and return what it took."""
    output = data / "out"
    shutil.rmtree(output, ignore_errors=True)
    words = ["-m", "molino", job, *line, "--output", str(output), "--workers", str(workers), "--quiet"]
    took = harness.measure([sys.executable, *words], data / "log")
    written = json.loads((output / "_manifest.json").read_text())["used"]["written_bytes"]
    plan, _ = plan_command.plan_run(load_job(job), *plan_command.plan_parser(load_job(job)).parse_strictly(line))
    return Ran(amounts=plan.size().amounts, workers=workers, cpu=took.cpu, peak=took.peak, written=written)


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


def constants_of(spec: Mapping[str, Mapping[str, float | None]], ran: Sequence[Ran]) -> dict[str, Any]:
    """Return the constants of a job, with four digits: more were not measured.

    Memory is of the process and of its workers, so both are found together.
    """
    found: dict[str, dict[str, float]] = {"microseconds": {}, "written": {}, "memory": {}, "worker": {}}
    took = {
        "microseconds": [MILLION * one.cpu for one in ran],
        "written": [one.written for one in ran],
        "memory": [one.peak for one in ran],
    }
    for what, values in took.items():
        terms = [(what, "fixed", None), *((what, name, cost) for name, cost in spec.get(what, {}).items())]
        terms += [("worker", name, cost) for name, cost in spec["worker"].items()] if what == "memory" else []
        rows = [
            [(one.workers if of == "worker" else 1) * cost_of({name: 1.0}, one.amounts) for of, name, _ in terms]
            for one in ran
        ]
        known = [cost or 0.0 for *_, cost in terms]
        free = [place for place, (*_, cost) in enumerate(terms) if cost is None]
        rest = [value - float(np.dot(row, known)) for row, value in zip(rows, values, strict=True)]
        fitted = dict(zip(free, fit([[row[place] for place in free] for row in rows], rest), strict=True))
        for place, (of, name, _) in enumerate(terms):
            if cost := fitted.get(place, known[place]):
                found[of][name] = float(f"{cost:.4g}")
    return found


def show(constants: Mapping[str, Any]) -> str:
    """Return JSON with a line for each thing that was measured."""
    lines = []
    for name, value in constants.items():
        inner = ",\n  ".join(f"{json.dumps(key)}: {json.dumps(each)}" for key, each in value.items())
        lines.append(f" {json.dumps(name)}: {{\n  {inner}\n }}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main(arguments: Sequence[str]) -> None:
    """Measure, and write the constants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="JOB")
    parser.add_argument("--data", type=Path, metavar="DIR", help="keep the inputs here (default: a temporary folder)")
    parser.add_argument("--constants", type=Path, default=Path(CONSTANTS), metavar="FILE", help="default: %(default)s")
    given = parser.parse_args(arguments)
    found = json.loads(given.constants.read_text())
    with tempfile.TemporaryDirectory() as temporary:
        data = (given.data or Path(temporary)).resolve()
        data.mkdir(parents=True, exist_ok=True)
        for part in given.only:
            facts = {"measured": harness.machine_facts(PACKAGES, [])[0]}
            if part in SPECS:
                found["jobs"][part] = facts | constants_of(SPECS[part], run_all(part, data, INPUTS[part](data)))
            elif is_fetched():
                found["runners"][FLINK] = facts | measure_flink(data, found["jobs"])
            else:
                print("not measured: Flink; deploy/flink/fetch brings it", file=sys.stderr)
    given.constants.write_text(show(found))


if __name__ == "__main__":
    main(sys.argv[1:])
