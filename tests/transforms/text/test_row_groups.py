"""Reading Parquet: every row of every row group, in order, or a reject with its row number."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molino.transforms.errors import DataError
from molino.transforms.files.list_files import list_files
from molino.transforms.text import read as module
from molino.transforms.text import row_groups, sources

TEXT = sources.TextFormat(columns={"title": "TITLE", "category": "category", "note": "note"}, optional=("note",))


def write(path, **columns):
    pq.write_table(pa.table(columns), path, row_group_size=3)
    return list_files(str(path)).files


def read(files, span_bytes=1):
    """Return ([(label, row number, values)], [(label, row number, reason)])."""
    found = sources.list_sources(files, TEXT)
    spans = sources.split_sources(found, span_bytes)
    chunks = [(span, list(module.read_span(span, TEXT, span_bytes))) for span in spans]
    table = module.line_table([(s.number, sum(c.lines for c in held)) for s, held in chunks], spans, found)
    rows, rejects = [], []
    for chunk in (chunk for _, held in chunks for chunk in held):
        assert chunk.records == chunk.rows.num_rows + chunk.rejects.num_rows
        assert chunk.rows.schema == TEXT.schema
        places = zip(*(array.to_pylist() for array in table.locate(chunk.rows["position"])), strict=True)
        values = zip(*(chunk.rows[name].to_pylist() for name in TEXT.columns), strict=True)
        rows += [(*place, value) for place, value in zip(places, values, strict=True)]
        places = zip(*(array.to_pylist() for array in table.locate(chunk.rejects["position"])), strict=True)
        rejects += [(*place, why) for place, why in zip(places, chunk.rejects["reason"].to_pylist(), strict=True)]
    return rows, rejects


@pytest.mark.parametrize("span_bytes", [1, 150, 1 << 20])
@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_every_row_of_every_group(tmp_path, span_bytes, kind, monkeypatch):
    monkeypatch.setattr(row_groups, "BATCH_ROWS", 2)
    titles = [f"título {n}" for n in range(10)]
    write(tmp_path / "a", TITLE=pa.array(titles, pa.string()).cast(kind), category=["c"] * 10, X=range(10))
    write(tmp_path / "b", TITLE=["z"], category=["d"], note=["n"])
    rows, rejects = read(list_files(str(tmp_path / "*")).files, span_bytes)
    assert rows == [("a", n + 1, (title, "c", None)) for n, title in enumerate(titles)] + [("b", 1, ("z", "d", "n"))]
    assert rejects == []


def test_text_and_parquet_side_by_side(tmp_path):
    write(tmp_path / "b.parquet", TITLE=["x"], category=["c"])
    (tmp_path / "a.csv").write_bytes(b"category|TITLE\nd|y\n")
    rows, _ = read(list_files(str(tmp_path / "*")).files)
    assert rows == [("a.csv", 2, ("y", "d", None)), ("b.parquet", 1, ("x", "c", None))]


def test_nulls_and_bytes_that_are_no_text_are_rejects(tmp_path):
    bad = pa.array([b"ok", b"\xff\xfe", None, b"last"], pa.binary()).view(pa.string())
    files = write(tmp_path / "f", TITLE=bad, category=["c", "c", "c", None], note=["n", None, None, None])
    rows, rejects = read(files)
    assert rows == [("f", 1, ("ok", "c", "n"))]
    assert rejects == [("f", 2, "bad_encoding"), ("f", 3, "null_value"), ("f", 4, "null_value")]


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_bytes_that_are_no_text_are_rejects_in_every_type_of_strings(tmp_path, kind):
    binary = pa.array([b"ok", b"\xff\xfe", b"ok"], pa.large_binary() if kind == pa.large_string() else pa.binary())
    bad = binary.view(kind) if kind == pa.large_string() else binary.view(pa.string()).dictionary_encode()
    rows, rejects = read(write(tmp_path / "f", TITLE=bad, category=["c"] * 3))
    assert [row[1] for row in rows] == [1, 3]
    assert rejects == [("f", 2, "bad_encoding")]


def test_no_rows_are_an_empty_source(tmp_path):
    [source] = sources.list_sources(
        write(tmp_path / "f", TITLE=pa.array([], pa.string()), category=pa.array([], pa.string())), TEXT
    )
    assert source.empty
    assert sources.split_sources([source], 10) == []


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"TITEL": ["x"], "category": ["c"]}, ["lacks the column 'TITLE'", "'TITEL'"]),
        ({"TITLE": [1], "category": ["c"]}, ["'TITLE' is int64, not text"]),
    ],
)
def test_what_is_no_table_of_titles_is_refused(tmp_path, columns, words):
    with pytest.raises(DataError) as error:
        sources.list_sources(write(tmp_path / "f.parquet", **columns), TEXT)
    assert [word for word in [str(tmp_path / "f.parquet"), *words] if word not in str(error.value)] == []


def test_damage_is_told_of(tmp_path):
    files = write(tmp_path / "f.parquet", TITLE=["x" * 50, "y"] * 500, category=["c"] * 1000)
    data = (tmp_path / "f.parquet").read_bytes()
    (tmp_path / "f.parquet").write_bytes(data[:-9])
    with pytest.raises(DataError, match=r"f\.parquet is a truncated Parquet file"):
        sources.list_sources(files, TEXT)
    (tmp_path / "f.parquet").write_bytes(data)
    found = sources.list_sources(files, TEXT)
    (tmp_path / "f.parquet").write_bytes(data[:4] + b"\xff" * 60 + data[64:])
    [span] = sources.split_sources(found, 1 << 30)
    with pytest.raises(DataError, match=r"f\.parquet: a damaged Parquet file"):
        list(module.read_span(span, TEXT, 1 << 20))


def test_a_column_of_the_type_null_is_one_of_nulls(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"title": ["a", "b"], "quality": pa.nulls(2)}), path)
    text = sources.TextFormat(columns={"title": "title", "quality": "quality"}, optional=("quality",))
    [source] = sources.list_sources(list_files(str(path)).files, text)
    [span] = sources.split_sources([source], 1 << 20)
    [chunk] = module.read_span(span, text, 1 << 20)
    assert chunk.rows.select(["title", "quality"]).to_pylist() == [
        {"title": "a", "quality": None},
        {"title": "b", "quality": None},
    ]


def test_numbers_in_a_column_of_text_are_told_with_a_remedy(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"title": ["a"], "label_quality": [1]}), path)
    columns = {"title": "title", "label_quality": "label_quality"}
    told = r"'label_quality' is int64, not text; write it as text \(in pandas .astype\(str\)\), or name another by "
    for optional, end in (
        (("label_quality",), "--label-quality-column NAME, or none by --label-quality-column ''$"),
        ((), "NAME$"),
    ):
        with pytest.raises(DataError, match=told + ".*" + end):
            sources.list_sources(list_files(str(path)).files, sources.TextFormat(columns=columns, optional=optional))
