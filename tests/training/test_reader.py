import dataclasses
import itertools
import pathlib
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molino.schemas import field, schema
from molino.training.reader import Reader, Reading
from molino.training.runs import RunError, open_run
from tests.training.made_run import DIM, ROWS, make_rows, vectors, write_run, write_tables

ROWS_IN_ALL = 126
COLUMNS = ("id", "wide", "half", "label", "title")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reader") / "run"
    write_run(folder)
    return open_run(folder, {"rows": ("made.rows", 1)}).datasets["rows"]


def make_reader(dataset, columns, **options):
    """Return a reader; options are its own, and those of its Reading."""
    how = {field.name: options.pop(field.name) for field in dataclasses.fields(Reading) if field.name in options}
    return Reader(dataset, columns, **options, reading=Reading(**how))


def read(dataset, columns=("id",), *, epoch=0, start=0, **options):
    """Return the batches of an epoch."""
    return list(make_reader(dataset, columns, **options).epoch(epoch, start=start))


def ids(batches):
    return [number for batch in batches for number in batch["id"].tolist()]


def test_batches_are_contiguous_arrays_of_the_rows(dataset):
    for batch in read(dataset, COLUMNS, batch=10):
        expected = pa.concat_tables(make_rows(int(number), 1) for number in batch["id"]).combine_chunks()
        for name, dtype in {"id": np.int64, "label": np.int32, "wide": np.float32, "half": np.float32}.items():
            assert batch[name].dtype == dtype
            assert batch[name].flags.c_contiguous
        assert batch["wide"].shape == batch["half"].shape == (len(batch["id"]), DIM)
        np.testing.assert_array_equal(batch["label"], expected["label"].to_numpy())
        np.testing.assert_array_equal(batch["wide"], expected["wide"].chunk(0).flatten().to_numpy().reshape(-1, DIM))
        np.testing.assert_array_equal(batch["half"], expected["half"].chunk(0).flatten().to_numpy().reshape(-1, DIM))
        assert batch["title"].equals(expected["title"].chunk(0))


@settings(max_examples=60, deadline=None)
@given(
    readers=st.sampled_from([1, 2, 5]),
    batch=st.integers(1, 140),
    window=st.integers(1, 140),
    shuffle=st.booleans(),
    ahead=st.sampled_from([0, 1, 3]),
    split=st.sampled_from([None, "train", "validation", "test", "nothing"]),
    epoch=st.integers(0, 3),
)
def test_every_row_comes_once_an_epoch(dataset, readers, batch, window, shuffle, ahead, split, epoch):
    options = {"batch": batch, "window": window, "shuffle": shuffle, "ahead": ahead, "split": split}
    made = [make_reader(dataset, ["id"], reader=n, readers=readers, **options) for n in range(readers)]
    parts = [list(reader.epoch(epoch)) for reader in made]
    rows = make_rows(0, ROWS_IN_ALL)
    wanted = [
        number
        for number, of in zip(rows["id"].to_pylist(), rows["split"].to_pylist(), strict=True)
        if of == split or not split
    ]
    found = [number for part in parts for number in ids(part)]
    assert sorted(found) == wanted
    if not shuffle:
        assert found == wanted
    for reader, part in zip(made, parts, strict=True):
        assert len(part) == len(reader) == reader.batches
        assert all(len(each["id"]) == batch for each in part[:-1])
        assert reader.own_rows == len(ids(part))
        assert abs(reader.own_rows * readers - len(wanted)) < readers


@settings(max_examples=40, deadline=None)
@given(batch=st.integers(1, 140), window=st.integers(1, 60), start=st.integers(0, 20), keep_last=st.booleans())
def test_an_epoch_goes_on_from_any_batch(dataset, batch, window, start, keep_last):
    options = {"batch": batch, "window": window, "keep_last": keep_last, "split": "train", "readers": 2, "reader": 1}
    whole = read(dataset, **options)
    assert ids(read(dataset, start=start, **options)) == ids(whole[start:])


@pytest.mark.parametrize("batch", [1, 7, 126, 127])
def test_a_short_last_batch_can_be_dropped(dataset, batch):
    kept, dropped = (read(dataset, batch=batch, keep_last=keep) for keep in (True, False))
    assert ids(dropped) == ids(kept)[: ROWS_IN_ALL // batch * batch]
    assert {len(each["id"]) for each in dropped} <= {batch}


def test_the_order_follows_from_seed_and_epoch(dataset):
    orders = {}
    for seed, epoch, window in itertools.product((0, 1), (0, 1), (20, 200)):
        options = {"seed": seed, "epoch": epoch, "window": window, "batch": 9}
        orders[seed, epoch, window] = ids(read(dataset, **options))
        assert ids(read(dataset, ahead=0, **options)) == orders[seed, epoch, window]
    assert len({tuple(order) for order in orders.values()}) == len(orders)


def test_the_order_is_not_that_of_the_files(dataset):
    order = np.array(ids(read(dataset, window=60)))
    assert abs(np.corrcoef(order, np.arange(len(order)))[0, 1]) < 0.5
    assert np.mean(np.diff(order) == 1) < 0.1


def test_row_groups_without_the_split_are_not_read(tmp_path):
    rows = make_rows(0, 60)
    ordered = rows.sort_by([("split", "ascending")])
    write_run(tmp_path, shards=(60,))
    run = open_run(tmp_path, {"rows": None}, verify=False)
    pq.write_table(ordered, run.datasets["rows"].files[0], row_group_size=6)
    path = pathlib.Path(run.datasets["rows"].files[0])
    for group in range(9):  # of what is damaged nothing can be read
        damage_column(path, group, "id")
    found = ids(Reader(run.datasets["rows"], ["id"], split="validation").epoch(0))
    assert sorted(found) == [number for number in range(60) if number % 10 == 8]
    with pytest.raises(RunError, match="cannot read"):
        ids(Reader(run.datasets["rows"], ["id"], split="train").epoch(0))


def damage_column(path, group, name):
    """Overwrite all pages of a column in a row group."""
    about = pq.read_metadata(path).row_group(group)
    (column,) = [about.column(i) for i in range(about.num_columns) if about.column(i).path_in_schema == name]
    start = column.dictionary_page_offset or column.data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    path.write_bytes(data)


def test_what_is_read_may_be_left_half_way(dataset):
    before = threading.active_count()
    epoch = make_reader(dataset, ["id"], batch=1, window=2).epoch()
    next(epoch)
    epoch.close()
    assert threading.active_count() == before


def test_a_file_that_breaks_while_it_is_read_raises(tmp_path):
    write_run(tmp_path, shards=(100,))
    data = open_run(tmp_path, {"rows": None}).datasets["rows"]
    reader = Reader(data, ["wide"])
    path = tmp_path / "rows" / "part-00000-of-00001-0123abcd.parquet"
    content = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(3).column(ROWS.names.index("wide")).data_page_offset
    content[start + 60] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"cannot read .*part-00000-of-00001.*CRC"):
        list(reader.epoch())


def test_a_column_that_is_not_there(dataset):
    with pytest.raises(RunError, match="rows has no column vector; it has: id, title, label, split, wide, half"):
        Reader(dataset, ["vector"])


@pytest.mark.parametrize("wrong", [{"reader": 2, "readers": 2}, {"batch": 0}, {"window": 0}, {"reader": -1}])
def test_what_is_not_possible(dataset, wrong):
    with pytest.raises(ValueError, match="not possible"):
        make_reader(dataset, ["id"], **wrong)


@pytest.mark.parametrize(
    "column",
    [pa.array([[1.0] * DIM, [None] * DIM], pa.list_(pa.float32(), DIM)), pa.array([1, None], pa.int32())],
    ids=["in a vector", "a number"],
)
def test_nulls_are_refused(tmp_path, column):
    write_run(tmp_path, shards=(2,))
    data = open_run(tmp_path, {"rows": None}, verify=False).datasets["rows"]
    pq.write_table(pa.table({"wide": column}), data.files[0])
    with pytest.raises(RunError, match=r"wide of .* holds nulls"):
        read(data, ["wide"])


def test_strings_in_a_dictionary_come_as_strings(tmp_path):
    write_run(tmp_path, shards=(6,))
    data = open_run(tmp_path, {"rows": None}, verify=False).datasets["rows"]
    words = pa.array(["a", "b", "a", "c", "c", "a"])
    pq.write_table(pa.table({"title": words.dictionary_encode()}), data.files[0], row_group_size=2)
    batches = read(data, ["title"], shuffle=False, batch=6)
    assert batches[0]["title"].equals(words)


def test_a_data_set_without_rows_gives_no_batches(tmp_path):
    write_run(tmp_path, shards=())
    data = open_run(tmp_path, {"rows": None}).datasets["rows"]
    assert read(data, ["id"], split="train") == []


def test_the_vectors_of_a_row_group_are_not_copied(dataset):
    from molino.training.reader import column_to_numpy

    table = dataset.open(0).read_row_group(0, columns=["wide"])
    column, field = table["wide"], table.schema.field("wide")
    array = column_to_numpy(column, field, "")
    assert array.ctypes.data == column.chunk(0).values.buffers()[1].address
    sliced = column.slice(3, 5)
    np.testing.assert_array_equal(column_to_numpy(sliced, field, ""), array[3:8])
    assert sliced.type == vectors(pa.float32())


@pytest.mark.parametrize("name", ["wide", "half"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(tmp_path, name, bad):
    table = make_rows(0, 40)
    numbers = table[name].combine_chunks().flatten().to_numpy().copy()
    numbers[DIM * 20 + 1] = bad
    spoilt = pa.FixedSizeListArray.from_arrays(pa.array(numbers), type=table.schema.field(name).type)
    place = table.schema.get_field_index(name)
    write_tables(tmp_path / "run", "rows", ROWS, [table.set_column(place, table.schema.field(name), spoilt)])
    dataset = open_run(tmp_path / "run", {"rows": None}).datasets["rows"]
    with pytest.raises(RunError, match=rf"{name} of .* not finite .* in row 5 of a row group; .*--not-finite reject"):
        read(dataset, ["id", name], shuffle=False)


def test_large_numbers_are_finite(tmp_path):
    table = make_rows(0, 4)
    huge = pa.array(np.full(4 * DIM, 3e38, np.float32))
    vectors_ = pa.FixedSizeListArray.from_arrays(huge, type=table.schema.field("wide").type)
    place = table.schema.get_field_index("wide")
    write_tables(tmp_path / "run", "rows", ROWS, [table.set_column(place, table.schema.field("wide"), vectors_)])
    dataset = open_run(tmp_path / "run", {"rows": None}).datasets["rows"]
    assert read(dataset, ["wide"])[0]["wide"].max() == np.float32(3e38)


# --- arrays in bytes of a fixed size

SHAPE = (2, 4, 3)
PIXELS = field("pixels", pa.binary(24), "Pixels", nullable=True)
CROPS = schema(
    "made.crops",
    1,
    field("key", pa.string(), "Name"),
    PIXELS.with_metadata({**PIXELS.metadata, b"dtype": b"uint8", b"shape": b"[2, 4, 3]"}),
    field("label", pa.int32(), "Class", nullable=True),
    field("split", pa.string(), "Split"),
    field("camera", pa.string(), "Camera", nullable=True),
)


def make_crops(numbers, without=(), unlabelled=()):
    """Return a row for each number, and the pixels of each."""
    pixels = np.stack(
        [np.full(SHAPE, number, np.uint8) + np.arange(24, dtype=np.uint8).reshape(SHAPE) for number in numbers]
    )
    rows = [
        {
            "key": f"{number}.jpg",
            "pixels": None if number in without else crop.tobytes(),
            "label": None if number in unlabelled else number,
            "split": "train" if number % 3 else "test",
            "camera": None,
        }
        for number, crop in zip(numbers, pixels, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=CROPS), pixels


def open_crops(folder, table, group=16):
    write_tables(folder, "crops", CROPS, [table], group)
    return open_run(folder, {"crops": None}, verify=False).datasets["crops"]


def test_bytes_of_a_fixed_size_are_arrays_of_their_shape(tmp_path):
    table, pixels = make_crops(range(50))
    crops = open_crops(tmp_path, table)
    for batch in read(crops, ["pixels", "label", "key"], batch=16):
        assert batch["pixels"].dtype == np.uint8
        assert batch["pixels"].flags.c_contiguous
        assert batch["pixels"].shape == (len(batch["key"]), *SHAPE)
        np.testing.assert_array_equal(batch["pixels"], pixels[batch["label"]])
        assert batch["key"].to_pylist() == [f"{number}.jpg" for number in batch["label"]]


def test_the_pixels_of_a_whales_run_are_arrays_by_their_metadata():
    from molino.schemas.whales import with_pixels
    from molino.training.reader import array_type

    assert array_type(with_pixels(224).field("pixels"), "") == (np.uint8, (224, 224, 3))


def test_bytes_without_dtype_and_shape_stay_arrow(tmp_path):
    table, pixels = make_crops(range(5))
    plain = table.set_column(1, "pixels", table["pixels"])
    crops = open_crops(tmp_path, table)
    pq.write_table(plain, crops.files[0])
    assert read(crops, ["pixels"], shuffle=False)[0]["pixels"].to_pylist() == [crop.tobytes() for crop in pixels]


@pytest.mark.parametrize("wrong", ["uint8 [2, 4]", "float32 [2, 4, 3]", "pixel [24]", "uint8 24", "uint8 24,"])
def test_metadata_that_does_not_fit_the_bytes_is_told(tmp_path, wrong):
    table, _ = make_crops(range(5))
    said = dict(zip(("dtype", "shape"), wrong.split(" ", 1), strict=True))
    spoilt = table.cast(table.schema.set(1, PIXELS.with_metadata({**PIXELS.metadata, **said})))
    with pytest.raises(RunError, match=rf"pixels has 24 bytes a row.*dtype {said['dtype']}"):
        Reader(open_crops(tmp_path, spoilt), ["pixels"])


def test_arrays_of_floats_in_bytes_are_finite(tmp_path):
    numbers = np.arange(6, dtype=np.float32).reshape(2, 3)
    numbers[1, 2] = np.nan
    about = {**PIXELS.metadata, b"dtype": b"float32", b"shape": b"[3]"}
    made = schema("made.crops", 1, pa.field("tensor", pa.binary(12), nullable=False).with_metadata(about))
    table = pa.table([pa.array([row.tobytes() for row in numbers], pa.binary(12))], schema=made)
    write_tables(tmp_path, "crops", made, [table])
    crops = open_run(tmp_path, {"crops": None}, verify=False).datasets["crops"]
    with pytest.raises(RunError, match=r"tensor of .* not finite .* in row 2 of a row group"):
        read(crops, ["tensor"])


@pytest.mark.parametrize("column", ["pixels", "label"])
def test_rows_with_a_null_are_refused_with_the_remedy(tmp_path, column):
    table, _ = make_crops(range(40), without={5}, unlabelled={6})
    with pytest.raises(RunError, match=rf"{column} of .*part-00000.* holds nulls.*Reading\(drop_nulls=True\)"):
        read(open_crops(tmp_path, table), [column])


@settings(max_examples=60, deadline=None)
@given(
    without=st.sets(st.integers(0, 39)),
    unlabelled=st.sets(st.integers(0, 39)),
    columns=st.sampled_from([("pixels", "key"), ("label", "key"), ("pixels", "label", "key")]),
    split=st.sampled_from([None, "train"]),
    batch=st.integers(1, 50),
    readers=st.sampled_from([1, 3]),
    group=st.sampled_from([1, 7, 64]),
    keep_last=st.booleans(),
)
def test_rows_with_a_null_are_dropped_and_counted(
    tmp_path_factory, without, unlabelled, columns, split, batch, readers, group, keep_last
):
    table, pixels = make_crops(range(40), without, unlabelled)
    crops = open_crops(tmp_path_factory.mktemp("crops"), table, group)
    kept = table.to_pandas().dropna(subset=list(columns))
    kept = kept[kept["split"] == split] if split else kept
    options = {"split": split, "batch": batch, "readers": readers, "keep_last": keep_last, "drop_nulls": True}
    seen = []
    for number in range(readers):
        reader = make_reader(crops, columns, reader=number, **options)
        batches = list(reader.epoch(1))
        read_rows = [key for each in batches for key in each["key"].to_pylist()]
        assert reader.rows == len(kept)
        assert reader.batches == len(batches)
        assert len(read_rows) == (reader.own_rows if keep_last else reader.own_rows // batch * batch)
        seen += read_rows
        for each in batches:
            numbers = [int(key.removesuffix(".jpg")) for key in each["key"].to_pylist()]
            if "pixels" in columns:
                np.testing.assert_array_equal(each["pixels"], pixels[numbers])
            if "label" in columns:
                np.testing.assert_array_equal(each["label"], numbers)
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(kept["key"])
    assert len(seen) == len(kept) or not keep_last


def test_nulls_of_one_column_are_counted_by_the_footer(tmp_path):
    """Crops are gigabytes: to count them, none is read."""
    table, _ = make_crops(range(40), without={3, 4, 20})
    crops = open_crops(tmp_path, table)
    for group in range(3):
        damage_column(pathlib.Path(crops.files[0]), group, "pixels")
    assert Reader(crops, ["pixels", "key"], reading=Reading(drop_nulls=True)).rows == 37
    with pytest.raises(RunError, match="cannot read"):
        read(crops, ["pixels"], drop_nulls=True)


def test_wide_rows_are_mixed_with_fewer(tmp_path, monkeypatch):
    """16,384 crops of 224 by 224 pixels would be 2.5 GB."""
    monkeypatch.setattr("molino.training.reader.WINDOW_BYTES", 80 * 24 + 5)
    table, _ = make_crops(range(192))
    batches = read(open_crops(tmp_path, table), ["pixels", "key"], batch=8)
    groups = [int(key.removesuffix(".jpg")) // 16 for batch in batches for key in batch["key"].to_pylist()]
    for start in (0, 80, 160):  # a window is five row groups, whose rows are nowhere else
        assert set(groups[start : start + 80]).isdisjoint(groups[:start] + groups[start + 80 :])
        assert groups[start : start + 80] != sorted(groups[start : start + 80])
