"""The package that --setup_file sends to workers holds every file of our packages."""

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("jobs", "schemas", "training", "transforms")


def files(root: Path) -> set[str]:
    """Paths of the packages' files below `root`, without compiled ones."""
    found = (p for name in PACKAGES for p in (root / name).rglob("*"))
    return {p.relative_to(root).as_posix() for p in found if p.is_file() and "__pycache__" not in p.parts}


def test_a_build_from_the_sdist_holds_every_file(tmp_path):
    source = tmp_path / "source"  # a copy: setuptools writes beside setup.py
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    setup = [sys.executable, "setup.py", "-q"]
    subprocess.run([*setup, "sdist", "-d", str(tmp_path)], cwd=source, check=True)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as sdist:
        sdist.extractall(tmp_path / "sdist", filter="data")
    (unpacked,) = (tmp_path / "sdist").iterdir()
    subprocess.run([*setup, "build", "--build-lib", str(tmp_path / "built")], cwd=unpacked, check=True)
    assert files(tmp_path / "built") == files(ROOT)
