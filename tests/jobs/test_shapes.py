"""The shapes job from its command line."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molino.jobs import shapes
from molino.jobs.run.recheck import verify
from molino.transforms.manifest import listed_paths
from molino.transforms.shapes.points import GENERATED, SPLITS, STUDY, Points, draw_split, label_points, parse_problem
from tests.docs.test_counters import undeclared

SWEEP = """\
- problem: [linear, cos=3]
  hidden: [2, 9]
  batch: 40
  steps: 60
  seed: [1, 2]
- {problem: ring, hidden: [[4, 3, 3]], batch: 100, steps: 20, decay: 0.86}
"""
ROWS = 1000


def run(output, *arguments, workers=1):
    """Run the job in this process, on one worker: faster to start than two for a few networks."""
    return shapes.JOB.main(["--quiet", "--workers", str(workers), "--output", str(output), *map(str, arguments)])


def manifest_of(output):
    return json.loads((output / "_manifest.json").read_text())


def read(output, dataset):
    """Read a data set as its manifest lists it."""
    parts = [pq.read_table(output / file["path"]) for file in manifest_of(output)["datasets"][dataset]["files"]]
    return pa.concat_tables(parts)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "sweep.yaml"
    path.write_text(SWEEP)
    return path


@pytest.fixture(scope="module")
def output(sweep, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    assert run(out, "--sweep", sweep, "--rows", ROWS) == 0
    return out


def test_every_network_of_the_sweep_has_a_row(output):
    rows = read(output, "runs").to_pylist()
    assert [row["run"] for row in rows] == list(range(9))
    assert [(row["problem"], row["r"], row["hidden"], row["seed"]) for row in rows] == [
        *[
            (name, r, [nodes], seed)
            for name, r in (("linear", None), ("cos", 3.0))
            for nodes in (2, 9)
            for seed in (1, 2)
        ],
        ("ring", 0.75, [4, 3, 3], 1),
    ]
    assert all(0.2 < row["test_accuracy"] <= 1 and np.isfinite(row["loss"]) for row in rows)
    assert verify(str(output))[1] == []


def test_predictions_agree_with_the_rows(output):
    predictions, rows = read(output, "predictions").to_pydict(), read(output, "runs").to_pylist()
    right = np.array(predictions["predicted"]) == np.array(predictions["label"])
    runs = np.array(predictions["run"])
    assert len(right) == 9 * 50
    assert [right[runs == row["run"]].mean() for row in rows] == [row["test_accuracy"] for row in rows]


def test_points_are_those_of_every_problem(output):
    points = Points(kind=GENERATED, rows=ROWS, seed=1)
    table = read(output, "points").to_pandas()
    assert len(table) == 3 * 1100
    for text in ("linear", "cos=3", "ring"):
        problem = parse_problem(text)
        for split in SPLITS:
            found = table[(table["problem"] == problem.name) & (table["split"] == split)]
            x, y = draw_split(points, split)
            assert found["row"].tolist() == list(range(points.count(split)))
            assert found["x"].tolist() == x.tolist()
            assert found["y"].tolist() == y.tolist()
            assert found["label"].tolist() == label_points(problem, x, y).tolist()


def test_everything_is_counted_and_listed(output):
    manifest = manifest_of(output)
    assert undeclared(manifest) == set()
    assert manifest["counters"] == {
        "diverged": 0,
        "networks": 9,
        "points": 3300,
        "predictions": 450,
        "runs": 9,
        "units": 9,
        "units.resumed": 0,
    }
    plots = sorted(path.name for path in (output / "plots").iterdir())
    assert plots[0] == "00000-linear-2.jpg"
    assert plots[-1] == "00008-ring-4-3-3.jpg"
    assert len(plots) == 9
    assert {f"plots/{name}" for name in plots} <= listed_paths(manifest)


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_workers(sweep, output, tmp_path):
    for number, options in enumerate((["--worker-mode", "threads"], ["--worker-mode", "processes"])):
        other = tmp_path / str(number)
        assert run(other, "--sweep", sweep, "--rows", ROWS, *options, workers=2) == 0
        manifest, same = manifest_of(other), manifest_of(output)
        assert manifest["digest"] == same["digest"]
        assert manifest["views"] == same["views"]
        hashes = [
            {name: [file["sha256"] for file in dataset["files"]] for name, dataset in each["datasets"].items()}
            for each in (manifest, same)
        ]
        assert hashes[0] == hashes[1]


def test_a_finished_run_is_not_repeated_and_another_is_refused(sweep, output, capsys):
    assert run(output, "--sweep", sweep, "--rows", ROWS) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run(output, "--sweep", sweep, "--rows", ROWS, "--seed", 2) == 3
    assert "other options (points)" in capsys.readouterr().err


def test_a_sweep_is_its_content_and_not_its_file(sweep, output, tmp_path, capsys):
    again = tmp_path / "other.yaml"
    again.write_text("# the same\n" + SWEEP.replace("steps: 60", "steps: [60]"))
    assert run(output, "--sweep", again, "--rows", ROWS) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_the_study_s_points_and_one_problem_without_pictures(sweep, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--points", "study", "--problem", "cos", "--no-plots", "--timings"]
    assert run(out, "--sweep", sweep, "--rows", ROWS, *options) == 0
    rows = read(out, "runs").to_pylist()
    assert {(row["problem"], row["r"]) for row in rows} == {("cos", 3.0)}
    assert all(row["seconds"] > 0 for row in rows)
    assert not (out / "plots").exists()
    x, _ = draw_split(Points(kind=STUDY, rows=ROWS, seed=0), "train")
    table = read(out, "points")
    assert table.filter(pa.compute.equal(table["split"], "train"))["x"].to_pylist() == x.tolist()
    assert "networks  4" in capsys.readouterr().out


def test_a_network_that_stands_twice_is_warned_of(tmp_path, capsys):
    path = tmp_path / "s.yaml"
    path.write_text("- {problem: ring, hidden: 2, batch: 5, steps: 5, seed: [1, 1, 2]}")
    assert run(tmp_path / "out", "--sweep", path, "--rows", 100, "--no-plots") == 0
    assert "trained once: 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--problem", "square"], 2, "'square' is no problem"),
        (["--problem", "=3"], 2, "must be NAME or NAME=R"),
        (["--problem", "circle=0"], 2, "above 0"),
        (["--problem", "polar"], 1, "the sweep has no network for polar"),
        (["--rows", "100"], 2, "a batch of 100 in the sweep"),
        (["--rows", "0"], 2, "must be at least 1"),
        (["--points", "study", "--rows", "200001"], 2, "the study has 200,000 training points"),
        (["--points", "study", "--seed", "4"], 2, "--seed has no effect"),
        (["--points", "mine"], 2, "invalid choice"),
        (["--sweep", "none.yaml"], 1, "cannot read the sweep none.yaml"),
        (["--input", "x"], 2, "no such option: --input"),
        (["--swep", "x"], 2, "did you mean --sweep?"),
    ],
)
def test_wrong_options_are_errors(arguments, code, message, sweep, tmp_path, capsys, monkeypatch):
    def leave(stopped):
        raise SystemExit(stopped)

    monkeypatch.setattr("molino.jobs.runners.exits.leave", leave)
    given = arguments if "--sweep" in arguments else ["--sweep", sweep, *arguments]
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path / "out", *given)
    assert stopped.value.code == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
