"""Train and test one network of a sweep: a work unit, with its row, its predictions and its picture."""

import dataclasses
import functools
import time

import numpy as np
import pyarrow as pa

from molino.schemas import field, schema
from molino.schemas.shapes import PREDICTIONS, RUNS
from molino.transforms import progress
from molino.transforms.parquet.shards import write_shard, write_view
from molino.transforms.parquet.units import Done
from molino.transforms.report.charts import jpeg
from molino.transforms.shapes.draw import draw_network
from molino.transforms.shapes.points import SPLITS, Points, Problem, draw_split, label_points
from molino.transforms.shapes.train_network import (
    Network,
    ask_network,
    cross_entropy,
    penalty_of,
    probability_of,
    train_network,
)

THUMBNAIL = 200  # pixels
PLOT_AREA = (36, 684, 43, 706)  # top, bottom, left and right of the axes in a picture
RUN_CARDS = "_runs"

# what the report needs of each network; staged, not published
CARDS = schema("shapes.cards", 1, *RUNS, field("thumbnail", pa.binary(), "JPEG", nullable=True))


@functools.lru_cache(maxsize=24)
def read_split(points: Points, problem: Problem, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (x, y, label) of a split as networks take them: float32, labels 0 or 1. Kept; not to be changed."""
    x, y = draw_split(points, split)
    # the shape is that of the points before they are rounded
    return x.astype(np.float32), y.astype(np.float32), label_points(problem, x, y).astype(np.float32)


def title_of(network: Network, accuracy: float) -> str:
    """Return what stands above a picture.

    >>> network = Network(problem=Problem("ring", 0.75), hidden=(10, 5), batch=100, steps=9, rate=0.5, decay=1.0,
    ...                   decay_steps=3500, l2=0.0, deviation=0.1, seed=1)
    >>> title_of(network, 0.9312)
    'ring   nodes 10, 5   batch 100   steps 9   test accuracy 93.1%'
    """
    trained = f"nodes {', '.join(map(str, network.hidden))}   batch {network.batch}   steps {network.steps}"
    return f"{network.problem}   {trained}   test accuracy {accuracy:.1%}"


def plot_name(number: int, network: Network) -> str:
    """Return the path of a network's picture: number and problem find it, and are safe in any file system."""
    return f"plots/{number:05d}-{network.problem.name}-{'-'.join(map(str, network.hidden))[:60]}.jpg"


def run_network(unit: tuple[int, Network], folder: str, *, points: Points, timings: bool, plots: bool) -> Done:
    """Train a network, test it on the three splits, and stage its row, its predictions and its picture.

    A unit is the network's number in the sweep, and the network.
    Memory: the points of the splits in float32, kept for the next network, and what training takes.
    """
    number, network = unit
    cost = max(1, network.nanoseconds)
    splits = {split: read_split(points, network.problem, split) for split in SPLITS}
    started = time.perf_counter()
    trained = train_network(
        network, *splits["train"], report=lambda share: progress.report("read", bytes=int(share * cost))
    )
    seconds = time.perf_counter() - started
    margins = {
        split: np.full(len(x), np.nan, np.float32) if trained.diverged else ask_network(trained.layers, x, y)
        for split, (x, y, _) in splits.items()
    }
    truth = {split: label for split, (_, _, label) in splits.items()}
    right = {split: (margins[split] > 0) == (truth[split] > 0) for split in SPLITS}
    larger = max(np.count_nonzero(truth["test"]), np.count_nonzero(truth["test"] == 0))
    row = {**dataclasses.asdict(network), "run": number, "problem": network.problem.name, "r": network.problem.r}
    row["loss"] = cross_entropy(margins["train"], truth["train"]) + penalty_of(trained.layers, network.l2)
    row |= {f"{split}_accuracy": float(right[split].mean()) for split in SPLITS}
    row |= {"parameters": network.parameters, "base": larger / len(truth["test"]), "diverged": trained.diverged}
    row |= {"curve_step": trained.curve_step, "curve_loss": trained.curve_loss, "thumbnail": None}
    row["seconds"] = seconds if timings else None
    files = []
    if plots:
        picture = draw_network(points, network.problem, right["test"], title_of(network, row["test_accuracy"]))
        top, bottom, left, right_side = PLOT_AREA
        row["thumbnail"] = jpeg(picture[top:bottom, left:right_side], side=THUMBNAIL, quality=75)
        files.append(write_view(jpeg(picture), folder=folder, name=plot_name(number, network)))
    predicted = prediction_rows(number, points, network.problem, margins["test"])
    card = pa.RecordBatch.from_pylist([row], schema=CARDS)
    for dataset, batch in ((RUN_CARDS, card), ("predictions", predicted)):
        files.append(write_shard([batch], schema=batch.schema, folder=folder, dataset=dataset, key=(number,)))
    progress.report("read", rows=1)
    counters = {"predictions": predicted.num_rows, "runs": 1, "diverged": int(trained.diverged)}
    return Done(files=tuple(files), counters=counters, amounts={"rows": 1, "bytes": cost})


def prediction_rows(number: int, points: Points, problem: Problem, margin: np.ndarray) -> pa.RecordBatch:
    """Return what a network says of the test points, as rows of PREDICTIONS."""
    x, y, label = read_split(points, problem, "test")
    numbers, places = np.full(len(x), number, np.int32), np.arange(len(x), dtype=np.int32)
    columns = [numbers, places, x, y, label > 0, margin > 0, probability_of(margin)]
    return pa.RecordBatch.from_arrays([pa.array(column) for column in columns], schema=PREDICTIONS)
