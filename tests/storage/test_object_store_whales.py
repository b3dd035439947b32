"""The whales job from and to an object store: the rows of a disk, and units that are resumed."""

import io
import pathlib
import tarfile

import pytest

from molino.jobs import whales
from molino.jobs.run import lock
from molino.jobs.run.output import read_manifest
from molino.jobs.run.recheck import verify
from molino.jobs.runners import exits
from molino.transforms.files import storage
from molino.transforms.images import list_images
from molino.transforms.manifest import owned_paths
from molino.transforms.whales.sample import sample_whales
from tests.storage.memory_store import OBJECTS

OUTPUT = "mem://bucket/out"


@pytest.fixture
def sea(tmp_path, monkeypatch):
    """Six images and a tar with two of them, on disk and in the store."""
    folder = pathlib.Path(sample_whales(str(tmp_path), images=6, width=240, height=160)["folder"])
    images = sorted(folder.iterdir())
    with tarfile.open(folder / "s.tar", "w") as tar:
        for image in images[:2]:
            info = tarfile.TarInfo(image.name)
            info.size = image.stat().st_size
            tar.addfile(info, io.BytesIO(image.read_bytes()))
    OBJECTS.clear()
    for path in folder.iterdir():
        with storage.open_output(f"mem://bucket/sea/deep/{path.name}") as file:
            file.write(path.read_bytes())
    monkeypatch.setattr(lock.Lock, "PAUSE", 0.01)

    def leave(code):
        raise SystemExit(code)  # the real one ends the process

    monkeypatch.setattr(exits, "leave", leave)
    yield folder
    OBJECTS.clear()


def run(source, output, *options):
    words = ["--input", source, "--output", output, "--quiet", "--workers", 1, "--kernel", 9, *options]
    return whales.JOB.main(list(map(str, words)))


def digest(output):
    manifest, wrong = verify(str(output))
    assert wrong == []
    return manifest["digest"]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["mem://bucket/sea/deep", "mem://bucket/sea/deep/", "mem://bucket/sea/deep/*"])
def test_the_digest_is_that_of_a_disk(source, sea, tmp_path):
    assert run(sea, tmp_path / "out") == 0
    assert run(source, OUTPUT, "--write-images") == 0
    assert digest(OUTPUT) == digest(tmp_path / "out")
    [listed] = read_manifest(OUTPUT)["inputs"]
    assert listed["files"] == 7
    below = {path[len(OUTPUT) + 1 :] for path in OBJECTS if path.startswith(OUTPUT)}
    assert below == owned_paths(read_manifest(OUTPUT))


def test_units_are_resumed(sea, capsys):
    with pytest.raises(SystemExit):
        run("mem://bucket/sea/deep", OUTPUT, "--max-pixels", 1)  # all are rejects
    assert "8 of 8 records were rejected" in capsys.readouterr().err
    assert {path.split("/")[4] for path in OBJECTS if path.startswith(OUTPUT)} == {"_staging"}
    assert run("mem://bucket/sea/deep", OUTPUT, "--max-pixels", 1, "--max-reject-ratio", 1) == 0
    counters = read_manifest(OUTPUT)["counters"]
    assert counters["units.resumed"] == counters["units"] == 1


def test_what_has_not_changed_is_taken_over(sea, monkeypatch):
    monkeypatch.setattr(list_images, "LEAST_UNIT", 1)
    assert run("mem://bucket/sea/deep", OUTPUT, "--write-crops") == 0
    storage.write_bytes("mem://bucket/sea/deep/w_more.jpg", (sea / "w_00000.jpg").read_bytes())
    assert run("mem://bucket/sea/deep", OUTPUT, "--write-crops", "--overwrite") == 0
    assert read_manifest(OUTPUT)["counters"]["units.rows_taken_over"] == 8
    assert run("mem://bucket/sea/deep", "mem://bucket/anew", "--write-crops") == 0
    assert digest(OUTPUT) == digest("mem://bucket/anew")
    views = [{v["path"]: v["sha256"] for v in read_manifest(o)["views"]} for o in (OUTPUT, "mem://bucket/anew")]
    assert {path for path in views[0] if views[0][path] != views[1].get(path)} <= {"README.md"}  # has names of shards


def test_an_empty_folder(sea, capsys):
    with pytest.raises(SystemExit) as stopped:
        run("mem://bucket/nothing", OUTPUT)
    assert stopped.value.code == 1
    assert "there is no file mem://bucket/nothing" in capsys.readouterr().err
