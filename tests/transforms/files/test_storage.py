"""Files: whole or not there, and errors that say what to do."""

import errno
import os

import pyarrow as pa
import pytest

from molino.transforms.errors import DataError, OptionError
from molino.transforms.files import storage
from molino.transforms.files.list_files import list_files


def test_an_atomic_write_leaves_nothing_else(tmp_path):
    path = str(tmp_path / "a/b")
    storage.write_atomic(path, b"one")
    storage.write_atomic(path, b"two")
    assert storage.read_bytes(path) == b"two"
    assert os.listdir(tmp_path / "a") == ["b"]
    assert os.stat(path).st_mode & 0o777 == 0o644


def test_a_failed_atomic_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = str(tmp_path / "a")
    storage.write_atomic(path, b"one")

    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        DataError, match=r"cannot write .*a: No space left on device; the disk is full; free some space"
    ):
        storage.write_atomic(path, b"two")
    assert storage.read_bytes(path) == b"one"
    assert os.listdir(tmp_path) == ["a"]


def test_moving_twice_is_moving_once(tmp_path):
    (tmp_path / "from").write_bytes(b"x")
    for _ in range(2):
        storage.move(str(tmp_path / "from"), str(tmp_path / "to/there"), size=1)
    assert storage.read_bytes(str(tmp_path / "to/there")) == b"x"
    with pytest.raises(DataError, match="No such file"):
        storage.move(str(tmp_path / "nothing"), str(tmp_path / "to/elsewhere"), size=1)


def test_a_path_that_exists_is_no_glob(tmp_path):
    odd = tmp_path / "a[1]*.txt"
    odd.write_bytes(b"x")
    (tmp_path / "a1.txt").write_bytes(b"y")
    assert [file.path for file in list_files(str(odd)).files] == [str(odd)]
    assert [file.path for file in list_files(str(tmp_path / "*.txt")).files] == [str(tmp_path / "a1.txt"), str(odd)]
    assert list_files(str(tmp_path / "*.csv")).files == []


def test_what_a_glob_cannot_look_into_is_told(tmp_path, monkeypatch):
    for name in ("sea/2015/deep/w.txt", "sea/old/w.txt", "away/w.txt"):
        storage.write_bytes(str(tmp_path / name), b"x")
    (tmp_path / "sea/2016").symlink_to(tmp_path / "away")
    assert list_files(str(tmp_path / "sea/20*/w.txt")).skipped == {"link": 1}
    assert list_files(str(tmp_path / "sea/o*/w.txt")).skipped == {}
    (tmp_path / "sea/2016").unlink()
    open_folder = os.scandir

    def scan(folder):
        if folder.endswith("2015"):
            raise PermissionError(errno.EACCES, "closed", folder)
        return open_folder(folder)

    monkeypatch.setattr(os, "scandir", scan)
    with pytest.raises(DataError, match=r"cannot list .*/sea/2015: Permission denied; let this user read it"):
        list_files(str(tmp_path / "sea/*/w.txt"))
    assert len(list_files(str(tmp_path / "sea/o*/w.txt")).files) == 1


def test_trees_are_listed_and_deleted(tmp_path):
    for name in ("b/2", "a", "b/c/1"):
        storage.write_atomic(str(tmp_path / name), b"x")
    names = [os.path.relpath(file.path, tmp_path) for file in storage.list_tree(str(tmp_path))]
    assert names == ["a", "b/2", "b/c/1"]
    storage.delete_file(str(tmp_path / "b/c/1"))
    assert not (tmp_path / "b/c").exists()
    storage.delete_tree(str(tmp_path / "b"))
    storage.delete_tree(str(tmp_path / "b"))
    assert os.listdir(tmp_path) == ["a"]


def test_errors_of_arrow_are_explained_too():
    arrow = OSError("Error writing bytes to file. Detail: [errno 28] No space left on device")
    assert "free some space" in str(storage.file_error(arrow, "/x", "write"))
    assert str(storage.file_error(pa.ArrowInvalid("odd\nthing"), "/x", "read")) == "cannot read /x: odd thing"


@pytest.mark.parametrize("ask", [storage.exists, list_files, storage.list_tree], ids=lambda ask: ask.__name__)
def test_an_unknown_scheme_is_told_whatever_is_asked_of_it(ask):
    with pytest.raises(OptionError, match="there is no file system for ftp://"):
        ask("ftp://host/x")


def test_a_file_that_goes_while_its_folder_is_listed_is_left_out(tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    look = storage.look

    def take_b_away(path):
        (tmp_path / "b").unlink(missing_ok=True)
        return look(path)

    monkeypatch.setattr(storage, "look", take_b_away)
    assert {file.path for file in storage.list_tree(str(tmp_path))} == {str(tmp_path / "a"), str(tmp_path / "c")}
