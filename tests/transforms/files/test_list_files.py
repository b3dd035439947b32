"""What folders, globs and paths name: regular files, and nothing that leads away or waits."""

import os
import socket

import pytest

from molino.transforms.errors import DataError
from molino.transforms.files.list_files import list_files
from molino.transforms.warnings import example_of


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
        ("*.jpg", ["w.jpg"], {"link": 3, "special": 2, "hidden": 1}),
        ("**/*.jpg", ["2015/deep/w.jpg", "w.jpg"], {"link": 5, "special": 2, "hidden": 1}),
        ("*/*/w.jpg", ["2015/deep/w.jpg"], {"link": 2}),
        ("20*/*/w.jpg", ["2015/deep/w.jpg"], {}),
        ("nothing*", [], {}),
        ("nothing", [], {}),
        ("w.jpg", ["w.jpg"], {}),
        ("pipe.jpg", [], {"special": 1}),
    ],
)
def test_a_glob_and_a_path_name_regular_files(pattern, found, skipped, folder):
    listing = list_files(str(folder / pattern))
    assert (names(listing), listing.skipped) == (found, skipped)


def test_a_link_that_the_user_names_is_followed(folder):
    assert names(list_files(str(folder / "in.jpg"))) == ["in.jpg"]
    assert len(list_files(str(folder / "away")).files) == 1


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
