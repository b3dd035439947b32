"""The names job and people without a CURP, of sex X, born after 2000, and CURPs where names should be."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molino.jobs import names
from molino.transforms.names.curp import curp_faults, missing_kinds
from molino.transforms.names.doubts import warn_of_names
from tests.jobs.test_names import table

HEADER = "CURP|PRIMERAPELLIDO|SEGUNDOAPELLIDO|NOMBRESTRABAJADOR"
GOOD = ["AAAA500101HDFBRL03", "BAAH510202HDFCSM05", "AAAA500101XDFBRL07", "GOLA000101HDFMRNA3"]
FILLERS = ["SIN CURP", "NULL", "S/N", "XXXXXXXXXXXXXXXXXX", "000000000000000000", "-----", "XEXX010101HNEXXXA4", "#N/A"]
LOST = ["", "", *FILLERS, "BAAH510202HDFCSM06", "AAAA500101AB0"]


def run(folder, lines, *options, second=()):
    """Return the manifest of a run over a file of lines, or two, and its output."""
    folder.mkdir(exist_ok=True)
    paths = []
    for name, held in (("a.txt", lines), ("b.txt", second)):
        if held:
            (folder / name).write_text("\n".join([HEADER, *held, ""]), encoding="latin-1")
            paths.append(str(folder / name))
    output = folder / "out"
    arguments = ["--min-count", "1", "--max-reject-ratio", "1", "--quiet", "--workers", "1", *map(str, options)]
    assert names.JOB.main(["--input", *paths, "--output", str(output), *arguments]) == 0
    return json.loads((output / "_manifest.json").read_text()), output


def kinds(manifest):
    return {warning["kind"] for warning in manifest["warnings"]}


LINES = [f"{curp}|P{n}|M|N{n}" for n, curp in enumerate(GOOD * 2 + LOST * 2)]


@pytest.mark.slow
def test_one_each_and_reject(tmp_path, capsys):
    one, _ = run(tmp_path / "one", LINES)
    assert {name: n for name, n in one["counters"].items() if n and name.startswith(("curp", "sex", "age.o"))} == {
        "curp.empty": 4, "curp.placeholder": 16, "curp.symbols": 2, "curp.invalid": 4, "curp.format": 20,
        "curp.check_digit": 2, "curp.letter_17": 2, "sex.x": 1, "sex.unknown": 9, "age.over_100": 3,
    }  # fmt: skip
    assert one["counters"]["people"] == len({*GOOD, *LOST})
    assert {"curp.missing", "curp.century", "age.over_100"} <= kinds(one)
    shown = capsys.readouterr()
    assert "4 empty, 16 placeholder, 4 invalid" in shown.out
    assert "in 2012" in shown.out
    assert "a.txt line" in shown.err

    files = {"second": LINES[20:]}
    each, output = run(tmp_path / "each", LINES[:20], "--missing-curp", "each", "--span-bytes", 40, **files)
    people = table(output, "people")
    assert len(people) == len(GOOD) + 2 * len(LOST)
    assert people["curp"].isna().sum() == 2 * len(LOST)
    assert set(table(output, "conflicts")["curp"]) == set(GOOD)
    sexes = people[people["curp"].isna()].groupby("nombre")["sex"].first()
    assert sexes.notna().sum() == 2  # of the two rows whose check digit is wrong
    other = ["--missing-curp", "each", "--span-bytes", 1 << 20, "--shuffle", "runner"]
    again, _ = run(tmp_path / "again", LINES[:20], *other, **files)
    digests = [{name: one_["digest"] for name, one_ in m["datasets"].items()} for m in (each, again)]
    assert digests[0] == digests[1]

    rejected, output = run(tmp_path / "reject", LINES, "--missing-curp", "reject", "--century-from-curp")
    assert rejected["counters"]["people"] == len(GOOD)
    assert table(output, "rejects")["reason"].value_counts().to_dict() == {
        "curp_empty": 4, "curp_placeholder": 14, "curp_symbols": 2, "curp_format": 2, "curp_check_digit": 2
    }  # fmt: skip
    assert not kinds(rejected) & {"curp.missing", "curp.century"}


@pytest.mark.parametrize("mode", ["drop", "keep"])
def test_curps_among_names_are_masked(tmp_path, mode):
    lines = [f"{GOOD[0]}|{GOOD[1]}|X {GOOD[1].lower()}.|ANA", f"{GOOD[1]}|A|B| \\N ", HEADER, f"{GOOD[2]}|\\N|  |C"]
    manifest, output = run(tmp_path / "f", lines, "--curp", mode)
    first = table(output, "people").sort_values("line").iloc[0]
    masked = mode == "drop"
    assert first["primer_apellido"] == ("[CURP]" if masked else GOOD[1])
    assert first["segundo_apellido"] == ("X [CURP]." if masked else f"X {GOOD[1].lower()}.")
    assert manifest["counters"].get("curp.in_name", 0) == masked
    assert manifest["counters"]["rejects.header_line"] == 1
    assert not {"\\N", "  "} & set(table(output, "apellidos")["apellido"])


def test_nulls_of_parquet(tmp_path):
    columns = {"CURP": [GOOD[0], None, GOOD[1]], "PRIMERAPELLIDO": ["A", "B", None], "curp": ["", "", ""]}
    columns |= {"SEGUNDOAPELLIDO": [None] * 3, "NOMBRESTRABAJADOR": ["X", "Y", "Z"]}
    pq.write_table(pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()}), tmp_path / "p")
    for missing, people in (("one", 2), ("each", 3)):
        output = tmp_path / missing
        arguments = ["--max-reject-ratio", "1", "--quiet", "--workers", "1", "--missing-curp", missing]
        assert names.JOB.main(["--input", str(tmp_path / "p"), "--output", str(output), *arguments]) == 0
        manifest = json.loads((output / "_manifest.json").read_text())
        assert manifest["counters"]["people"] == people
        assert "text.columns" in kinds(manifest)
        assert table(output, "people").sort_values("line")["segundo_apellido"].tolist() == [""] * people
    assert table(tmp_path / "one", "rejects")["reason"].tolist() == ["null_value"]


def test_what_stands_for_no_curp():
    texts = [
        "",
        "NULL",
        "S/N",
        "N/A",
        "SIN CURP",
        "XXXX",
        "XXXX000000XXXXXX00",
        "0000",
        "#REF!",
        "PENDIENTE",
        "-",
        "# a",
    ]
    texts += ["HEGG560427MVZRRL04", "HEGG560427MVZRRL05", "PEREZ", "NOE", "AAAA500101AB0", "ÑÑÑÑ"]
    curps = pa.array(texts)
    assert missing_kinds(curps, curp_faults(curps)).tolist() == [1] + [2] * 9 + [3, 3, 0] + [4] * 5


@pytest.mark.parametrize(("invalid", "told"), [(10, False), (11, True)])
def test_one_in_a_hundred_is_usual(invalid, told):
    counters = {"rows_read": 1000, "people": 1000, "curp.invalid": invalid, "age.over_100": invalid}
    found = warn_of_names(counters, missing="one", century=False, reference_year=2012, min_count=5)
    assert [warning.kind for warning in found] == (["curp.missing", "age.over_100"] if told else [])


def test_a_key_of_many_people_is_told(tmp_path):
    lines = [f"{GOOD[0]}|P{n}|M{n}|N{n}" for n in range(7)] + [f"{GOOD[1]}|P|M|N{n}" for n in range(200)]
    manifest, _ = run(tmp_path / "f", lines)
    [warning] = [warning for warning in manifest["warnings"] if warning["kind"] == "curp.shared"]
    assert (warning["count"], warning["example"]) == (6, "a.txt line 2")
