"""Environments for tests of what the project itself does not need, made once and kept in pytest's cache."""

import hashlib
import importlib.metadata
import re
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
      beside: it sees the packages of this environment too, and only what these lack is installed.
    """
    texts = [Path(path).read_text() for path in requirements]
    if beside:
        texts = [lacking(text) for text in texts]
    digest = hashlib.sha256("\n".join([sys.executable, *texts]).encode()).hexdigest()[:16]
    place = Path(cache.mkdir(f"{name}-{digest}"))
    python = place / "venv/bin/python"
    if not (place / "whole").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", place / "venv"], check=True)
        for text, path in zip(texts, requirements, strict=True):
            wanted = place / "wanted.txt"
            wanted.write_text(text)
            pip = [python, "-m", "pip", "--disable-pip-version-check", "-q", "install", "--no-deps", "--require-hashes"]
            done = subprocess.run([*pip, "-r", wanted], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"pip cannot install {path}: {done.stderr.strip()[-300:]}")
        if beside:
            packages = next((place / "venv/lib").glob("python3*")) / "site-packages"
            (packages / "beside.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
        (place / "whole").touch()
    return python


def lacking(text):
    """Return the requirements that this environment does not have, in this very version."""
    return "\n".join(block[0] for block in BLOCK.finditer(text) if version_of(block[1]) != block[2]) + "\n"


def version_of(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
