"""Every job on a Flink cluster: the content is what the embedded runner gives, digest by digest.

The pair that runs here is Flink 1.19 with Beam's Java 2.70 under Beam's Python of now: see docs/flink.md.
"""

import subprocess

import pytest
from every_job import JOBS, digests, run_embedded
from flink_cluster import TASKMANAGERS

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


def test_all_listen_on_the_loopback_interface_alone(flink):
    processes = flink.processes()
    table = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout.splitlines()
    ours = [line.split()[3] for line in table if any(f"pid={pid}," in line for pid in processes)]
    assert len(ours) > 2 * TASKMANAGERS
    assert [place for place in ours if "127.0.0.1]" not in place and "127.0.0.1:" not in place] == []
