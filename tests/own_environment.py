"""Environments for tests of what the project itself does not need, made once and kept in pytest's cache.

What this environment has in the very version that is wanted is not fetched: the other one gets links to its files.
"""

import fcntl
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

BLOCK = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+).*(?:\n .*)*", re.MULTILINE)


def python_with(cache, name, *requirements, beside=False):
    """Return the interpreter of an environment that holds what requirements files pin; skip the test where pip fails.

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
            _make(place, python, requirements, texts, beside=beside)
    return python


def _make(place, python, requirements, texts, *, beside):
    """Make an environment in a folder; skip the test where pip fails."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", place / "venv"], check=True)
    packages = next((place / "venv/lib").glob("python3*")) / "site-packages"
    twins = [other.parent for other in place.parent.glob(f"*-{place.name.rpartition('-')[2]}/whole")]
    if twins:  # another test wants the same, and has packages of its own besides
        made = next(twins[0].glob("venv/lib/python3*/site-packages"))
        others = shutil.ignore_patterns("molino*", "*.pth")
        shutil.copytree(made, packages, ignore=others, copy_function=_link, dirs_exist_ok=True)
    for text, path in [] if twins else zip(texts, requirements, strict=True):
        wanted = place / "wanted.txt"
        wanted.write_text(lacking(text))
        done = pip(python, "install", "--no-deps", "--require-hashes", "-r", wanted)
        if done.returncode:
            pytest.skip(f"pip cannot install {path}: {done.stderr.strip()[-300:]}")
        if not beside:
            link(text, packages)
    if beside:
        (packages / "beside.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    (place / "whole").touch()


def pip(python, *words):
    """Call this environment's pip for another one, which needs none."""
    command = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "-q", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def link(text, packages):
    """Give an environment the packages of requirements that this one has in these very versions, file by file."""
    for block in BLOCK.finditer(text):
        if version_of(block[1]) != block[2]:
            continue
        for file in importlib.metadata.files(block[1]):
            if ".." not in file.parts:  # but for programs
                target = packages / file
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(file.locate(), target)


def _link(path, target):
    try:
        os.link(path, target)
    except OSError:  # another disk
        shutil.copy2(path, target)


def lacking(text):
    """Return the requirements that this environment does not have, in this very version."""
    return "\n".join(block[0] for block in BLOCK.finditer(text) if version_of(block[1]) != block[2]) + "\n"


def version_of(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
