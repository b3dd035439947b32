"""Bucket files: below the staging folder, on this machine where that is an object store, and never left behind."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from molino.jobs.run.buckets import bucket_folder
from molino.jobs.runners.temporary import PREFIX

STORE = "gs://bucket/out/_staging/1"
HOLD = """
import sys
from molino.jobs.run.buckets import bucket_folder
with bucket_folder("gs://bucket/out/_staging/1", embedded=True) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("staging", "embedded"), [("/out/_staging/1", True), ("/out/_staging/1", False), (STORE, False)]
)
def test_they_lie_beside_what_is_staged(staging, embedded, place):
    with bucket_folder(staging, embedded=embedded) as folder:
        assert folder == f"{staging}/shuffle"
    assert list(place.iterdir()) == []


def test_those_of_an_object_store_lie_on_this_machine(place):
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
