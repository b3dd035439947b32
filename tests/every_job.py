"""A small run of every job: how its input is made, and what it is told. For tests that compare runners."""

import json
import os
import shutil
from pathlib import Path

from tests import programs

ROOT = Path(__file__).resolve().parents[1]
# the commands that make a job's input, and the options of the job
JOBS = {
    "names": (["sample names --rows 20000 --output in.txt"], ["--input", "in.txt"]),
    "titles": (["sample titles --rows 3000 --output in.csv"], ["--input", "in.csv"]),
    "whales": (["sample whales --images 6 --output sea"], ["--input", "sea/images"]),
    "pca": (
        ["sample pca --rows 20000 --numbers 5 --output in.parquet"],
        ["--input", "in.parquet", "--column", "vector"],
    ),
    "shapes": ([], ["--sweep", str(ROOT / "sweeps/demo.yaml"), "--rows", "4000"]),
    "predict": (
        [
            "sample titles --rows 3000 --output in.csv",
            "titles --input in.csv --output run --quiet",
            "train titles --input run --architecture phrases --epochs 1 --output classifier --quiet",
        ],
        ["--input", "in.csv", "--model", "classifier"],
    ),
}


def find_prism():
    """Return the path of Prism, Beam's portable runner, or None: it lies in PATH or where Go installs."""
    return shutil.which("prism", path=os.pathsep.join([os.environ.get("PATH", ""), str(Path.home() / "go/bin")]))


def molino(*arguments, cwd):
    """Run `molino` to its end, which must be a good one."""
    process = programs.popen(["molino", *arguments], env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=cwd)
    _, wrong = process.communicate()
    assert process.returncode == 0, wrong.decode()[-3000:]


def digests(output):
    """Return the digest of every data set of an output, and of all."""
    manifest = json.loads((output / "_manifest.json").read_text())
    return {name: dataset["digest"] for name, dataset in manifest["datasets"].items()} | {"all": manifest["digest"]}


def prepare(job, folder):
    """Make a job's input in a folder."""
    for command in JOBS[job][0]:
        molino(*command.split(), cwd=folder)


def run_embedded(job, folder):
    """Make a job's input in a folder, run the job there on the embedded runner, and return the digests."""
    prepare(job, folder)
    molino(job, *JOBS[job][1], "--output", "embedded", "--quiet", cwd=folder)
    return digests(folder / "embedded")
