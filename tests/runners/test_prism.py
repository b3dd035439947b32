"""Every job on Prism, Beam's portable runner: the content is what the embedded runner gives, digest by digest.

Prism is a program of its own: go install github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.every_job import JOBS, ROOT, digests, find_prism, molino, prepare, run_embedded
from tests.faults.fault_harness import assert_failed, changed_copy, is_untouched, names

PRISM = find_prism()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(PRISM is None, reason="there is no prism in PATH or ~/go/bin"),
]


@pytest.mark.parametrize("job", JOBS)
def test_prism_gives_what_the_embedded_runner_gives(job, tmp_path):
    expected = run_embedded(job, tmp_path)
    prism = ("--runner", "PrismRunner", "--prism_location", PRISM, "--environment_type", "LOOPBACK")
    molino(job, *JOBS[job][1], "--output", "prism", "--quiet", *prism, cwd=tmp_path)
    assert digests(tmp_path / "prism") == expected


@pytest.fixture
def pool(tmp_path):
    """Return a function that starts a pool of workers, which find their modules in a place, and returns its options."""
    started = []

    def start(place):
        command = [sys.executable, "-P", ROOT / "tests/deploy/worker_pool.py"]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # Beam's pool starts "python"
        environment = {**os.environ, "PATH": path, "PYTHONPATH": str(place), "PYTHONSAFEPATH": "1"}
        pool = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
        started.append(pool)
        return "--environment_type", "EXTERNAL", "--environment_config", f"localhost:{int(pool.stdout.readline())}"

    yield start
    for each in started:
        each.terminate()
        each.communicate()


# the tests' own environment may have it installed
WITHOUT = """
import sys
class Without:
    def find_spec(self, name, *_):
        if name == "molino":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Without())
"""


@pytest.mark.parametrize("program", ["same", "other", "none"])
def test_workers_of_prism_prove_their_code(program, pool, tmp_path):
    prepare("names", tmp_path)
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing/sitecustomize.py").write_text(WITHOUT)
    place = {"same": ROOT, "other": changed_copy(tmp_path / "copy"), "none": tmp_path / "nothing"}[program]
    how = ("--runner", "PrismRunner", "--prism_location", PRISM, *pool(place))
    ended = names("in.txt", tmp_path / "out", *how, cwd=tmp_path)
    if program == "same":
        assert ended.code == 0, ended.err
        return
    told = {"other": "has other code of molino ", "none": "the workers lack this program"}[program]
    assert_failed(ended, 1, told)
    assert len(ended.err.splitlines()) == 1
    assert is_untouched(tmp_path / "out")
