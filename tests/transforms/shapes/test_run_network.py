"""One network as a work unit: its row, its predictions, its picture."""

import dataclasses
import json

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from molino.schemas.shapes import PREDICTIONS, RUNS
from molino.transforms.parquet.scratch import GatherScratch, read_scratch
from molino.transforms.shapes.points import GENERATED, SPLITS, Points, draw_split, label_points, parse_problem
from molino.transforms.shapes.run_network import CARDS, RUN_CARDS, plot_name, read_split, run_network
from molino.transforms.shapes.train_network import Network, ask_network, train_network

POINTS = Points(kind=GENERATED, rows=2000, seed=3)
NETWORK = Network(
    problem=parse_problem("circle=0.6"),
    hidden=(5,),
    batch=50,
    steps=120,
    rate=0.5,
    decay=1.0,
    decay_steps=3500,
    l2=0.001,
    deviation=0.3,
    seed=2,
)


def rows_of(done, dataset):
    [file] = [file for file in done.files if file.dataset == dataset]
    return pq.read_table(file.path)


def run(folder, network=NETWORK, number=4, **changes):
    options = {"points": POINTS, "timings": False, "plots": True} | changes
    return run_network((number, network), str(folder), **options)


def test_the_row_says_what_was_trained_and_how_well(tmp_path):
    done = run(tmp_path)
    [row] = rows_of(done, "_runs").to_pylist()
    trained = train_network(NETWORK, *read_split(POINTS, NETWORK.problem, "train"))
    for split in SPLITS:
        x, y = draw_split(POINTS, split)
        truth = label_points(NETWORK.problem, x, y)
        said = ask_network(trained.layers, x.astype(np.float32), y.astype(np.float32)) > 0
        assert row[f"{split}_accuracy"] == np.mean(said == truth)
        if split == "test":
            assert row["base"] == pytest.approx(max(truth.mean(), 1 - truth.mean()))
    assert (row["run"], row["problem"], row["r"], row["hidden"], row["parameters"]) == (4, "circle", 0.6, [5], 27)
    assert (row["batch"], row["steps"], row["rate"], row["l2"], row["seed"]) == (50, 120, 0.5, 0.001, 2)
    assert row["curve_step"] == trained.curve_step
    assert row["curve_loss"] == trained.curve_loss
    assert row["seconds"] is None
    assert not row["diverged"]
    assert done.counters == {"predictions": 100, "runs": 1, "diverged": 0}


def test_the_predictions_are_the_network_s(tmp_path):
    done = run(tmp_path)
    table = rows_of(done, "predictions")
    assert table.schema.equals(PREDICTIONS, check_metadata=True)
    found = table.to_pydict()
    x, y = draw_split(POINTS, "test")
    assert found["x"] == x.astype(np.float32).tolist()
    assert found["row"] == list(range(100))
    assert set(found["run"]) == {4}
    assert found["label"] == label_points(NETWORK.problem, x, y).tolist()
    [row] = rows_of(done, "_runs").to_pylist()
    right = np.array(found["predicted"]) == np.array(found["label"])
    assert right.mean() == row["test_accuracy"]
    assert ((np.array(found["probability"]) > 0.5) == np.array(found["predicted"])).all()


def test_pictures_and_times_are_by_option(tmp_path):
    done = run(tmp_path, timings=True)
    [row] = rows_of(done, "_runs").to_pylist()
    assert 0 < row["seconds"] < 60
    assert row["thumbnail"][:2] == b"\xff\xd8"
    [plot] = [file for file in done.files if not file.dataset]
    assert plot.name == "plots/00004-circle-5.jpg"
    bare = run(tmp_path, plots=False)
    assert [file.dataset for file in bare.files] == ["_runs", "predictions"]
    assert rows_of(bare, "_runs")["thumbnail"].null_count == 1


def test_a_network_that_diverged_says_false_of_all(tmp_path):
    done = run(tmp_path, dataclasses.replace(NETWORK, rate=1e30))
    [row] = rows_of(done, "_runs").to_pylist()
    assert row["diverged"]
    assert np.isnan(row["loss"])
    found = rows_of(done, "predictions").to_pydict()
    assert not any(found["predicted"])
    assert np.isnan(found["probability"]).all()
    assert row["test_accuracy"] == np.mean(np.array(found["label"]) == 0)
    assert done.counters["diverged"] == 1


def test_names_of_pictures_are_short():
    deep = dataclasses.replace(NETWORK, hidden=(100_000,) * 20)
    assert len(plot_name(99_999, deep)) < 100


def test_rows_are_gathered_in_the_order_of_the_sweep(tmp_path):
    def read(file):
        return pq.read_table(file.path)["run"].to_pylist(), pq.read_schema(file.path).metadata == RUNS.metadata

    staged = [file for number in (2, 0, 1) for file in run(tmp_path, number=number, plots=False).files]
    assert [batch.schema.equals(CARDS) for batch in read_scratch(staged, RUN_CARDS)] == [True] * 3
    options = beam.options.pipeline_options.PipelineOptions(direct_num_workers=1)
    with beam.Pipeline(runner=FnApiRunner(), options=options) as pipeline:
        gather = GatherScratch(scratch=RUN_CARDS, dataset="runs", schema=RUNS, folder=str(tmp_path), merge=True)
        gathered = pipeline | beam.Create(staged) | gather
        assert_that(gathered | beam.Map(read), equal_to([([0, 1, 2], True)]))


@pytest.mark.parametrize("hidden", [(5,), (4, 3)])
def test_units_give_the_same_bytes_again(hidden, tmp_path):
    network = dataclasses.replace(NETWORK, hidden=hidden)
    first, again = (run(tmp_path / name, network) for name in "ab")
    assert [file.sha256 for file in first.files] == [file.sha256 for file in again.files]
    assert json.dumps(dict(first.counters)) == json.dumps(dict(again.counters))
