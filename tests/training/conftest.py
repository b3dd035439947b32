import pytest

from tests.training.made_run import write_run
from tests.training.made_titles import write_titles


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    """The folder of a finished run of 126 rows in four shards, of which one is empty."""
    monkeypatch.delenv("MOLINO_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_run(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def run_of_titles(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_titles(tmp_path / "run")
    return tmp_path / "run"
