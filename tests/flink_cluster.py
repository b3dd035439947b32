"""A Flink cluster on this machine for tests: deploy/flink at work in a folder of its own, on ports of its own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.every_job import ROOT

SCRIPTS = ROOT / "deploy/flink"
TASKMANAGERS = 2


def places():
    """Return where Flink's jars, the job server and the program that starts workers are, or would be."""
    ask = f'source {SCRIPTS}/settings; printf "%s\\n" "$FLINK_JARS" "$JOB_SERVER" "$BOOT"'
    return subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True).stdout.splitlines()


def missing_piece():
    """Return a piece that deploy/flink/fetch would fetch, or "" when all are there."""
    return next((place for place in places() if not os.path.exists(place)), "")


def free_port():
    """Return a port that nobody listens to."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return made.getsockname()[1]


class Cluster:
    """One JobManager and, by default, two TaskManagers of one slot each."""

    def __init__(self, folder, **settings):
        self.folder, self.port = folder / "flink", free_port()
        self.environment = {
            **os.environ,
            "MOLINO_PYTHON": sys.executable,
            "MOLINO_FLINK_RUN": str(self.folder),
            "MOLINO_FLINK_PORT": str(self.port),
            "MOLINO_FLINK_RPC_PORT": str(free_port()),
            **settings,
        }

    def script(self, name, *arguments):
        """Run one of the scripts to its end, which must be a good one, and return what it printed."""
        words = [SCRIPTS / name, *map(str, arguments)]
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start_job(self, *arguments, cwd):
        """Submit a job, and return the process of its command."""
        words = [SCRIPTS / "submit", *map(str, arguments)]
        pipe = subprocess.PIPE
        return subprocess.Popen(words, cwd=cwd, env=self.environment, stdout=pipe, stderr=pipe)

    def run_job(self, *arguments, cwd, seconds=1500):
        """Run a job to its end; return the exit code and what it said on standard error."""
        process = self.start_job(*arguments, cwd=cwd)
        try:
            _, said = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=60)
            raise AssertionError(f"still at work after {seconds} s: {said.decode()[-2000:]}\n{self.log()}") from None
        return process.returncode, said.decode()

    def ask(self, path):
        """Return an answer of Flink's REST interface."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as answer:
            return json.load(answer)

    def jobs(self):
        """Return what Flink says of each job, the newest first."""
        return sorted(self.ask("/jobs/overview")["jobs"], key=lambda job: -job["start-time"])

    def pid(self, name):
        """Return the process of "jobmanager" or "taskmanager-N"."""
        return int((self.folder / f"{name}.pid").read_text())

    def processes(self):
        """Return every process of the cluster with its command line."""
        mark = f"MOLINO_FLINK_CLUSTER={self.folder}".encode()
        found = {}
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (place / "environ").read_bytes().split(b"\0"):
                    found[int(place.name)] = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def workers(self):
        """Return the Python workers' processes."""
        return [pid for pid, command in self.processes().items() if "sdk_worker_main" in command]

    def log(self):
        """Return the last lines of all logs."""
        ends = [path.read_text()[-3000:] for path in sorted((self.folder / "log").glob("*.log"))]
        return "\n\n".join(ends)
