"""Every job on a Flink cluster: the content is what the embedded runner gives, digest by digest.

The pair that runs here is Flink 1.19 with Beam's Java 2.70 under Beam's Python of now: see docs/flink.md.
"""

import subprocess
import sys

import pytest

from tests.every_job import JOBS, ROOT, digests, run_embedded
from tests.flink_cluster import SCRIPTS, Cluster, missing_piece

pytestmark = [pytest.mark.flink, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("job", JOBS)
def test_flink_gives_what_the_embedded_runner_gives(job, flink, tmp_path):
    expected = run_embedded(job, tmp_path)
    code, said = flink.run_job(job, *JOBS[job][1], "--output", "flink", "--quiet", cwd=tmp_path)
    assert code == 0, said[-3000:] + flink.log()
    assert digests(tmp_path / "flink") == expected
    ran = flink.jobs()[0]
    assert ran["name"].startswith(f"molino-{job}-")
    assert ran["state"] == "FINISHED"


@pytest.fixture
def bare_cluster(tmp_path):
    """A cluster that knows nothing of Beam: one TaskManager of two slots, as beside one pool of workers."""
    if missing_piece():
        pytest.skip("make flink-test fetches what is missing")
    cluster = Cluster(tmp_path / "cluster", MOLINO_FLINK_BEAM="job")
    try:
        cluster.script("start", 1, 2)
        yield cluster
    finally:
        cluster.script("stop")


def test_flink_listens_on_the_loopback_interface_alone(bare_cluster):
    """Flink; Beam's servers, which come with a job, have no such setting."""
    processes = bare_cluster.processes()
    table = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout.splitlines()
    ours = [line.split()[3] for line in table if any(f"pid={pid}," in line for pid in processes)]
    assert len(ours) > 5
    assert [place for place in ours if "127.0.0.1]" not in place and "127.0.0.1:" not in place] == []


@pytest.fixture
def pool(bare_cluster):
    """The address of a pool of workers."""
    environment = {**bare_cluster.environment, "MOLINO_FLINK_CLUSTER": str(bare_cluster.folder)}
    command = [sys.executable, ROOT / "tests/deploy/worker_pool.py", SCRIPTS / "worker"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        yield f"localhost:{int(process.stdout.readline())}"
        process.terminate()


def test_a_job_brings_beam_along_and_takes_workers_from_a_pool(bare_cluster, pool, tmp_path):
    """As on a cluster that one has: nothing of Beam on it, an uber jar, and EXTERNAL workers."""
    expected = run_embedded("names", tmp_path)
    how = ("--flink_submit_uber_jar", "--environment_type", "EXTERNAL", "--environment_config", pool)
    given = (*JOBS["names"][1], "--output", "flink", "--quiet", *how)
    code, said = bare_cluster.run_job("names", *given, cwd=tmp_path)
    assert code == 0, said[-3000:] + bare_cluster.log()
    assert digests(tmp_path / "flink") == expected
