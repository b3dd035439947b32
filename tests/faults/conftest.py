import shutil

import numpy as np
import pytest

from molino.training.nnlm_export import export_nnlm
from molino.transforms.names.sample import sample_names
from molino.transforms.titles.sample import sample_titles
from tests.faults.fault_harness import names, titles


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """A payroll of 3,000 rows and 20 that no job can read."""
    path = tmp_path_factory.mktemp("sample") / "sep.txt"
    sample_names(str(path), rows=3000, hostile=True)
    return path


@pytest.fixture(scope="session")
def undisturbed(sample, tmp_path_factory):
    """The output of a run that nothing disturbed; never to be changed."""
    output = tmp_path_factory.mktemp("undisturbed") / "out"
    ended = names(sample, output)
    assert ended.code == 0, ended.err
    return output


@pytest.fixture(scope="session")
def undisturbed_other(sample, tmp_path_factory):
    """The output of a run with other options, and with more views; never to be changed."""
    output = tmp_path_factory.mktemp("other") / "out"
    ended = names(sample, output, "--min-count", 2, "--repair-names")
    assert ended.code == 0, ended.err
    return output


@pytest.fixture
def finished(undisturbed, tmp_path):
    """A copy of the undisturbed output."""
    return shutil.copytree(undisturbed, tmp_path / "out")


@pytest.fixture
def finished_other(undisturbed_other, tmp_path):
    """A copy of the output with other options."""
    return shutil.copytree(undisturbed_other, tmp_path / "out")


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A small model with normalization."""
    folder = tmp_path_factory.mktemp("model") / "m"
    words = ["Smart", "Tv", "Celular", "Mesa", "De", "Negro"]
    table = np.random.default_rng(1).standard_normal((len(words) + 5, 8)).astype(np.float32)
    export_nnlm(str(folder), words, table, buckets=5, normalization=True)
    return folder


@pytest.fixture(scope="session")
def titles_file(tmp_path_factory):
    """A file of 3,000 titles and 19 rows that no job can read."""
    path = tmp_path_factory.mktemp("titles") / "titles.csv"
    sample_titles(str(path), rows=3000, hostile=True)
    return path


@pytest.fixture(scope="session")
def undisturbed_titles(titles_file, model, tmp_path_factory):
    """The output of a run of the titles job that nothing disturbed; never to be changed."""
    output = tmp_path_factory.mktemp("undisturbed-titles") / "out"
    ended = titles(titles_file, output, model)
    assert ended.code == 0, ended.err
    return output


@pytest.fixture
def finished_titles(undisturbed_titles, tmp_path):
    """A copy of the undisturbed output."""
    return shutil.copytree(undisturbed_titles, tmp_path / "out")
