"""Every job from and to S3 and Cloud Storage has the digests of a local disk, and training reads what lies there."""

import json
import subprocess
import sys

import pytest

from molino.transforms.manifest import owned_paths
from molino.transforms.names.sample import sample_names
from molino.transforms.titles.sample import sample_titles
from molino.transforms.whales.sample import sample_whales
from tests import programs
from tests.every_job import JOBS as EXAMPLES
from tests.every_job import options_at, prepare
from tests.storage.stores import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
# one after the other in one process, whose start would be most of the time of each
JOBS = """
import importlib, json, os, sys
from molino.jobs.run.output import read_manifest
from molino.jobs.train import titles
place, output, home, trained, others = sys.argv[1:]
runs = {
    "names": ["--input", f"{place}/sep.txt"],
    "whales": ["--input", f"{place}/sea/images", "--kernel", "9", "--write-images"],
    "shapes": ["--sweep", f"{home}/sweep.yaml", "--rows", "1000"],
    "titles": ["--input", f"{place}/t.csv", "--model", f"small={home}/model"],
    "pca": ["--input", f"{output}/titles", "--column", "small"],
    "predict": ["--input", f"{place}/t.csv", "--model", f"{home}/classifier"],
}
runs |= json.loads(others)
found = {}
for job, words in runs.items():
    if job == "predict":
        learn = ["--input", f"{output}/titles", "--output", trained, "--model", f"small={home}/model"]
        assert titles.JOB.main([*learn, "--architecture", "linear", "--epochs", "1", "--quiet"]) == 0
    options = ["--output", f"{output}/{job}", "--runner", "embedded", "--workers", "1", "--quiet"]
    assert importlib.import_module(f"molino.jobs.{job}").JOB.main([*options, *words]) == 0, job
    found[job] = read_manifest(f"{output}/{job}")
print(json.dumps(found))
"""
OTHERS = [job for job in EXAMPLES if f'"{job}": [' not in JOBS]
SWEEP = "- problem: ring\n  hidden: [1, 3]\n  batch: 100\n  steps: 200\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a folder with a small language model, a sweep, and in `in` the input of every job."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "sweep.yaml").write_text(SWEEP)
    sample_names(str(folder / "in/sep.txt"), rows=1000)
    sample_titles(str(folder / "in/t.csv"), rows=600)
    sample_whales(str(folder / "in/sea"), images=3, width=240, height=160)
    for job in OTHERS:
        (folder / "in" / job).mkdir()
        prepare(job, folder / "in" / job)
    grow = ["model", "train", "--input", folder / "in/t.csv", "--output", folder / "model", "--dim", 8, "--epochs", 1]
    programs.run(["molino", *grow])
    return folder


def others_at(place):
    """Return the options of the jobs that are not named above, as JSON; their input is that of their examples."""
    return json.dumps({job: options_at(job, f"{place}/{job}") for job in OTHERS})


@pytest.fixture(scope="module")
def local(home):
    """Return the manifests of the jobs on this disk, by job; the classifier is trained there."""
    words = [home / "in", home / "out", home, home / "classifier", others_at(home / "in")]
    done = subprocess.run([sys.executable, "-c", JOBS, *words], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def store(empty_store, home):
    empty_store.fill(home / "in")
    return empty_store


def test_every_job_and_training_from_and_to_a_store(store, home, local, tmp_path):
    found = store.tell(
        JOBS, store.url("in"), store.url("out"), home, tmp_path / "classifier", others_at(store.url("in"))
    )
    assert {job: made["digest"] for job, made in found.items()} == {job: made["digest"] for job, made in local.items()}
    for job, manifest in found.items():
        assert store.objects("out", job) == owned_paths(manifest)
    metrics = [
        json.loads((folder / "metrics.json").read_text()) for folder in (home / "classifier", tmp_path / "classifier")
    ]
    assert metrics[0]["test"] == metrics[1]["test"]


def test_verify_reads_every_byte(store):
    code, out, wrong = store.molino("verify", store.url("out/whales"))
    assert code == 0, wrong
    assert "everything is as it was written" in out
