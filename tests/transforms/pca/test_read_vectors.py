"""Vectors from Parquet: every row is used or rejected with its reason, and any layout gives the same rows."""

import base64
import gzip
import io
import pathlib
import zipfile

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as encryption
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molino.transforms.errors import DataError, OptionError
from molino.transforms.files.list_files import list_files
from molino.transforms.pca.numbers import clean_vectors, parse_numbers, sort_out
from molino.transforms.pca.read_vectors import BLOCK_ROWS, VectorColumns, list_text_vectors, list_vectors, read_blocks
from molino.transforms.text.command_line import CommandLine
from molino.transforms.text.sources import TextFormat, list_sources

NAN, INF = float("nan"), float("inf")
ROWS = [
    ([1.0, 2.0], None),
    (None, "null_vector"),
    ([1.0], "wrong_length"),
    ([1.0, None], "null_number"),
    ([NAN, 2.0], "not_a_number"),
    ([1.0, -INF], "infinite"),
    ([1.0, 2.0, 3.0], "wrong_length"),
    ([], "wrong_length"),
    ([-0.0, 1e300], None),
]


CSV = TextFormat(columns={}, delimiter=",", encoding="utf-8", quote='"')
TYPED = CommandLine("molino pca", ("--input", "a.csv"))


def of_text(files, *vector, text=CSV, **choice):
    return list_text_vectors(list_sources(files, text), text, VectorColumns(vector=vector, **choice), TYPED)


def all_of(vectors, columns=None):
    """Return what is read of all spans: vectors, rows, rejects, places, and lines."""
    names = vectors.carried.names if columns is None else columns
    blocks = [block for span in vectors.spans(sample=0, seed=1) for block in read_blocks(span, vectors, names)]
    return (
        np.concatenate([block.vectors for block in blocks]),
        [row for block in blocks for row in block.rows.select(names).to_pylist()],
        [reject for block in blocks for reject in block.rejects],
        np.concatenate([block.places for block in blocks]).tolist(),
        np.concatenate([block.lines for block in blocks]).tolist(),
    )


def listed(files, *vector, numbers=None, **choice):
    return list_vectors(files, VectorColumns(vector=vector, **choice), numbers)


def write(path, rows=5, *, type_=None, **how):
    vectors = np.arange(2.0 * rows).reshape(rows, 2)
    column = pa.array(vectors.tolist(), type_ or pa.list_(pa.float32(), 2))
    pq.write_table(pa.table({"id": np.arange(rows), "v": column}), path, **how)
    return list_files(str(path)).files


@pytest.mark.parametrize("type_", [pa.list_(pa.float64()), pa.large_list(pa.float64())], ids=str)
def test_each_fault_has_its_reason(type_):
    good, vectors, rejects = sort_out(pa.array([row for row, _ in ROWS], type_), 2)
    assert good.tolist() == [0, 8]
    np.testing.assert_array_equal(vectors, [[1, 2], [-0.0, 1e300]])
    assert [(place, reason) for place, reason, _ in rejects] == [(i, why) for i, (_, why) in enumerate(ROWS) if why]
    assert rejects[2][2] == "number 2 of 2"
    assert rejects[1][2] == "1 numbers, not 2"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["good", "null", "hole", "nan", "inf", "huge"]), max_size=30), st.booleans())
def test_the_fast_way_takes_what_the_slow_one_takes(kinds, double):
    made = {"good": [1.0, 2.0], "null": None, "hole": [None, 1.0], "nan": [NAN, 1], "inf": [INF, 1], "huge": [3e38, 1]}
    type_ = pa.list_(pa.float64() if double else pa.float32(), 2)
    column = pa.array([made[kind] for kind in ["good", *kinds]], type_)[1:]  # an offset, as slices have
    good, vectors, rejects = sort_out(column, 2)
    assert len(good) + len(rejects) == len(kinds)
    assert good.tolist() == [i for i, kind in enumerate(kinds) if kind in ("good", "huge")]
    clean = clean_vectors(column, 2)
    if clean is not None:
        assert not rejects
        np.testing.assert_array_equal(clean, vectors)
    if "huge" not in kinds:
        assert (clean is None) == bool(rejects)


@pytest.mark.parametrize("of", [pa.float16(), pa.float32(), pa.float64(), pa.int8(), pa.uint32()], ids=str)
def test_numbers_of_any_type(tmp_path, of):
    files = write(tmp_path / "a.parquet", type_=pa.list_(of, 2))
    vectors = listed(files, "v")
    [block] = read_blocks(vectors.spans(sample=0, seed=1)[0], vectors, ["v"])
    np.testing.assert_array_equal(block.vectors, np.arange(10.0).reshape(5, 2))
    assert block.vectors.dtype == (np.float32 if of.bit_width < 33 and pa.types.is_floating(of) else np.float64)


def test_blocks_follow_the_row_groups(tmp_path):
    files = write(tmp_path / "a.parquet", rows=BLOCK_ROWS + 10, row_group_size=BLOCK_ROWS + 5)
    vectors = listed(files, "v")
    [span] = vectors.spans(sample=0, seed=1)
    blocks = list(read_blocks(span, vectors, ["v", "id"]))
    assert [block.records for block in blocks] == [BLOCK_ROWS, 5, 5]
    ids = np.concatenate([block.rows["id"].to_numpy() for block in blocks])
    np.testing.assert_array_equal(ids, np.arange(BLOCK_ROWS + 10))
    np.testing.assert_array_equal(np.concatenate([block.places for block in blocks]), ids)


def test_nulls_among_lists_of_fixed_size(tmp_path):
    rows = [[float(n), 1.0] if n % 1000 != 999 else None for n in range(2 * BLOCK_ROWS + 10)]
    fixed, stamp = pa.list_(pa.float32(), 2), pa.timestamp("us", "UTC")
    columns = {
        "id": pa.array(range(len(rows)), stamp),
        "v": pa.array(rows, fixed),
        "w": pa.array([[1.0, 2.0]] * len(rows), fixed),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    vectors = listed(list_files(str(tmp_path / "a.parquet")).files, "v")
    [span] = vectors.spans(sample=0, seed=1)
    blocks = list(read_blocks(span, vectors, ["id", "v", "w"]))
    assert [block.records for block in blocks] == [BLOCK_ROWS, BLOCK_ROWS, 10]
    rejects = [reject for block in blocks for reject in block.rejects]
    assert rejects == [(n + 1, "null_vector", "") for n in range(999, len(rows), 1000)]
    kept = np.concatenate([block.vectors for block in blocks])
    np.testing.assert_array_equal(kept[:, 0], [n for n in range(len(rows)) if n % 1000 != 999])
    assert blocks[1].rows.schema.field("id").type == stamp
    assert blocks[1].rows.schema.field("w").type == fixed
    pq.write_table(pa.table(columns | {"w": columns["v"]}), tmp_path / "b.parquet")
    vectors = listed(list_files(str(tmp_path / "b.parquet")).files, "v")
    with pytest.raises(DataError, match="the column 'w' has null lists"):
        list(read_blocks(vectors.spans(sample=0, seed=1)[0], vectors, ["v", "w"]))


def test_spans_hold_each_row_and_each_sampled_row_once(tmp_path, monkeypatch):
    monkeypatch.setattr("molino.transforms.pca.read_vectors.LEAST_BYTES", 2000)
    files = [*write(tmp_path / "a.parquet", rows=900, row_group_size=100)]
    files += write(tmp_path / "b.parquet", rows=250, row_group_size=40)
    vectors = listed(files, "v")
    spans = vectors.spans(sample=60, seed=1)
    assert [span.number for span in spans] == list(range(len(spans)))
    assert len(spans) > 4
    places = [block.places for span in spans for block in read_blocks(span, vectors, ["v"])]
    np.testing.assert_array_equal(np.concatenate(places), np.arange(1150))
    sampled = [row for span in spans for row in span.sampled]
    assert sampled == sorted(set(sampled))
    assert len(sampled) == 60
    for span in spans:
        own = np.concatenate([block.places for block in read_blocks(span, vectors, ["v"])])
        assert set(span.sampled) <= set(own.tolist())
    assert vectors.spans(sample=60, seed=2)[0].sampled != spans[0].sampled


def test_a_list_of_any_length_has_the_commonest_of_a_sample(tmp_path):
    rows = [[], None, [1.0], [1.0, 2.0, 3.0], [1.0, 2.0, 4.0]]
    pq.write_table(pa.table({"v": pa.array(rows, pa.list_(pa.float32()))}), tmp_path / "a.parquet")
    files = list_files(str(tmp_path / "a.parquet")).files
    assert listed(files, "v").numbers == 3
    assert listed(files, "v", numbers=1).numbers == 1
    with pytest.raises(DataError, match=r"--numbers 9: no sampled vector in 'v' of .* has so many; most have 3"):
        listed(files, "v", numbers=9)
    vectors = listed(files, "v")
    [block] = read_blocks(vectors.spans(sample=0, seed=1)[0], vectors, ["v"])
    assert [(line, reason) for line, reason, _ in block.rejects] == [
        (1, "wrong_length"), (2, "null_vector"), (3, "wrong_length"),
    ]  # fmt: skip


def test_vectors_far_from_the_start_are_found(tmp_path):
    rows = [[]] * 3000 + [[1.0, 2.0]]
    pq.write_table(pa.table({"v": pa.array(rows, pa.list_(pa.float32()))}), tmp_path / "a.parquet")
    assert listed(list_files(str(tmp_path / "a.parquet")).files, "v").numbers == 2


UUID = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"x" * 16, b"y" * 16], pa.binary(16)))
TENSOR = pa.ExtensionArray.from_storage(
    pa.fixed_shape_tensor(pa.float32(), [1, 2]), pa.array([[1, 2], [3, 4]], pa.list_(pa.float32(), 2))
)
CARRIED = {
    "uuid": (UUID, pa.binary(16)),
    "json": (pa.ExtensionArray.from_storage(pa.json_(), pa.array(["{}", None])), pa.string()),
    "bool8": (pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0], pa.int8())), pa.int8()),
    "tensor": (TENSOR, pa.list_(pa.float32(), 2)),
    "list of uuid": (pa.ListArray.from_arrays([0, 1, 2], UUID), pa.list_(pa.binary(16))),
    "struct of uuid": (pa.StructArray.from_arrays([UUID], ["a"]), pa.struct([("a", pa.binary(16))])),
    "tags": (pa.array([["x"], None], pa.large_list(pa.large_string())), pa.list_(pa.string())),
    "struct": (
        pa.array([{"a": [{"b": "x"}]}, None], pa.struct([("a", pa.large_list(pa.struct([("b", pa.large_string())])))])),
        pa.struct([("a", pa.list_(pa.struct([("b", pa.string())])))]),
    ),
    "map": (
        pa.array([[("k", b"v")], None], pa.map_(pa.large_string(), pa.large_binary())),
        pa.map_(pa.string(), pa.binary()),
    ),
    "coded list": (
        pa.ListArray.from_arrays([0, 1, 2], pa.array(["x", "y"]).dictionary_encode()),
        pa.list_(pa.string()),
    ),
}


@pytest.mark.parametrize("name", CARRIED)
def test_any_type_is_carried_as_a_plain_one(tmp_path, name):
    array, wanted = CARRIED[name]
    pq.write_table(pa.table({"v": TENSOR, "x": array}), tmp_path / "a.parquet")
    vectors = listed(list_files(str(tmp_path / "a.parquet")).files, "v")
    assert vectors.numbers == 2
    assert vectors.schema.field("x").type.equals(wanted)
    assert not [key for one in vectors.schema for key in one.metadata or {} if key.startswith(b"ARROW:extension")]
    [block] = read_blocks(vectors.spans(sample=0, seed=1)[0], vectors, ["v", "x"])
    assert block.rows.schema.field("x").type.equals(wanted)
    assert block.rows["x"].equals(array.cast(wanted))
    np.testing.assert_array_equal(block.vectors, [[1, 2], [3, 4]])


def test_parts_may_differ_in_nulls_and_in_the_order_of_columns(tmp_path):
    v = pa.array([[1.0], [2.0]], pa.list_(pa.float32(), 1))
    strict = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("v", v.type), pa.field("t", pa.string())])
    loose = pa.schema([pa.field("v", v.type), pa.field("t", pa.large_string()), pa.field("id", pa.int64())])
    pq.write_table(pa.table([pa.array([1, 2]), v, pa.array(["a", "b"])], schema=strict), tmp_path / "a.parquet")
    pq.write_table(pa.table([v, pa.array(["c", "d"]), pa.array([3, None])], schema=loose), tmp_path / "b.parquet")
    files = list_files(str(tmp_path / "*.parquet")).files
    vectors = listed(sorted(files, key=lambda file: file.path), "v")
    assert vectors.schema.names == ["id", "v", "t"]
    assert vectors.schema.field("id").nullable
    blocks = [
        block for span in vectors.spans(sample=0, seed=1) for block in read_blocks(span, vectors, ["id", "t", "v"])
    ]
    assert [row["id"] for block in blocks for row in block.rows.to_pylist()] == [1, 2, 3, None]
    pq.write_table(pa.table({"id": pa.array([1.5]), "v": v[:1], "t": ["a"]}), tmp_path / "c.parquet")
    with pytest.raises(DataError, match=r"c\.parquet has other columns than .*: 'id' is double, not int64"):
        listed(sorted(list_files(str(tmp_path / "*.parquet")).files, key=lambda file: file.path), "v")


def test_columns_are_carried_in_plain_types(tmp_path):
    table = pa.table(
        {
            "v": pa.array([[1.0], [2.0]], pa.list_(pa.float32(), 1)),
            "large": pa.array(["a", None], pa.large_string()),
            "coded": pa.array(["x", "y"]).dictionary_encode(),
            "struct": pa.array([{"a": 1}, None]),
            "day": pa.array([1, 2], pa.date32()),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    vectors = listed(list_files(str(tmp_path / "a.parquet")).files, "v")
    assert vectors.schema.field("large").type == vectors.schema.field("coded").type == pa.string()
    [block] = read_blocks(vectors.spans(sample=0, seed=1)[0], vectors, vectors.schema.names)
    assert block.rows.to_pylist() == table.to_pylist()


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"vector": ["w"]}, "no column 'w'; it has: id, v, t"),
        ({"vector": ["vv"]}, "no column 'vv'; did you mean 'v'"),
        ({"vector": ["v"], "keep": ("no",)}, "no column 'no'; it has: id, v, t"),
        ({"vector": ["v"], "drop": ("no",)}, "no column 'no'; it has: id, v, t"),
        ({"vector": ["v"], "others": ("no",)}, "no column 'no'; it has: id, v, t"),
        ({"vector": ["t"]}, r"the column 't' is string; text is no number; if it is such as \[1,2,3\], make Parquet"),
        ({"vector": ["id", "v"]}, "'v' is fixed_size_list.*; --column takes one column of lists of numbers"),
        ({"vector": ["d"]}, "the column 'd' is date32"),
        ({"vector": ["v", "v2"]}, "the column 'v' is .*, 'v2' is .*; --column takes one column of lists"),
    ],
)  # fmt: skip
def test_a_column_that_is_none(tmp_path, choice, words):
    table = pa.table({"id": [1], "v": pa.array([[1.0]], pa.list_(pa.float32(), 1)), "t": ["[1,2]"]})
    table = table.append_column("d", pa.array([1], pa.date32())).append_column("v2", table["v"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=words):
        listed(list_files(str(tmp_path / "a.parquet")).files, *choice.pop("vector"), **choice)


def test_the_remedy_for_lists_as_text_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.table({"a b": ["[1,2.5]", "[3, 4e1]"]}), "a.parquet")
    pathlib.Path("b.csv").write_text('id,"a b"\n1,"[1,2.5]"\n2,"[3, 4e1]"\n')
    for path, give in (
        ("a.parquet", lambda files: listed(files, "a b")),
        ("b.csv", lambda files: of_text(files, "a b")),
    ):
        with pytest.raises(DataError, match=r"\[1,2,3\]|as text") as told:
            give(list_files(str(tmp_path / path)).files)
        duckdb.sql(str(told.value).split("say: ")[1])
        vectors = listed(list_files(str(tmp_path / "lists.parquet")).files, "a b")
        np.testing.assert_array_equal(all_of(vectors)[0], [[1, 2.5], [3, 40]])


def test_files_that_do_not_agree(tmp_path):
    files = write(tmp_path / "a.parquet") + write(tmp_path / "b.parquet", type_=pa.list_(pa.float64(), 2))
    with pytest.raises(DataError, match=r"b\.parquet has other columns than .*'v' is"):
        listed(files, "v")


def test_what_is_no_parquet(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + b"\0" * 50)
    with pytest.raises(DataError, match=r"a\.parquet is a truncated Parquet file"):
        listed(list_files(str(tmp_path / "a.parquet")).files, "v")


class Keys(encryption.KmsClient):
    def wrap_key(self, key_bytes, master_key_identifier):
        return base64.b64encode(key_bytes)

    def unwrap_key(self, wrapped_key, master_key_identifier):
        return base64.b64decode(wrapped_key)


def test_an_encrypted_column_is_called_so(tmp_path):
    """Of a file whose footer is plain; Arrow ends the process where such a column's metadata are looked at."""
    table, path = pa.table({"v": [1.0, 2.0], "w": [1, 2]}), str(tmp_path / "a.parquet")
    how = encryption.EncryptionConfiguration(footer_key="a", column_keys={"b": ["v"]}, plaintext_footer=True)
    keys = encryption.CryptoFactory(lambda _: Keys()).file_encryption_properties(encryption.KmsConnectionConfig(), how)
    with pq.ParquetWriter(path, table.schema, encryption_properties=keys) as writer:
        writer.write_table(table)
    np.testing.assert_array_equal(all_of(listed(list_files(path).files, "w", drop=("v",)))[0], [[1], [2]])
    with pytest.raises(DataError, match=r"a\.parquet is an encrypted Parquet file .*; decrypt it first"):
        all_of(listed(list_files(path).files, "v"))


def test_what_has_no_digest_is_not_carried(tmp_path):
    table = pa.table({"v": pa.array([[1.0]], pa.list_(pa.float32(), 1)), "n": pa.nulls(1)})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="the column 'n' is null, which is not carried along; leave it out: --drop n"):
        listed(list_files(str(tmp_path / "a.parquet")).files, "v")


@pytest.mark.parametrize(("rows", "size", "largest"), [(60_000, 1000, BLOCK_ROWS), (60, 1_000_000, 5)])
def test_a_row_group_is_never_held_whole(tmp_path, monkeypatch, rows, size, largest):
    monkeypatch.setattr("molino.transforms.pca.read_vectors.BLOCK_BYTES", 5 << 20)
    raw = np.random.default_rng(1).bytes(rows * size // 2).hex()
    table = pa.table({"n": np.arange(rows), "t": [raw[n * size : (n + 1) * size] for n in range(rows)]})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, compression="none", use_dictionary=False, row_group_size=rows, write_batch_size=1)
    vectors = listed(list_files(str(path)).files, "n")
    before, done = pa.total_allocated_bytes(), 0
    for block in read_blocks(vectors.spans(sample=0, seed=1)[0], vectors, ["t"]):
        assert 0 < block.records <= largest
        assert pa.total_allocated_bytes() - before < rows * size / 2
        assert block.rows["t"].equals(table["t"].slice(done, block.records).combine_chunks())
        done += block.records
    assert done == rows


def test_what_cannot_be_carried_is_left_out(tmp_path):
    columns = {"v": pa.array([[1.0]], pa.list_(pa.float32(), 1)), "n": pa.nulls(1), "a": [1], "b": [2]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    pq.write_table(pa.table({**columns, "n": pa.array(["x"])}), tmp_path / "b.parquet")  # of another type
    files = sorted(list_files(str(tmp_path / "*.parquet")).files, key=lambda file: file.path)
    assert listed(files, "v", drop=("n",)).carried.names == ["v", "a", "b"]
    assert listed(files, "v", keep=("b", "a")).carried.names == ["v", "a", "b"]
    assert listed(files, "a", "b", keep=("b",)).carried.names == ["b"]
    assert listed(files, "a", "b", drop=("n",)).carried.names == ["v"]
    assert listed(files, "a", keep=("v",), others=("b",)).schema.names == ["v", "a", "b"]


def test_columns_of_numbers_are_vectors(tmp_path):
    random = np.random.default_rng(1)
    frame = pd.DataFrame({
        "i": random.integers(-(2**40), 2**40, 9000), "f": random.standard_normal(9000).astype(np.float32),
        "d": random.standard_normal(9000), "u": random.integers(0, 255, 9000).astype(np.uint8), "t": "x",
    })  # fmt: skip
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=5000)
    files = list_files(str(tmp_path / "a.parquet")).files
    for names, type_ in ((["i", "f", "d", "u"], pa.float64()), (["f"], pa.float32()), (["u"], pa.float64())):
        vectors = listed(files, *names)
        found, rows, rejects, places, lines = all_of(vectors)
        np.testing.assert_array_equal(found, frame[names].to_numpy(np.float64))
        assert (rejects, places, lines) == ([], list(range(9000)), list(range(1, 9001)))
        assert (vectors.type, vectors.numbers, vectors.names) == (type_, len(names), names)
        assert rows == frame.drop(columns=names).to_dict("records")
    with pytest.raises(OptionError, match="--numbers 2 is for a column of lists"):
        listed(files, "i", "f", numbers=2)


TEXT = """\
id,"x",note,y
1,1.5,a,-2
2,,b,1
3,1e3,"c, d
e",0x1
4,nan,f,1
5,2,g,Infinity
6,1_000, h,+7
7,8
8, 9 ,"i ""j\""",1e-400
"""
GOOD = [[1.5, -2.0], [1000.0, 7.0], [9.0, 0.0]]
REJECTS = [
    (3, "null_number", "column 'x'"),
    (4, "no_number", "column 'y': 9A9"),
    (6, "not_a_number", "column 'x'"),
    (7, "infinite", "column 'y'"),
    (9, "too_few_fields", "9,9"),
]


def test_text_is_read_as_numbers(tmp_path):
    (tmp_path / "a.csv").write_text(TEXT)
    vectors = of_text(list_files(str(tmp_path / "a.csv")).files, "x", "y")
    found, rows, rejects, places, lines = all_of(vectors)
    np.testing.assert_array_equal(found, GOOD)
    assert sorted(rejects) == REJECTS
    assert (places, lines) == ([0, 5, 7], [2, 8, 10])
    assert rows == [{"id": "1", "note": "a"}, {"id": "6", "note": " h"}, {"id": "8", "note": 'i "j"'}]
    assert (vectors.rows, vectors.numbers, vectors.column) == (8, 2, "scores")


def pack(data, path):
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(data))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("b.csv", data)
            archive.writestr("a.csv", data.splitlines(keepends=True)[0])
    else:
        path.write_bytes(data)
    return list_files(str(path)).files


@pytest.mark.parametrize("suffix", [".csv", ".gz", ".zip"])
@pytest.mark.parametrize("quoting", [0, 1, None], ids=["plain", "quoted", "no quote"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_any_text_has_the_numbers_of_pandas(tmp_path, monkeypatch, suffix, quoting, end):
    """In pieces of 999 bytes or whole, packed or not, quoted or not; and the places are those of the records."""
    monkeypatch.setattr("molino.transforms.pca.read_vectors.PIECE_BYTES", 999)
    monkeypatch.setattr("molino.transforms.pca.read_vectors.LEAST_BYTES", 3000)
    random = np.random.default_rng(5)
    frame = pd.DataFrame({"x": random.standard_normal(700) * 1e300, "position": range(700), "y": random.random(700)})
    buffer = io.StringIO()
    frame.to_csv(buffer, index=False, sep=";", quoting=quoting or 0, lineterminator=end)
    given = TextFormat(columns={}, delimiter=";", encoding="utf-8", quote='"' if quoting is not None else "")
    vectors = of_text(pack(buffer.getvalue().encode(), tmp_path / f"a{suffix}"), "y", "x", text=given)
    found, rows, rejects, places, lines = all_of(vectors)
    np.testing.assert_array_equal(found, frame[["y", "x"]].to_numpy())
    assert rows == [{"position": str(n)} for n in range(700)]
    assert (rejects, places, lines) == ([], list(range(700)), list(range(2, 702)))
    assert (len(vectors.spans(sample=0, seed=1)) == 1) == (quoting == 1 or suffix != ".csv")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text("0123456789+-.eEnaifNI_ \t\u0663x,", max_size=8), min_size=1, max_size=20))
def test_numbers_are_parsed_as_python_does(texts):
    flat, faults = parse_numbers(pa.array(texts))

    def parse(text):
        try:
            return float(text)
        except ValueError:
            return None

    expected = [parse(text) for text in texts]
    bad = np.any([*faults.values(), np.zeros(len(texts), bool)], axis=0)
    assert bad.tolist() == [one is None for one in expected]
    np.testing.assert_array_equal(flat[~bad], [one for one in expected if one is not None])


def test_texts_that_do_not_fit(tmp_path):
    (tmp_path / "a.csv").write_text("x;y;z\n1;2;3\n")
    files = list_files(str(tmp_path / "a.csv")).files
    with pytest.raises(DataError, match=r"right would be: molino pca --input a\.csv --delimiter ';'"):
        of_text(files, "x", "y")
    (tmp_path / "a.csv").write_text("x,y,z\n1,2,3\n")
    with pytest.raises(DataError, match="no column 'x,y'; separate columns by blanks: --column x y"):
        of_text(files, "x,y")
    (tmp_path / "b.csv").write_text("y,w,x\n1,2,3\n")
    both = [*files, *list_files(str(tmp_path / "b.csv")).files]
    with pytest.raises(DataError, match=r"b\.csv has other columns than .*a\.csv: 'w'; run each kind alone"):
        of_text(both, "x", "y")
    np.testing.assert_array_equal(all_of(of_text(both, "x", "y", keep=("x",)))[0], [[1, 2], [3, 1]])
    with pytest.raises(DataError, match=r"a\.csv has no columns 'v', 'w'; it has: x, y, z"):
        of_text(files, "v", keep=("w",))
    pq.write_table(pa.table({"x": [1], "y": [2]}), tmp_path / "c.parquet")
    table = list_files(str(tmp_path / "c.parquet")).files
    with pytest.raises(DataError, match=r"c\.parquet is Parquet, and .*a\.csv is not; give files of one kind"):
        of_text([*files, *table], "x", "y")
    with pytest.raises(DataError, match=r"a\.csv is no Parquet file, as .*c\.parquet is; give files of one kind"):
        listed([*table, *files], "x", "y")
    (tmp_path / "a.csv").write_text("x,x\n1,2\n")
    with pytest.raises(DataError, match="has two columns 'x'; rename one"):
        of_text(list_files(str(tmp_path / "a.csv")).files, "x")


BIG = 2**53


@pytest.mark.parametrize("of", [pa.int64(), pa.uint64()], ids=str)
def test_integers_that_float64_does_not_hold_are_rejects(tmp_path, of):
    sign = -1 if of == pa.int64() else 1
    numbers = [0, 7, BIG, BIG + 1, sign * (BIG + 2), sign * (BIG + 3), None, 2**63 - 1, 2**62]
    for column, names in (
        (pa.array([[n, 1] for n in numbers], pa.list_(of)), ["v"]),
        (pa.array([[n, 1] for n in numbers], pa.list_(of, 2)), ["v"]),
        (pa.array(numbers, of), ["v", "w"]),
    ):
        pq.write_table(pa.table({"v": column, "w": [1] * len(numbers)}), tmp_path / "a.parquet")
        found, _, rejects, places, _ = all_of(
            listed(list_files(str(tmp_path / "a.parquet")).files, *names, keep=("w",))
        )
        good = [place for place, n in enumerate(numbers) if n is not None and int(float(n)) == n]
        assert places == good == [0, 1, 2, 4, 8]
        assert [int(row[0]) for row in found.tolist()] == [numbers[place] for place in good]
        what = "number 1 of 2" if names == ["v"] else "column 'v'"
        reasons = ["inexact_integer", "inexact_integer", "null_number", "inexact_integer"]
        assert rejects == [(n, why, what) for n, why in zip((4, 6, 7, 8), reasons, strict=True)]


@pytest.mark.parametrize("permutation", [None, [2, 0, 1]], ids=str)
def test_tensors_are_their_storage(tmp_path, permutation):
    values = np.arange(48.0, dtype=np.float32).reshape(2, 24)
    type_ = pa.fixed_shape_tensor(pa.float32(), [2, 3, 4], permutation=permutation)
    tensor = pa.ExtensionArray.from_storage(type_, pa.array(values.tolist(), pa.list_(pa.float32(), 24)))
    pq.write_table(pa.table({"v": tensor, "w": tensor}), tmp_path / "a.parquet")
    vectors = listed(list_files(str(tmp_path / "a.parquet")).files, "v")
    found, rows, *_ = all_of(vectors, ["w"])
    np.testing.assert_array_equal(found, values)
    assert rows == [{"w": row} for row in values.tolist()]
    assert vectors.carried.field("w").type == pa.list_(pa.float32(), 24)


def test_vectors_of_spark(tmp_path):
    """Dense and sparse, and those that are damaged: as PySpark writes a DenseVector and a SparseVector."""
    type_ = pa.struct([
        pa.field("type", pa.int8(), nullable=False), ("size", pa.int32()), ("indices", pa.list_(pa.int32())),
        ("values", pa.list_(pa.float64())),
    ])  # fmt: skip
    rows = [
        {"type": 1, "values": [1.0, 2.0, 3.0, 4.0]},
        {"type": 0, "size": 4, "indices": [1, 3], "values": [5.0, -6.0]},
        None,
        {"type": 0, "size": 4, "indices": [], "values": []},
        {"type": 0, "size": 5, "indices": [4], "values": [1.0]},
        {"type": 0, "size": 4, "indices": [4], "values": [1.0]},
        {"type": 0, "size": 4, "indices": [1, 2], "values": [1.0]},
        {"type": 1, "values": [1.0]},
        {"type": 1, "values": [1.0, 2.0, None, 4.0]},
        {"type": 0, "size": 4, "indices": [0], "values": [7.0]},
    ]
    pq.write_table(pa.table({"v": pa.array(rows, type_)}), tmp_path / "a.parquet")
    found, _, rejects, places, _ = all_of(listed(list_files(str(tmp_path / "a.parquet")).files, "v"))
    np.testing.assert_array_equal(found, [[1, 2, 3, 4], [0, 5, 0, -6], [0, 0, 0, 0], [7, 0, 0, 0]])
    assert places == [0, 1, 3, 9]
    assert [(line, reason) for line, reason, _ in rejects] == [
        (3, "null_vector"), (5, "wrong_length"), (6, "not_a_number"), (7, "not_a_number"), (8, "wrong_length"),
        (9, "not_a_number"),
    ]  # fmt: skip
