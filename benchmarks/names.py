"""Time the names job against other engines that do the same work: python benchmarks/names.py.

Each program is a process of its own, from its start to its end, run one after another with the input in the page cache;
rounds are interleaved, so that a slow minute of the machine hits all of them. What a peer wrote is compared with what
the job wrote, value for value, and what differs stands in the table of results.
"""

import argparse
import csv
import dataclasses
import datetime
import importlib.metadata
import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

try:
    import psutil
except ImportError:  # it comes with requirements/bench.txt; what measures nothing works without it
    psutil = None

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results.md"
HEADING = "## names"
SAMPLE_SECONDS = 0.1
LARGE = 5_000_000  # rows, from which two rounds must do
TABLES = ("apellidos", "hombres", "mujeres")
TEXTS = ("curp", "primer_apellido", "segundo_apellido", "nombre", "sex")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """What is timed.

    Attributes:
      about: what a reader of the results has to know of it.
      arguments: of the Python interpreter; input and output are put in.
      packages: distributions it needs, the engine's own first.
      max_rows: inputs with more rows are not for it.
      slow: once is enough.
    """

    name: str
    about: str
    arguments: tuple[str, ...]
    packages: tuple[str, ...]
    max_rows: int | None = None
    slow: bool = False

    def missing(self) -> str:
        """Return what keeps it from running here, or ""."""
        for package in self.packages:
            if importlib.util.find_spec(package.replace("-", "_")) is None:
                return f"{package} is not installed; install requirements/bench.txt"
        if "pyspark" in self.packages and not (shutil.which("java") or os.environ.get("JAVA_HOME")):
            return "there is no Java"
        return ""


def _peer(name: str, about: str, packages: tuple[str, ...], *, script: str = "", more: tuple = (), **limits) -> Program:
    path = f"benchmarks/peers/names_{script or name}.py"
    arguments = (path, "{input}", "{output}", *more)
    return Program(name=name, about=about, arguments=arguments, packages=packages, **limits)


JOB = Program(
    name="molino",
    about="this job; also writes conflicts, rejects, checksums and a report",
    arguments=("-m", "jobs.names", "--quiet", "--input", "{input}", "--output", "{output}"),
    packages=("apache-beam", "pyarrow"),
)
PEERS = (
    _peer("duckdb", "DuckDB, 2 threads", ("duckdb",)),
    _peer("polars", "Polars, utf8-lossy: wrong on Ñ", ("polars",)),
    _peer("polars_latin1", "Polars, decoded by Python", ("polars", "pyarrow"), script="polars", more=("latin-1",)),
    _peer("pandas", "pandas", ("pandas",)),
    _peer("spark", "Spark, local[2]; no line numbers", ("pyspark",)),
    _peer("beam_rows", "Beam, an element a row; no line numbers", ("apache-beam",), max_rows=2_000_000, slow=True),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measure:
    """One run: seconds on the clock and of processors, and the most memory at once, in bytes."""

    wall: float
    cpu: float
    peak: int


@dataclasses.dataclass(kw_only=True)
class Result:
    """All runs of a program on one input, and how its output differs from the job's, or how it failed."""

    runs: list[Measure] = dataclasses.field(default_factory=list)
    differs: list[str] = dataclasses.field(default_factory=list)
    failed: str = ""

    @property
    def best(self) -> Measure:
        """The fastest run, but with the highest peak of all of them."""
        fastest = min(self.runs, key=lambda run: run.wall)
        return dataclasses.replace(fastest, peak=max(run.peak for run in self.runs))


# --- running


def measure(command: Sequence[str], log: Path) -> Measure:
    """Run a command in the checkout and measure it with all processes that it starts.

    Processor time is of the process and of the children it waited for. Memory is the sum of the unique set sizes (USS)
    of the process tree, looked at every 0.1 s: a shorter peak is missed, and pages of mapped files count.

    Raises:
      CalledProcessError: it failed; its output is in `log`.
    """
    peak, ended = 0, threading.Event()
    with log.open("wb") as out:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)

        def watch() -> None:
            nonlocal peak
            while not ended.wait(SAMPLE_SECONDS):
                peak = max(peak, _tree_memory(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            ended.set()
        wall = time.perf_counter() - started
        watcher.join()
    process.returncode = os.waitstatus_to_exitcode(status)  # os.wait4 took it from Popen
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(command))
    return Measure(wall=wall, cpu=usage.ru_utime + usage.ru_stime, peak=peak)


def _tree_memory(pid: int) -> int:
    total = 0
    try:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return 0
    for process in tree:
        try:
            total += process.memory_full_info().uss
        except psutil.Error:  # it ended meanwhile
            continue
    return total


def run_all(programs: Sequence[Program], rows: int, data: Path, repeat: int | None) -> dict[str, Result]:
    """Run each program on an input of `rows` rows, round after round, and compare each output with the job's."""
    source = make_input(data, rows)
    results = {program.name: Result() for program in programs}
    for turn in range(repeat or (2 if rows >= LARGE else 3)):
        for program in programs:
            result = results[program.name]
            if result.failed or (turn and program.slow and not repeat):
                continue
            output = data / f"out-{program.name}"
            shutil.rmtree(output, ignore_errors=True)
            if program is not JOB:
                output.mkdir()
            os.sync()  # what the one before left to be written is not this one's burden
            arguments = [argument.format(input=source, output=output) for argument in program.arguments]
            log = data / f"{program.name}.log"
            try:
                result.runs.append(measure([sys.executable, *arguments], log))
            except subprocess.CalledProcessError as error:
                result.failed = f"failed with exit code {error.returncode}"
                print(f"{program.name} {result.failed}:\n{log.read_text(errors='replace')[-2000:]}", flush=True)
                if program is JOB:
                    raise SystemExit("without the job's output there is nothing to compare with") from None
                continue
            run = result.runs[-1]
            if program is not JOB:
                result.differs = compare_outputs(data / f"out-{JOB.name}", output) or result.differs
                shutil.rmtree(output)
            told = "; ".join(result.differs) or "equal"
            print(
                f"{rows:,} rows  {program.name:<14} {run.wall:7.2f} s  {run.cpu:7.2f} CPU s  {_mb(run.peak):>6} MB  {told}",
                flush=True,
            )
    shutil.rmtree(data / f"out-{JOB.name}")
    return results


def make_input(data: Path, rows: int) -> Path:
    """Return the path of a made-up payroll, which is made unless it is there, and is then in the page cache."""
    from transforms.sample_names import sample_names

    path = data / f"names-{rows}.txt"
    if not path.exists():
        sample_names(str(path), rows=rows)
    with path.open("rb") as file, open(os.devnull, "wb") as nowhere:
        shutil.copyfileobj(file, nowhere, 1 << 20)
    return path


# --- comparing


def compare_outputs(expected: Path, found: Path) -> list[str]:
    """Return how the tables and the people in folder `found` differ from those in `expected`."""
    differs = []
    for table in TABLES:
        told = compare_tables(read_table(expected / f"{table}.csv"), read_table(found / f"{table}.csv"))
        differs += [f"{table}: {what}" for what in told]
    return differs + compare_people(fingerprint(expected), fingerprint(found))


def read_table(path: Path) -> list[dict]:
    """Return the rows of a table; all but its first column are numbers, or None where they are empty."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        {
            column: value if not place else float(value) if value else None
            for place, (column, value) in enumerate(row.items())
        }
        for row in rows
    ]


def compare_tables(expected: Sequence[Mapping], found: Sequence[Mapping]) -> list[str]:
    """Return what differs: columns, rows by their first column, cells of the common rows, order. Numbers are exact."""
    if not expected or not found or list(expected[0]) != list(found[0]):
        return [] if expected == found else ["other columns, or no rows"]
    key, *columns = expected[0]
    wanted, got = ({row[key]: row for row in rows} for rows in (expected, found))
    common = [name for name in wanted if name in got]
    counts = {"rows missing": len(expected) - len(common), "rows too many": len(found) - len(common)}
    for column in columns:
        counts[f"of {len(common):,} {column}"] = sum(wanted[name][column] != got[name][column] for name in common)
    differs = [f"{count:,} {what}" for what, count in counts.items() if count]
    return differs + ["another order"] * (common != [name for name in got if name in wanted])


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """What people hold, in whatever order: their number, a sum of hashes, and a sum in which line numbers count."""

    people: int
    values: int
    lines: int | None


def fingerprint(folder: Path) -> Fingerprint:
    """Return the fingerprint of the people in a folder."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    people, values, lines = 0, 0, 0
    for path in sorted([*folder.glob("people*.parquet"), *folder.glob("people/*.parquet")]):
        file = pq.ParquetFile(path)
        numbers = ["birth_year", "age", *(["line"] if "line" in file.schema_arrow.names else [])]
        schema = pa.schema([*((name, pa.string()) for name in TEXTS), *((name, pa.int64()) for name in numbers)])
        for batch in file.iter_batches(1 << 18, columns=schema.names):
            # engines write one value in several types; where a null stands would change pandas's type
            columns = [
                column.cast(field.type).fill_null("" if field.name in TEXTS else -1)
                for column, field in zip(batch.select(schema.names).columns, schema, strict=True)
            ]
            frame = pa.RecordBatch.from_arrays(columns, schema=schema).to_pandas()
            hashes = pd.util.hash_pandas_object(frame.drop(columns="line", errors="ignore"), index=False).to_numpy()
            people += len(hashes)
            values = (values + int(hashes.sum())) % 2**64
            if lines is not None and "line" in frame:
                lines = (lines + int((hashes * frame["line"].to_numpy("uint64")).sum())) % 2**64
            else:
                lines = None
    return Fingerprint(people, values, lines)


def compare_people(expected: Fingerprint, found: Fingerprint) -> list[str]:
    """Return what differs; line numbers only where there are any."""
    if expected.people != found.people:
        return [f"people: {found.people:,} for {expected.people:,}"]
    if expected.values != found.values:
        return ["people: other values"]
    return ["people: other lines"] * (found.lines not in (None, expected.lines))


# --- telling


def render(results: Mapping[int, Mapping[str, Result]], skipped: Mapping[str, str], facts: Sequence[str]) -> str:
    """Return the section of the results, in Markdown: a table for each size, then the growth of memory."""
    about = {program.name: program.about for program in (JOB, *PEERS)}
    parts = [HEADING, "", *facts]
    for rows, programs in results.items():
        parts += ["", f"### {rows:,} rows", ""]
        header = [
            "program",
            "runs",
            "seconds",
            "slowest",
            "of DuckDB",
            "rows/s",
            "CPU s",
            "peak MB",
            "differs from molino",
        ]
        parts += _table([header, *_rows_of(rows, programs)], text={0, len(header) - 1})
    if len(results) > 1:
        (small, first), *_, (large, last) = results.items()
        header = [
            "program",
            f"MB at {small:,} rows",
            f"MB at {large:,} rows",
            f"growth for {large / small:.3g} times the rows",
        ]
        peaks = {
            name: (first[name].best.peak, last[name].best.peak) for name in last if last[name].runs and first[name].runs
        }
        cells = [[name, _mb(one), _mb(two), f"{two / max(one, 1):.1f} times"] for name, (one, two) in peaks.items()]
        parts += ["", "### Memory", "", *_table([header, *cells], text={0})]
    parts += ["", *(f"- {name}: {text}" for name, text in about.items() if name in next(iter(results.values()), {}))]
    parts += [f"- {name}: skipped, {reason}" for name, reason in skipped.items()]
    return "\n".join(parts) + "\n"


def _rows_of(rows: int, programs: Mapping[str, Result]) -> Iterator[list[str]]:
    duckdb = programs.get("duckdb")
    base = duckdb.best.wall if duckdb and duckdb.runs else None
    for name, result in programs.items():
        if not result.runs:
            yield [name, "0", *["–"] * 6, result.failed]
            continue
        best = result.best
        slowest = max(run.wall for run in result.runs)
        ratio = f"{best.wall / base:.2f}" if base else "–"
        told = "the reference" if name == JOB.name else "; ".join(result.differs) or "nothing"
        told = f"{told}; once {result.failed}" if result.failed else told
        numbers = [
            f"{best.wall:.2f}",
            f"{slowest:.2f}",
            ratio,
            f"{rows / best.wall:,.0f}",
            f"{best.cpu:.2f}",
            _mb(best.peak),
        ]
        yield [name, str(len(result.runs)), *numbers, told]


def _table(rows: Sequence[Sequence[str]], text: set[int]) -> list[str]:
    header, *body = rows
    ruler = ["---" if place in text else "---:" for place in range(len(header))]
    return [f"| {' | '.join(cells)} |" for cells in (header, ruler, *body)]


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f}"


def replace_section(text: str, heading: str, section: str) -> str:
    """Return `text` with the section under `heading` replaced, or added at the end."""
    pattern = rf"^{re.escape(heading)}\n.*?(?=^## |\Z)"
    if re.search(pattern, text, re.MULTILINE | re.DOTALL):
        return re.sub(pattern, lambda _: f"{section}\n", text, flags=re.MULTILINE | re.DOTALL).rstrip("\n") + "\n"
    return f"{text.rstrip()}\n\n{section}".lstrip("\n")


def machine_facts(programs: Sequence[Program], arguments: Sequence[str], load: float) -> list[str]:
    """Return what the figures depend on: machine, date, versions, command, method."""
    cpu = platform.processor()
    if Path("/proc/cpuinfo").exists():
        cpu = next(re.finditer(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()), ["", cpu])[1]
    names = sorted({package for program in programs for package in program.packages})
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    memory = psutil.virtual_memory().total / 2**30
    return [
        f"Measured {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC on {cpu}, {os.cpu_count()} cores, "
        f"{memory:.0f} GiB, {platform.system()} {platform.release()}; load {load:.2f} before the start.",
        f"Python {platform.python_version()}, {versions}.",
        "",
        f"Command: `{shlex.join(['python', 'benchmarks/names.py', *arguments])}`",
        "",
        "Whole processes, one after another; the fastest run counts, and the highest peak of memory: USS summed over the "
        f"process tree, sampled every {SAMPLE_SECONDS} s. Tables are compared exactly; people by a hash of all columns.",
    ]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options of the command line."""
    every = [program.name for program in PEERS]
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rows", type=int, default=1_256_438, metavar="N", help="of size 1 (default 1,256,438)")
    made.add_argument(
        "--sizes", type=int, nargs="+", default=[1, 10], metavar="K", help="times the rows (default 1 10)"
    )
    made.add_argument("--only", metavar="A,B", help=f"of {', '.join(every)}; molino always runs, as the reference")
    made.add_argument(
        "--repeat", type=int, metavar="N", help=f"rounds (default 3; from {LARGE:,} rows 2; slow peers 1)"
    )
    made.add_argument("--data", type=Path, metavar="DIR", help="where inputs are kept (default: a temporary folder)")
    made.add_argument("--results", type=Path, default=RESULTS, metavar="FILE", help="default benchmarks/results.md")
    given = made.parse_args(arguments)
    given.only = given.only.split(",") if given.only else every
    if unknown := set(given.only) - {JOB.name, *every}:
        made.error(f"no such program: {', '.join(sorted(unknown))}; there are {JOB.name}, {', '.join(every)}")
    return given


def main(arguments: Sequence[str]) -> None:
    """Measure, print the results and write them to their file."""
    given = parse(arguments)
    if psutil is None:
        raise SystemExit("benchmarks/names.py needs psutil: install requirements/bench.txt")
    load = os.getloadavg()[0]
    chosen = [program for program in PEERS if program.name in given.only]
    skipped = {program.name: reason for program in chosen if (reason := program.missing())}
    for name, reason in skipped.items():
        print(f"{name}: skipped, {reason}")
    programs = [JOB, *(program for program in chosen if program.name not in skipped)]
    facts = machine_facts(programs, arguments, load)
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        data = (given.data or Path(temporary)).resolve()
        data.mkdir(parents=True, exist_ok=True)
        for rows in sorted(given.rows * size for size in given.sizes):
            fitting = [program for program in programs if not program.max_rows or rows <= program.max_rows]
            results[rows] = run_all(fitting, rows, data, given.repeat)
    section = render(results, skipped, facts)
    print(f"\n{section}", end="")
    before = given.results.read_text(encoding="utf-8") if given.results.exists() else "# Benchmarks\n"
    given.results.write_text(replace_section(before, HEADING, section), encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed will do
    main(sys.argv[1:])
