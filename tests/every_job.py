"""A small run of every job: how its input is made, and what it is told. For tests that compare runners."""

import json
import os
import re
import shutil
from pathlib import Path

from molino.jobs.job import load_jobs
from tests import programs

ROOT = Path(__file__).resolve().parents[1]
# the commands that make a job's input, and the options of the job: what each says of itself
JOBS = {
    name: (job.example.inputs, job.example.options.format(tree=ROOT).split())
    for name, job in load_jobs().items()
    if job.example
}
# the jobs that tell how much they have to do: `molino plan` has constants of them
MEASURED = {
    name for name in load_jobs() if re.search(r"\b(size|amount)=", (ROOT / f"jobs/{name}.py").read_text("utf-8"))
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


def options_at(job, place):
    """Return the options of a job whose input, made by `prepare`, lies in another place than the current folder."""
    options, words = [], iter(JOBS[job][1])
    for word in words:
        options += [word, f"{place}/{next(words)}"] if word == "--input" else [word]
    return options


def prepare(job, folder):
    """Make a job's input in a folder."""
    for command in JOBS[job][0]:
        molino(*command.split(), cwd=folder)


def run_embedded(job, folder):
    """Make a job's input in a folder, run the job there on the embedded runner, and return the digests."""
    prepare(job, folder)
    molino(job, *JOBS[job][1], "--output", "embedded", "--quiet", cwd=folder)
    return digests(folder / "embedded")
