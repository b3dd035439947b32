"""Units that are done once: taken up when whole, done again when not."""

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil

import pyarrow as pa
import pytest

from molino import code
from molino.schemas.rejects import REJECTS
from molino.transforms.manifest import FORMAT, MANIFEST, digest_of
from molino.transforms.parquet.shards import write_if_any, write_view
from molino.transforms.parquet.units import KEPT, Done, do_once, keep, kept_paths, renumber, take_over
from molino.transforms.warnings import Sighting


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


@pytest.fixture
def replaced(tmp_path):
    """A unit of a finished run: its Done, and the output with its files and its manifest."""
    staging, output = str(tmp_path / "staging"), tmp_path / "out"
    rows = [pa.RecordBatch.from_pylist([{"source": "a", "line": 0, "reason": "b", "row": "c"}], REJECTS)]
    files = [write_if_any(rows, schema=REJECTS, folder=staging, dataset=name, key=(3,))[0] for name in ("rows", "_own")]
    counters = {"rows": Sighting(1, "a"), "rejects": 2}
    done = Done(
        files=(*files, write_view(b"x", folder=staging, name="a/b.txt")), counters=counters, amounts={"rows": 1}
    )
    kept = list(keep("name", done))
    assert [(file.dataset, file.name) for file in kept] == [
        ("rows", ""),
        ("", f"{KEPT}/name_own.parquet"),
        ("", "a/b.txt"),
    ]
    entries = []
    for file in kept:
        path = file.name or "rows/part.parquet"
        (output / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(file.path, output / path)
        entries.append({"path": path, "bytes": file.bytes, "sha256": file.sha256, **file.entry})
    dataset = {"schema": "molino.rejects", "version": 1, "rows": 1, "files": entries[:1]}
    others = dict.fromkeys(("job", "run", "digest", "counters", "balance", "options", "inputs", "warnings"))
    manifest = {"format": FORMAT, **others, "datasets": {"rows": dataset}, "views": entries[1:], "replaced_views": []}
    (output / MANIFEST).write_text(json.dumps(manifest | {"packages": code.packages()}))
    return done, output


def taken(output, tmp_path, name="name"):
    parent = digest_of((output / MANIFEST).read_bytes())
    return take_over(name, str(tmp_path / "units"), str(output), parent)


def test_a_kept_unit_is_taken_over_as_it_was(replaced, tmp_path):
    done, output = replaced
    got = taken(output, tmp_path)
    assert (got.counters, got.amounts) == (done.counters, done.amounts)
    assert got.counters["rows"].place == "a"
    for one, other in zip(done.files, got.files, strict=True):
        assert other == dataclasses.replace(one, path=other.path)
        assert hashlib.sha256(pathlib.Path(other.path).read_bytes()).hexdigest() == one.sha256
    assert all(os.stat(file.path).st_nlink == 2 for file in got.files)
    assert taken(output, tmp_path, "other") is None
    assert take_over("name", str(tmp_path / "units"), str(output), "0" * 64) is None
    assert take_over("name", str(tmp_path / "units"), str(tmp_path), "") is None
    assert [file.key for file in renumber(got, 7).files] == [(7,), (7,), ()]


def edited(change):
    def edit(output):
        manifest = json.loads((output / MANIFEST).read_text())
        change(manifest)
        (output / MANIFEST).write_text(json.dumps(manifest))

    return edit


@pytest.mark.parametrize(
    "damage",
    [
        lambda output: (output / "rows/part.parquet").unlink(),
        lambda output: (output / "a/b.txt").write_bytes(b"y"),
        lambda output: (output / f"{KEPT}/name_own.parquet").write_bytes(b""),
        edited(lambda manifest: manifest["views"].pop()),
        edited(lambda manifest: manifest["datasets"]["rows"]["files"].clear()),
        edited(lambda manifest: manifest["packages"].update(pyarrow="0")),
        edited(lambda manifest: manifest["views"][0]["unit"]["file"].pop("dataset")),
        edited(lambda manifest: manifest["views"][0].update(unit="name")),
        lambda output: (output / MANIFEST).unlink() or (output / MANIFEST).write_text("{}"),
    ],
)
def test_a_unit_of_which_something_is_wrong_is_not_taken_over(damage, replaced, tmp_path):
    damage(replaced[1])
    assert taken(replaced[1], tmp_path) is None


def test_where_there_are_no_links_files_are_copied(replaced, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError()))
    got = taken(replaced[1], tmp_path)
    assert [os.stat(file.path).st_nlink for file in got.files] == [1, 1, 1]
    assert pathlib.Path(got.files[2].path).read_bytes() == b"x"
