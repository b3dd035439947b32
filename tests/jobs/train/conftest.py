"""A run of the titles job made by hand, and trainings on it: each is trained once for all tests."""

import json
import shutil
import sys

import pytest

from molino.jobs import cli
from tests.training.made_titles import write_titles

QUICK = {"--epochs": "3", "--batch": "64", "--rate": "0.01"}


@pytest.fixture(autouse=True)
def _stay(monkeypatch):
    """A failed run ends its process at once; here it is the tests' own."""
    monkeypatch.setattr("molino.jobs.runners.exits.leave", sys.exit)


@pytest.fixture(scope="package", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOLINO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="package")
def titles_run(tmp_path_factory):
    """A run that nobody changes."""
    folder = tmp_path_factory.mktemp("made") / "run"
    write_titles(folder)
    return folder


@pytest.fixture
def run_of_titles(titles_run, tmp_path):
    """A run of this test alone."""
    return shutil.copytree(titles_run, tmp_path / "run")


@pytest.fixture(scope="package")
def trained(titles_run, tmp_path_factory):
    """Return what trains with some options, once, and returns the output, which nobody changes."""
    outputs = {}

    def output_of(*options):
        if options not in outputs:
            output = tmp_path_factory.mktemp("trained") / "out"
            assert cli.main(["train", "titles", *quickly(titles_run, output, options)]) == 0
            outputs[options] = output
        return outputs[options]

    return output_of


def quickly(folder, output, options):
    """Return the words of a command; of the quick options those that are not given otherwise."""
    words = ["--input", folder, "--output", output, "--quiet", *options]
    return [*map(str, words), *(word for flag, value in QUICK.items() if flag not in options for word in (flag, value))]


def molino(*words):
    """Run a command and return its exit code."""
    try:
        return cli.main([*map(str, words)])
    except SystemExit as stop:
        return stop.code


def train(folder, output, *options):
    """Train a classifier quickly and return the exit code."""
    return molino("train", "titles", *quickly(folder, output, options))


def figures(output):
    """Return metrics.json without the times."""
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics.pop("times")["all"][0]["seconds"] > 0
    return metrics


def file_of(output, dataset="predictions"):
    """Return the one file of a data set."""
    manifest = json.loads((output / "_manifest.json").read_text())
    (file,) = manifest["datasets"][dataset]["files"]
    return output / file["path"]
