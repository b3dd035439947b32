"""Where no temporary file can be written, one line says so; bucket files lie where they should, and none is left."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from molino.jobs.runners.temporary import PREFIX, bucket_folder, check_temporary_files, own_temporary_files
from molino.transforms.errors import DataError

SAID = r"cannot write temporary files: .*; name a folder for them in TMPDIR, or make room"
STORE = "gs://bucket/out/_staging/1"
HOLD = """
import sys
from molino.jobs.runners.temporary import bucket_folder
with bucket_folder("gs://bucket/out/_staging/1", embedded=True) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_none_at_all(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere"])
    with pytest.raises(DataError, match=SAID):
        check_temporary_files()
    with pytest.raises(DataError, match=SAID), own_temporary_files():
        pass
    with pytest.raises(DataError, match=SAID), bucket_folder("gs://bucket/out/_staging/1", embedded=True):
        pass


def test_one_that_is_gone(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(DataError, match=SAID), own_temporary_files():
        pass


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("staging", "embedded"), [("/out/_staging/1", True), ("/out/_staging/1", False), (STORE, False)]
)
def test_bucket_files_lie_beside_what_is_staged(staging, embedded, place):
    with bucket_folder(staging, embedded=embedded) as folder:
        assert folder == f"{staging}/shuffle"
    assert list(place.iterdir()) == []


def test_bucket_files_of_an_object_store_lie_on_this_machine(place):
    with bucket_folder(STORE, embedded=True) as folder:
        assert Path(folder).parent == place
        assert os.stat(folder).st_mode & 0o777 == 0o700
        Path(folder, "a.arrow").write_bytes(b"rows")
    assert list(place.iterdir()) == []
    with pytest.raises(ValueError, match="of the run"), bucket_folder(STORE, embedded=True):
        raise ValueError("of the run")
    assert list(place.iterdir()) == []


def test_what_a_killed_run_left_goes_and_what_another_uses_stays(place):
    environment = {**os.environ, "TMPDIR": str(place)}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    killed, alive = (Path(run.stdout.readline().strip()) for run in runs)
    (killed / "a.arrow").write_bytes(b"rows")
    runs[0].kill()
    runs[0].communicate()
    (place / "mine").mkdir()
    (place / f"{PREFIX}file").write_text("not a folder")
    with bucket_folder(STORE, embedded=True) as folder:
        assert {path.name for path in place.iterdir()} == {"mine", f"{PREFIX}file", alive.name, Path(folder).name}
    runs[1].communicate()
    assert not alive.exists()
