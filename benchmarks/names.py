"""Time the names job against other engines that do the same work: python benchmarks/names.py.

What a peer wrote is compared with what the job wrote, and what differs stands in the table of results.
"""

import argparse
import csv
import dataclasses
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script, Python looks only in this file's folder

from benchmarks import harness  # noqa: E402
from benchmarks.harness import Program, Result  # noqa: E402

LARGE = 5_000_000  # rows, from which two rounds must do
TABLES = ("apellidos", "hombres", "mujeres")
TEXTS = ("curp", "primer_apellido", "segundo_apellido", "nombre", "sex")
ROW_BY_ROW = "Beam, an element a row; no line numbers; run once, and on no more than 2,000,000 rows"


def _peer(name: str, about: str, *packages: str, script: str = "", more: tuple[str, ...] = (), **how) -> Program:
    arguments = (f"benchmarks/peers/names_{script or name}.py", "{input}", "{output}", *more)
    return Program(name=name, about=about, arguments=arguments, packages=packages, **how)


JOB = Program(
    name="molino",
    about="this job; it also writes conflicts, rejects, a manifest with checksums, and a report",
    arguments=("-m", "molino", "names", "--quiet", "--input", "{input}", "--output", "{output}"),
    packages=("apache-beam", "pyarrow"),
)
PEERS = (
    _peer("duckdb", "DuckDB with two threads; it also writes conflicts, and checks the CURPs", "duckdb"),
    _peer("duckdb_1200mb", "the same with a memory_limit of 1.2 GB", "duckdb", script="duckdb", more=("1.2GB",)),
    _peer("polars", "Polars reading latin-1 as utf8-lossy, which is wrong on Ñ; it does what DuckDB does", "polars"),
    _peer("polars_latin1", "the same after Python decoded the file", "polars", script="polars", more=("latin-1",)),
    _peer("pandas", "pandas", "pandas", "pyarrow"),
    _peer("spark", "Spark with two threads; no line numbers", "pyspark", java=True),
    _peer("beam_rows", ROW_BY_ROW, "apache-beam", max_rows=2_000_000, once=True),
)


# --- running


def run_all(programs: Sequence[Program], rows: int, data: Path, repeat: int | None) -> dict[str, Result]:
    """Run each program on an input of `rows` rows, round after round, and compare each output with the job's."""
    source = make_input(data, rows)
    results = {program.name: Result() for program in programs}
    for turn in range(repeat or (2 if rows >= LARGE else 3)):
        for program in programs:
            if not results[program.name].failed and not (turn and program.once and not repeat):
                run_one(program, results[program.name], source, data)
                print(f"{rows:,} rows, {program.name}: {_last(results[program.name])}", flush=True)
    shutil.rmtree(data / f"out-{JOB.name}")
    return results


def run_one(program: Program, result: Result, source: Path, data: Path) -> None:
    """Run a program once and add to its result. The job's own output stays for the comparisons."""
    output, log = data / f"out-{program.name}", data / f"{program.name}.log"
    shutil.rmtree(output, ignore_errors=True)
    if program is not JOB:
        output.mkdir()
    arguments = [argument.format(input=source, output=output) for argument in program.arguments]
    try:
        result.runs.append(harness.measure([sys.executable, *arguments], log))
    except subprocess.CalledProcessError as error:
        print(log.read_text(errors="replace")[-2000:], file=sys.stderr)
        if program is JOB:
            raise SystemExit("the job failed, and without its output there is nothing to compare with") from None
        result.failed = f"failed with exit code {error.returncode}"
    else:
        if program is not JOB:
            # a difference in one run must not be hidden by the next
            result.differs = compare_outputs(data / f"out-{JOB.name}", output) or result.differs
            shutil.rmtree(output)


def _last(result: Result) -> str:
    if result.failed:
        return result.failed
    run = result.runs[-1]
    told = "; ".join(result.differs) or "nothing differs"
    return f"{run.wall:.2f} s, {run.cpu:.2f} CPU s, {harness.megabytes(run.peak)} MB, {told}"


def make_input(data: Path, rows: int) -> Path:
    """Return the path of a made-up payroll, made unless it is there."""
    from molino.transforms.names.sample import sample_names

    path = data / f"names-{rows}.txt"
    if not path.exists():
        sample_names(str(path), rows=rows)
    harness.load_into_cache(path)
    return path


# --- comparing


def compare_outputs(expected: Path, found: Path) -> list[str]:
    """Return how the tables and people in a folder differ from those in `expected`; its conflicts, where it has any."""
    differs = []
    for table in TABLES:
        told = compare_tables(read_table(expected / f"{table}.csv"), read_table(found / f"{table}.csv"))
        differs += [f"{table}: {', '.join(told)}"] if told else []
    if (found / "conflicts.parquet").exists():
        differs += ["conflicts: others"] * (
            read_conflicts(expected / "conflicts") != read_conflicts(found / "conflicts.parquet")
        )
        counters = json.loads((expected / "_manifest.json").read_text())["counters"]
        [counted] = csv.DictReader((found / "curps.csv").read_text().splitlines())
        differs += [f"curp.{kind}: {n}" for kind, n in counted.items() if int(n) != counters.get(f"curp.{kind}", 0)]
    return differs + compare_people(fingerprint(expected), fingerprint(found))


def read_conflicts(path: Path) -> dict[str, list]:
    """Return the conflicts, but for the names of files and columns, by their lines."""
    import pyarrow.parquet as pq

    names = [f"{row}_{name}" for row in ("kept", "dropped") for name in ("line", *TEXTS[1:4])]
    table = pq.read_table(path, columns=["curp", *names]).replace_schema_metadata()
    return table.sort_by([("kept_line", "ascending"), ("dropped_line", "ascending")]).to_pydict()


def read_table(path: Path) -> list[dict]:
    """Return the rows of a table; all but the first column are numbers, or None where they are empty."""
    with path.open(encoding="utf-8", newline="") as file:
        (key, *columns), *rows = csv.reader(file)
    return [
        {key: name, **{c: float(v) if v else None for c, v in zip(columns, values, strict=True)}}
        for name, *values in rows
    ]


def compare_tables(expected: Sequence[Mapping], found: Sequence[Mapping]) -> list[str]:
    """Return what differs: columns, rows by their first column, cells of the common rows, order. Numbers are exact."""
    if not expected or not found or list(expected[0]) != list(found[0]):
        return [] if expected == found else ["other columns, or no rows"]
    key, *columns = expected[0]
    wanted, got = ({row[key]: row for row in rows} for rows in (expected, found))
    common = [name for name in wanted if name in got]
    missing, added = len(expected) - len(common), len(found) - len(common)
    differs = [f"{count:,} rows {what}" for count, what in ((missing, "missing"), (added, "too many")) if count]
    for column in columns:
        pairs = [(wanted[name][column], got[name][column]) for name in common]
        if unequal := [(one, other) for one, other in pairs if one != other]:
            most = max((abs(one - other) for one, other in unequal if None not in (one, other)), default=0)
            differs.append(f"{len(unequal):,} of {len(common):,} {column} by up to {most:.2g}")
    return differs + ["another order"] * (common != [name for name in got if name in wanted])


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """What people hold, in whatever order: their number, a sum of hashes, and a sum to which the lines count."""

    people: int
    values: int
    lines: int | None


def fingerprint(folder: Path) -> Fingerprint:
    """Return the fingerprint of the people in a folder; the lines are None where they are not told."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    people, values, lines, told = 0, np.uint64(0), np.uint64(0), True
    for path in sorted([*folder.glob("people*.parquet"), *folder.glob("people/*.parquet")]):
        file = pq.ParquetFile(path)
        told = told and "line" in file.schema_arrow.names
        numbers = ["birth_year", "age", "line"] if told else ["birth_year", "age"]
        schema = pa.schema([*((name, pa.string()) for name in TEXTS), *((name, pa.int64()) for name in numbers)])
        for batch in file.iter_batches(1 << 18, columns=schema.names):
            # nulls are filled: they would change the type in pandas, and with it the hash
            filled = {
                field.name: batch[field.name].cast(field.type).fill_null("" if field.name in TEXTS else -1)
                for field in schema
            }
            frame = pa.table(filled).to_pandas()
            line = frame.pop("line").to_numpy().astype(np.uint64) if told else 0
            hashes = pd.util.hash_pandas_object(frame, index=False).to_numpy()
            people += len(hashes)
            values, lines = np.sum([values, hashes.sum()]), np.sum([lines, (hashes * line).sum()])
    return Fingerprint(people, int(values), int(lines) if told else None)


def compare_people(expected: Fingerprint, found: Fingerprint) -> list[str]:
    """Return what differs; line numbers only where there are any."""
    if expected.people != found.people:
        return [f"people: {found.people:,}, not {expected.people:,}"]
    if expected.values != found.values:
        return ["people: other values"]
    return ["people: other lines"] * (found.lines not in (None, expected.lines))


# --- the command


def render(results: Mapping[int, Mapping[str, Result]], skipped: Mapping[str, str], facts: Sequence[str]) -> str:
    """Return the section of the results, in Markdown: a table for each size, then the growth of memory."""
    parts = ["## names", "", *facts, "", f"{harness.METHOD} Tables are compared exactly, people by a hash.", ""]
    parts += [f"- {p.name}: {p.about}" for p in (JOB, *PEERS) if any(p.name in each for each in results.values())]
    parts += [f"- {name}: skipped, {reason}" for name, reason in skipped.items()]
    for rows, programs in results.items():
        table = harness.results_table(rows, programs, reference=JOB.name, ratio_to="duckdb")
        parts += ["", f"### {rows:,} rows", "", *table]
    if len(results) > 1:
        parts += [
            "",
            "### A million rows more, without the start",
            "",
            *harness.slope_table(results, reference=JOB.name),
        ]
        parts += ["", "### Growth of memory", "", *harness.memory_table(results)]
    return "\n".join(parts) + "\n"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options of the command line."""
    every = [JOB.name, *(program.name for program in PEERS)]
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rows", type=int, default=1_256_438, metavar="N", help="of size 1 (default 1256438)")
    made.add_argument(
        "--sizes", type=float, nargs="+", default=[0.2, 1, 10], metavar="K", help="times N (default 0.2 1 10)"
    )
    made.add_argument("--only", metavar="A,B", help=f"of {', '.join(every)}; {JOB.name} always runs, as the reference")
    made.add_argument("--repeat", type=int, metavar="N", help=f"rounds (default 3; 2 from {LARGE} rows; slow peers 1)")
    made.add_argument("--data", type=Path, metavar="DIR", help="keep the inputs here (default: a temporary folder)")
    made.add_argument("--results", type=Path, default=harness.RESULTS, metavar="FILE", help="default: %(default)s")
    given = made.parse_args(arguments)
    given.only = given.only.split(",") if given.only else every
    if unknown := set(given.only) - set(every):
        made.error(f"no such program: {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    return given


def main(arguments: Sequence[str]) -> None:
    """Measure, print the results and write them to their file."""
    given = parse(arguments)
    chosen = [program for program in PEERS if program.name in given.only]
    skipped = {program.name: reason for program in chosen if (reason := program.missing())}
    for name, reason in skipped.items():
        print(f"{name}: skipped, {reason}")
    programs = [JOB, *(program for program in chosen if program.name not in skipped)]
    packages = [package for program in programs for package in program.packages]
    facts = harness.machine_facts(packages, ["python", "benchmarks/names.py", *arguments])
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        data = (given.data or Path(temporary)).resolve()
        data.mkdir(parents=True, exist_ok=True)
        for rows in sorted(round(given.rows * size) for size in given.sizes):
            fitting = [program for program in programs if not program.max_rows or rows <= program.max_rows]
            results[rows] = run_all(fitting, rows, data, given.repeat)
    section = render(results, skipped, facts)
    print(f"\n{section}", end="")
    before = given.results.read_text(encoding="utf-8") if given.results.exists() else "# Benchmarks\n"
    given.results.write_text(harness.replace_section(before, section), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
