import shutil

import pytest
from fault_harness import names

from transforms.sample_names import sample_names


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
