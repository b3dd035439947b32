"""What tests of several folders share."""

import os
import tempfile
import warnings

import pytest
from hypothesis import settings

from tests import programs
from tests.flink_cluster import TASKMANAGERS, Cluster, missing_piece

settings.register_profile("molino", deadline=None)  # a machine at work is no fault of the code
settings.load_profile("molino")


@pytest.fixture(scope="session", autouse=True)
def started_quickly():
    """Programs of this project that tests start find large libraries imported."""
    with tempfile.TemporaryDirectory(prefix="programs-") as folder, programs.serve(folder):  # a short path for sockets
        yield


@pytest.fixture(autouse=True)
def _nothing_stays_at_work():
    yield
    programs.end_started()


@pytest.fixture(scope="session")
def hub():
    """TF Hub, loaded once and without its chatter."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("tensorflow_hub")


@pytest.fixture(scope="session")
def flink(tmp_path_factory):
    """A Flink cluster at work on this machine."""
    missing = missing_piece()
    if missing:
        pytest.skip(f"there is no {missing}; make flink-test fetches it")
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.script("start", TASKMANAGERS)
        yield cluster
    finally:
        cluster.script("stop")
