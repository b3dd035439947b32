"""Units that are done once: taken up when whole, done again when not."""

import json
import pathlib

import pytest

from molino.transforms.parquet.shards import write_view
from molino.transforms.parquet.units import Done, do_once, kept_paths


def work(number, folder, *, log):
    """Stage two files, and note that this was done."""
    with open(log, "a") as file:
        file.write(f"{number}\n")
    files = [write_view(b"%d" % number, folder=folder, name=f"{kind}.txt") for kind in "ab"]
    return Done(files=tuple(files), counters={"numbers": number}, amounts={"rows": 1})


@pytest.fixture
def once(tmp_path):
    """Do unit 7 once; return its Done, and whether it was resumed."""
    units = str(tmp_path / "units")
    return lambda: do_once("7", units, lambda _: work(7, units, log=tmp_path / "log"))


def test_a_finished_unit_is_taken_up_as_it_was(once, tmp_path):
    first, resumed = once()
    again, resumed_again = once()
    assert (resumed, resumed_again) == (False, True)
    assert again == first
    assert (tmp_path / "log").read_text() == "7\n"


@pytest.mark.parametrize(
    "damage",
    [
        lambda record, file: record.unlink(),
        lambda record, file: record.write_text("{"),
        lambda record, file: record.write_text("[]"),
        lambda record, file: record.write_text(json.dumps({"files": [{"path": "x"}], "counters": {}, "amounts": {}})),
        lambda record, file: file.unlink(),
        lambda record, file: file.write_bytes(b"8"),
        lambda record, file: file.write_bytes(b"77"),
    ],
)
def test_a_unit_that_is_not_whole_is_done_again(damage, once, tmp_path):
    first, _ = once()
    damage(tmp_path / "units/7.json", pathlib.Path(first.files[1].path))
    again, resumed = once()
    assert not resumed
    assert [pathlib.Path(file.path).read_bytes() for file in again.files] == [b"7", b"7"]
    assert once()[1]


def test_what_no_record_names_is_not_kept(once, tmp_path):
    folder = tmp_path / "units"
    assert kept_paths(str(folder)) == set()
    done, _ = once()
    write_view(b"half a unit", folder=str(folder), name="c.txt")
    assert kept_paths(str(folder)) == {str(folder / "7.json"), *(file.path for file in done.files)}


def test_a_folder_that_was_moved_is_resumed(once, tmp_path):
    once()
    (tmp_path / "units").rename(tmp_path / "moved")
    done, resumed = do_once("7", str(tmp_path / "moved"), lambda _: pytest.fail("done again"))
    assert resumed
    assert all(pathlib.Path(file.path).exists() for file in done.files)
