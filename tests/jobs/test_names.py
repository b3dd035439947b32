"""The names job from its command line, against pandas and against the published tables."""

import csv
import json
import pathlib
import subprocess
import sys

import pandas as pd
import pyarrow.parquet as pq
import pytest

from molino.jobs import names
from molino.jobs.names import JUNK
from molino.jobs.run.recheck import verify
from molino.transforms.names.sample import sample_names
from tests.docs.test_counters import undeclared

SHARED = pathlib.Path(__file__).resolve().parents[3] / "shared"
needs_shared = pytest.mark.skipif(
    not (SHARED / "tools/make_sep_file.py").exists(), reason="the published tables and their generator are not here"
)


def run(*arguments):
    """Run the job in this process, on one worker: faster to start than two for a small file."""
    return names.JOB.main(["--quiet", "--workers", "1", *map(str, arguments)])


def table(output, dataset):
    """Read a data set as its manifest lists it."""
    manifest = json.loads((output / "_manifest.json").read_text())
    parts = [pq.read_table(output / file["path"]).to_pandas() for file in manifest["datasets"][dataset]["files"]]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def view(output, name):
    return pd.read_csv(output / f"{name}.csv", keep_default_na=False)


def oracle(paths):
    """Read, keep the first row of each CURP and count, with pandas; return (kept, dropped, tables)."""
    parts = []
    for path in paths:
        text = path.read_bytes().decode("latin-1").split("\n")
        rows = [
            (path.name, n, line.split("|"))
            for n, line in enumerate(text, 1)
            if line.count("|") == 9 and "\0" not in line
        ]
        d = pd.DataFrame([r[2] for r in rows[1:]], columns=rows[0][2])
        parts.append(d.assign(source=[r[0] for r in rows[1:]], line=[r[1] for r in rows[1:]]))
    d = pd.concat(parts, ignore_index=True)
    d["CURP"] = d["CURP"].str.strip().str.upper()
    first = d.drop_duplicates("CURP")
    dropped = d[d.duplicated("CURP")]
    age = 2012 - 1900 - pd.to_numeric(first["CURP"].str[4:6], errors="coerce")
    sex = first["CURP"].str[10:11]

    def counted(values):
        found = values.value_counts()
        return found[(found >= 5) & ~found.index.isin(JUNK)]

    both = {"frec_pri": counted(first["PRIMERAPELLIDO"]), "frec_seg": counted(first["SEGUNDOAPELLIDO"])}
    tables = {"apellidos": pd.DataFrame(both).fillna(0).astype(int).rename_axis("apellido").reset_index()}
    mean = age.groupby(first["NOMBRESTRABAJADOR"]).agg(["sum", "count"])
    for name, letter in (("hombres", "H"), ("mujeres", "M")):
        found = counted(first["NOMBRESTRABAJADOR"][sex == letter])
        # a NumPy float rounds by scaling, which is the fault that the job avoids: Python's own is wanted
        means = [round(float(mean.loc[n, "sum"] / mean.loc[n, "count"]), 2) for n in found.index]
        tables[name] = pd.DataFrame(
            {"nombre": found.index, "frec": found.values, "edad_media": means, "prob": found.values / found.sum()}
        )
    for name, found in tables.items():
        tables[name] = found.sort_values(
            [found.columns[1], found.columns[0]], ascending=[False, True], ignore_index=True
        )
    return first, dropped, tables


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample")
    wrote = sample_names(str(folder / "sep.txt"), rows=20_000, seed=3, files=3, hostile=True)
    return sorted(folder.glob("*.txt")), wrote


@pytest.fixture(scope="module")
def output(sample, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    assert run("--input", *sample[0], "--output", out, "--repair-names", "--span-bytes", 100_000, "--shards", 2) == 0
    return out


def test_the_tables_are_those_of_pandas(sample, output):
    _, _, tables = oracle(sample[0])
    for name, expected in tables.items():
        pd.testing.assert_frame_equal(table(output, name), expected, check_dtype=False, check_exact=True)
        pd.testing.assert_frame_equal(view(output, name), expected, check_dtype=False, check_exact=True)


def test_names_below_min_count_are_counted(sample, output):
    first, _, tables = oracle(sample[0])
    sex = first["CURP"].str[10:11]
    every = {
        "apellidos": pd.concat([first["PRIMERAPELLIDO"], first["SEGUNDOAPELLIDO"]]),
        "hombres": first["NOMBRESTRABAJADOR"][sex == "H"],
        "mujeres": first["NOMBRESTRABAJADOR"][sex == "M"],
    }
    manifest = json.loads((output / "_manifest.json").read_text())
    rare = {name: len(set(each) - set(JUNK)) - len(tables[name]) for name, each in every.items()}
    assert {name: manifest["counters"][f"rare.{name}"] for name in every} == rare
    assert min(rare.values()) > 0
    assert f"left out: {sum(rare.values()):,} of fewer than 5 people" in dict(names.summarize(manifest))["names"]
    assert [warning for warning in manifest["warnings"] if warning["kind"] == "names.rare"] == []


@pytest.mark.slow
def test_tables_that_min_count_empties_are_warned_of(tmp_path, capsys):
    women = [f"AAAA{n:02}0101MDFBBB0{n % 10}|PEÑA|LÓPEZ|ANA" for n in range(6)]
    men = [f"CCCC{n:02}0101HDFBBB0{n % 10}|PEÑA|RUIZ|{name}" for n, name in enumerate(["LUIS", "LUIS", "JUAN"])]
    header = "CURP|PRIMERAPELLIDO|SEGUNDOAPELLIDO|NOMBRESTRABAJADOR"
    (tmp_path / "in.txt").write_text("\n".join([header, *women, *men]), encoding="latin-1")

    def warned(min_count):
        output = ["--output", tmp_path / f"out-{min_count}"]
        assert run("--input", tmp_path / "in.txt", *output, "--min-count", min_count, "--encoding", "latin-1") == 0
        return [line for line in capsys.readouterr().err.splitlines() if "borne by fewer" in line]

    assert warned(5) == [
        "molino: warning: no names in hombres: each of 2 is borne by fewer than 5 people; --min-count 1 takes them all"
    ]
    [line] = warned(100)
    assert "no names in apellidos, hombres, mujeres: each of 6 is borne by fewer than 100 people" in line
    assert warned(1) == []


def test_the_people_are_the_first_rows(sample, output):
    first, _, _ = oracle(sample[0])
    people = table(output, "people").sort_values(["source", "line"], ignore_index=True)
    assert people["curp"].tolist() == first["CURP"].tolist()
    for column, name in names.COLUMNS.items():
        if column != "curp":
            assert people[column].tolist() == first[name].tolist()
    assert people["line"].tolist() == first["line"].tolist()
    assert people["source"].tolist() == first["source"].tolist()


def test_conflicts_are_the_repeated_rows_that_differ(sample, output):
    first, dropped, _ = oracle(sample[0])
    kept = first.set_index("CURP").loc[dropped["CURP"]].reset_index()
    columns = list(names.COLUMNS.values())[1:]
    differs = (kept[columns].to_numpy() != dropped[columns].to_numpy()).any(axis=1)
    conflicts = table(output, "conflicts").sort_values(["dropped_source", "dropped_line"], ignore_index=True)
    assert conflicts["curp"].tolist() == dropped["CURP"][differs].tolist()
    assert conflicts["dropped_line"].tolist() == dropped["line"][differs].tolist()
    assert conflicts["kept_line"].tolist() == kept["line"][differs].tolist()
    assert all(len(columns) for columns in conflicts["differs"])


def test_every_row_is_accounted_for(sample, output):
    manifest, wrong = verify(str(output))
    assert wrong == []
    assert undeclared(manifest) == set()
    counters = manifest["counters"]
    assert counters["rows_read"] == 20_000 + sum(sample[1]["hostile"].values())
    assert counters["rows_read"] == counters["people"] + counters["duplicates"] + counters["rejects"]
    reasons = table(output, "rejects")["reason"].value_counts().to_dict()
    assert reasons == {reason: n for reason, n in sample[1]["hostile"].items() if n}
    rejects = table(output, "rejects")
    for row in rejects.itertuples():
        text = next(path for path in sample[0] if path.name == row.source).read_bytes().split(b"\n")[row.line - 1]
        assert len(row.row) == min(len(text), 200)


def test_repairs_merge_what_is_proven_and_leave_the_tables_of_record(output):
    repairs = table(output, "repairs")
    merged = repairs[repairs["merged"]]
    assert {"symbol", "curp"} <= set(merged["evidence"])
    record, repaired = table(output, "apellidos"), table(output, "apellidos_repaired")
    assert (
        repaired.set_index("apellido").loc["MUÑOZ", "frec_pri"] > record.set_index("apellido").loc["MUÑOZ", "frec_pri"]
    )
    assert not set(merged[merged["kind"] == "apellido"]["written"]) & set(repaired["apellido"])


def test_files_are_compressed_indexed_and_documented(output):
    manifest = json.loads((output / "_manifest.json").read_text())
    assert [file["path"].split("-")[1:4] for file in manifest["datasets"]["people"]["files"]] == [
        [f"{i:05d}", "of", "00002"] for i in range(2)
    ]
    file = pq.ParquetFile(output / manifest["datasets"]["people"]["files"][0]["path"])
    column = file.metadata.row_group(0).column(1)
    assert column.compression == "ZSTD"
    assert column.has_offset_index
    assert column.has_column_index
    schema = file.schema_arrow
    assert schema.metadata[b"molino.schema"] == b"names.people"
    assert schema.metadata[b"molino.version"] == b"1"
    assert all(field.metadata[b"doc"] for field in schema)


def test_options_change_what_they_say(sample, tmp_path):
    out = tmp_path / "out"
    arguments = ["--reference-year", 2020, "--min-count", 50, "--invalid-curp", "reject", "--curp", "drop"]
    assert run("--input", *sample[0], "--output", out, "--max-reject-ratio", 0.1, *arguments) == 0
    people = table(out, "people")
    assert (people["age"] == 2020 - people["birth_year"]).all()
    assert people["curp"].isna().all()
    assert view(out, "hombres")["frec"].min() >= 50
    assert {"curp_format", "curp_check_digit"} <= set(table(out, "rejects")["reason"])


def test_json_lines_and_text_without_a_header_give_the_same_people_and_csv_is_for_excel_by_option(tmp_path):
    header = ["CURP", "PRIMERAPELLIDO", "SEGUNDOAPELLIDO", "NOMBRESTRABAJADOR"]
    rows = [[f"AAAA{500101 + n}MDFBRL0{n}", "MUÑOZ", "-", "=ANA"] for n in range(6)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(dict(zip(header, row, strict=True))) + "\n" for row in rows))
    (tmp_path / "b.txt").write_text("".join("|".join(row) + "\n" for row in rows), encoding="latin-1")
    for name, options in (("a.jsonl", ["--csv", "excel-es"]), ("b.txt", ["--header", *header])):
        assert run("--input", tmp_path / name, "--output", tmp_path / f"{name}.out", *options) == 0
    one, other = (table(tmp_path / f"{name}.out", "people").drop(columns="source") for name in ("a.jsonl", "b.txt"))
    assert one["line"].tolist() == other["line"].tolist()
    assert one.equals(other)
    excel, plain = ((tmp_path / f"{name}.out/mujeres.csv").read_bytes() for name in ("a.jsonl", "b.txt"))
    assert plain.decode() == "nombre,frec,edad_media,prob\n=ANA,6,62.0,1.0\n"
    assert excel.decode() == "\ufeffnombre;frec;edad_media;prob\r\n'=ANA;6;62,0;1,0\r\n"


def test_columns_delimiter_encoding_and_quotes_are_options(tmp_path):
    path = tmp_path / "in.csv"
    rows = [("ID", "A", "B", "N"), *[("HEGG560427MVZRRL04", 'PEÑA "X"', "LO,PEZ", "ANA\nLUZ")] * 2]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows(rows)
    arguments = ["--delimiter", ",", "--encoding", "utf-8", "--quote", '"', "--min-count", 1, "--curp-column", "ID"]
    arguments += ["--primer-apellido-column", "A", "--segundo-apellido-column", "B", "--nombre-column", "N"]
    assert run("--input", path, "--output", tmp_path / "out", *arguments) == 0
    [person] = table(tmp_path / "out", "people").to_dict("records")
    assert (person["primer_apellido"], person["segundo_apellido"], person["nombre"]) == (
        'PEÑA "X"',
        "LO,PEZ",
        "ANA\nLUZ",
    )
    assert (person["sex"], person["age"], person["line"]) == ("M", 56, 2)


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize("generator", ["", "--seed 7 --shards 7 --hostile", "--seed 11 --hostile"])
def test_the_tables_are_the_published_ones(tmp_path, generator):
    command = [
        sys.executable,
        SHARED / "tools/make_sep_file.py",
        tmp_path / "sep.txt",
        "--expected",
        tmp_path / "expected",
    ]
    wrote = json.loads(subprocess.run([*command, *generator.split()], capture_output=True, check=True).stdout)
    out = tmp_path / "out"
    assert names.JOB.main(["--quiet", "--input", str(tmp_path / "sep*.txt"), "--output", str(out)]) == 0
    for name in ("apellidos", "hombres", "mujeres"):
        expected = pd.read_csv(tmp_path / "expected" / f"{name}.csv", keep_default_na=False)
        found = view(out, name)
        pd.testing.assert_frame_equal(found[expected.columns], expected, check_exact=True)
        if not generator:
            published = pd.read_csv(SHARED / f"data/sep/{name}.csv", encoding="latin-1", keep_default_na=False)
            shared = list(published.columns)
            order = {"by": shared[0], "ignore_index": True}
            pd.testing.assert_frame_equal(
                found[shared].sort_values(**order), published.sort_values(**order), check_exact=True, check_dtype=False
            )
    manifest, wrong = verify(str(out))
    assert wrong == []
    counters = manifest["counters"]
    assert counters["people"] == wrote["people"]
    assert {k.removeprefix("rejects."): n for k, n in counters.items() if k.startswith("rejects.")} == wrote["hostile"]
