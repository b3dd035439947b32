"""Where compiled loops are kept, and that none ends in an error for want of a place."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

LOOP = "from molino.transforms.compiled import compiler\n\n\n@compiler()\ndef double(x):\n    return 2 * x\n"
CALL = """
import os, sys
closed = sys.argv[1:]
access = os.access
os.access = lambda path, mode: not str(path).startswith(tuple(closed)) and access(path, mode)
import loop
assert loop.double(21) == 42
print(loop.double._cache.cache_path or "nowhere")
"""


@pytest.fixture
def kept_in(tmp_path):
    """Return what calls a loop in a new process and returns where it was kept, relative to the test's folder."""
    pytest.importorskip("numba")
    (tmp_path / "sources").mkdir()
    (tmp_path / "home").mkdir()
    (tmp_path / "temporary").mkdir()
    (tmp_path / "sources/loop.py").write_text(LOOP)

    def call(*closed, **variables):
        names = ("NUMBA_CACHE_DIR", "MOLINO_CACHE", "XDG_CACHE_HOME")
        known = {name: value for name, value in os.environ.items() if name not in names}
        root = Path(__file__).parents[2]
        known |= {"PYTHONPATH": f"{tmp_path}/sources:{root}", "PYTHONDONTWRITEBYTECODE": "1"}
        known |= {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "temporary"), **variables}
        words = [sys.executable, "-c", CALL, *(str(tmp_path / name) for name in closed)]
        done = subprocess.run(words, cwd=tmp_path, env=known, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert not (tmp_path / "~").exists()
        return done.stdout.strip().removeprefix(f"{tmp_path}/")

    return call


def test_beside_the_sources_where_they_can_be_written(kept_in, tmp_path):
    assert kept_in() == "sources/__pycache__"
    assert list((tmp_path / "sources/__pycache__").glob("*.nbi"))


def test_where_the_user_says(kept_in, tmp_path):
    assert kept_in(NUMBA_CACHE_DIR=f"{tmp_path}/mine").startswith("mine/sources_")
    assert kept_in(NUMBA_CACHE_DIR="~/mine").startswith("home/mine/sources_")


@pytest.mark.slow
def test_in_the_cache_where_the_sources_cannot_be_written(kept_in, tmp_path):
    assert kept_in("sources").startswith("home/.cache/molino/numba/sources_")
    (tmp_path / "given").mkdir()
    assert kept_in("sources", "given", NUMBA_CACHE_DIR=f"{tmp_path}/given").startswith(
        "home/.cache/molino/numba/sources_"
    )
    user = f"temporary/molino-{os.geteuid()}"
    assert kept_in("sources", HOME="/proc/none").startswith(f"{user}/numba/sources_")
    assert list((tmp_path / user).rglob("*.nbi"))


def test_nowhere_where_nothing_can_be_written(kept_in, tmp_path):
    open_places = set(tmp_path.iterdir())
    variables = {"HOME": "/proc/none", "MOLINO_CACHE": f"{tmp_path}/closed"}
    assert kept_in("", **variables) == "nowhere"
    assert set(tmp_path.iterdir()) == open_places
    assert not list(tmp_path.rglob("*.nbi"))
