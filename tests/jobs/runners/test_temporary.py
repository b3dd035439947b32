"""Where no temporary file can be written, one line says so."""

import tempfile

import pytest

from molino.jobs.run.buckets import bucket_folder
from molino.jobs.runners.temporary import check_temporary_files, own_temporary_files
from molino.transforms.errors import DataError

SAID = r"cannot write temporary files: .*; name a folder for them in TMPDIR, or make room"


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
