"""Folders are copied whole or not at all, once a machine, and are what they should be."""

import multiprocessing
import os

import pytest

from molino.transforms.errors import DataError
from molino.transforms.files import carry
from molino.transforms.files.storage import FileInfo


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    (folder / "deep/er").mkdir(parents=True)
    (folder / "a").write_bytes(b"a" * 3_000_000)
    (folder / "deep/er/b").write_bytes(b"")
    return folder


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_sent_is_received(source, tmp_path):
    carry.send(str(source), str(tmp_path / "sent"))
    folder = carry.receive(str(tmp_path / "sent"), str(tmp_path / "cache/x"), lambda _: True)
    assert folder == str(tmp_path / "cache/x")
    assert content(tmp_path / "cache/x") == content(tmp_path / "sent") == content(source)
    assert sorted(os.listdir(tmp_path / "cache")) == ["x"]


def _receive(source, folder, copies):
    def is_right(_):
        with copies.get_lock():
            copies.value += 1
        return True

    carry.receive(source, folder, is_right)


def test_processes_of_a_machine_copy_once(source, tmp_path):
    fork = multiprocessing.get_context("spawn")
    copies = fork.Value("i", 0)
    many = [fork.Process(target=_receive, args=(str(source), str(tmp_path / "x"), copies)) for _ in range(3)]
    for process in many:
        process.start()
    for process in many:
        process.join()
    assert [process.exitcode for process in many] == [0, 0, 0]
    assert copies.value == 1
    assert content(tmp_path / "x") == content(source)


def test_what_is_not_right_is_not_kept(source, tmp_path):
    with pytest.raises(DataError, match="is not what was sent"):
        carry.receive(str(source), str(tmp_path / "cache/x"), lambda folder: not os.path.exists(folder))
    assert os.listdir(tmp_path / "cache") == ["x.lock"]


def test_nothing_is_no_folder(tmp_path):
    with pytest.raises(DataError, match="there is nothing in"):
        carry.receive(str(tmp_path / "nowhere"), str(tmp_path / "cache/x"), lambda _: True)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([FileInfo("gs://b/other", 1, 0)], "does not lie in"),
        ([FileInfo("gs://b/m/../../x", 1, 0)], "does not lie in"),
        ([FileInfo("gs://b/m/x", carry.MAX_BYTES + 1, 0)], "it is no model"),
    ],
)
def test_a_listing_cannot_lead_outside_or_fill_the_disk(files, message, tmp_path):
    with pytest.raises(DataError, match=message):
        carry.copy_tree("gs://b/m", str(tmp_path / "x"), files)
    assert not (tmp_path / "x").exists()


def test_a_state_changes_with_size_time_and_name():
    one = FileInfo("gs://b/m/x", 1, 2.0)
    others = [FileInfo("gs://b/m/y", 1, 2.0), FileInfo("gs://b/m/x", 2, 2.0), FileInfo("gs://b/m/x", 1, 3.0)]
    assert carry.fingerprint([one]) not in {carry.fingerprint([other]) for other in others}
