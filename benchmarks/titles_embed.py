"""Time the embedding of titles alone, on one core: the compiled path, TF Hub, and Beam's own transforms around it.

Each way runs in a process of its own that is bound to one processor, on two numbers of titles: the difference between
the two is what titles cost, start-up apart. `benchmarks/titles.py` calls `measure_all` and puts `table` in its results;
`python benchmarks/titles_embed.py --titles FILE` prints the table alone.
"""

import argparse
import dataclasses
import functools
import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script, Python looks only in this file's folder

from benchmarks import harness  # noqa: E402

TABLE_ROWS, BUCKETS = 976_640, 25_000  # of nnlm-es-dim128
REPEATS = 5
HUB_BATCHES = (1, 32, 1024, 4096, 16_384, 65_536)
METHOD = (
    "CPU seconds of one process bound to one processor; titles a second are the slope between two numbers of titles, "
    f"of the fastest of {REPEATS} turns each (Beam's: 3). Vectors are dropped."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """One way to embed.

    Attributes:
      about: what a reader of the results has to know of it.
      open: from the model's folder and the titles to what embeds the first n of them.
      rows: the two numbers of titles.
    """

    about: str
    open: Callable[[str, list[str]], Callable[[int], object]]
    rows: tuple[int, int]
    repeats: int = REPEATS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rate:
    """Titles a CPU second, or why there are none; `error` is the largest distance from hub.load, of a vector's norm."""

    per_second: float = 0
    error: float | None = None
    failed: str = ""


# --- the ways


def _open_molino(folder: str, titles: list[str], *, exact: bool) -> Callable[[int], object]:
    import pyarrow as pa

    from molino.transforms.models.embed import open_embedder, plan_models

    model = plan_models({"model": folder}, exact=exact)[0]
    if model.kind != "table":
        raise RuntimeError(f"no table: {model.reason}")
    embedder, array = open_embedder(model), pa.array(titles)

    def embed(rows: int) -> None:
        for start in range(0, rows, 8192):
            embedder.embed(array.slice(start, min(8192, rows - start)))

    embed.first = lambda rows: embedder.embed(array.slice(0, rows))  # type: ignore[attr-defined]
    return embed


def _open_hub(folder: str, titles: list[str], *, batch: int) -> Callable[[int], object]:
    import numpy as np

    tf, hub = _one_thread()
    model, array = hub.load(folder), np.array(titles, object)

    def embed(rows: int) -> None:
        for start in range(0, rows, batch):
            model(tf.constant(array[start : min(start + batch, rows)])).numpy()

    return embed


def _open_ml_transform(folder: str, titles: list[str]) -> Callable[[int], object]:
    # the module is wanted for the operations that it registers, of which these models have none
    if not importlib.util.find_spec("tensorflow_text"):
        stub = types.ModuleType("tensorflow_text")
        stub.__spec__ = importlib.machinery.ModuleSpec("tensorflow_text", None)
        sys.modules["tensorflow_text"] = stub
    _one_thread()
    import apache_beam as beam
    from apache_beam.ml.transforms.base import MLTransform
    from apache_beam.ml.transforms.embeddings.tensorflow_hub import TensorflowHubTextEmbeddings

    def embed(rows: int) -> None:
        with tempfile.TemporaryDirectory() as artifacts, _pipeline() as pipeline:
            elements = pipeline | beam.Create([{"title": title} for title in titles[:rows]])
            transform = MLTransform(write_artifact_location=artifacts)
            made = elements | transform.with_transform(TensorflowHubTextEmbeddings(columns=["title"], hub_url=folder))
            made | beam.Map(lambda _: None)

    return embed


def _open_run_inference(folder: str, titles: list[str]) -> Callable[[int], object]:
    tf, hub = _one_thread()
    import apache_beam as beam
    import numpy as np
    from apache_beam.ml.inference.base import ModelHandler, RunInference

    class Handler(ModelHandler):
        def load_model(self):
            return hub.load(folder)

        def run_inference(self, batch, model, inference_args=None):
            return model(tf.constant(np.array(batch, object))).numpy()

        def batch_elements_kwargs(self):
            return {"min_batch_size": 1024, "max_batch_size": 1024}

    def embed(rows: int) -> None:
        with _pipeline() as pipeline:
            pipeline | beam.Create(titles[:rows]) | RunInference(Handler()) | beam.Map(lambda _: None)

    return embed


def _pipeline():
    import apache_beam as beam
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    return beam.Pipeline(runner=FnApiRunner())


def _one_thread():
    """Import TensorFlow with one thread for everything."""
    import tensorflow as tf
    import tensorflow_hub as hub

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    return tf, hub


def _hub_way(batch: int) -> Way:
    rows = (min(16_384, 64 * batch), min(131_072, 512 * batch)) if batch > 1 else (512, 4096)
    return Way(about=f"hub.load, {batch:,} titles a call", open=functools.partial(_open_hub, batch=batch), rows=rows)


WAYS = {
    "molino": Way(about="the compiled path", open=functools.partial(_open_molino, exact=False), rows=(16_384, 131_072)),
    "molino_exact": Way(
        about="the same with --exact", open=functools.partial(_open_molino, exact=True), rows=(16_384, 131_072)
    ),
    **{f"hub_{batch}": _hub_way(batch) for batch in HUB_BATCHES},
    "run_inference": Way(
        about="Beam's RunInference around hub.load, 1,024 titles a call, embedded runner",
        open=_open_run_inference,
        rows=(8192, 65_536),
        repeats=3,
    ),
    "ml_transform": Way(
        about="Beam's MLTransform with TensorflowHubTextEmbeddings, embedded runner",
        open=_open_ml_transform,
        rows=(8192, 65_536),
        repeats=3,
    ),
}


# --- measuring


def measure_all(folder: str, titles: Path, names: Sequence[str] = tuple(WAYS)) -> dict[str, Rate]:
    """Measure ways to embed the titles of a Parquet file (column `title`) with the SavedModel in `folder`."""
    return {name: _measure(name, folder, titles) for name in names}


def _measure(name: str, folder: str, titles: Path) -> Rate:
    """Measure one way in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--way", name, "--model", folder, "--titles", str(titles)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return Rate(failed=(done.stderr.strip().splitlines() or ["no message"])[-1][:200])
    return Rate(**json.loads(done.stdout.splitlines()[-1]))


def run_way(name: str, folder: str, titles: list[str]) -> Rate:
    """Measure one way in this process, bound to one processor."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    way = WAYS[name]
    large = min(way.rows[1], len(titles))
    small = min(way.rows[0], large // 2)
    embed = way.open(folder, titles)
    embed(small)  # compiles, traces, and loads the pages that are used
    best = {small: float("inf"), large: float("inf")}
    for rows in [small, large] * way.repeats:
        started = time.process_time()
        embed(rows)
        best[rows] = min(best[rows], time.process_time() - started)
    rate = (large - small) / (best[large] - best[small])
    return Rate(per_second=rate, error=_error(embed, folder, titles[:4096]) if hasattr(embed, "first") else None)


def _error(embed, folder: str, titles: list[str]) -> float:
    """Return the largest distance of a vector from the model's own, of its norm."""
    import numpy as np

    tf, hub = _one_thread()
    expected = hub.load(folder)(tf.constant(titles)).numpy()
    found = embed.first(len(titles))
    return float((np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)).max())


def table(rates: dict[str, Rate]) -> list[str]:
    """Return a Markdown table; ratios are to the best of hub.load."""
    best = max((rate.per_second for name, rate in rates.items() if name.startswith("hub_")), default=0)
    rows = [["way", "titles/s a core", "of hub.load's best", "distance from hub.load"]]
    for name, rate in rates.items():
        ratio = f"{rate.per_second / best:.2f}" if best and not rate.failed else "–"
        error = "–" if rate.error is None else "none: the same bits" if rate.error == 0 else f"{rate.error:.1e}"
        rows.append([WAYS[name].about, rate.failed or f"{rate.per_second:,.0f}", ratio, error])
    return harness.markdown_table(rows, text={0, 3})


def make_model(folder: str, titles: Sequence[str], *, dim: int = 128, normalization: bool = True) -> None:
    """Write a model of the real size that knows the tokens of the titles that occur twice, and made-up ones."""
    import collections

    import numpy as np

    from molino.training.nnlm_export import export_nnlm

    counts = collections.Counter(word for title in titles for word in title.split(" "))
    known = sorted(word for word, count in counts.items() if count > 1 and word and not set(word) & set("\r\n"))
    known = known[: TABLE_ROWS - BUCKETS]
    made = (f"palabra{number}" for number in range(TABLE_ROWS))
    fill = [word for word in made if word not in counts][: TABLE_ROWS - BUCKETS - len(known)]
    random = np.random.default_rng(0)
    words = random.permutation(np.array([*known, *fill], object)).tolist()
    vectors = random.standard_normal((TABLE_ROWS, dim), dtype=np.float32)
    export_nnlm(folder, words, vectors, buckets=BUCKETS, normalization=normalization)


def main() -> int:
    """Measure all ways and print the table; with --way, measure that one here and print its rate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--titles", required=True, type=Path, help="a Parquet file with a column title")
    parser.add_argument("--model", help="SavedModel (default: one of the real size is made)")
    parser.add_argument("--way", choices=WAYS, help="measure this one in this process")
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY")
    given = parser.parse_args()
    import pyarrow.parquet as pq

    titles = pq.read_table(given.titles, columns=["title"])["title"].unique().to_pylist()
    if given.way:
        print(json.dumps(dataclasses.asdict(run_way(given.way, given.model, titles))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        if not given.model:
            given.model = os.path.join(folder, "model")
            make_model(given.model, titles)
        print(METHOD, *table(measure_all(given.model, given.titles, given.only)), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
