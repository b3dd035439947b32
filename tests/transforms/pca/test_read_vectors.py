"""Vectors from Parquet: every row is used or rejected with its reason, and any layout gives the same rows."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molino.transforms.errors import DataError
from molino.transforms.files import storage
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
    return storage.match(str(path))


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
    vectors = list_vectors(storage.match(str(tmp_path / "a.parquet")), "v")
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
    vectors = list_vectors(storage.match(str(tmp_path / "b.parquet")), "v")
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


def test_a_list_of_any_length_has_that_of_the_first(tmp_path):
    rows = [None, [1.0, 2.0, 3.0], [1.0]]
    pq.write_table(pa.table({"v": pa.array(rows, pa.list_(pa.float32()))}), tmp_path / "a.parquet")
    assert list_vectors(storage.match(str(tmp_path / "a.parquet")), "v").numbers == 3


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
    vectors = list_vectors(storage.match(str(tmp_path / "a.parquet")), "v")
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
    with pytest.raises(DataError, match=r"a\.parquet: a damaged Parquet file"):
        list_vectors(storage.match(str(tmp_path / "a.parquet")), "v")


def test_what_has_no_digest_is_not_carried(tmp_path):
    table = pa.table({"v": pa.array([[1.0]], pa.list_(pa.float32(), 1)), "n": pa.nulls(1)})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="the column 'n' is null, which is not carried"):
        list_vectors(storage.match(str(tmp_path / "a.parquet")), "v")
