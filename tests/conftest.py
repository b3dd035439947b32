"""What tests of several folders share."""

import os
import tempfile
import warnings
from pathlib import Path

import pytest
from hypothesis import settings

from tests import programs
from tests.flink_cluster import TASKMANAGERS, Cluster, missing_piece

# what takes more than half a minute is begun before all else, so that no core is left alone with it at the end
LONGEST = (
    *("deploy/test_dataflow.py", "deploy/test_dataflow_ends.py", "faults/test_titles_faults.py"),
    *("deploy/test_airflow.py", "jobs/commands/test_train.py", "setup/test_setup.py", "jobs/run/test_card.py"),
    *("setup/test_setup_tensorflow.py", "faults/test_titles_inputs.py", "faults/test_fault_kill.py"),
    *("faults/test_fault_stopped.py", "jobs/commands/test_plan.py", "faults/test_odd_options.py"),
    *("storage/test_store_jobs.py", "storage/test_store_faults.py", "runners/test_elsewhere.py"),
    *("faults/test_same_bytes.py", "faults/test_pca_faults.py", "faults/test_fault_machine.py"),
    "faults/test_fault_whales.py",
)

settings.register_profile("molino", deadline=None)  # a machine at work is no fault of the code
settings.load_profile("molino")


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    ranks = {here / name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


@pytest.fixture(scope="session", autouse=True)
def started_quickly():
    """Programs of this project that tests start find large libraries imported."""
    with (
        tempfile.TemporaryDirectory(prefix="programs-") as folder,  # a short path for sockets
        programs.serve(folder),
        programs.tensorflow_at_hand(),
    ):
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
