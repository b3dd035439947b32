"""The lock on an S3 API: moto's server on the loopback interface, in an environment of its own."""

import json
import os
import socket
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]
BUCKET = """
import boto3, os, sys
store = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
store.create_bucket(Bucket="mill")
store.upload_file(sys.argv[1], "mill", "in/sep.txt")
"""
LIST = """
import boto3, os
store = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
print(*(o["Key"] for o in store.list_objects_v2(Bucket="mill", Prefix="out/").get("Contents", [])), sep="\\n")
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Return the Python of a new environment with boto3 and moto, and everything else from this one."""
    home = tmp_path_factory.mktemp("s3")
    subprocess.run([sys.executable, "-m", "venv", home / "venv"], check=True)
    pip = [home / "venv/bin/pip", "--disable-pip-version-check", "-q", "install", "--no-deps", "--require-hashes"]
    subprocess.run([*pip, "-r", HERE / "requirements.txt"], check=True)
    packages = next((home / "venv/lib").glob("python3*")) / "site-packages"
    (packages / "project.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    return home / "venv/bin/python"


@pytest.fixture(scope="module")
def s3(python, tmp_path_factory):
    """Return what runs a program against a store that holds a payroll, and the payroll's local path."""
    home = tmp_path_factory.mktemp("store")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "made",
        "AWS_SECRET_ACCESS_KEY": "up",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [python, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)],
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        for _ in range(300):
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)

        def run(*words, **more):
            done = subprocess.run(
                [python, *map(str, words)],
                cwd=ROOT,
                env=environment | more,
                capture_output=True,
                text=True,
                check=False,
            )
            return done.returncode, done.stdout, done.stderr

        payroll = home / "sep.txt"
        assert run("-m", "jobs.cli", "sample", "names", "--rows", 3000, "--output", payroll)[0] == 0
        assert run("-c", BUCKET, payroll)[0] == 0
        yield run, payroll
    finally:
        server.terminate()
        server.wait()


def names(run, source, output, *options, **more):
    words = ["--input", source, "--output", output, "--runner", "embedded", "--workers", 1, "--quiet", *options]
    return run("-m", "jobs.cli", "names", *words, **more)


def test_a_lock_of_another_host_is_told(s3):
    run, _ = s3
    claim = json.dumps({"token": "rival", "host": "elsewhere", "pid": 1, "born": ""})
    program = """
import sys
from transforms import storage
storage.use_options([])
print(storage.create_exclusive("s3://mill/held/_lock", sys.argv[1].encode()))
print(storage.create_exclusive("s3://mill/held/_lock", b"late"))
"""
    assert run("-c", program, claim)[1].split() == ["True", "False"]
    code, _, wrong = names(run, "s3://mill/in/sep.txt", "s3://mill/held")
    assert code == 3
    assert "another run is at work in s3://mill/held (process 1 on elsewhere)" in wrong
