"""What folders, globs and paths name: regular files, and nothing that leads away or waits."""

import os
import socket

import pytest
from obstore.store import MemoryStore

from molino.transforms.errors import DataError
from molino.transforms.files import object_stores, objects, storage
from molino.transforms.files.list_files import list_files
from molino.transforms.warnings import example_of


@pytest.fixture
def memory(monkeypatch):
    """A bucket in memory, mem://mill."""
    bucket = MemoryStore()
    monkeypatch.setitem(object_stores.STORES, "mem", objects.Objects(lambda name, options: bucket))


@pytest.fixture
def folder(tmp_path):
    """A folder with two files, one hidden, one linked, a pipe, a socket, a link out of it and a link to a folder."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.jpg").write_bytes(b"secret")
    sea = tmp_path / "sea"
    (sea / "2015/deep").mkdir(parents=True)
    (sea / "w.jpg").write_bytes(b"12")
    (sea / "2015/deep/w.jpg").write_bytes(b"345")
    (sea / ".hidden.jpg").write_bytes(b"1")
    (sea / ".git").mkdir()
    (sea / ".git/x.jpg").write_bytes(b"1")
    (sea / "out.jpg").symlink_to(outside / "secret.jpg")
    (sea / "gone.jpg").symlink_to(outside / "nothing")
    (sea / "in.jpg").symlink_to("w.jpg")
    (sea / "away").symlink_to(outside)
    (sea / "round").symlink_to(sea)
    os.mkfifo(sea / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(sea / "socket.jpg"))
    return sea


def names(listing):
    return [file.path.removeprefix(listing.root) for file in listing.files]


def test_a_folder_names_its_regular_files(folder):
    listing = list_files(str(folder))
    assert names(listing) == ["2015/deep/w.jpg", "w.jpg"]
    assert listing.skipped == {"hidden": 2, "link": 5, "special": 2}
    assert example_of(listing.skipped, "special") == f"{folder}/pipe.jpg"
    assert (listing.root, listing.bytes) == (f"{folder}/", 5)


@pytest.mark.parametrize(
    ("pattern", "found", "skipped"),
    [
        ("*.jpg", ["out.jpg", "w.jpg"], {"link": 1, "hidden": 1}),
        ("**/*.jpg", ["2015/deep/w.jpg", "out.jpg", "w.jpg"], {"link": 3, "hidden": 1}),
        ("*/*/w.jpg", ["2015/deep/w.jpg"], {"link": 2}),
        ("20*/*/w.jpg", ["2015/deep/w.jpg"], {}),
        (".h*.jpg", [".hidden.jpg"], {}),
        ("nothing*", [], {}),
        ("nothing", [], {}),
        ("w.jpg", ["w.jpg"], {}),
    ],
)
def test_a_glob_and_a_path_name_regular_files(pattern, found, skipped, folder):
    for name in ("gone.jpg", "pipe.jpg", "socket.jpg"):
        (folder / name).unlink()
    listing = list_files(str(folder / pattern))
    assert (names(listing), listing.skipped) == (found, skipped)


def test_a_link_that_the_user_names_is_followed(folder):
    assert names(list_files(str(folder / "in.jpg"))) == ["in.jpg"]
    assert len(list_files(str(folder / "away")).files) == 1


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("pipe.jpg", "a pipe"),
        ("p*.jpg", "a pipe"),
        ("s*.jpg", "a socket"),
        ("gone.jpg", "link to"),
        ("g*.jpg", "link to"),
    ],
)
def test_what_is_named_and_cannot_be_read_is_refused(path, why, folder):
    with pytest.raises(DataError, match=why):
        list_files(str(folder / path))


def test_links_are_followed_on_request_and_each_file_is_read_once(folder):
    with pytest.raises(DataError, match=r"gone\.jpg is a link to"):
        list_files(str(folder), follow_links=True)
    (folder / "gone.jpg").unlink()
    (folder / "again").symlink_to("away")
    listing = list_files(str(folder), follow_links=True)
    assert names(listing) == ["2015/deep/w.jpg", "again/secret.jpg", "w.jpg"]
    assert listing.skipped == {"hidden": 2, "link": 2, "special": 2}  # in.jpg and out.jpg are read where they lie


def test_a_folder_of_data_leaves_its_papers_alone(tmp_path):
    data = ["part-2.csv", "part-10.csv", "part-00000", "year=2019/part.0.parquet", "statement.json", "readme.csv"]
    papers = [
        "README.md",
        "LICENCE",
        "leeme/README_es.txt",
        "dataset_infos.json",
        "convert.py",
        "part-2.csv.md5",
        "Thumbs.db",
    ]
    hidden = ["_SUCCESS", ".part-2.csv.crc", "_metadata", "_tmp/0/part-9.csv", ".git/config", "year=2019/_started"]
    for name in [*data, *papers, *hidden]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    listing = list_files(str(tmp_path))
    assert names(listing) == [
        "part-00000",
        "part-2.csv",
        "part-10.csv",
        "readme.csv",
        "statement.json",
        "year=2019/part.0.parquet",
    ]
    assert listing.skipped == {"hidden": 6, "no_data": 7}
    assert set(names(list_files(str(tmp_path / "*")))) == {*data, *papers} - {
        "year=2019/part.0.parquet",
        "leeme/README_es.txt",
    }
    photographs = list_files(str(tmp_path), photographs=True)
    assert {"_SUCCESS", "README.md"} <= set(names(photographs))  # cameras write names such as _DSC1234.JPG


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        ("_delta_log/00000000000000000000.json", "a Delta table"),
        (".hoodie/hoodie.properties", "a Hudi table"),
        ("metadata/00001-a.metadata.json", "an Iceberg table"),
    ],
)
def test_a_table_of_several_versions_is_refused(table, kind, tmp_path):
    for name in (table, "data/language=es/part-0.parquet"):
        (tmp_path / "in/t" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in/t" / name).write_text("x")
    for asked in ("in", "in/t", "in/t/**.parquet", "in/t/data", "in/t/data/language=es", "in/t/data/*/*.parquet"):
        with pytest.raises(DataError, match=f"in/t is {kind}, whose folder has files of earlier versions"):
            list_files(str(tmp_path / asked))
    assert len(list_files(str(tmp_path / "in/t/data/language=es/part-0.parquet")).files) == 1


def test_folders_in_a_store_are_listed_as_on_a_disk(memory):
    for name in ("in/p10", "in/p9", "in/_SUCCESS", "in/README.md", "in/k=v/p", "in/.crc", "t/_delta_log/0.json", "t/p"):
        storage.write_bytes(f"mem://mill/{name}", b"1")
    for asked in ("mem://mill/in", "mem://mill/in/"):
        listing = list_files(asked)
        assert (names(listing), listing.skipped) == (["k=v/p", "p9", "p10"], {"hidden": 2, "no_data": 1})
    for asked in ("mem://mill/t", "mem://mill/t/p*", "mem://mill/**"):
        with pytest.raises(DataError, match="is a Delta table"):
            list_files(asked)


def test_keys_for_a_folder_alone_are_enough(memory, monkeypatch):
    storage.write_bytes("mem://mill/deep/in/p.csv", b"1")
    find = objects.Objects.find

    def closed(store, prefix):
        if not prefix.startswith("mem://mill/deep/in/p"):
            raise PermissionError(f"403 {prefix}")
        return find(store, prefix)

    monkeypatch.setattr(objects.Objects, "find", closed)
    assert names(list_files("mem://mill/deep/in/p*")) == ["p.csv"]


def test_a_name_with_wildcards_that_exists_is_no_glob(tmp_path):
    (tmp_path / "[1].jpg").write_bytes(b"1")
    (tmp_path / "1.jpg").write_bytes(b"1")
    assert [file.path for file in list_files(str(tmp_path / "[1].jpg")).files] == [str(tmp_path / "[1].jpg")]


def test_the_digest_tells_every_change(folder):
    before = list_files(str(folder)).digest()
    assert list_files(str(folder)).digest() == before
    status = (folder / "w.jpg").stat()
    for change in (
        lambda: (folder / "w.jpg").write_bytes(b"123"),
        lambda: os.utime(folder / "w.jpg", ns=(0, status.st_mtime_ns + 1000)),
        lambda: (folder / "new.jpg").write_bytes(b""),
        lambda: (folder / "new.jpg").rename(folder / "newer.jpg"),
        lambda: (folder / "newer.jpg").unlink(),
    ):
        change()
        after = list_files(str(folder)).digest()
        assert after != before
        before = after


def test_names_that_are_no_text(tmp_path):
    name = b"latin \xf1\n.jpg"
    (tmp_path / os.fsdecode(name)).write_bytes(b"1")
    listing = list_files(str(tmp_path))
    assert os.fsencode(listing.files[0].path).endswith(name)
    assert len(listing.digest()) == 64


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match="cannot list"):
        list_files(str(tmp_path))


@pytest.mark.slow
def test_a_folder_of_a_hundred_thousand_files(tmp_path):
    for number in range(100_000):
        os.close(os.open(tmp_path / f"{number:06d}.jpg", os.O_CREAT | os.O_WRONLY))
    listing = list_files(str(tmp_path))
    assert len(listing.files) == 100_000
    assert listing.files[99_999].path.endswith("099999.jpg")
