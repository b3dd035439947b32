"""Columns of one's own through titles, predict and whales; folders that are columns; splits that the input says."""

import csv
import datetime
import decimal
import json
import shutil
import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import molino
from molino.jobs import predict, titles, whales
from molino.jobs.run.recheck import verify
from molino.transforms.images.encode import encode_jpeg
from molino.transforms.whales.sample import draw_sea
from tests.docs.test_counters import undeclared
from tests.jobs.test_predict import classifier, here  # noqa: F401  # fixtures

pytestmark = pytest.mark.slow
ROWS = 240
META = pa.struct([("k", pa.int64()), ("l", pa.list_(pa.struct([("z", pa.large_string())])))])
UUID = pa.array([bytes([i % 256] * 16) for i in range(ROWS)], pa.binary(16))


@pytest.fixture(autouse=True)
def stay(monkeypatch):
    """A failure ends the process at once; here it raises SystemExit."""
    monkeypatch.setattr("molino.jobs.runners.exits.leave", sys.exit)


def run(job, *arguments):
    """Run a job in this process, on one worker."""
    return job.JOB.main(["--quiet", "--workers", "1", *map(str, arguments)])


def refusal(capsys, job, *arguments):
    """Run a job that refuses its options or its input; return what it says."""
    with pytest.raises(SystemExit):
        run(job, *arguments)
    return capsys.readouterr().err


def manifest_of(output):
    return json.loads((output / "_manifest.json").read_text())


@pytest.fixture(scope="module")
def rows():
    """Titles with columns of many types, nulls at every depth."""
    days = [datetime.datetime(2020, 1, 1) + datetime.timedelta(hours=i) for i in range(ROWS)]
    return pa.table(
        {
            "id": pa.array(range(2**63, 2**63 + ROWS), pa.uint64()),
            "title": [f"silla roja {i}" for i in range(ROWS)],
            "category": pa.array([i % 3 for i in range(ROWS)], pa.int16()),
            "price": pa.array([decimal.Decimal(i) / 4 for i in range(ROWS)], pa.decimal128(10, 2)),
            "when": pa.array(days, pa.timestamp("ns", "UTC")),
            "tags": pa.array([["a", None] if i % 5 else None for i in range(ROWS)], pa.large_list(pa.large_string())),
            "meta": pa.array([{"k": i, "l": [{"z": str(i)}, None]} if i % 7 else None for i in range(ROWS)], META),
            "code": pa.array([["x", "y", None][i % 3] for i in range(ROWS)]).dictionary_encode(),
            "uuid": pa.ExtensionArray.from_storage(pa.uuid(), UUID),
            "fold": [("train", "Val", "TEST")[i % 3] for i in range(ROWS)],
        }
    )


def by_title(table, names):
    return {row.pop("title"): row for row in table.select(["title", *names]).to_pylist()}


def test_titles_carry_columns_of_any_type_as_they_are(rows, tmp_path, capsys):
    pq.write_table(rows, tmp_path / "t.parquet", row_group_size=50)
    given = ["--input", tmp_path / "t.parquet", "--output", tmp_path / "out"]
    kept = ["price", "when", "tags", "meta", "code", "uuid"]
    assert "--integer-categories" in refusal(capsys, titles, *given)
    given.append("--integer-categories")
    assert "--keep id=input_id" in refusal(capsys, titles, *given, "--keep", "id", *kept)
    assert run(titles, *given, "--keep", "id=item", *kept) == 0
    found = molino.open(str(tmp_path / "out")).read("titles")
    item = {row["title"]: row["item"] for row in found.to_pylist()}
    assert item == {row["title"]: row["id"] for row in rows.to_pylist()}
    plain = rows.set_column(rows.schema.get_field_index("uuid"), "uuid", UUID)
    assert by_title(found, kept) == by_title(plain, kept)
    types = {name: str(found.schema.field(name).type) for name in ["item", *kept, "category"]}
    assert types["item"] == "uint64"
    assert (types["price"], types["when"]) == ("decimal128(10, 2)", "timestamp[ns, tz=UTC]")
    assert types["tags"] == "list<element: string>"
    assert set(pc.unique(found["category"]).to_pylist()) == {"0", "1", "2"}
    assert b"Column id of the input" in found.schema.field("item").metadata[b"doc"]
    assert verify(str(tmp_path / "out"))[1] == []
    # the same bytes whatever the cut and the way of the rows
    more = ["--keep", "id=item", *kept, "--span-bytes", 1000, "--shuffle", "runner"]
    assert run(titles, *given[:2], "--output", tmp_path / "again", given[-1], *more) == 0
    digests = [manifest_of(tmp_path / name)["datasets"]["titles"]["digest"] for name in ("out", "again")]
    assert digests[0] == digests[1]


def test_of_copies_the_first_row_is_carried(tmp_path):
    with (tmp_path / "t.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["sku", "title", "category"], ["7", "silla", "A"], ["8", "silla", "A"], ["", "mesa, 2", "B"]])
    keep = ["--keep", "sku", "title=written"]
    assert run(titles, "--input", tmp_path / "t.csv", "--output", tmp_path / "out", *keep) == 0
    found = molino.open(str(tmp_path / "out")).read("titles", columns=["title", "sku", "written", "count"]).to_pylist()
    assert sorted(found, key=lambda row: row["title"]) == [
        {"title": "mesa, 2", "sku": "", "written": "mesa, 2", "count": 1},
        {"title": "silla", "sku": "7", "written": "silla", "count": 2},
    ]


def test_columns_that_cannot_be_carried_are_told(rows, tmp_path, capsys):
    pq.write_table(rows.drop_columns(["uuid"]), tmp_path / "a.parquet")
    other = pa.table({"title": ["x"], "category": ["A"], "id": ["seven"], "price": [1.5]})
    pq.write_table(other, tmp_path / "b.parquet")
    given = ["--integer-categories", "--output", tmp_path / "out", "--input", tmp_path / "a.parquet"]
    told = refusal(capsys, titles, *given, "--keep", "sku", "weight")
    assert "lacks the columns 'sku', 'weight': its schema has 'id', 'title', 'category'" in told
    told = refusal(capsys, titles, *given, "--keep", "idd", "prices=cost")
    assert "did you mean: --keep id price=cost; COL=NAME carries the input's COL as NAME" in told
    told = refusal(capsys, titles, *given, tmp_path / "b.parquet", "--keep", "id=item")
    assert "b.parquet and" in told
    assert "'item' is string, not uint64" in told
    assert "two columns the same name" in refusal(capsys, titles, *given, "--keep", "id=a", "price=a")
    assert "must be COL or COL=NAME" in refusal(capsys, titles, *given, "--keep", "id=")


@pytest.mark.parametrize("write", ["csv", "parquet"])
def test_folders_called_key_value_are_columns(write, tmp_path):
    expected = {}
    for place, (language, day) in enumerate([("es", "2019%2F05"), ("pt", "2019-06"), (None, "x")]):
        folder = tmp_path / f"t/language={language or '__HIVE_DEFAULT_PARTITION__'}/day={day}"
        folder.mkdir(parents=True)
        table = pa.table({"title": [f"silla {place}", f"mesa {place}"], "category": ["A", "B"]})
        if write == "csv":
            (folder / "part-0").write_text(
                "title,category\n"
                + "".join(f"{title} {place},{category}\n" for title, category in (("silla", "A"), ("mesa", "B")))
            )
        else:
            pq.write_table(table, folder / "part-0.parquet")
        expected |= {title: (language, day.replace("%2F", "/")) for title in table["title"].to_pylist()}
    (tmp_path / "t/_SUCCESS").write_text("")
    assert run(titles, "--input", tmp_path / "t", "--output", tmp_path / "out", "--keep", "day") == 0
    found = molino.open(str(tmp_path / "out")).read("titles").to_pylist()
    assert {row["title"]: (row["language"], row["day"]) for row in found} == expected
    assert manifest_of(tmp_path / "out")["warnings"] == []


@pytest.mark.parametrize("write", ["csv", "parquet"])
def test_of_a_column_that_a_folder_has_too_the_files_is_read(write, tmp_path):
    (tmp_path / "t/language=es").mkdir(parents=True)
    table = pa.table({"title": ["silla", "mesa"], "category": ["A", "B"], "language": ["pt", "fr"]})
    if write == "csv":
        (tmp_path / "t/language=es/part-0").write_text("title,category,language\nsilla,A,pt\nmesa,B,fr\n")
    else:
        pq.write_table(table, tmp_path / "t/language=es/part-0.parquet")
    assert run(titles, "--input", tmp_path / "t", "--output", tmp_path / "out") == 0
    found = molino.open(str(tmp_path / "out")).read("titles")
    assert by_title(found, ["language"]) == by_title(table, ["language"])
    assert [warning["kind"] for warning in manifest_of(tmp_path / "out")["warnings"]] == ["text.folders"]


def test_a_split_of_ones_own(rows, tmp_path, capsys):
    again = pa.table(
        {"title": ["silla roja 0", "mesa"], "category": pa.array([0, 1], pa.int16()), "fold": ["test", "x"]}
    )
    pq.write_table(pa.concat_tables([rows.select(["title", "category", "fold"]), again]), tmp_path / "t.parquet")
    given = ["--input", tmp_path / "t.parquet", "--output", tmp_path / "out", "--integer-categories"]
    told = refusal(capsys, titles, *given, "--split-column", "fold", "--test", "0.1")
    assert "--validation and --test have no effect" in told
    assert run(titles, *given, "--split-column", "fold") == 0
    found = molino.open(str(tmp_path / "out")).read("titles", columns=["title", "split"]).to_pylist()
    names = {"train": "train", "Val": "validation", "TEST": "test"}
    assert {row["title"]: row["split"] for row in found} == {
        row["title"]: names[row["fold"]] for row in rows.to_pylist()
    }
    manifest = manifest_of(tmp_path / "out")
    assert undeclared(manifest) == set()
    assert (manifest["counters"]["rejects.bad_split"], manifest["counters"]["split.contradicted"]) == (1, 1)
    (warning,) = [warning for warning in manifest["warnings"] if warning["kind"] == "split.contradicted"]
    assert warning["example"] == f"t.parquet line {ROWS + 1}"


def test_predictions_carry_ids(classifier, here, rows, tmp_path):  # noqa: F811
    pq.write_table(rows.select(["id", "title", "meta"]), tmp_path / "t.parquet", row_group_size=50)
    given = ["--model", classifier, "--input", tmp_path / "t.parquet", "--output", tmp_path / "out"]
    assert run(predict, *given, "--keep", "id", "meta") == 0
    found = molino.open(str(tmp_path / "out")).read("predictions")
    assert found.schema.names[-2:] == ["id", "meta"]
    assert by_title(found, ["id", "meta"]) == by_title(rows, ["id", "meta"])


def test_photographs_carry_columns_of_shards_and_of_folders(tmp_path, capsys):
    photographs = [encode_jpeg(draw_sea(180, 120, np.random.default_rng(i)).image, quality=90) for i in range(4)]
    table = pa.table(
        {
            "name": ["w10.jpg", "w9.jpg", "bad.jpg"],
            "bytes": [*photographs[:2], b"no photograph"],
            "species": ["humpback", None, "fin"],
            "where": pa.array([{"lat": 1.5, "tags": ["a"]}, None, None]),
        }
    )
    pq.write_table(table, tmp_path / "shard.parquet")
    for place, species in enumerate(["blue", "fin"]):
        folder = tmp_path / f"files/species={species}"
        folder.mkdir(parents=True)
        (folder / "_DSC1.JPG").write_bytes(photographs[2 + place])  # as cameras call them
    given = ["--input", tmp_path / "shard.parquet", tmp_path / "files", "--output", tmp_path / "out"]
    given += ["--max-reject-ratio", "0.5", "--method", "saliency"]
    assert "shard.parquet lacks the column 'genus' of --keep; it has name, bytes, species, where" in refusal(
        capsys, whales, *given, "--keep", "genus"
    )
    assert "--keep key=input_key" in refusal(capsys, whales, *given, "--keep", "species=key")
    assert run(whales, *given, "--keep", "species", "where") == 0
    found = molino.open(str(tmp_path / "out")).read("regions").to_pylist()
    assert [(row["key"].rpartition("/")[2], row["species"], row["where"]) for row in found] == [
        ("shard.parquet!w10.jpg", "humpback", {"lat": 1.5, "tags": ["a"]}),
        ("shard.parquet!w9.jpg", None, None),
        ("_DSC1.JPG", "blue", None),
        ("_DSC1.JPG", "fin", None),
    ]
    assert manifest_of(tmp_path / "out")["counters"]["rejects"] == 1
    assert verify(str(tmp_path / "out"))[1] == []
    shutil.rmtree(tmp_path / "out")
    assert run(whales, *given) == 0  # nothing is carried that nobody asked for
    assert "species" not in molino.open(str(tmp_path / "out")).schema("regions").names
