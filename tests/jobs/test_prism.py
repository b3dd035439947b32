"""Every job on Prism, Beam's portable runner: the content is what the embedded runner gives, digest by digest.

Prism is a program of its own: go install github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLACES = os.pathsep.join([os.environ.get("PATH", ""), str(Path.home() / "go/bin")])
PRISM = shutil.which("prism", path=PLACES)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(PRISM is None, reason="there is no prism in PATH or ~/go/bin"),
]

# how a job's input is made, and what the job is told
JOBS = {
    "names": (["sample", "names", "--rows", "20000", "--output", "in.txt"], ["--input", "in.txt"]),
    "titles": (["sample", "titles", "--rows", "3000", "--output", "in.csv"], ["--input", "in.csv"]),
    "whales": (["sample", "whales", "--images", "6", "--output", "sea"], ["--input", "sea/images"]),
    "pca": (
        ["sample", "pca", "--rows", "20000", "--numbers", "5", "--output", "in.parquet"],
        ["--input", "in.parquet", "--column", "vector"],
    ),
    "shapes": ([], ["--sweep", str(ROOT / "sweeps/demo.yaml"), "--rows", "4000"]),
}


def molino(*arguments, cwd):
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def digests(output):
    manifest = json.loads((output / "_manifest.json").read_text())
    return {name: dataset["digest"] for name, dataset in manifest["datasets"].items()} | {"all": manifest["digest"]}


@pytest.mark.parametrize("job", JOBS)
def test_prism_gives_what_the_embedded_runner_gives(job, tmp_path):
    sample, given = JOBS[job]
    if sample:
        molino(*sample, cwd=tmp_path)
    molino(job, *given, "--output", "embedded", "--quiet", cwd=tmp_path)
    prism = ("--runner", "PrismRunner", "--prism_location", PRISM, "--environment_type", "LOOPBACK")
    molino(job, *given, "--output", "prism", "--quiet", *prism, cwd=tmp_path)
    assert digests(tmp_path / "prism") == digests(tmp_path / "embedded")
