"""Which images there are, under which keys, in which units; and reading them back."""

import io
import itertools
import os
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molino.transforms.errors import DataError
from molino.transforms.files.list_files import list_files
from molino.transforms.images.list_images import (
    LONGEST,
    SHORTEST,
    Spot,
    file_keys,
    list_images,
    pack,
    read_unit,
    write_units,
)
from molino.transforms.images.read_images import ahead, read_images
from molino.transforms.images.shard_columns import ShardColumns

COLUMNS = ShardColumns()


def write_tar(path, members):
    """Write a tar; a member is (name, content), or a TarInfo."""
    with tarfile.open(path, "w") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return path


def listed(*places, **how):
    return list_images(
        [list_files(str(place), photographs=True) for place in places], how.pop("columns", COLUMNS), **how
    )


def keys(units):
    return units.images["key"].to_pylist()


def contents(units, max_bytes=1000, columns=COLUMNS):
    """Read every image of all units: {key: bytes, or the reason of its error}."""
    read = read_images(units.images, columns, max_bytes=max_bytes)
    return {image.key: image.error.reason if image.error else image.data for image in ahead(read)}


def test_keys_are_paths_below_the_input_that_names_them_first(tmp_path):
    for name in ("2014/v.jpg", "2015/a/w.jpg", "2015/w.JPG", "2015/w.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    assert keys(listed(tmp_path)) == ["2014/v.jpg", "2015/a/w.jpg", "2015/w.JPG", "2015/w.jpg"]
    alone = keys(listed(tmp_path / "2015"))
    assert alone == ["a/w.jpg", "w.JPG", "w.jpg"]
    both = listed(tmp_path / "2015", tmp_path / "2014/v.jpg", tmp_path / "2015/w.jpg")
    assert sorted(keys(both)) == sorted([*alone, "v.jpg"])  # each file once
    assert set(alone) < set(keys(listed(tmp_path / "2015", tmp_path)))  # another input changes no key
    assert keys(listed(tmp_path / "201*/*.jpg")) == ["2014/v.jpg", "2015/w.jpg"]
    (tmp_path / "2014/w.jpg").write_bytes(b"other")
    told = f"two images have the key 'w.jpg', in .*2014/w.jpg.*2015/w.jpg.*such as {tmp_path}/, or rename"
    with pytest.raises(DataError, match=told):
        listed(tmp_path / "2014", tmp_path / "2015")


def test_what_lies_beside_is_of_the_same_folder(tmp_path):
    for name in ("raw/1.dng", "jpg/1.jpg", "jpg/1.dng"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    units = listed(tmp_path / "raw", tmp_path / "jpg/1.jpg", tmp_path / "jpg/*.dng")
    assert keys(units) == ["1.dng", "1.jpg"]
    assert units.skipped == {"raw": 1}
    write_tar(tmp_path / "jpg/0.tar", [("0.jpg", b"x")])
    pq.write_table(pa.table({"key": ["0"]}), tmp_path / "raw/0.parquet")
    with pytest.raises(DataError, match="no column of images' bytes"):
        listed(tmp_path / "raw", tmp_path / "jpg")


@given(st.lists(st.binary(min_size=1, max_size=6).filter(lambda p: b"\0" not in p), unique=True))
def test_two_paths_never_share_a_key(paths):
    made = file_keys(paths)
    assert len(set(made)) == len(paths)
    assert all(key.encode() for key in made)  # text, with no half of a surrogate pair


def test_names_that_look_alike_and_names_that_are_no_text(tmp_path):
    for name in (b"n\xcc\x83.jpg", b"\xc3\xb1.jpg", b"latin \xf1.jpg", b"a\\xf1.jpg", b"two\nlines.jpg"):
        (tmp_path / os.fsdecode(name)).write_bytes(name)
    units = listed(tmp_path)
    assert keys(units) == ["a\\\\xf1.jpg", "latin \\xf1.jpg", "n\u0303.jpg", "two\nlines.jpg", "ñ.jpg"]
    assert contents(units)["latin \\xf1.jpg"] == b"latin \xf1.jpg"
    (tmp_path / "ñ.jpg").unlink()
    assert "ñ.jpg" in keys(listed(tmp_path))


SPOTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), max_size=30)


@given(SPOTS, st.integers(1, 20), st.integers(1, 5))
def test_units_are_runs_within_their_limits(sizes, size, count):
    spots = [Spot(str(i), b"p%d" % group, i, n, group) for i, (n, group) in enumerate(sizes)]
    units = pack(spots, size, count)
    assert all(b - a in (0, 1) for a, b in zip([0, *units], units, strict=False))
    for one, two, a, b in zip(spots, spots[1:], units, units[1:], strict=False):
        if one.group and one.group == two.group:
            assert a == b
    for unit in set(units):
        members = [spot for spot, u in zip(spots, units, strict=True) if u == unit]
        if not any(spot.group for spot in members) and len(members) > 1:
            shares = [max(spot.bytes / size, 1 / count) for spot in members]
            assert sum(shares) <= LONGEST + 1e-9
            assert unit == units[-1] or sum(shares) >= SHORTEST or shares[-1] >= LONGEST - sum(shares)


def test_an_image_more_or_less_changes_the_units_around_it_alone():
    spots = [Spot(f"w_{i}.jpg", b"%d" % i, -1, 1 + i % 7) for i in range(3000)]

    def units(some):
        parts = itertools.groupby(zip(pack(some, 40, 100), some, strict=True), key=lambda pair: pair[0])
        return {tuple(spot for _, spot in members) for _, members in parts}

    whole = units(spots)
    assert 250 < len(whole) < 500
    changed = [len(whole - units(spots[:i] + spots[i + 1 :])) for i in range(0, 3000, 60)]
    assert max(changed) <= 10
    assert sum(changed) < 2 * len(changed)


def test_what_a_unit_is_named_by_tells_every_change(tmp_path):
    for name in ("1.jpg", "2.jpg"):
        (tmp_path / name).write_bytes(b"x")
    first = listed(tmp_path, unit_bytes=1).contents()
    assert len(set(first)) == 2
    assert listed(tmp_path, unit_bytes=1).contents() == first
    os.utime(tmp_path / "2.jpg", (1, 1))
    second = listed(tmp_path, unit_bytes=1).contents()
    assert (second[0], second[1] != first[1]) == (first[0], True)
    (tmp_path / "1.JPG").write_bytes(b"x")
    third = listed(tmp_path, unit_bytes=1, pictures=True).contents()  # the names of crops fold together
    assert not {first[0], third[0]} & set(third[1:2])
    assert third[2] == second[1]


def test_a_tar_lists_its_regular_members_where_they_stand(tmp_path):
    link, folder, device = (tarfile.TarInfo(name) for name in ("link.jpg", "folder", "device"))
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    folder.type, device.type = tarfile.DIRTYPE, tarfile.CHRTYPE
    members = [("b.jpg", b"old"), folder, ("../../up.jpg", b"up"), link, device, (".x.jpg", b"x"), ("b.jpg", b"new")]
    write_tar(tmp_path / "s.tar", [*members, ("a/" + "long" * 60 + ".jpg", b"long"), ("empty.jpg", b"")])
    units = listed(tmp_path)
    long = "s.tar!a/" + "long" * 60 + ".jpg"
    assert keys(units) == ["s.tar!../../up.jpg", "s.tar!b.jpg", long, "s.tar!empty.jpg"]
    assert units.skipped == {"link": 1, "special": 1, "hidden": 1, "replaced": 1}
    assert list(contents(units).values()) == [b"up", b"new", b"long", b""]


def test_a_tar_made_from_within_its_folder_has_the_same_keys(tmp_path):
    dot = tarfile.TarInfo("./")
    dot.type = tarfile.DIRTYPE
    write_tar(
        tmp_path / "s.tar", [dot, ("./a.jpg", b"old"), ("./b/./c.jpg", b"c"), ("a.jpg", b"a"), ("d./e.jpg", b"e")]
    )
    units = listed(tmp_path)
    assert contents(units) == {"s.tar!b/c.jpg": b"c", "s.tar!a.jpg": b"a", "s.tar!d./e.jpg": b"e"}
    assert units.skipped == {"replaced": 1}


def hard_link(name, target):
    link = tarfile.TarInfo(name)
    link.type, link.linkname = tarfile.LNKTYPE, target
    return link


def test_hard_links_are_followed_as_when_a_tar_is_unpacked(tmp_path):
    links = [hard_link("two.jpg", "./one.jpg"), hard_link("three.jpg", "two.jpg"), hard_link("shown.jpg", ".x.jpg")]
    members = [("./one.jpg", b"one"), (".x.jpg", b"hidden"), *links, ("one.jpg", b"new"), hard_link("no.jpg", "gone")]
    units = listed(write_tar(tmp_path / "s.tar", members))
    expected = {"two": b"one", "three": b"one", "shown": b"hidden", "one": b"new"}
    assert contents(units) == {f"s.tar!{name}.jpg": data for name, data in expected.items()}
    assert units.skipped == {"hidden": 1, "replaced": 1, "link": 1}


def test_what_is_no_photograph_by_its_name_is_skipped_and_told(tmp_path):
    names = ["Thumbs.db", "a.XMP", "a.json", "clip.MP4", "desktop.ini", "DJI_1.DNG", "DJI_1.JPG", "DJI_2.DNG", "notes"]
    for name in (*names, "a/dji_3.jpeg", "a/DJI_1.dng", "txt.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    units = listed(tmp_path)
    assert keys(units) == ["DJI_1.JPG", "DJI_2.DNG", "a/DJI_1.dng", "a/dji_3.jpeg", "notes", "txt.jpg"]
    assert units.skipped == {"no_photograph": 5, "raw": 1}
    assert {name: value.example for name, value in units.skipped.items()} == {
        "no_photograph": "Thumbs.db",
        "raw": "DJI_1.DNG",
    }
    members = [("0.jpg", b"x"), ("0.json", b"x"), ("0.txt", b"x"), ("0.cr2", b"x")]
    assert keys(listed(write_tar(tmp_path / "s.tar", members)))[-1] == "s.tar!0.jpg"


def test_globs_choose_files_and_members(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("1.jpg", "1.png", "a/2.jpg", "a/Thumbs.db"):
        (tmp_path / name).write_bytes(b"x")
    write_tar(tmp_path / "s.tar", [("3.jpg", b"x"), ("b/4.jpg", b"x"), ("4.txt", b"x"), ("3.cls", b"x")])
    pq.write_table(pa.table({"name": ["5"], "bytes": [b"x"]}), tmp_path / "t.parquet")
    for globs, expected in {
        ("*.jpg",): ["1.jpg", "a/2.jpg", "s.tar!3.jpg", "s.tar!b/4.jpg"],
        ("?.png", "b/*"): ["1.png", "s.tar!b/4.jpg"],
        ("*.txt",): [],
    }.items():
        units = listed(tmp_path, include=globs)
        assert keys(units) == [*expected, "t.parquet!5"]
        assert units.skipped["not_included"] + units.skipped.get("no_photograph", 0) == 8 - len(expected)


def test_texts_beside_images_in_a_tar_are_carried(tmp_path):
    members = [("a/0.json", b"{}"), ("a/0.jpg", b"x"), ("1.w.jpg", b"y"), ("1.w.txt", b"\xf1 ok"), ("0.txt", b"none's")]
    write_tar(tmp_path / "s.tar", [*members, ("1.w.cls", b"3"), ("2.png", b"z"), ("2.txt", b"long" * 9)])
    (tmp_path / "f.jpg").write_bytes(b"f")
    how = ShardColumns(keep=(("txt", "caption"), ("json", "json"), ("cls", "cls")))
    units = listed(tmp_path, columns=how, unit_images=1)
    assert units.kept == pa.schema([(name, pa.string()) for name in ("caption", "json", "cls")])
    assert units.skipped == {"no_photograph": 1}
    assert units.skipped["no_photograph"].example == "s.tar!0.txt"
    write_units(units, str(tmp_path / "u"))
    read = [
        image
        for unit in range(units.count)
        for image in read_images(read_unit(str(tmp_path / "u"), unit), how, max_bytes=20, kept=units.kept)
    ]
    assert {image.key: image.kept.to_pylist()[0] for image in read if not image.error} == {
        "f.jpg": {"caption": None, "json": None, "cls": None},
        "s.tar!a/0.jpg": {"caption": None, "json": "{}", "cls": None},
        "s.tar!1.w.jpg": {"caption": "\\xf1 ok", "json": None, "cls": "3"},
    }
    assert [(image.key, image.error.reason) for image in read if image.error] == [("s.tar!2.png", "too_many_bytes")]
    with pytest.raises(DataError, match="--keep caption: no input has this column; there are: cls, json, txt"):
        listed(tmp_path, columns=ShardColumns(keep=(("caption", "caption"),)), include=("*.jpg",))


def test_what_is_named_like_a_shard_and_is_none_is_a_file(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"no tar at all")
    (tmp_path / "b.parquet").write_bytes(b"no Parquet either")
    (tmp_path / "c.tar").write_bytes(b"")
    assert keys(listed(tmp_path)) == ["a.tar", "b.parquet", "c.tar"]
    (tmp_path / "d.tar.gz").write_bytes(b"")
    with pytest.raises(DataError, match="unpack it"):
        listed(tmp_path)


@pytest.mark.parametrize("cut", [513, 1023, 1024, 1500, 1536, 1600])
def test_a_tar_that_is_cut_short_loses_nothing_before_the_cut(cut, tmp_path):
    whole = write_tar(tmp_path / "whole.tar", [("a.jpg", b"a" * 10), ("b.jpg", b"b" * 600)]).read_bytes()
    (tmp_path / "whole.tar").unlink()
    (tmp_path / "s.tar").write_bytes(whole[:cut])
    found = contents(listed(tmp_path))
    assert found["s.tar!a.jpg"] == (b"a" * 10 if cut >= 522 else "truncated")
    if cut >= 1536:
        assert found["s.tar!b.jpg"] == "truncated"
    assert found["s.tar"] == "truncated"  # nobody knows what came behind


@pytest.mark.parametrize("cut", [1024, 1024 + 200, 2560])
def test_a_tar_that_is_cut_between_members_is_a_reject_too(cut, tmp_path):
    whole = write_tar(tmp_path / "whole.tar", [("a.jpg", b"a" * 10), ("b.jpg", b"b" * 600)]).read_bytes()
    (tmp_path / "whole.tar").unlink()
    (tmp_path / "s.tar").write_bytes(whole[:cut])
    found = contents(listed(tmp_path))
    assert found.pop("s.tar") == "truncated"
    assert found == (
        {"s.tar!a.jpg": b"a" * 10} if cut < 2560 else {"s.tar!a.jpg": b"a" * 10, "s.tar!b.jpg": b"b" * 600}
    )
    (tmp_path / "s.tar").write_bytes(whole[: 2560 + 512])  # one block of zeros is end enough
    units = listed(tmp_path)
    assert set(contents(units)) == {"s.tar!a.jpg", "s.tar!b.jpg"}
    assert not units.skipped


@pytest.mark.parametrize("columns", [("name", "bytes"), ("image.path", "image.bytes")])
def test_parquet_is_read_by_row_groups(columns, tmp_path):
    rows = [(f"{i}.jpg", bytes([i]) * i if i != 3 else None) for i in range(20)]
    table = pa.table({"name": [name for name, _ in rows], "bytes": pa.array([data for _, data in rows], pa.binary())})
    if "." in columns[0]:
        table = pa.table({"image": [{"bytes": data, "path": name} for name, data in rows]})
    pq.write_table(table, tmp_path / "s.parquet", row_group_size=7)
    how = ShardColumns(name=columns[0], data=columns[1])
    units = listed(tmp_path, columns=how, unit_bytes=1)
    assert units == listed(tmp_path, unit_bytes=1)  # found by themselves
    assert units.images["unit"].to_pylist() == [0] * 7 + [1] * 7 + [2] * 6
    expected = {f"s.parquet!{name}": "null_bytes" if data is None else data for name, data in rows}
    assert contents(units, columns=how) == expected
    write_units(units, str(tmp_path / "u"))
    assert list(read_images(read_unit(str(tmp_path / "u"), 1), how, max_bytes=9))[5].error.reason == "too_many_bytes"


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ({"file": ["a"], "bytes": [b"a"]}, {"name": "name"}, "lacks the column 'name'; it has file, bytes; .*--name-c"),
        (
            {"f": ["a"], "b": [b"a"]},
            {"name": "name", "data": "bytes"},
            "lacks the column 'name' and .*'bytes'; it has f, b; .*--name-column COL --bytes-column",
        ),
        ({"name": ["a"], "bytes": [1]}, {"data": "bytes"}, "has int64 in the column 'bytes'.*--bytes-column"),
        ({"name": ["a"], "bytes": [1]}, {}, "has no column of images' bytes; it has name, bytes; --bytes-column COL"),
        ({"one": [b"a"], "two": [b"a"]}, {}, "several columns of bytes: one, two; choose one with --bytes-column"),
        ({"name": [1.5], "bytes": [b"a"]}, {"name": "name"}, "has double in the column 'name'"),
    ],
)
def test_parquet_without_what_is_needed_is_an_error(table, options, message, tmp_path):
    pq.write_table(pa.table(table), tmp_path / "s.parquet")
    with pytest.raises(DataError, match=message):
        listed(tmp_path, columns=ShardColumns(**options))


@pytest.mark.parametrize(
    ("table", "names", "unnamed"),
    [
        ({"image_id": [10, 11], "jpg": [b"a", b"b"]}, ["10", "11"], 0),
        ({"photo": [b"a", b"b"]}, ["row-0", "row-1"], 2),
        ({"name": ["a", None], "bytes": [b"a", b"b"]}, ["a", "row-1"], 1),
        ({"name": ["a", "a"], "bytes": [b"a", b"b"]}, ["row-0", "row-1"], 2),
        ({"name": ["row-1", ""], "bytes": [b"a", b"b"]}, ["row-0", "row-1"], 2),
        ({"name": ["n\u0303", "ñ"], "bytes": [b"a", b"b"]}, ["n\u0303", "ñ"], 0),
        ({"image": [{"bytes": b"a", "path": None}, {"bytes": b"b", "path": "b.jpg"}]}, ["row-0", "b.jpg"], 1),
        ({"name": ["x", "x"], "img": [{"bytes": b"a", "path": "a"}, {"bytes": b"b", "path": "b"}]}, ["a", "b"], 0),
    ],
)
def test_rows_of_parquet_have_names_whatever_wrote_them(table, names, unnamed, tmp_path):
    pq.write_table(pa.table(table), tmp_path / "s.parquet", row_group_size=1)
    units = listed(tmp_path)
    assert contents(units) == {f"s.parquet!{name}": data for name, data in zip(names, (b"a", b"b"), strict=True)}
    assert units.unnamed == unnamed
    assert not unnamed or units.unnamed.example == min(key for key in keys(units) if "row-" in key)


def test_downloads_that_failed_are_skipped_and_told(tmp_path):
    fates = ["failed_to_download", "success", "failed_to_resize", None, "failed_to_download", "success"]
    data = [None, b"1", None, b"3", None, None]
    table = {"key": [str(i) for i in range(6)], "jpg": pa.array(data, pa.binary()), "status": fates}
    pq.write_table(pa.table(table), tmp_path / "s.parquet", row_group_size=3)
    units = listed(tmp_path, columns=ShardColumns(keep=(("status", "fate"),)))
    assert contents(units) == {"s.parquet!1": b"1", "s.parquet!3": b"3", "s.parquet!5": "null_bytes"}
    assert units.skipped == {"failed_download": 3}
    assert units.skipped["failed_download"].example == "s.parquet!row-0"
    how = ShardColumns(keep=(("status", "fate"),))
    read = read_images(units.images, how, max_bytes=9, kept=units.kept)
    assert [image.kept["fate"][0].as_py() for image in read] == ["success", None, "success"]


def test_records_beside_a_tar_or_a_folder_are_no_photographs(tmp_path):
    write_tar(tmp_path / "00000.tar", [("0.jpg", b"x")])
    (tmp_path / "00001").mkdir()
    (tmp_path / "00001/1.jpg").write_bytes(b"x")
    for name in ("00000", "00001"):
        pq.write_table(pa.table({"key": ["0"], "status": ["success"]}), tmp_path / f"{name}.parquet")
    units = listed(tmp_path)
    assert keys(units) == ["00000.tar!0.jpg", "00001/1.jpg"]
    assert units.skipped == {"no_photograph": 2}
    assert listed(tmp_path, include=["*.jpg"]).skipped == {"not_included": 2}
    with pytest.raises(DataError, match="lacks the column 'jpg'"):
        listed(tmp_path, columns=ShardColumns(data="jpg"))


def test_units_are_read_back_as_they_were_cut(tmp_path):
    for number in range(20):
        (tmp_path / f"{number}.jpg").write_bytes(bytes(number))
    units = listed(tmp_path, unit_images=3)
    write_units(units, str(tmp_path / "u"))
    assert 3 < units.count < 20
    parts = [read_unit(str(tmp_path / "u"), number) for number in range(units.count)]
    assert parts == list(units.parts())
    assert [key for part in parts for key in part["key"].to_pylist()] == [f"{number}.jpg" for number in range(20)]


def test_a_file_that_changes_is_an_error_and_a_pipe_does_not_wait(tmp_path):
    path = tmp_path / "w.jpg"
    path.write_bytes(b"12")
    units = listed(tmp_path)
    path.write_bytes(b"123")
    with pytest.raises(DataError, match="changed while it was read"):
        contents(units)
    path.unlink()
    with pytest.raises(DataError, match="cannot read"):
        contents(units)
    os.mkfifo(path)
    with pytest.raises(DataError, match="changed while it was read"):
        contents(units)


def test_reading_ahead_keeps_order_and_passes_errors_on():
    def items():
        yield from range(5)
        raise KeyError("end")

    got: list[int] = []
    with pytest.raises(KeyError, match="end"):
        got.extend(ahead(items()))
    assert got == list(range(5))
