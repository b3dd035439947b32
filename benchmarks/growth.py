"""How time and memory grow with the input: python benchmarks/growth.py.

Each job does made-up inputs of growing size, one at a time: made, done, measured, deleted. The largest take some 30 GB
of disk and an hour. Titles are embedded by a model of 976,640 × 50; vectors have 128 numbers.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script, Python looks only in this file's folder

from benchmarks import harness  # noqa: E402
from benchmarks.harness import Measure  # noqa: E402

SIZES: Mapping[str, Sequence[int]] = {
    "names": (1_256_438, 12_564_380, 125_643_800),
    "titles": (670_000, 6_700_000, 20_000_000),
    "whales": (100, 1_000, 10_000),
    "pca": (100_000, 1_000_000, 10_000_000),
}
# of each job: how its input is made, and what reads it
COMMANDS = {
    "names": ("sample names --rows {n} --output {data}/in.txt", "names --input {data}/in.txt"),
    "titles": (
        "sample titles --rows {n} --output {data}/in.csv",
        "titles --input {data}/in.csv --model small={data}/model",
    ),
    "whales": ("sample whales --images {n} --output {data}/in", "whales --input {data}/in/images"),
    "pca": (
        "sample pca --rows {n} --numbers 128 --output {data}/in.parquet",
        "pca --input {data}/in.parquet --column vector",
    ),
}
NOUNS = {"names": "rows", "titles": "titles", "whales": "images", "pca": "vectors"}


def measure_growth(job: str, sizes: Sequence[int], data: Path) -> Iterator[tuple[int, Measure]]:
    """Yield each size and what the job took for it."""
    make, run = COMMANDS[job]
    if job == "titles":
        _make_model(data)
    for size in sizes:
        molino(*make.format(n=size, data=data).split())
        command = [sys.executable, "-m", "molino", *run.format(data=data).split(), "--quiet", "--output"]
        try:
            yield size, harness.measure([*command, str(data / "out")], data / "log")
        finally:
            for path in (*data.glob("in*"), data / "out"):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _make_model(data: Path) -> None:
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    from benchmarks import titles

    molino("sample", "titles", "--rows", "200000", "--output", str(data / "words.csv"))
    quoted = pa_csv.ParseOptions(newlines_in_values=True)
    pq.write_table(pa_csv.read_csv(data / "words.csv", parse_options=quoted).select(["title"]), data / "words.parquet")
    titles.make_models(data, data / "words.parquet", ["es-50-norm"])
    (data / "es-50-norm").rename(data / "model")


def molino(*words: str) -> None:
    """Run the command of this checkout."""
    subprocess.run([sys.executable, "-m", "molino", *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def render(found: Mapping[str, Sequence[tuple[int, Measure]]], facts: Sequence[str]) -> str:
    """Return the section of the results: a row a size, and how it compares with the size before.

    Growth is of the seconds beyond the smallest size's, a row, as a share of the same for the size before: 1.00 is
    linear.
    """
    rows = [["job", "size", "s", "CPU s", "peak MB", "a second", "growth", "memory"]]
    for job, measures in found.items():
        for place, (size, each) in enumerate(measures):
            growth = memory = ""
            if place >= 1:
                memory = f"{each.peak / measures[place - 1][1].peak:.2f}"
            if place >= 2:
                (first, start), (before, last) = measures[0], measures[place - 1]
                slope = (each.wall - last.wall) / (size - before)
                growth = f"{slope / ((last.wall - start.wall) / (before - first)):.2f}"
            rate = f"{size / each.wall:,.0f}"
            cells = [f"{each.wall:.1f}", f"{each.cpu:.1f}", harness.megabytes(each.peak), rate, growth, memory]
            rows.append([job, f"{size:,} {NOUNS[job]}", *cells])
    return "\n".join(["## Growth", "", *facts, "", *harness.markdown_table(rows, text={0})]) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Measure, print the results and write them to their file."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--jobs", nargs="+", choices=SIZES, default=list(SIZES), help="default: all")
    made.add_argument("--divide", type=int, default=1, metavar="N", help="sizes are divided by N")
    made.add_argument("--data", type=Path, metavar="DIR", help="make inputs here (default: a temporary folder)")
    made.add_argument("--results", type=Path, default=harness.RESULTS, metavar="FILE", help="default: %(default)s")
    given = made.parse_args(arguments)
    facts = harness.machine_facts(["apache-beam", "pyarrow", "numpy"], ["python", "benchmarks/growth.py", *arguments])
    found: dict[str, list[tuple[int, Measure]]] = {}
    with tempfile.TemporaryDirectory(dir=given.data) as folder:
        for job in given.jobs:
            for size, measured in measure_growth(job, [size // given.divide for size in SIZES[job]], Path(folder)):
                found.setdefault(job, []).append((size, measured))
                print(f"{job:<8} {size:>12,}  {measured.wall:8.1f} s  {measured.peak / 1e6:8,.0f} MB", flush=True)
    section = render(found, facts)
    print(f"\n{section}", end="")
    before = given.results.read_text(encoding="utf-8") if given.results.exists() else "# Benchmarks\n"
    given.results.write_text(harness.replace_section(before, section), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
