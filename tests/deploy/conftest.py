"""An environment with Beam's client of Google's services, and the stand-in that it talks to."""

import hashlib
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.deploy.dataflow_user import JOBS, REQUIREMENTS, ROOT, Google
from tests.every_job import prepare

# programs of other environments, which tests start: no modules to collect
collect_ignore = ["check_manifests.py", "try_image.py", "worker_pool.py"]


@pytest.fixture(scope="session")
def python(request):
    """Return the interpreter of an environment with Beam's client of Google's services; it is made once and kept."""
    parts = [sysconfig.get_path("purelib").encode(), *(path.read_bytes() for path in REQUIREMENTS)]
    digest = hashlib.sha256(b"".join(parts)).hexdigest()[:16]
    place = Path(request.config.cache.mkdir(f"dataflow-{digest}"))
    made = place / "venv/bin/python"
    if not (place / "whole").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", place / "venv"], check=True)
        for path in REQUIREMENTS:
            pip = [made, "-m", "pip", "--disable-pip-version-check", "-q", "install", "--no-deps", "--require-hashes"]
            subprocess.run([*pip, "-r", path], check=True)
        # TensorFlow, which workers of titles need, is that of the tests: all locks are of one resolution
        (site,) = (place / "venv").glob("lib/python*/site-packages")
        (site / "of_the_tests.pth").write_text(sysconfig.get_path("purelib"))
        (place / "whole").touch()
    return made


@pytest.fixture(scope="module")
def google(python, tmp_path_factory):
    home = tmp_path_factory.mktemp("home-of-somebody")
    for sample, place, _ in JOBS.values():
        if sample:
            command = [sys.executable, "-m", "molino", "sample", *sample, "--output", home / place]
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    prepare("predict", home)
    made = Google(python, home)
    try:
        for _, place, _ in JOBS.values():
            if place:
                made.put(home / place, f"in/{place}")
        yield made
    finally:
        made.process.kill()
        made.process.communicate()
