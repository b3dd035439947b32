"""What is asked of a Flink cluster, and what a person reads of it; the cluster is a stand-in."""

import http.server
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from molino.jobs.runners import flink
from molino.jobs.runners.failures import explain_hopeless
from molino.transforms.errors import DataError, OptionError
from tests.faults.fault_harness import is_untouched

ROOT = Path(__file__).resolve().parents[3]


def job(number, state="RUNNING", name="molino-names-1", start=1, finished=0):
    return {
        "jid": number,
        "name": name,
        "state": state,
        "start-time": start,
        "tasks": {"finished": finished, "total": 8},
    }


class StandIn(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        told = self.server.says.get(self.path)
        body = told if isinstance(told, bytes) else json.dumps(told).encode()
        self.send_response(404 if told is None else 200)
        self.end_headers()
        self.wfile.write(body)

    def do_PATCH(self):
        self.server.patched.append(self.path)
        for each in self.server.says["/v1/jobs/overview"]["jobs"]:
            if each["jid"] in self.path:
                each["state"] = "CANCELED"
        self.send_response(202)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), StandIn) as made:
        version = {"flink-version": "1.19.3"}
        made.says = {"/v1/overview": version, "/v1/config": version, "/v1/jobs/overview": {"jobs": []}}
        made.patched = []
        made.url = f"http://127.0.0.1:{made.server_port}"
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def jobs(server):
    return server.says["/v1/jobs/overview"]["jobs"]


@pytest.fixture
def cluster(server):
    return flink.Cluster(server.url, "molino-names-1")


@pytest.fixture(autouse=True)
def java(monkeypatch):
    monkeypatch.setattr(flink.shutil, "which", lambda name: f"/bin/{name}")


def options(*flags):
    from molino.jobs.runners.engine import Engine

    return Engine(runner="FlinkRunner", flags=flags, job="names").options


def test_beam_s_options_name_the_cluster():
    found = flink.cluster_of("FlinkRunner", options("--flink_master=there:8081", "--flink_version=1.20"))
    assert (found.url, found.version) == ("http://there:8081", "1.20")
    assert found.name.startswith("molino-names-")
    assert flink.cluster_of("FlinkRunner", options("--flink_master=https://there/", "--job_name=mine")).url == (
        "https://there"
    )


def test_two_jobs_have_two_names():
    pair = [flink.cluster_of("FlinkRunner", options("--flink_master=there:8081")).name for _ in range(2)]
    assert len(set(pair)) == 2


@pytest.mark.parametrize("flag", [f"--flink_job_server_jar={__file__}", "--flink_submit_uber_jar"])
def test_the_version_is_asked_for_only_where_beam_chooses_the_job_server(flag):
    assert flink.cluster_of("FlinkRunner", options("--flink_master=there:8081", flag)).version == ""


@pytest.mark.parametrize("flag", ["--flink_master=[local]", "--job_endpoint=localhost:8099"])
def test_there_is_no_cluster(flag):
    assert flink.cluster_of("FlinkRunner", options(flag)) is None
    assert flink.cluster_of("PortableRunner", options("--flink_master=there:8081")) is None


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "--flink_master HOST:PORT is missing"),
        (["--flink_master=there:8081", "--flink_job_server_jar=/nothing.jar"], "there is no file /nothing.jar"),
    ],
)
def test_what_is_missing_is_told_before_anything_is_fetched(flags, said):
    with pytest.raises(OptionError, match=said):
        flink.cluster_of("FlinkRunner", options(*flags))


def test_a_job_server_needs_java(monkeypatch):
    monkeypatch.setattr(flink.shutil, "which", lambda _: None)
    with pytest.raises(OptionError, match="there is no program java, which runs the job server"):
        flink.cluster_of("FlinkRunner", options("--flink_master=there:8081"))
    assert flink.cluster_of("FlinkRunner", options("--flink_master=there:8081", "--flink_submit_uber_jar")).url


def test_a_cluster_that_is_well(server, cluster):
    cluster.check()
    flink.Cluster(server.url, "x", version="1.19").check()


def test_another_version_is_named_with_the_option(server):
    with pytest.raises(OptionError, match=r"is Flink 1\.19\.3; add --flink_version 1\.19"):
        flink.Cluster(server.url, "x", version="2.2").check()


@pytest.mark.parametrize("says", [b"<html>", {}, [], {"version": 3}])
def test_what_is_no_flink(says, server, cluster):
    server.says["/v1/overview"] = says
    with pytest.raises(DataError, match=r"no Flink answers at .*; check --flink_master"):
        cluster.check()


def test_a_door_that_is_shut(server, cluster):
    del server.says["/v1/overview"]
    with pytest.raises(DataError, match=r"no Flink answers at .*: "):
        cluster.check()


def test_how_far_a_job_is(server, cluster, jobs):
    jobs.append(job("before", finished=8))
    cluster.check()
    jobs.append(job("other", name="molino-names-2", finished=7))
    assert cluster.how_far() == (0.0, "handing the job to Flink")
    jobs.append(job("ours", finished=2))
    assert cluster.how_far() == (0.25, "2 of 8 tasks done on Flink")
    jobs[-1]["tasks"] |= {"scheduled": 6, "running": 0}
    assert cluster.how_far() == (0.25, "2 of 8 tasks done on Flink, waiting for free slots")
    jobs[-1]["tasks"] |= {"scheduled": 4, "running": 2}
    assert cluster.how_far() == (0.25, "2 of 8 tasks done on Flink")
    jobs[-1]["state"] = "RESTARTING"
    assert cluster.how_far() == (0.25, "2 of 8 tasks done on Flink, restarting")
    server.says["/v1/jobs/ours/exceptions"] = {"root-exception": "java.lang.Exception: TaskManager is lost\n\tat x"}
    told = "2 of 8 tasks done on Flink, restarting after java.lang.Exception: TaskManager is lost"
    assert cluster.how_far() == (0.25, told)
    server.says["/v1/jobs/ours/exceptions"]["root-exception"] += (
        "\nCaused by: A: b\n\tat y\nCaused by: no program /nope"
    )
    told = "2 of 8 tasks done on Flink, restarting after no program /nope"
    assert cluster.how_far() == (0.25, told)


def test_how_far_a_job_is_where_nothing_answers():
    assert flink.Cluster("http://127.0.0.1:9", "x").how_far() == (0.0, "Flink does not answer at http://127.0.0.1:9")


def test_only_our_job_is_ended(server, cluster, jobs):
    jobs.append(job("before"))
    cluster.check()
    jobs += [job("other", name="molino-names-2"), job("ours")]
    cluster.cancel()
    assert server.patched == ["/v1/jobs/ours?mode=cancel"]


OF_ITS_DATA = "Error received from SDK\n  molino.transforms.errors.DataError: too many rejects [while running 'Verify']"
OF_A_MODULE = (
    "java.lang.RuntimeException: Traceback (most recent call last):\nModuleNotFoundError: No module named 'cv2'\n"
)


@pytest.mark.parametrize(
    ("text", "told"),
    [(OF_ITS_DATA, r"^too many rejects$"), (OF_A_MODULE, r"^the package cv2 is not installed on the workers")],
    ids=["data", "module"],
)
@pytest.mark.parametrize("version", [1, 2])
def test_a_job_that_no_restart_would_heal_is_ended(text, told, version, server, cluster, jobs, monkeypatch):
    monkeypatch.setattr("molino.jobs.runners.flink.LOOK_SECONDS", 0.05)
    jobs.append(job("ours", state="RESTARTING"))
    says = {"root-exception": text} if version == 1 else {"exceptionHistory": {"entries": [{"stacktrace": text}]}}
    server.says["/v1/jobs/ours/exceptions"] = says

    def wait():
        with cluster.ended_at_once(explain_hopeless):
            while not server.patched:
                time.sleep(0.05)
            raise RuntimeError("Pipeline failed in state CANCELLED")

    with pytest.raises(DataError, match=told):
        wait()
    assert server.patched == ["/v1/jobs/ours?mode=cancel"]


def test_a_job_that_fails_otherwise_is_tried_again(server, cluster, jobs, monkeypatch):
    monkeypatch.setattr(flink, "LOOK_SECONDS", 0.05)
    jobs.append(job("ours", state="RESTARTING"))
    server.says["/v1/jobs/ours/exceptions"] = {"root-exception": "TaskManager lost", "exceptionHistory": {}}
    with cluster.ended_at_once(explain_hopeless):
        time.sleep(0.5)
    assert server.patched == []


def test_a_job_that_has_ended_is_left_alone(server, cluster, jobs):
    jobs.append(job("ours", state="FAILED"))
    cluster.cancel()
    assert server.patched == []


def test_a_job_that_was_never_there_is_not_waited_for_long(server, cluster, monkeypatch):
    monkeypatch.setattr(flink, "LATE_SECONDS", 0.3)
    cluster.cancel()
    assert server.patched == []


def test_a_cluster_that_is_gone_is_told(capsys):
    flink.Cluster("http://127.0.0.1:9", "mine").cancel()
    assert "cannot tell Flink to stop the job mine" in capsys.readouterr().err


@pytest.fixture
def names(tmp_path):
    """Return a function that runs the names job on a cluster, and returns exit code and last words."""
    source, output = tmp_path / "in.txt", tmp_path / "out"

    def run(*words):
        command = [sys.executable, "-m", "molino", *map(str, words)]
        # nothing can be fetched, and nothing was before
        env = {**os.environ, "HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:9"}
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)

    def on(master, *flags):
        flags = ("--quiet", "--output", output, "--runner", "FlinkRunner", "--flink_master", master, *flags)
        done = run("names", "--input", source, *flags)
        assert is_untouched(output)
        return done.returncode, done.stderr.splitlines()

    run("sample", "names", "--rows", "100", "--output", source).check_returncode()
    return on


@pytest.mark.slow
@pytest.mark.parametrize("master", ["127.0.0.1:9", "nowhere.invalid:8081"])
def test_a_master_that_does_not_answer_ends_the_command_at_once(master, names):
    code, (line,) = names(master, "--flink_submit_uber_jar")
    assert code == 1
    assert f"no Flink answers at http://{master}: " in line
    assert line.endswith("; check --flink_master")


@pytest.mark.slow
def test_a_job_server_that_cannot_be_fetched_is_named(server, names):
    code, (line,) = names(server.url, "--flink_submit_uber_jar")
    assert code == 1
    assert "cannot fetch Beam's job server, https://" in line
    assert line.endswith("give it as a file: --flink_job_server_jar FILE")
