"""Measure whole programs and tell the results: what the benchmarks of all jobs share."""

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
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results.md"
SAMPLE_SECONDS = 0.1
FREE_BYTES = 1 << 28  # memory left free before a program starts
METHOD = (
    "Whole processes, one after another, rounds interleaved, the input in the page cache. Seconds and CPU seconds are "
    "of the fastest run. The peak of memory is the highest of all runs: USS summed over the process tree, sampled "
    f"every {SAMPLE_SECONDS} s. Before each run free memory is filled with pages of an empty file, so that no program "
    "waits for the host of a virtual machine to give memory."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """What is timed.

    Attributes:
      about: what a reader of the results has to know of it.
      arguments: of the Python interpreter; input and output are put in.
      packages: distributions it needs.
      java: it needs Java.
      max_rows: inputs with more rows are not for it.
      once: one run must do.
    """

    name: str
    about: str
    arguments: tuple[str, ...]
    packages: tuple[str, ...]
    java: bool = False
    max_rows: int | None = None
    once: bool = False

    def missing(self) -> str:
        """Return what keeps it from running here, or ""."""
        for package in self.packages:
            if importlib.util.find_spec(package.replace("-", "_")) is None:
                return f"{package} is not installed; install requirements/bench.txt"
        return "there is no Java" if self.java and not (shutil.which("java") or os.environ.get("JAVA_HOME")) else ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measure:
    """One run: seconds on the clock and of processors, and the most memory at once, in bytes."""

    wall: float
    cpu: float
    peak: int


@dataclasses.dataclass(kw_only=True)
class Result:
    """All runs of a program on one input, how its output differs from the job's, and how it failed."""

    runs: list[Measure] = dataclasses.field(default_factory=list)
    differs: list[str] = dataclasses.field(default_factory=list)
    failed: str = ""

    @property
    def best(self) -> Measure:
        """The fastest run, but with the highest peak of all."""
        fastest = min(self.runs, key=lambda run: run.wall)
        return dataclasses.replace(fastest, peak=max(run.peak for run in self.runs))


# --- measuring


def measure(command: Sequence[str], log: Path) -> Measure:
    """Run a command in the checkout and measure it with all processes that it starts; what it prints goes to `log`.

    Processor time is of the process and of the children it waited for. A peak of memory shorter than the time between
    two samples is missed, and pages of mapped files count as memory.

    Raises:
      CalledProcessError: it failed.
    """
    peak, ended = 0, threading.Event()
    fill_memory(log.with_name("filler"))
    with log.open("wb") as out:
        os.sync()  # what the one before left to be written is not this one's burden
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


def fill_memory(filler: Path) -> None:
    """Fill free memory with pages of a file without content, as it is filled on a machine that has long been in use.

    The host of a virtual machine may give memory only when it is first touched, and take back what is free: half a
    gigabyte written to a file then costs 1.2 s instead of 0.1 s, and a program is timed by what ran before it. It takes
    minutes where much is free: the tests, which time nothing, set MOLINO_BENCH_FILL to "no".
    """
    if os.environ.get("MOLINO_BENCH_FILL") == "no" or not Path("/proc/meminfo").exists():
        return
    chunk = bytearray(1 << 22)
    with filler.open("a+b", buffering=0) as file:
        place = filler.stat().st_size
        while _free_memory() > FREE_BYTES:
            file.truncate(place := place + 64 * len(chunk))
            file.seek(place - 64 * len(chunk))
            for _ in range(64):
                file.readinto(chunk)


def _free_memory() -> int:
    return int(re.search(r"MemFree: +(\d+) kB", Path("/proc/meminfo").read_text())[1]) << 10  # type: ignore[index]


def run_rounds(
    programs: Sequence[Program],
    results: Mapping[str, Result],
    source: Path,
    data: Path,
    rounds: int,
    reference: Program,
    read: Callable[[Path], Any],
    compare: Callable[[Any, Any], list[str]],
) -> Iterator[tuple[Program, Result]]:
    """Run each program, round after round, add to its result, and yield both after every run that did not fail.

    Args:
      source: what stands for {input} in the arguments; {output} is a folder `out` in `data`.
      reference: what it found is what the others are compared with; it is the first.
      read: from the output to what was found.
      compare: from what the reference and a program found to how they differ.
    """
    expected = None
    for turn in range(rounds):
        for program in programs:
            result, output, log = results[program.name], data / "out", data / "log"
            if result.failed or (turn and program.once):
                continue
            shutil.rmtree(output, ignore_errors=True)
            if "--output" not in program.arguments:
                output.mkdir()
            arguments = [argument.format(input=source, output=output) for argument in program.arguments]
            try:
                result.runs.append(measure([sys.executable, *arguments], log))
            except subprocess.CalledProcessError as error:
                print(log.read_text(errors="replace")[-2000:], file=sys.stderr)
                result.failed = f"failed with exit code {error.returncode}"
                continue
            found = read(output)
            expected = found if program is reference else expected
            result.differs = compare(expected, found) or result.differs
            yield program, result


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


def load_into_cache(path: Path) -> None:
    """Read a file, so that no program has to wait for the disk."""
    with path.open("rb") as file, open(os.devnull, "wb") as nowhere:
        shutil.copyfileobj(file, nowhere, 1 << 20)


# --- telling


def machine_facts(packages: Sequence[str], command: Sequence[str]) -> list[str]:
    """Return what figures depend on: machine, date, versions, command."""
    cpu, info = platform.processor(), Path("/proc/cpuinfo")
    if info.exists() and (found := re.search(r"model name\s*: (.*)", info.read_text())):
        cpu = found[1]
    versions = [f"{name} {importlib.metadata.version(name)}" for name in sorted(set(packages))]
    return [
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC; {cpu}, {os.cpu_count()} cores, "
        f"{psutil.virtual_memory().total / 2**30:.0f} GiB, {platform.system()}; load {os.getloadavg()[0]:.2f} before "
        f"the start. Python {', '.join([platform.python_version(), *versions])}.",
        "",
        f"Command: `{shlex.join(command)}`",
    ]


def results_table(rows: int, programs: Mapping[str, Result], *, reference: str, ratio_to: str) -> list[str]:
    """Return a Markdown table of the results of one input."""
    header = ["program", "runs", "seconds", "slowest", f"of {ratio_to}", "rows/s", "CPU s", "peak MB"]
    header.append(f"differs from {reference}")
    cells = _cells(rows, programs, reference=reference, ratio_to=ratio_to)
    return markdown_table([header, *cells], text={0, len(header) - 1})


def _cells(rows: int, programs: Mapping[str, Result], *, reference: str, ratio_to: str) -> Iterator[list[str]]:
    base = programs[ratio_to].best.wall if ratio_to in programs and programs[ratio_to].runs else None
    for name, result in programs.items():
        told = "; ".join(result.differs) or ("the reference" if name == reference else "nothing")
        if not result.runs:
            yield [name, "0", *["–"] * 6, result.failed]
            continue
        best, slowest = result.best, max(run.wall for run in result.runs)
        ratio = f"{best.wall / base:.2f}" if base else "–"
        rate = f"{rows / best.wall:,.0f}" if rows >= 10 * best.wall else f"{rows / best.wall:.2f}"
        numbers = [f"{best.wall:.2f}", f"{slowest:.2f}", ratio, rate, f"{best.cpu:.2f}"]
        told += f"; {result.failed} once" if result.failed else ""
        yield [name, str(len(result.runs)), *numbers, megabytes(best.peak), told]


def memory_table(results: Mapping[int, Mapping[str, Result]]) -> list[str]:
    """Return a Markdown table of how memory grows from the smallest to the largest input."""
    small, large = min(results), max(results)
    header = ["program", f"MB at {small:,} rows", f"MB at {large:,} rows", f"growth for {large / small:.3g} x rows"]
    cells = []
    for name, result in results[large].items():
        if result.runs and name in results[small] and results[small][name].runs:
            before, after = results[small][name].best.peak, result.best.peak
            cells.append([name, megabytes(before), megabytes(after), f"x {after / max(before, 1):.1f}"])
    return markdown_table([header, *cells], text={0})


def slope_table(results: Mapping[int, Mapping[str, Result]], *, reference: str) -> list[str]:
    """Return a Markdown table of what a million rows more cost each program, its start-up left out.

    The slope between the smallest and the largest input that the program ran on.
    """
    header = [
        "program",
        "between",
        "s a million rows",
        "CPU s a million rows",
        f"s of {reference}",
        f"CPU s of {reference}",
    ]
    slopes = {}
    for name in dict.fromkeys(name for programs in results.values() for name in programs):
        sizes = sorted(rows for rows, programs in results.items() if name in programs and programs[name].runs)
        if len(sizes) > 1:
            first, last = (results[rows][name].best for rows in (sizes[0], sizes[-1]))
            millions = (sizes[-1] - sizes[0]) / 1e6
            slopes[name] = (sizes[0], sizes[-1], (last.wall - first.wall) / millions, (last.cpu - first.cpu) / millions)
    cells = []
    for name, (small, large, wall, cpu) in slopes.items():
        _, _, base_wall, base_cpu = slopes.get(reference, (0, 0, 0.0, 0.0))
        ratios = [f"{mine / base:.1f}" if base > 0 else "–" for mine, base in ((wall, base_wall), (cpu, base_cpu))]
        cells.append([name, f"{small:,} and {large:,} rows", f"{wall:.2f}", f"{cpu:.2f}", *ratios])
    return markdown_table([header, *cells], text={0, 1})


def markdown_table(rows: Sequence[Sequence[str]], *, text: set[int]) -> list[str]:
    """Return the lines of a table; columns whose places are not in `text` hold numbers.

    >>> markdown_table([["name", "n"], ["a", "1"]], text={0})
    ['| name | n |', '| --- | ---: |', '| a | 1 |']
    """
    header, *body = rows
    ruler = ["---" if place in text else "---:" for place in range(len(header))]
    return [f"| {' | '.join(cells)} |" for cells in (header, ruler, *body)]


def megabytes(size: int) -> str:
    """Return bytes as millions of them."""
    return f"{size / 1e6:,.0f}"


def replace_section(text: str, section: str) -> str:
    """Return `text` with the section under the same heading of level 2 replaced, or with a new one at its end."""
    heading = section.partition("\n")[0]
    before, found, after = f"\n{text}".partition(f"\n{heading}\n")
    _, mark, rest = f"\n{after}".partition("\n## ")
    parts = [before.strip(), section.strip(), f"## {rest}".strip() if found and mark else ""]
    return "\n\n".join(part for part in parts if part) + "\n"
