"""An environment with Beam's client of Google's services, and the stand-in that it talks to."""

import sysconfig

import pytest

from tests import programs
from tests.deploy.dataflow_user import JOBS, ROOT, Google
from tests.own_environment import python_with

# programs of other environments, which tests start: no modules to collect
collect_ignore = ["check_manifests.py", "try_image.py", "worker_pool.py"]


@pytest.fixture(scope="session")
def python(request):
    """Return the interpreter of an environment with Beam's client of Google's services."""
    made = python_with(request.config.cache, "dataflow", ROOT / "requirements/dataflow.txt")
    # what the jobs need besides, such as TensorFlow, is that of the tests: all locks are of one resolution
    (site,) = made.parents[1].glob("lib/python*/site-packages")
    (site / "of_the_tests.pth").write_text(sysconfig.get_path("purelib"))
    with programs.serve_by("dataflow", made):
        yield made


@pytest.fixture(scope="module")
def google(python, tmp_path_factory):
    home = tmp_path_factory.mktemp("home-of-somebody")
    for sample, place, _ in JOBS.values():
        if sample:
            programs.run(["molino", "sample", *sample, "--output", home / place])
    made = Google(python, home)
    try:
        for _, place, _ in JOBS.values():
            if place:
                made.put(home / place, f"in/{place}")
        yield made
    finally:
        made.process.kill()
        made.process.communicate()
