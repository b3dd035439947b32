"""The wheel that is built of this tree, and environments that have it."""

import os
import subprocess
import sys
import tarfile

import pytest

from tests.own_environment import python_with, uv_pip
from tests.setup.installed import ROOMS, ROOT, TRAP


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Return an sdist, and the wheel that is built from it."""
    place = tmp_path_factory.mktemp("built")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    source = place / "source"  # a copy: setuptools writes beside setup.py
    for name in (os.fsdecode(name) for name in listed if name):
        path = ROOT / name
        target = source / name
        if path.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(os.readlink(path))
        elif path.is_file() and path.parts[len(ROOT.parts)] not in ("tests", "docs", "benchmarks"):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    setup = [sys.executable, "setup.py", "-q"]
    subprocess.run([*setup, "sdist", "-d", place], cwd=source, check=True, stderr=subprocess.DEVNULL)
    (sdist,) = place.glob("molino_jobs-*.tar.gz")
    with tarfile.open(sdist) as file:
        file.extractall(place / "unpacked", filter="data")
    (unpacked,) = (place / "unpacked").iterdir()
    wheel = [sys.executable, "-m", "pip", "-q", "wheel", "--no-build-isolation", "--no-deps", "-w", place, unpacked]
    subprocess.run(wheel, check=True)
    (wheel,) = place.glob("molino_jobs-*.whl")
    return unpacked, wheel


@pytest.fixture
def hostile(tmp_path):
    """Return a user's folder with a transforms/ and a random.py of its own."""
    folder = tmp_path / "work"
    for room in (*ROOMS, "molino"):
        (folder / room).mkdir(parents=True)
        if room != "molino":
            (folder / room / "__init__.py").write_text(TRAP)
    for name in ("random", "json", "numpy", "tempfile"):
        (folder / f"{name}.py").write_text(TRAP)
    return folder


@pytest.fixture
def install(request, built):
    """Return a function that installs the wheel beside what a lock pins, and returns the interpreter."""

    def install(extra):
        lock = ROOT / f"requirements/{extra or 'run'}.txt"
        python = python_with(request.config.cache, f"installed-{extra or 'base'}", lock)
        done = uv_pip(python, "install", "--no-deps", "--reinstall", built[1])
        assert done.returncode == 0, done.stderr
        done = uv_pip(python, "check")
        allowed = extra == "tensorflow"  # see requirements/overrides.txt
        assert done.returncode == 0 or allowed, done.stderr
        return python

    return install
