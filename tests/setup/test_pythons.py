"""Every Python gives the same digests: environments that `make check-all` has made are compared with this one."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from molino.jobs.job import load_jobs

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = [path for path in sorted(ROOT.glob(".venv-3.*/bin/python")) if (path.parents[1] / "installed").exists()]
JOBS = ("names", "whales", "pca", "shapes")

pytestmark = pytest.mark.slow


def run(python, *words, folder):
    """Run the command of this tree with an interpreter."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([python, "-m", "molino", *words], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("job", JOBS)
def test_digests_are_the_same(job, tmp_path):
    if not PYTHONS:
        pytest.skip("no other Python's environment is here; make check-all makes them")
    example = load_jobs()[job].example
    for line in example.inputs:
        run(sys.executable, *shlex.split(line), folder=tmp_path)
    options = shlex.split(example.options.format(tree=ROOT))
    digests = {}
    for python in [sys.executable, *map(str, PYTHONS)]:
        output = f"out{len(digests)}"
        run(python, job, *options, "--output", output, folder=tmp_path)
        digests[python] = json.loads((tmp_path / output / "_manifest.json").read_text())["digest"]
    assert len(set(digests.values())) == 1, digests
