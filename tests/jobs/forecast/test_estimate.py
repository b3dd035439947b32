"""The arithmetic of a forecast: what grows with the rows, what does not, and what workers can share."""

import dataclasses
import json

import pytest

from molino.jobs.commands.plan import JOBS
from molino.jobs.forecast.estimate import CONSTANTS, forecast, read_constants, shared_seconds
from molino.jobs.forecast.sizes import Size

COSTS = {
    "jobs": {
        "names": {
            "start": {"1": 2.0, "2": 2.5},
            "efficiency": {"1": 1.0, "2": 0.8},
            "seconds": {"read": {"rows": 1.0}, "write": {"rows": 3.0}, "finish": {"rows": 0.5}},
            "written": {"fixed": 1000.0, "rows": 20.0},
            "kept": {"people": 0.9},
            "memory": {"base": 1e8, "worker": 1e7, "chunk": 4.0},
        }
    },
    "shuffle": {
        "write_piece": 10.0,
        "read_piece": 100.0,
        "pass_piece": 0.01,
        "write_message": 30.0,
        "read_message": 20.0,
    },
    "runners": {"FlinkRunner": {"jobs": {"names": {"start": {"1": 20.0, "2": 22.0}, "work": {"1": 2.0, "2": 3.0}}}}},
}
SIZE = Size(
    files=1,
    bytes=80_000_000,
    rows=1e6,
    exact=True,
    amounts={"rows": 1e6},
    shuffle=60e6,
    batches=5,
    by_span=True,
    piece=700.0,
    message=1000.0,
    pieces={"read": 5, "reduce": 4, "write": 4, "finish": 1},
    chunk=15e6,
)


def test_one_worker_does_everything():
    found = forecast("names", SIZE, workers=1, given=COSTS)
    # 20 pieces written and read, each from a file of 4
    pieces = 20 * (10 + 100 + 4 * 0.01) / 1e6
    assert found.seconds == pytest.approx(2 + 1 + 3 + 0.5 + pieces)
    assert found.shuffle_bytes == 60e6 + 20 * 700
    assert found.written_bytes == 1000 + 20e6
    assert found.datasets == {"people": 0.9e6}
    assert found.worker_bytes == 1e8 + 1e7 + 60e6
    assert (found.widest, found.width, found.pieces) == ("read", 80e6 + 60e6 + 14e3, 5)
    assert found.disk_bytes == found.shuffle_bytes + found.written_bytes


def test_workers_share_what_has_pieces():
    def seconds(workers):
        return forecast("names", SIZE, workers=workers, given=COSTS).seconds

    found = [seconds(workers) for workers in (1, 2, 4, 5, 6, 100)]
    assert found == sorted(found, reverse=True)
    assert found[-1] == found[-2] == found[-3]  # more than there are pieces
    assert found[-1] > 2.5 + 0.5  # the start, and what only one can do


def test_memory_does_not_grow_with_the_rows():
    many = dataclasses.replace(SIZE, rows=1e9, amounts={"rows": 1e9}, bytes=80_000_000_000, shuffle=60e9)
    one, other = (forecast("names", size, workers=2, given=COSTS) for size in (SIZE, many))
    assert one.worker_bytes == other.worker_bytes
    assert one.memory_bytes == other.memory_bytes == 1e8 + 2 * (1e7 + 60e6)


def test_another_runner():
    found = forecast("names", SIZE, workers=1, runner="FlinkRunner", spills=False, given=COSTS)
    pieces = 20 * (30 + 20) / 1e6
    assert found.seconds == pytest.approx(20 + 2 * (4.5 + pieces))
    assert found.shuffle_bytes == 60e6 + 20 * 1000
    two, five = (forecast("names", SIZE, workers=n, runner="FlinkRunner", spills=False, given=COSTS) for n in (2, 5))
    assert two.seconds == pytest.approx(22 + 3 * ((4 + pieces) / 2 + 0.5))
    assert shared_seconds(two, SIZE) == pytest.approx((4 + pieces) / 2 + 0.5)
    assert 22 < five.seconds < two.seconds
    assert forecast("names", SIZE, workers=3, runner="FlinkRunner", given=COSTS).memory_bytes == 3 * found.worker_bytes
    assert forecast("names", SIZE, workers=1, runner="PrismRunner", given=COSTS).seconds is None


def test_hours_are_of_what_is_kept():
    found = forecast("names", SIZE, workers=4, given=COSTS)
    assert found.core_hours == pytest.approx(4 * found.seconds / 3600)
    assert found.gb_hours == pytest.approx(found.memory_bytes / 1e9 * found.seconds / 3600)


def test_the_constants_are_whole():
    with open(CONSTANTS, encoding="utf-8") as file:
        assert json.load(file) == read_constants()
    constants = read_constants()
    assert set(constants["jobs"]) == set(JOBS)
    for job, of in constants["jobs"].items():
        assert set(of) <= {*constants["units"], "measured", "command"}
        assert "cores" in of["measured"]
        assert f"benchmarks/constants.py --only {job}" in of["command"]
        assert all(seconds > 0 for seconds in of["start"].values())
        assert all(0 < share <= 1 for share in of["efficiency"].values())
        assert any(cost > 0 for costs in of["seconds"].values() for cost in costs.values())
        assert of["memory"]["base"] > 1e8
        assert len({run["rows"] for run in of["runs"]} | {run["options"] for run in of["runs"]}) > 2
