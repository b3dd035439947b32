"""The pca job from and to an object store: the rows of a disk, from files and from a finished run."""

import pytest

from molino.jobs import pca
from molino.jobs.run import lock
from molino.jobs.run.output import read_manifest
from molino.jobs.run.recheck import verify
from molino.transforms.files import storage
from molino.transforms.manifest import owned_paths
from molino.transforms.pca.sample import sample_vectors
from tests.storage.memory_store import OBJECTS

pytestmark = pytest.mark.slow
OUTPUT = "mem://bucket/out"


@pytest.fixture
def points(tmp_path, monkeypatch):
    """A file of vectors, on disk and in the store."""
    sample_vectors(str(tmp_path / "in/p.parquet"), rows=500, numbers=3, seed=1, hostile=True)
    OBJECTS.clear()
    with storage.open_output("mem://bucket/in/p.parquet") as file:
        file.write((tmp_path / "in/p.parquet").read_bytes())
    monkeypatch.setattr(lock.Lock, "PAUSE", 0.01)
    yield tmp_path / "in/p.parquet"
    OBJECTS.clear()


def run(source, output):
    words = ["--input", source, "--column", "vector", "--output", output, "--quiet", "--workers", 1]
    return pca.JOB.main(list(map(str, words)))


def digest(output):
    manifest, wrong = verify(str(output))
    assert wrong == []
    return manifest["digest"]


def test_the_digest_is_that_of_a_disk(points, tmp_path):
    assert run(points, tmp_path / "out") == 0
    assert run("mem://bucket/in/*.parquet", OUTPUT) == 0
    assert digest(OUTPUT) == digest(tmp_path / "out")
    below = {path[len(OUTPUT) + 1 :] for path in OBJECTS if path.startswith(OUTPUT)}
    assert below == owned_paths(read_manifest(OUTPUT))
    # a finished run in the store, rotated once more
    assert run(OUTPUT, "mem://bucket/again") == 0
    assert run(tmp_path / "out", tmp_path / "again") == 0
    assert digest("mem://bucket/again") == digest(tmp_path / "again")
