"""Where no temporary file can be written, one line says so; bucket files lie where they should, and none is left."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from molino.jobs import cli
from molino.transforms.errors import DataError
from molino.transforms.files.temporary import PREFIX, bucket_folder, check_temporary_files, own_temporary_files

SAID = r"cannot write temporary files: .*; name a folder for them in TMPDIR, or make room"
STORE = "gs://bucket/out/_staging/1"
LOOP = """
import os
import sys

import molino

def is_kept(path):
    return os.path.exists(path) and not path.endswith(".ttf")  # matplotlib keeps up to 64 fonts open, by threads

for number in range(3):
    molino.run("names", input=sys.argv[1], output=f"{sys.argv[2]}{number}", quiet=True)
    opened = [f"/proc/self/fd/{each}" for each in os.listdir("/proc/self/fd")]
    print(sum(is_kept(os.path.realpath(each)) for each in opened), len(os.listdir(os.environ["TMPDIR"])))
"""
HOLD = """
import sys
from molino.transforms.files.temporary import bucket_folder
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


@pytest.mark.slow
def test_runs_of_one_program_share_what_they_need(tmp_path, monkeypatch):
    """A notebook that runs jobs all day keeps no more files open, and leaves no more folders, than for two runs."""
    place, source = tmp_path / "temporary", tmp_path / "in.txt"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[3]))
    assert cli.main(["sample", "names", "--rows", "50", "--output", str(source)]) == 0
    words = [sys.executable, "-c", LOOP, str(source), str(tmp_path / "out")]
    ended = subprocess.run(words, capture_output=True, text=True, check=True)
    first, second, third = ended.stdout.strip().splitlines()[-3:]
    assert first
    assert second == third
    assert not list(place.iterdir())
