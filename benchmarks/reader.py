"""Time what reads vectors for training against other ways to do it: python benchmarks/reader.py.

Every way must give the same sums as the first, or the table of results says what differs.
"""

import argparse
import hashlib
import json
import os
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

SHARDS, GROUP_ROWS, CLASSES = 4, 4096, 1573
ABOUT = {
    "molino": "`training.reader`, shuffled in windows of 16,384 rows; the bytes of files and of pages are verified",
    "half": "the same from a column of float16",
    "arrow": "pyarrow.dataset with its threads; in order, not shuffled",
    "tfdata": "pyarrow.dataset into tf.data, which shuffles 16,384 rows",
    "torch": "everything in memory, PyTorch's DataLoader with a batch an index",
    "pylist": "pyarrow.dataset by Python lists; not shuffled",
}
SLOW = ("tfdata", "pylist")  # one run must do
NEEDS = {"tfdata": ("tensorflow",), "torch": ("torch",)}


def _program(name: str) -> Program:
    arguments = ("-m", "benchmarks.peers.reader_loops", name, "{input}", "{output}", "{epochs}")
    packages = ("numpy", "pyarrow", *NEEDS.get(name, ()))
    return Program(name=name, about=ABOUT[name], arguments=arguments, packages=packages, once=name in SLOW)


PROGRAMS = tuple(_program(name) for name in ABOUT)


def make_input(folder: Path, rows: int, dim: int) -> Path:
    """Return a finished run of made-up vectors, made unless it is there."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from molino.schemas import field, schema

    run = folder / f"reader-{rows}-{dim}"
    if not (run / "_SUCCESS").exists():
        of = {name: pa.field("element", type_, nullable=False) for name, type_ in TYPES(pa).items()}
        made = schema(
            "bench.rows",
            1,
            field("title", pa.string(), "Made up"),
            field("label", pa.int32(), "Of the category"),
            field("split", pa.string(), "train, validation or test"),
            *(field(name, pa.list_(item, dim), "Made up") for name, item in of.items()),
        )
        (run / "rows").mkdir(parents=True, exist_ok=True)
        numbers, files = np.random.default_rng(0), []
        for shard in range(SHARDS):
            path = run / "rows" / f"part-{shard:05d}-of-{SHARDS:05d}-0123abcd.parquet"
            count = rows * (shard + 1) // SHARDS - rows * shard // SHARDS
            # a vector column as the titles job writes it: its values do not compress
            writer = pq.ParquetWriter(
                path,
                made,
                compression={name: "NONE" if name in of else "zstd" for name in made.names},
                use_dictionary=["split"],
                write_page_checksum=True,
            )
            for at in range(0, count, GROUP_ROWS):
                part = min(GROUP_ROWS, count - at)
                values = numbers.integers(-512, 512, (part, dim)).astype(np.float32) / 256
                columns = [
                    pa.array([f"Título número {at + n} de la muestra" for n in range(part)]),
                    pa.array(numbers.integers(0, CLASSES, part).astype(np.int32)),
                    pa.array(numbers.choice(["train", "validation", "test"], part, p=[0.9, 0.05, 0.05])),
                    *(
                        pa.FixedSizeListArray.from_arrays(
                            pa.array(values.astype(item.type.to_pandas_dtype()).ravel()), type=pa.list_(item, dim)
                        )
                        for item in of.values()
                    ),
                ]
                writer.write_batch(pa.record_batch(columns, schema=made), row_group_size=GROUP_ROWS)
            writer.close()
            data = path.read_bytes()
            entry = {"rows": count, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            files.append({"path": f"rows/{path.name}", **entry})
        listed = {"schema": "bench.rows", "version": 1, "rows": rows, "digest": "", "files": files}
        lists = {key: [] for key in ("views", "balance", "inputs", "warnings", "replaced_views")}
        made = {"format": 1, "job": "bench", "run": "", "digest": "", "counters": {}, "options": {}, **lists}
        manifest = json.dumps({**made, "datasets": {"rows": listed}}).encode()
        (run / "_manifest.json").write_bytes(manifest)
        (run / "_SUCCESS").write_text(hashlib.sha256(manifest).hexdigest())
    for path in (run / "rows").iterdir():
        harness.load_into_cache(path)
    return run


def TYPES(pa) -> dict:  # noqa: N802
    return {"vector": pa.float32(), "half": pa.float16()}


def run_all(programs: Sequence[Program], run: Path, data: Path, epochs: int, repeat: int) -> dict[str, Result]:
    """Run every program round after round, and compare its sums with those of the first."""
    results = {program.name: Result() for program in programs}
    sums: dict[str, dict] = {}
    for turn in range(repeat):
        for program in programs:
            result = results[program.name]
            if result.failed or (turn and program.once):
                continue
            output = data / f"out-{program.name}"
            shutil.rmtree(output, ignore_errors=True)
            output.mkdir()
            arguments = [text.format(input=run, output=output, epochs=epochs) for text in program.arguments]
            try:
                result.runs.append(harness.measure([sys.executable, *arguments], data / f"{program.name}.log"))
            except subprocess.CalledProcessError as error:
                print((data / f"{program.name}.log").read_text(errors="replace")[-2000:], file=sys.stderr)
                result.failed = f"failed with exit code {error.returncode}"
                continue
            sums[program.name] = json.loads((output / "sums.json").read_text())
            result.differs = compare_sums(sums[programs[0].name], sums[program.name]) or result.differs
            print(f"{program.name}: {result.runs[-1].wall:.2f} s, {sums[program.name]['rows']:,} rows", flush=True)
    return results


def compare_sums(expected: Mapping[str, float], found: Mapping[str, float]) -> list[str]:
    """Return what differs between the sums of two programs.

    >>> compare_sums({"rows": 2, "labels": 3}, {"rows": 2, "labels": 4})
    ['labels: 4, not 3']
    """
    return [f"{name}: {found[name]:,}, not {value:,}" for name, value in expected.items() if found[name] != value]


def render(rows: int, dim: int, epochs: int, results: Mapping[str, Result], skipped: Mapping[str, str], facts) -> str:
    """Return the section of the results, in Markdown."""
    parts = ["## reader", "", *facts, "", f"{harness.METHOD}", ""]
    parts += [f"- {name}: {ABOUT[name]}" for name in results]
    parts += [f"- {name}: skipped, {reason}" for name, reason in skipped.items()]
    title = f"### {rows:,} rows of {dim} numbers, {epochs} times, in batches of 4,096"
    table = harness.results_table(rows * epochs, results, reference="molino", ratio_to="arrow")
    return "\n".join([*parts, "", title, "", *table]) + "\n"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options of the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rows", type=int, default=500_000, metavar="N", help="default: %(default)s")
    made.add_argument("--dim", type=int, default=128, metavar="N", help="default: %(default)s")
    made.add_argument("--epochs", type=int, default=5, metavar="N", help="times that all is read (default 5)")
    made.add_argument("--only", metavar="A,B", help=f"of {', '.join(ABOUT)}; molino always runs, as the reference")
    made.add_argument("--repeat", type=int, default=3, metavar="N", help="rounds (default 3)")
    made.add_argument("--data", type=Path, metavar="DIR", help="keep the input here (default: a temporary folder)")
    made.add_argument("--results", type=Path, default=harness.RESULTS, metavar="FILE", help="default: %(default)s")
    given = made.parse_args(arguments)
    given.only = given.only.split(",") if given.only else list(ABOUT)
    if unknown := set(given.only) - set(ABOUT):
        made.error(f"no such program: {', '.join(sorted(unknown))}; there are {', '.join(ABOUT)}")
    return given


def main(arguments: Sequence[str]) -> None:
    """Measure, print the results and write them to their file."""
    given = parse(arguments)
    chosen = [program for program in PROGRAMS if program.name in ("molino", *given.only)]
    skipped = {program.name: reason for program in chosen if (reason := program.missing())}
    programs = [program for program in chosen if program.name not in skipped]
    packages = [package for program in programs for package in program.packages]
    facts = harness.machine_facts(packages, ["python", "benchmarks/reader.py", *arguments])
    with tempfile.TemporaryDirectory() as temporary:
        data = (given.data or Path(temporary)).resolve()
        data.mkdir(parents=True, exist_ok=True)
        os.environ["XDG_CACHE_HOME"] = str(data / "cache")  # so that the first round reads every byte once more
        run = make_input(data, given.rows, given.dim)
        results = run_all(programs, run, data, given.epochs, given.repeat)
    section = render(given.rows, given.dim, given.epochs, results, skipped, facts)
    print(f"\n{section}", end="")
    before = given.results.read_text(encoding="utf-8") if given.results.exists() else "# Benchmarks\n"
    given.results.write_text(harness.replace_section(before, section), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
