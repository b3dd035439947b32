"""The arithmetic of a forecast: what grows with the rows, what does not, and what workers can share."""

import math

from molino.jobs.forecast.estimate import Size, forecast, read_constants
from tests.every_job import MEASURED

COSTS = {
    "jobs": {
        "names": {
            "microseconds": {"fixed": 2e6, "rows": 4.0, "pieces": 100.0},
            "written": {"fixed": 1000, "rows": 20.0},
            "memory": {"fixed": 1e8, "models": 1.0},
            "worker": {"fixed": 1e7, "chunk": 4.0},
        }
    },
    "runners": {
        "embedded": {"fixed": 0.0, "work": 1.0, "spread": 2.0},
        "FlinkRunner": {"fixed": 10.0, "work": 3.0, "spread": 3.0},
    },
}
SIZE = Size(
    rows=10**6,
    amounts={"rows": 1e6, "pieces": 1e4, "chunk": 15e6, "models": 5e8, "unheard": 9.0},
    shuffle_bytes=60_000_000,
    parts={"read": 8, "write": 2},
)


def of(**how):
    return forecast("names", SIZE, **{"workers": 1, "costs": COSTS} | how)


def test_it_is_a_sum():
    found = of()
    assert found.rows == SIZE.rows
    assert (found.seconds, found.between) == (2 + 4 + 1, (3.5, 14.0))
    assert found.written_bytes == 1000 + 20e6
    assert found.disk_bytes == found.written_bytes + 60e6
    assert of(spills=False).disk_bytes == found.written_bytes
    assert found.memory_bytes == found.worker_bytes == 6e8 + 1e7 + 60e6
    assert found.core_hours == 7 / 3600


def test_workers_share_what_has_parts():
    least, most = 2 + 5 / 8, 2 + 5 / 2
    assert of(workers=2).between == (most / 2, most * 2)
    assert of(workers=100).between == (round(least / 2, 3), most * 2)
    assert of(workers=100).seconds == round(math.sqrt(least * most), 3)
    assert of(workers=2).memory_bytes == 6e8 + 2 * 7e7  # threads of one process


def test_another_runner():
    found = of(runner="FlinkRunner", workers=2)
    assert found.seconds == 10 + 2 + 3 * 5 / 2
    assert found.memory_bytes == 2 * 6.7e8
    assert not found.unknown


def test_what_was_not_measured_is_not_known():
    found = of(runner="SparkRunner")
    assert (found.seconds, found.unknown) == (None, "SparkRunner was not measured")
    assert found.memory_bytes == of().memory_bytes
    assert "seconds" not in found.plan()
    found = forecast("towns", SIZE, workers=1, costs=COSTS)
    assert (found.rows, found.written_bytes, found.unknown) == (10**6, None, "the job towns was not measured")


def test_the_constants_are_whole():
    constants = read_constants()
    assert set(constants["jobs"]) == MEASURED
    for job, costs in constants["jobs"].items():
        assert "cores" in costs["measured"]
        assert set(costs) == {"measured", "microseconds", "written", "memory", "worker"}
        assert costs["microseconds"]["fixed"] > 1e6
        assert costs["memory"]["fixed"] > 1e8
        assert all(cost > 0 for what in set(costs) - {"measured"} for cost in costs[what].values()), job
