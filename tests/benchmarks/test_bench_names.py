"""The benchmark of the names job: it must not call different tables equal, nor hide what differs."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import harness, names
from benchmarks.harness import Measure, Result
from benchmarks.names import compare_outputs, compare_people, compare_tables, fingerprint, read_table, render

ROOT = Path(__file__).resolve().parents[2]
HOMBRES = 'nombre,frec,edad_media,prob\nJUAN,6,36.72,0.6\n"PE,PE",2,,0.2\nANA,2,40.0,0.2\n'
PEOPLE = {
    "curp": ["A", "B", "C"],
    "primer_apellido": ["PEÑA", "", "NULL"],
    "segundo_apellido": ["X", "Y", "Z"],
    "nombre": ["JUAN", "ANA", "ANA"],
    "sex": ["H", None, "M"],
    "birth_year": [1956, None, 1960],
    "age": [56, None, 52],
    "line": [2, 3, 5],
}


def _table(tmp_path: Path, text: str) -> list[dict]:
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    return read_table(path)


def _write(folder: Path, people: pa.Table, hombres: str = HOMBRES) -> Path:
    folder.mkdir(parents=True)
    (folder / "apellidos.csv").write_text("apellido,frec_pri,frec_seg\nPEÑA,5,0\n", encoding="utf-8")
    for table in ("hombres", "mujeres"):
        (folder / f"{table}.csv").write_text(hombres, encoding="utf-8")
    pq.write_table(people, folder / "people.parquet")
    return folder


def test_equal_tables_are_equal_however_numbers_are_written(tmp_path):
    rows = _table(tmp_path, HOMBRES)
    assert rows[1] == {"nombre": "PE,PE", "frec": 2.0, "edad_media": None, "prob": 0.2}
    assert compare_tables(rows, _table(tmp_path, HOMBRES.replace("40.0", "40").replace("ANA", '"ANA"'))) == []
    assert compare_tables([], []) == []


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("36.72", "36.73", ["1 of 3 edad_media by up to 0.01"]),
        ("36.72", "", ["1 of 3 edad_media by up to 0"]),
        ("2,,", "2,1,", ["1 of 3 edad_media by up to 0"]),
        ("0.6", "0.6000000000000001", ["1 of 3 prob by up to 1.1e-16"]),
        ("ANA", "ANITA", ["1 rows missing", "1 rows too many"]),
        ("ANA,2,40.0,0.2\n", "", ["1 rows missing"]),
        ("JUAN,6,36.72,0.6\n", "JUAN,6,36.72,0.6\n" * 2, ["1 rows too many"]),
        ('JUAN,6,36.72,0.6\n"PE,PE",2,,0.2\n', '"PE,PE",2,,0.2\nJUAN,6,36.72,0.6\n', ["another order"]),
        ("frec", "freq", ["other columns, or no rows"]),
        (HOMBRES, "nombre,frec,edad_media,prob\n", ["other columns, or no rows"]),
    ],
)
def test_a_difference_is_told(tmp_path, before, after, told):
    assert compare_tables(_table(tmp_path, HOMBRES), _table(tmp_path, HOMBRES.replace(before, after))) == told


def test_people_are_equal_in_any_order_type_and_number_of_files(tmp_path):
    people = pa.table(PEOPLE)
    expected = fingerprint(_write(tmp_path / "job", people))
    assert expected.people == 3
    other = people.take([2, 0, 1]).set_column(
        1, "primer_apellido", people["primer_apellido"].cast("large_string").take([2, 0, 1])
    )
    other = other.set_column(6, "age", other["age"].cast(pa.int16()))
    folder = tmp_path / "peer" / "people"
    folder.mkdir(parents=True)
    pq.write_table(other.slice(0, 1), folder / "a.parquet")
    pq.write_table(other.slice(1), folder / "b.parquet")
    assert compare_people(expected, fingerprint(folder.parent)) == []
    unnumbered = fingerprint(_write(tmp_path / "unnumbered", people.drop_columns("line")))
    assert unnumbered.lines is None
    assert compare_people(expected, unnumbered) == []


@pytest.mark.parametrize(
    ("column", "values", "told"),
    [
        ("nombre", ["JUAN", "ANA", "ANNA"], ["people: other values"]),
        ("sex", ["H", "M", None], ["people: other values"]),
        ("age", [56, 0, 52], ["people: other values"]),
        ("line", [2, 5, 3], ["people: other lines"]),
    ],
)
def test_other_people_are_told(tmp_path, column, values, told):
    expected = _write(tmp_path / "job", pa.table(PEOPLE))
    found = _write(tmp_path / "peer", pa.table(PEOPLE | {column: values}), HOMBRES.replace("36.72", "36.73"))
    tables = [f"{table}: 1 of 3 edad_media by up to 0.01" for table in ("hombres", "mujeres")]
    assert compare_outputs(expected, found) == [*tables, *told]


@pytest.mark.parametrize(
    ("change", "format_", "told"),
    [({}, 1, []), ({"kept_line": [3]}, 1, ["conflicts: others"]), ({}, 2, ["curp.format: 2"])],
)
def test_conflicts_and_wrong_curps_are_compared(tmp_path, change, format_, told):
    expected, found = _write(tmp_path / "job", pa.table(PEOPLE)), _write(tmp_path / "peer", pa.table(PEOPLE))
    names_ = [f"{row}_{name}" for row in ("kept", "dropped") for name in names.TEXTS[1:4]]
    conflict = {"curp": ["A"], "kept_line": [2], "dropped_line": [4], **{name: ["X"] for name in names_}}
    (expected / "conflicts").mkdir()
    pq.write_table(pa.table(conflict | {"differs": [["nombre"]]}), expected / "conflicts/part-0.parquet")
    pq.write_table(pa.table(conflict | change), found / "conflicts.parquet")
    (expected / "_manifest.json").write_text('{"counters": {"curp.format": 1}}')
    (found / "curps.csv").write_text(f"format,check_digit\n{format_},0\n")
    assert compare_outputs(expected, found) == told


def test_fewer_people_are_told(tmp_path):
    expected = fingerprint(_write(tmp_path / "job", pa.table(PEOPLE)))
    found = fingerprint(_write(tmp_path / "peer", pa.table(PEOPLE).slice(1)))
    assert compare_people(expected, found) == ["people: 2, not 3"]


def _result(*walls: float, **more) -> Result:
    runs = [Measure(wall=wall, cpu=wall + 1, peak=int((10 - wall) * 1e6)) for wall in walls]
    return Result(runs=runs, **more)


def test_results_as_markdown():
    small = {"molino": _result(4.0, 5.0), "duckdb": _result(2.0, differs=["hombres: 1 of 3 edad_media by up to 0.01"])}
    large = {"molino": _result(8.0), "duckdb": Result(failed="failed with exit code 1")}
    text = render({1000: small, 10_000: large}, {"spark": "there is no Java"}, ["FACTS"])
    for line in (
        "## names",
        "FACTS",
        "- spark: skipped, there is no Java",
        "### 1,000 rows",
        # the fastest run, the highest peak
        "| molino | 2 | 4.00 | 5.00 | 2.00 | 250 | 5.00 | 6 | the reference |",
        "| duckdb | 1 | 2.00 | 2.00 | 1.00 | 500 | 3.00 | 8 | hombres: 1 of 3 edad_media by up to 0.01 |",
        "| molino | 1 | 8.00 | 8.00 | – | 1,250 | 9.00 | 2 | the reference |",
        "| duckdb | 0 | – | – | – | – | – | – | failed with exit code 1 |",
        "| program | MB at 1,000 rows | MB at 10,000 rows | growth for 10 x rows |",
        "| molino | 6 | 2 | x 0.3 |",
    ):
        assert line in text.splitlines()


def test_only_the_own_section_is_replaced():
    first = harness.replace_section("# Benchmarks\n", "## names\n\n### 10 rows\n\nold\n")
    assert first == "# Benchmarks\n\n## names\n\n### 10 rows\n\nold\n"
    both = harness.replace_section(first, "## titles\n\nkept\n")
    again = harness.replace_section(both, "## names\n\nnew\n")
    assert again == "# Benchmarks\n\n## names\n\nnew\n\n## titles\n\nkept\n"
    assert harness.replace_section(both, "## titles\n\nnew\n") == f"{first}\n## titles\n\nnew\n"


def test_what_is_missing_is_said():
    program = harness.Program(name="x", about="", arguments=(), packages=("no-such-engine",))
    assert program.missing() == "no-such-engine is not installed; install requirements/bench.txt"
    assert names.JOB.missing() == ""


def test_a_wrong_name_is_a_usage_error(capsys):
    with pytest.raises(SystemExit, match="2"):
        names.parse(["--only", "pandas,duckbd"])
    assert "no such program: duckbd; there are molino, duckdb" in capsys.readouterr().err


@pytest.mark.slow
def test_the_whole_benchmark(tmp_path):
    results = tmp_path / "results.md"
    command = [sys.executable, "benchmarks/names.py", "--rows", "3000", "--sizes", "1", "--only"]
    command += [
        "molino,duckdb,duckdb_1200mb,pandas",
        "--repeat",
        "1",
        "--results",
        str(results),
        "--data",
        str(tmp_path / "data"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in results.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    told = {row[0].removeprefix("| "): row for row in rows}
    assert told["molino"][-1] == "the reference |"
    assert told["duckdb"][-1] == told["duckdb_1200mb"][-1] == "nothing |"
    assert "rows" not in told["pandas"][-1]  # pandas rounds some means otherwise, but it has every name
    assert "people" not in told["pandas"][-1]
    assert float(told["pandas"][2]) > 0
    assert int(told["pandas"][7].replace(",", "")) > 10


def test_the_slope_leaves_the_start_out():
    def result(wall, cpu):
        return Result(runs=[Measure(wall=wall, cpu=cpu, peak=1)])

    results = {
        1_000_000: {"molino": result(5.0, 6.0), "slow": result(50.0, 50.0)},
        2_000_000: {"molino": result(6.0, 8.0), "slow": result(90.0, 110.0)},
        11_000_000: {"molino": result(15.0, 26.0), "once": result(1.0, 1.0)},
    }
    assert harness.slope_table(results, reference="molino")[2:] == [
        "| molino | 1,000,000 and 11,000,000 rows | 1.00 | 2.00 | 1.0 | 1.0 |",
        "| slow | 1,000,000 and 2,000,000 rows | 40.00 | 60.00 | 40.0 | 30.0 |",
    ]
