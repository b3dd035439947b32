"""What the scripts of the Flink cluster say before they start anything."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

FLINK = Path(__file__).resolve().parents[2] / "deploy/flink"


def run(script, *arguments, **places):
    return subprocess.run(
        [FLINK / script, *arguments],
        env={**os.environ, "MOLINO_PYTHON": sys.executable, **{name: str(value) for name, value in places.items()}},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("name", ["MOLINO_FLINK_PORT", "MOLINO_FLINK_RPC_PORT"])
def test_a_port_that_is_taken_is_told_before_anything_starts(name, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        others = {"MOLINO_FLINK_PORT": 1, "MOLINO_FLINK_RPC_PORT": 1}  # nobody listens there
        done = run("start", MOLINO_FLINK_RUN=tmp_path / "run", **(others | {name: port}))
    assert done.returncode == 1
    assert done.stderr == f"port {port} is taken; set {name} to another\n"
    assert not (tmp_path / "run").exists()


def test_a_job_without_a_cluster(tmp_path):
    done = run("submit", "names", MOLINO_FLINK_RUN=tmp_path / "run")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "no cluster is at work" in done.stderr
    assert run("submit", MOLINO_FLINK_RUN=tmp_path / "run").returncode == 2
