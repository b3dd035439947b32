"""Time the second moment alone, on one core, against named peers; and the whole job at a size and at ten times that.

    python benchmarks/pca.py                    # 1 million rows of 128 numbers, and 10 million; all ways
    python benchmarks/pca.py --no-runs --only molino numpy

Each way runs in a process of its own that is bound to one processor, on two numbers of rows: the difference between the
two is what rows cost, start-up apart.
"""

import argparse
import dataclasses
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script, Python looks only in this file's folder

ROWS, NUMBERS = 1_000_000, 128
BATCH = 4096
REPEATS = 5
REFERENCE = "numpy"
METHOD = (
    "CPU seconds of one process bound to one processor; rows a second are the slope between two numbers of rows, of "
    f"the fastest of several turns each. {NUMBERS} numbers a row, in memory; float32 but where it says otherwise."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """One way to the components.

    Attributes:
      about: what a reader of the results has to know of it.
      open: from the vectors, (rows, NUMBERS) float32, to what handles the first n of them.
      parts: of the rows that are measured, the two numbers.
      peer: the package that it needs, where it is not one of the project's.
    """

    about: str
    open: Callable
    parts: tuple[float, float] = (0.25, 1.0)
    repeats: int = REPEATS
    peer: str = ""


# --- the ways


def _open_molino(vectors, *, double: bool) -> Callable[[int], object]:
    """Each batch as it comes from Parquet: looked through for what cannot be used, multiplied, and added."""
    import numpy as np
    import pyarrow as pa

    from molino.transforms.blas import pin_blas
    from molino.transforms.pca.numbers import check_block
    from molino.transforms.pca.second_moment import add_moments, no_moment, second_moment

    pin_blas()
    flat = pa.array(vectors.astype("float64" if double else "float32").reshape(-1))
    column = pa.FixedSizeListArray.from_arrays(flat, NUMBERS)

    def add_up(rows: int) -> object:
        total = no_moment(NUMBERS, center=False)
        for start in range(0, rows, BATCH):
            batch = pa.record_batch({"v": column.slice(start, min(BATCH, rows - start))})
            places = np.arange(start, start + batch.num_rows)
            block = check_block(batch, ["v"], NUMBERS, lines=places, places=places)
            total = add_moments(total, second_moment(block.vectors, center=False))
        return total

    return add_up


def _open_numpy(vectors, *, widen: bool) -> Callable[[int], object]:
    given = vectors if widen else vectors.astype("float64")

    def multiply(rows: int) -> object:
        whole = given[:rows].astype("float64") if widen else given[:rows]
        return whole.T @ whole

    return multiply


def _open_incremental(vectors, *, batch: int) -> Callable[[int], object]:
    from sklearn.decomposition import IncrementalPCA

    def fit(rows: int) -> object:
        model = IncrementalPCA()
        for start in range(0, rows, batch):
            model.partial_fit(vectors[start : start + batch])
        return model

    return fit


def _open_tft(vectors) -> Callable[[int], object]:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import apache_beam as beam
    import pyarrow as pa
    import tensorflow as tf
    import tensorflow_transform as tft
    import tensorflow_transform.beam as tft_beam
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from google.protobuf import json_format
    from tensorflow_metadata.proto.v0 import schema_pb2
    from tfx_bsl.tfxio import tensor_adapter

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    arrow = pa.schema([("v", pa.list_(pa.float32()))])
    dense = {"dense_tensor": {"column_name": "v", "shape": {"dim": [{"size": NUMBERS}]}}}
    tensors = {"v": json_format.ParseDict(dense, schema_pb2.TensorRepresentation())}
    config = tensor_adapter.TensorAdapterConfig(arrow, tensors)

    def rotate(inputs):
        return {"v": inputs["v"] @ tft.pca(inputs["v"], NUMBERS, tf.float32)}

    def analyze(rows: int) -> None:
        import numpy as np

        batches = []
        for start in range(0, rows, BATCH):
            part = vectors[start : min(start + BATCH, rows)]
            offsets = pa.array(np.arange(0, part.size + 1, NUMBERS, dtype=np.int32))
            lists = pa.ListArray.from_arrays(offsets, pa.array(part.reshape(-1)))
            batches.append(pa.RecordBatch.from_arrays([lists], schema=arrow))
        with (
            tempfile.TemporaryDirectory() as folder,
            tft_beam.Context(temp_dir=folder, use_deep_copy_optimization=False),
            beam.Pipeline(runner=FnApiRunner()) as pipeline,
        ):
            (pipeline | beam.Create(batches, reshuffle=False), config) | tft_beam.AnalyzeDataset(rotate)

    return analyze


WAYS = {
    "numpy": Way(
        about="NumPy, the whole matrix in float64: one product by BLAS", open=lambda v: _open_numpy(v, widen=False)
    ),
    "numpy_float32": Way(
        about="NumPy, the whole matrix, widened to float64 first", open=lambda v: _open_numpy(v, widen=True)
    ),
    "molino": Way(
        about=f"this job's first pass: batches of {BATCH:,} rows, looked through, multiplied in float64, added",
        open=lambda v: _open_molino(v, double=False),
    ),
    "molino_float64": Way(about="the same, vectors of float64", open=lambda v: _open_molino(v, double=True)),
    "incremental": Way(
        about=f"scikit-learn's IncrementalPCA, {BATCH:,} rows a call",
        open=lambda v: _open_incremental(v, batch=BATCH),
        repeats=2,
        peer="scikit-learn",
    ),
    "incremental_large": Way(
        about="scikit-learn's IncrementalPCA, 65,536 rows a call",
        open=lambda v: _open_incremental(v, batch=65_536),
        repeats=2,
        peer="scikit-learn",
    ),
    "tft": Way(
        about=f"tft.pca on Beam's embedded runner, batches of {BATCH:,} rows",
        open=_open_tft,
        parts=(0.01, 0.05),
        repeats=2,
    ),
}


# --- measuring


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rate:
    """Rows a CPU second, or why there are none; `version` is of the peer's package."""

    per_second: float = 0
    version: str = ""
    failed: str = ""


TOO_FEW = "too few rows to tell their time from the start's"


def measure_all(rows: int, names: Sequence[str], peers: str = sys.executable) -> dict[str, Rate]:
    """Measure ways, each in a process of its own.

    Args:
      peers: Python interpreter of the ways that need a package which the project does not.
    """
    return {name: _measure(name, rows, peers if WAYS[name].peer else sys.executable) for name in names}


def _measure(name: str, rows: int, python: str) -> Rate:
    command = [python, str(Path(__file__).resolve()), "--way", name, "--rows", str(rows)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return Rate(failed=(done.stderr.strip().splitlines() or ["no message"])[-1][:200])
    return Rate(**json.loads(done.stdout.splitlines()[-1]))


def run_way(name: str, rows: int) -> Rate:
    """Measure one way in this process, bound to one processor."""
    import numpy as np

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    way = WAYS[name]
    small = max(BATCH, int(rows * way.parts[0]))
    large = max(2 * small, int(rows * way.parts[1]))
    vectors = np.random.default_rng(0).standard_normal((large, NUMBERS), dtype=np.float32)
    vectors /= np.sqrt(np.arange(1, NUMBERS + 1, dtype=np.float32))
    handle = way.open(vectors)
    handle(small)
    best = {small: float("inf"), large: float("inf")}
    for size in [small, large] * way.repeats:
        started = time.process_time()
        handle(size)
        best[size] = min(best[size], time.process_time() - started)
    version = importlib.metadata.version(way.peer) if way.peer else ""
    if best[large] <= best[small]:
        return Rate(failed=TOO_FEW, version=version)
    return Rate(per_second=(large - small) / (best[large] - best[small]), version=version)


def write_input(path: Path, rows: int) -> None:
    """Write vectors of float32 in row groups of 65,536 rows, where they are not there already."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.exists():
        return
    type_ = pa.list_(pa.field("element", pa.float32(), nullable=False), NUMBERS)
    schema = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("v", type_, nullable=False)])
    scale = 1 / np.sqrt(np.arange(1, NUMBERS + 1, dtype=np.float32))
    part = path.with_suffix(".part")
    with pq.ParquetWriter(part, schema, compression="none", use_dictionary=False, write_statistics=False) as writer:
        for start in range(0, rows, 65_536):
            count = min(65_536, rows - start)
            random = np.random.default_rng([0, start])
            vectors = random.standard_normal((count, NUMBERS), dtype=np.float32) * scale
            lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), type=type_)
            ids = pa.array(np.arange(start, start + count))
            writer.write_batch(pa.RecordBatch.from_arrays([ids, lists], schema=schema))
    part.rename(path)


def run_job(source: Path, folder: Path):
    """Measure the whole job on two cores; what it wrote is deleted."""
    import shutil

    from benchmarks import harness

    output = folder / "out"
    words = ["-m", "molino", "pca", "--input", source, "--column", "v", "--output", output, "--workers", 2, "--quiet"]
    command = [sys.executable, str(ROOT / "benchmarks/pin.py"), "2", *map(str, words)]
    try:
        return harness.measure(command, folder / "log")
    finally:
        shutil.rmtree(output, ignore_errors=True)


# --- telling


def rate_table(rates: Mapping[str, Rate]) -> list[str]:
    """Return a Markdown table; ratios are to NumPy on the whole matrix."""
    from benchmarks import harness

    base = rates[REFERENCE].per_second if REFERENCE in rates else 0
    rows = [["way", "rows/s a core", "of NumPy's"]]
    for name, rate in rates.items():
        part = rate.per_second / base if base else 0
        ratio = "–" if not part else f"{part:.2f}" if part >= 0.1 else f"{part:.1g}"
        about = WAYS[name].about + (f" ({rate.version})" if rate.version else "")
        rows.append([about, rate.failed or f"{rate.per_second:,.0f}", ratio])
    return harness.markdown_table(rows, text={0})


def render_rates(rates: Mapping[str, Rate], facts: Sequence[str]) -> str:
    """Return the section of the second moment alone, in Markdown."""
    return "\n".join(["## pca: the second moment", "", *facts, "", METHOD, "", *rate_table(rates)]) + "\n"


def render_runs(runs: Mapping[int, object], facts: Sequence[str]) -> str:
    """Return the section of the whole job, in Markdown."""
    from benchmarks import harness

    rows = [["rows", "seconds", "rows/s", "CPU s", "peak MB"]]
    for count, run in runs.items():
        numbers = [f"{run.wall:.1f}", f"{count / run.wall:,.0f}", f"{run.cpu:.1f}", harness.megabytes(run.peak)]
        rows.append([f"{count:,}", *numbers])
    how = f"{harness.METHOD} Parquet to Parquet on two cores, all {NUMBERS} components, float32, two passes."
    return (
        "\n".join(["## pca: the whole job", "", *facts, "", how, "", *harness.markdown_table(rows, text=set())]) + "\n"
    )


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options of the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument(
        "--rows", type=int, default=ROWS, metavar="N", help="(default %(default)s; the job also ten times)"
    )
    made.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY")
    made.add_argument("--peer-python", default=sys.executable, metavar="PATH", help="interpreter with scikit-learn")
    made.add_argument("--no-rates", action="store_true", help="leave out the second moment alone")
    made.add_argument("--no-runs", action="store_true", help="leave out the whole job")
    made.add_argument("--data", type=Path, metavar="DIR", help="keep inputs here (default: a temporary folder)")
    made.add_argument("--way", choices=WAYS, help="measure this one in this process, and print its rate")
    made.add_argument("--results", type=Path, metavar="FILE", help="default: benchmarks/results.md")
    return made.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Measure, print the results and write them to their file."""
    given = parse(arguments)
    if given.way:
        print(json.dumps(dataclasses.asdict(run_way(given.way, given.rows))))
        return
    from benchmarks import harness

    packages = ["apache-beam", "numpy", "pyarrow", "tensorflow-transform"]
    facts = harness.machine_facts(packages, ["python", "benchmarks/pca.py"])
    rates = {} if given.no_rates else measure_all(given.rows, given.only, given.peer_python)
    runs = {}
    with tempfile.TemporaryDirectory() as temporary:
        data = (given.data or Path(temporary)).resolve()
        data.mkdir(parents=True, exist_ok=True)
        for rows in [] if given.no_runs else [given.rows, 10 * given.rows]:
            source = data / f"vectors-{rows}.parquet"
            write_input(source, rows)
            harness.load_into_cache(source)
            runs[rows] = run_job(source, Path(temporary))
    sections = [render_rates(rates, facts)] if rates else []
    sections += [render_runs(runs, facts)] if runs else []
    results = given.results or harness.RESULTS
    text = results.read_text(encoding="utf-8") if results.exists() else "# Benchmarks\n"
    for section in sections:
        print(f"\n{section}", end="")
        text = harness.replace_section(text, section)
    results.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
