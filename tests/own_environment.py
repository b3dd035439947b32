"""Environments for tests of what the project itself does not need, made once and kept in pytest's cache.

uv makes them, of links to what it has in its own cache: what `make` has installed is not fetched again.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

HERE = Path(sysconfig.get_path("purelib"))


def python_with(cache, name, *requirements, beside=False):
    """Return the interpreter of an environment that holds what requirements files pin; skip the test where uv fails.

    Args:
      cache: `request.config.cache`.
      name: of its folder there.
      beside: it sees all packages of this environment too.
    """
    texts = [Path(path).read_text() for path in requirements]
    digest = hashlib.sha256("\n".join([sys.executable, *texts]).encode()).hexdigest()[:16]
    place = Path(cache.mkdir(f"{name}-{digest}"))
    python = place / "venv/bin/python"
    with (place / "lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # two files of tests may want it at one time
        if not (place / "whole").exists():
            _make(place, python, requirements, beside=beside)
    return python


def _make(place, python, requirements, *, beside):
    """Make an environment in a folder; skip the test where uv fails."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", place / "venv"], check=True)
    for path in requirements:
        done = uv_pip(python, "install", "--no-deps", "--require-hashes", "-r", path)
        if done.returncode:
            pytest.skip(f"uv cannot install {path}: {done.stderr.strip()[-300:]}")
    (packages,) = (place / "venv/lib").glob("python3*/site-packages")
    if beside:
        (packages / "beside.pth").write_text(f"import site; site.addsitedir({str(HERE)!r})\n")
    _link_compiled(packages)
    (place / "whole").touch()


def _link_compiled(packages):
    """Give an environment what is compiled here: of a file that both have, it is as old as Python wants it."""
    for file in HERE.rglob("__pycache__/*.pyc"):
        target = packages / file.relative_to(HERE)
        if target.parents[1].is_dir() and not target.exists():
            target.parent.mkdir(exist_ok=True)
            try:
                os.link(file, target)
            except OSError:  # another disk
                shutil.copy2(file, target)


def uv_pip(python, command, *words):
    """Call uv as another environment's pip."""
    uv = shutil.which("uv", path=Path(sys.executable).parent) or shutil.which("uv")
    if not uv:
        pytest.skip("there is no uv; requirements/dev.txt has it")
    words = [uv, "pip", command, "-q", "--python", python, *words]
    return subprocess.run(words, capture_output=True, text=True, check=False)
