"""Time a sweep of the shapes job against the same sweep in Keras: python benchmarks/shapes.py.

The sweep is the default one with one seed and some of its problems. Points and initial weights are the same for all,
and the accuracies on the test points are compared.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script, Python looks only in this file's folder

from benchmarks import harness  # noqa: E402
from benchmarks.harness import Program, Result  # noqa: E402

ROWS = 200_000
RATIO_TO = "keras"
NEAR = 0.002  # accuracies that differ by less are equal: float32 adds in another order


def _job(name: str, about: str, cores: int, *more: str) -> Program:
    arguments = ("benchmarks/pin.py", str(cores), "-m", "molino", "shapes", "--quiet", "--sweep", "{input}")
    arguments += ("--output", "{output}", "--rows", str(ROWS), "--workers", str(cores), *more)
    return Program(name=name, about=about, arguments=arguments, packages=("numba",))


def _keras(name: str, about: str, steps: int) -> Program:
    arguments = ("benchmarks/pin.py", "2", "benchmarks/peers/shapes_keras.py", "{input}", "{output}")
    packages = ("tensorflow", "keras")
    return Program(name=name, about=about, arguments=(*arguments, str(ROWS), str(steps)), packages=packages, once=True)


JOB = _job("molino", "this job, points to pictures and report, two workers", 2)
PROGRAMS = (
    JOB,
    _job("molino, 1 core", "the same with one worker", 1),
    _job("molino without plots", "the same with two workers and no pictures", 2, "--no-plots"),
    _keras("keras", "plain Keras, a network after the other, on both cores; no pictures, no files", 1),
    _keras("keras, 100 steps a call", "the same with steps_per_execution=100, which plain Keras does not set", 100),
)


def make_sweep(path: Path, problems: Sequence[str], part: int) -> int:
    """Write the default sweep with one seed, some problems, and a `part` of the steps; return its networks."""
    from molino.transforms.shapes.sweep import DEFAULT, expand_sweep, read_sweep

    blocks = [
        {**block, "problem": list(problems), "seed": 1, "steps": max(1, block["steps"] // part)} for block in DEFAULT
    ]
    path.write_text(json.dumps(blocks), encoding="utf-8")  # JSON is YAML
    return len(expand_sweep(read_sweep(str(path)), str(path))[0])


def run_all(programs: Sequence[Program], sweep: Path, data: Path, rounds: int) -> dict[str, Result]:
    """Run each program, round after round, and compare the accuracies with the job's."""
    results = {program.name: Result(failed=program.missing()) for program in programs}
    for program, result in harness.run_rounds(programs, results, sweep, data, rounds, JOB, read_accuracies, compare):
        print(f"{program.name}: {result.runs[-1].wall:.2f} s, {'; '.join(result.differs) or 'equal'}", flush=True)
    return results


def read_accuracies(output: Path) -> list[float]:
    """Return the accuracy on the test points of every network, in the order of the sweep."""
    import pyarrow.parquet as pq

    told = output / "accuracies.json"
    if told.exists():
        return json.loads(told.read_text())
    [path] = output.glob("runs/*.parquet")
    return pq.read_table(path)["test_accuracy"].to_pylist()


def compare(expected: Sequence[float], found: Sequence[float]) -> list[str]:
    """Return how accuracies differ; nothing where all are near.

    >>> compare([0.9, 0.8], [0.9001, 0.8]), compare([0.9, 0.8], [0.9, 0.75])
    ([], ['accuracy of 1 of 2 networks, by up to 0.050'])
    """
    if len(expected) != len(found):
        return [f"{len(found)} networks where there are {len(expected)}"]
    apart = [abs(one - other) for one, other in zip(expected, found, strict=True)]
    far = sum(difference > NEAR for difference in apart)
    return [f"accuracy of {far} of {len(apart)} networks, by up to {max(apart):.3f}"] if far else []


def rate_table(networks: int, results: Mapping[str, Result]) -> list[str]:
    """Return networks a minute, and how many times as many as Keras."""
    base = results[RATIO_TO].best.wall if RATIO_TO in results and results[RATIO_TO].runs else None
    cells = [["program", "networks a minute", f"times {RATIO_TO}"]]
    for name, result in results.items():
        if result.runs:
            wall = result.best.wall
            cells.append([name, f"{60 * networks / wall:.1f}", f"{base / wall:.1f}" if base else "–"])
    return harness.markdown_table(cells, text={0})


def render(
    networks: int, problems: Sequence[str], results: Mapping[str, Result], facts: Sequence[str], programs: Sequence
) -> str:
    """Return the section of the results, in Markdown."""
    parts = ["## shapes", "", *facts, "", f"{harness.METHOD} Rows are networks.", ""]
    parts += [f"- {program.name}: {program.about}" for program in programs]
    table = harness.results_table(networks, results, reference=JOB.name, ratio_to=RATIO_TO)
    title = f"### {networks} networks of the default sweep ({', '.join(problems)}; one seed)"
    parts += ["", title, "", *table, "", *rate_table(networks, results)]
    return "\n".join(parts) + "\n"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options of the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--problems", nargs="+", default=["circle", "ring"], metavar="NAME", help="default: circle ring")
    made.add_argument("--part", type=int, default=1, metavar="N", help="an Nth of the steps (default 1: all)")
    made.add_argument("--only", metavar="TEXT,TEXT", help="programs whose names hold one of these; the job always runs")
    made.add_argument("--rounds", type=int, default=2, metavar="N", help="default 2; Keras runs once")
    made.add_argument("--results", type=Path, default=harness.RESULTS, metavar="FILE", help="default: %(default)s")
    return made.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Measure, print the results and write them to their file."""
    given = parse(arguments)
    wanted = given.only.split(",") if given.only else [""]
    programs = [p for p in PROGRAMS if p is JOB or any(text in p.name for text in wanted)]
    packages = ["apache-beam", "numba", "numpy", "pyarrow", "tensorflow", "keras"]
    facts = harness.machine_facts(packages, ["python", "benchmarks/shapes.py", *arguments])
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary)
        networks = make_sweep(data / "sweep.yaml", given.problems, given.part)
        results = run_all(programs, data / "sweep.yaml", data, given.rounds)
    section = render(networks, given.problems, results, facts, programs)
    print(f"\n{section}", end="")
    before = given.results.read_text(encoding="utf-8") if given.results.exists() else "# Benchmarks\n"
    given.results.write_text(harness.replace_section(before, section), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
