"""The constants of `molino plan`: what runs are made of is found again, and a real run is measured stage by stage."""

import json
from types import SimpleNamespace

import pytest

from benchmarks import constants, constants_flink, harness
from benchmarks.constants import rounded, run_all
from benchmarks.constants_fit import Ran, Spec, constants_of, fit, memory_of
from benchmarks.constants_inputs import INPUTS
from benchmarks.harness import Measure
from molino.jobs.commands.plan import JOBS
from molino.jobs.forecast.sizes import Size

SPEC = Spec(
    stages=("read", "write"),
    seconds={"read": ("rows",), "write": ("rows", "numbers"), "finish": ("rows",)},
    written=("rows",),
    memory=("chunk",),
    datasets=("people",),
)


def made_up(rows, numbers):
    """Return a run whose parts are known: 2 s of start, 1, 3 and 0.5 CPU s a million rows, 0.01 a million numbers."""
    read, write, finish = rows * 1e-6, rows * 3e-6 + numbers * 1e-8, rows * 0.5e-6
    cpu, chunk = read + write + finish, 1e7 + rows * 4
    pieces = {"read": 9, "write": 9, "finish": 1}
    return Ran(
        arguments=("--input", "/data/x", "--quick"),
        size=Size(rows=rows, exact=True, amounts={"rows": rows, "numbers": numbers}, chunk=chunk, pieces=pieces),
        measures={
            1: Measure(wall=2 + cpu / 0.9, cpu=1.8 + cpu, peak=round(3e8 + 5 * chunk)),
            2: Measure(
                wall=2.5 + (read + write) / (2 * 0.7) + finish / 0.9, cpu=1.8 + cpu, peak=round(3e8 + 2 * 5 * chunk)
            ),
        },
        stages={"read": 1.5 + read, "write": 1.5 + read + write},
        manifest={
            "counters": {"rows_read": rows, "people": round(0.9 * rows)},
            "balance": ["rows_read", ["people"]],
            "used": {"written_bytes": 5000 + 30 * rows},
        },
    )


def test_what_runs_are_made_of_is_found():
    found = constants_of(SPEC, [made_up(10**6, 0), made_up(4 * 10**6, 0), made_up(4 * 10**6, 10**9)])
    assert found["start"] == {"1": pytest.approx(2), "2": pytest.approx(2.5)}
    assert found["efficiency"] == {"1": pytest.approx(0.9), "2": pytest.approx(0.7)}
    assert found["seconds"]["read"] == {"rows": pytest.approx(1)}
    assert found["seconds"]["write"] == {"rows": pytest.approx(3), "numbers": pytest.approx(0.01)}
    assert found["seconds"]["finish"] == {"rows": pytest.approx(0.5)}
    assert found["written"] == {"fixed": pytest.approx(5000, rel=0.01), "rows": pytest.approx(30)}
    assert found["kept"] == {"people": pytest.approx(0.9)}
    assert found["memory"] == {"base": pytest.approx(3e8), "chunk": pytest.approx(5)}
    assert [run["options"] for run in found["runs"]] == ["--quick"] * 3  # no path of this machine


def test_nothing_costs_less_than_nothing():
    assert fit([[1, 1], [1, 2], [1, 3]], [9, 8, 7]) == [pytest.approx(8, rel=0.1), 0]
    assert fit([[1, 0], [1, 0]], [4, 4]) == [pytest.approx(4), 0]


def test_models_are_no_part_of_the_base():
    held = [
        Ran(**{**vars(one), "size": Size(**{**vars(one.size), "held": 10**8})})
        for one in (made_up(10**6, 0), made_up(10**7, 0))
    ]
    assert memory_of(SPEC, held)["base"] == pytest.approx(2e8)


def test_four_digits_are_kept():
    assert rounded({"a": [1.23456789, 7], "b": "x"}) == {"a": [1.235, 7], "b": "x"}


def test_every_job_is_measured():
    assert set(constants.SPECS) == set(INPUTS) == set(JOBS) == set(constants_flink.LINES)


def test_what_flink_costs_is_found(monkeypatch):
    """Start and work follow from few rows and many; what slots take that share a processor is told, and not used."""
    few, many = (made_up(rows, 0).size for rows in (10**6, 4 * 10**6))
    lines = {"few": few, "many": many}
    given = {
        "jobs": {"names": constants_of(SPEC, [made_up(10**6, 0), made_up(4 * 10**6, 0), made_up(4 * 10**6, 10**9)])},
        "shuffle": {},
        "runners": {},
    }
    monkeypatch.setattr(constants_flink.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(constants_flink.plan, "size_of", lambda job, line: lines[line])
    monkeypatch.setattr(
        constants_flink.plan, "parser_of", lambda job: SimpleNamespace(parse_strictly=lambda line: [line])
    )
    # 1 and 3 CPU s a million rows are shared, 0.5 are not
    took = {1: [20 + 3 * 4.5, 20 + 3 * 18], 2: [25 + 4 * 2.5, 25 + 4 * 10], 4: [91]}
    found = constants_flink._costs("names", ["few", "many"], took, given)
    assert found["start"] == {"1": pytest.approx(20), "2": pytest.approx(25)}
    assert found["work"] == {"1": pytest.approx(3), "2": pytest.approx(4)}
    hidden = constants_flink._costs("names", ["few", "many"], {1: [20, 21]}, given)
    assert hidden["work"] == {"1": 1}
    assert hidden["start"] == {"1": pytest.approx(20.5 - 11.25)}
    assert [(run["rows"], run["slots"], run["seconds"]) for run in found["runs"]] == [
        *((rows, slots, took[slots][place]) for slots in (1, 2) for place, rows in enumerate((10**6, 4 * 10**6))),
        (4 * 10**6, 4, 91),
    ]


@pytest.mark.slow
def test_a_run_is_measured_once(tmp_path, monkeypatch, capsys):
    from molino.transforms.names.sample import sample_names

    monkeypatch.setattr(harness, "fill_memory", lambda _: None)
    monkeypatch.setattr(constants, "CORES", (1,))
    source = tmp_path / "sep.txt"
    sample_names(str(source), rows=3000)
    [ran] = run_all("names", tmp_path, [("--input", str(source))], 1)
    assert ran.manifest["counters"]["rows_read"] == 3000
    assert 0 < ran.stages["read"] <= ran.stages["write"] <= ran.measures[1].cpu
    assert ran.measures[1].peak > 10**7
    assert "on 1:" in capsys.readouterr().out
    again = run_all("names", tmp_path, [("--input", str(source))], 1)
    assert again == [ran]
    assert capsys.readouterr().out == ""
    assert len(json.loads((tmp_path / "measured-names.json").read_text())) == 1
