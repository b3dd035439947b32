"""A worker without this program gets it by --setup_file, and the job works.

The worker is Beam's own: the program that starts workers in its containers, here as a process that Prism starts, with a
Python environment that holds the dependencies and not the package. Both are Go programs: go install
github.com/apache/beam/sdks/v2/python/container@v2.77.0 and .../sdks/v2/go/cmd/prism@v2.77.0.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.every_job import digests, molino

ROOT = Path(__file__).resolve().parents[2]
PLACES = os.pathsep.join([os.environ.get("PATH", ""), str(Path.home() / "go/bin")])
PRISM = shutil.which("prism", path=PLACES)
BOOT = os.environ.get("BEAM_BOOT") or shutil.which("container", path=PLACES)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(PRISM is None, reason="there is no prism in PATH or ~/go/bin"),
    pytest.mark.skipif(
        BOOT is None,
        reason="there is no program to start Beam's workers (container) in PATH or ~/go/bin, nor in BEAM_BOOT",
    ),
]


@pytest.fixture
def worker(tmp_path):
    """Return what starts a worker, and its Python: all packages but ours."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--system-site-packages", venv], check=True)
    (site,) = venv.glob("lib/python3*/site-packages")
    # a folder named so is searched, but its own .pth files, one of them of this program, are not read
    (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    start = tmp_path / "start"
    start.write_text(
        "#!/bin/sh\n"
        f"cd {tmp_path} && unset PYTHONPATH && export PATH={venv}/bin:$PATH VIRTUAL_ENV={venv}\n"
        "export RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1\n"
        'eval "set -- $*"\n'  # Prism quotes the worker's id as for a shell, and starts none
        f'exec {BOOT} --semi_persist_dir={tmp_path} "$@" >>{tmp_path}/worker.log 2>&1\n'
    )
    start.chmod(0o755)
    return start, venv / "bin/python"


def imports(python, where):
    """Return where an interpreter finds our package, "" for nowhere."""
    program = "import importlib.util as u; found = u.find_spec('molino'); print(found.origin if found else '')"
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([python, "-c", program], cwd=where, env=clean, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_worker_without_the_package_works_with_setup_file(worker, tmp_path):
    start, python = worker
    assert imports(python, tmp_path) == ""
    assert importlib.util.find_spec("molino") is not None
    molino("sample", "names", "--rows", "2000", "--output", "in.txt", cwd=tmp_path)
    names = ("names", "--input", "in.txt", "--quiet")
    prism = ("--runner", "PrismRunner", "--prism_location", PRISM, "--environment_type", "PROCESS")
    prism = (*prism, "--environment_config", json.dumps({"command": str(start)}))
    try:
        molino(*names, "--output", "out", *prism, "--setup_file", ROOT / "setup.py", cwd=tmp_path)
    finally:  # shown where the test fails
        print((tmp_path / "worker.log").read_text() if (tmp_path / "worker.log").exists() else "no worker was started")
    assert str(tmp_path / "venv") in imports(python, tmp_path)  # it was installed there
    molino(*names, "--output", "embedded", cwd=tmp_path)
    assert digests(tmp_path / "out") == digests(tmp_path / "embedded")
