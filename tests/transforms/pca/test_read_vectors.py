"""Vectors from Parquet: every row is used or rejected with its reason, and any layout gives the same rows."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molino.transforms.errors import DataError
from molino.transforms.files.list_files import list_files
from molino.transforms.pca.read_vectors import BLOCK_ROWS, clean_vectors, list_vectors, read_blocks, sort_out

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
    vectors = list_vectors(files, "v")
    [block] = read_blocks(vectors.spans(sample=0, seed=1)[0], "v", 2, ["v"])
    np.testing.assert_array_equal(block.vectors, np.arange(10.0).reshape(5, 2))
    assert block.vectors.dtype == (np.float32 if of.bit_width < 33 and pa.types.is_floating(of) else np.float64)


def test_blocks_follow_the_row_groups(tmp_path):
    files = write(tmp_path / "a.parquet", rows=BLOCK_ROWS + 10, row_group_size=BLOCK_ROWS + 5)
    vectors = list_vectors(files, "v")
    [span] = vectors.spans(sample=0, seed=1)
    blocks = list(read_blocks(span, "v", 2, ["v", "id"]))
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
    vectors = list_vectors(list_files(str(tmp_path / "a.parquet")).files, "v")
    [span] = vectors.spans(sample=0, seed=1)
    blocks = list(read_blocks(span, "v", 2, ["id", "v", "w"]))
    assert [block.records for block in blocks] == [BLOCK_ROWS, BLOCK_ROWS, 10]
    rejects = [reject for block in blocks for reject in block.rejects]
    assert rejects == [(n + 1, "null_vector", "") for n in range(999, len(rows), 1000)]
    kept = np.concatenate([block.vectors for block in blocks])
    np.testing.assert_array_equal(kept[:, 0], [n for n in range(len(rows)) if n % 1000 != 999])
    assert blocks[1].rows.schema.field("id").type == stamp
    assert blocks[1].rows.schema.field("w").type == fixed
    pq.write_table(pa.table(columns | {"w": columns["v"]}), tmp_path / "b.parquet")
    vectors = list_vectors(list_files(str(tmp_path / "b.parquet")).files, "v")
    with pytest.raises(DataError, match="the column 'w' has null lists"):
        list(read_blocks(vectors.spans(sample=0, seed=1)[0], "v", 2, ["v", "w"]))


def test_spans_hold_each_row_and_each_sampled_row_once(tmp_path, monkeypatch):
    monkeypatch.setattr("molino.transforms.pca.read_vectors.LEAST_BYTES", 2000)
    files = [*write(tmp_path / "a.parquet", rows=900, row_group_size=100)]
    files += write(tmp_path / "b.parquet", rows=250, row_group_size=40)
    vectors = list_vectors(files, "v")
    spans = vectors.spans(sample=60, seed=1)
    assert [span.number for span in spans] == list(range(len(spans)))
    assert len(spans) > 4
    places = [block.places for span in spans for block in read_blocks(span, "v", 2, ["v"])]
    np.testing.assert_array_equal(np.concatenate(places), np.arange(1150))
    sampled = [row for span in spans for row in span.sampled]
    assert sampled == sorted(set(sampled))
    assert len(sampled) == 60
    for span in spans:
        own = np.concatenate([block.places for block in read_blocks(span, "v", 2, ["v"])])
        assert set(span.sampled) <= set(own.tolist())
    assert vectors.spans(sample=60, seed=2)[0].sampled != spans[0].sampled


def test_a_list_of_any_length_has_the_commonest_of_a_sample(tmp_path):
    rows = [[], None, [1.0], [1.0, 2.0, 3.0], [1.0, 2.0, 4.0]]
    pq.write_table(pa.table({"v": pa.array(rows, pa.list_(pa.float32()))}), tmp_path / "a.parquet")
    files = list_files(str(tmp_path / "a.parquet")).files
    assert list_vectors(files, "v").numbers == 3
    assert list_vectors(files, "v", 1).numbers == 1
    with pytest.raises(DataError, match=r"--numbers 9: no sampled vector in 'v' of .* has so many; most have 3"):
        list_vectors(files, "v", 9)
    [block] = read_blocks(list_vectors(files, "v").spans(sample=0, seed=1)[0], "v", 3, ["v"])
    assert [(line, reason) for line, reason, _ in block.rejects] == [
        (1, "wrong_length"), (2, "null_vector"), (3, "wrong_length"),
    ]  # fmt: skip


def test_vectors_far_from_the_start_are_found(tmp_path):
    rows = [[]] * 3000 + [[1.0, 2.0]]
    pq.write_table(pa.table({"v": pa.array(rows, pa.list_(pa.float32()))}), tmp_path / "a.parquet")
    assert list_vectors(list_files(str(tmp_path / "a.parquet")).files, "v").numbers == 2


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
    vectors = list_vectors(list_files(str(tmp_path / "a.parquet")).files, "v")
    assert vectors.numbers == 2
    assert vectors.schema.field("x").type.equals(wanted)
    assert not [key for one in vectors.schema for key in one.metadata or {} if key.startswith(b"ARROW:extension")]
    [block] = read_blocks(vectors.spans(sample=0, seed=1)[0], "v", 2, ["v", "x"])
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
    vectors = list_vectors(sorted(files, key=lambda file: file.path), "v")
    assert vectors.schema.names == ["id", "v", "t"]
    assert vectors.schema.field("id").nullable
    blocks = [
        block for span in vectors.spans(sample=0, seed=1) for block in read_blocks(span, "v", 1, ["id", "t", "v"])
    ]
    assert [row["id"] for block in blocks for row in block.rows.to_pylist()] == [1, 2, 3, None]
    pq.write_table(pa.table({"id": pa.array([1.5]), "v": v[:1], "t": ["a"]}), tmp_path / "c.parquet")
    with pytest.raises(DataError, match=r"c\.parquet has other columns than .*: 'id' is double, not int64"):
        list_vectors(sorted(list_files(str(tmp_path / "*.parquet")).files, key=lambda file: file.path), "v")


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
    vectors = list_vectors(list_files(str(tmp_path / "a.parquet")).files, "v")
    assert vectors.schema.field("large").type == vectors.schema.field("coded").type == pa.string()
    [block] = read_blocks(vectors.spans(sample=0, seed=1)[0], "v", 1, vectors.schema.names)
    assert block.rows.to_pylist() == table.to_pylist()


@pytest.mark.parametrize(
    ("column", "words"),
    [("w", "no column 'w'; its vectors: 'v'"), ("id", "is int64, no list of numbers"), ("vv", "did you mean 'v'")],
)
def test_a_column_that_is_none(tmp_path, column, words):
    with pytest.raises(DataError, match=words):
        list_vectors(write(tmp_path / "a.parquet"), column)


def test_files_that_do_not_agree(tmp_path):
    files = write(tmp_path / "a.parquet") + write(tmp_path / "b.parquet", type_=pa.list_(pa.float64(), 2))
    with pytest.raises(DataError, match=r"b\.parquet has other columns than .*'v' is"):
        list_vectors(files, "v")


def test_what_is_no_parquet(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + b"\0" * 50)
    with pytest.raises(DataError, match=r"a\.parquet is no Parquet file"):
        list_vectors(list_files(str(tmp_path / "a.parquet")).files, "v")


def test_what_has_no_digest_is_not_carried(tmp_path):
    table = pa.table({"v": pa.array([[1.0]], pa.list_(pa.float32(), 1)), "n": pa.nulls(1)})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="the column 'n' is null, which is not carried"):
        list_vectors(list_files(str(tmp_path / "a.parquet")).files, "v")
