"""What is installed: every file under one name, found wherever the command is called, and enough for its jobs."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.own_environment import pip, python_with

ROOT = Path(__file__).parents[1]
ROOMS = ("jobs", "schemas", "training", "transforms")
# a file that the standard library's name leads to, as a user's folder may hold it; whoever imports it ends
TRAP = "import os, sys\nprint('random.py of the current folder was run', file=sys.stderr)\nos._exit(77)\n"
# what each extra is said to be enough for; the base install is ""
ENOUGH = {
    "": [
        "sample names --output sep.txt --rows 3000",
        "names --input sep.txt --output names --quiet --worker-mode processes",
        "verify names",
        "sample pca --output v.parquet --rows 2000 --numbers 6",
        "pca --input v.parquet --column vector --output pca --quiet",
        "verify pca",
        "doctor",
    ],
    "shapes": ["shapes --output shapes --rows 2000 --sweep {root}/sweeps/demo.yaml --quiet", "verify shapes"],
    "images": [
        "sample whales --output sea --images 2",
        "whales --input sea/images --output whales --method saliency --quiet",
        "verify whales",
    ],
    "tensorflow": [
        "sample titles --output t.csv --rows 2000",
        "model train --input t.csv --output model --dim 8 --epochs 1",
        "titles --input t.csv --model small=model --output titles --quiet",
        "train titles --input titles --model small=model --epochs 1 --output classifier --quiet",
        "predict --model classifier --input t.csv --output predictions --quiet",
        "pca --input titles --column small --output pca --quiet",
        "verify predictions",
    ],
    "aws": ["doctor"],
    "dataflow": ["doctor --runner DataflowRunner"],
}


# what the base install cannot do, and the package that is named then
LACKING = {
    "titles --input sep.txt --model m=none --output t": "(numba|llvmlite)",
    "plan titles --input sep.txt --model m=none": "(numba|llvmlite)",
    "predict --input sep.txt --model none --output p": "(numba|llvmlite)",
    "model inspect none": "(numba|llvmlite)",
    "model train --input sep.txt --output m": "Keras",
    "sample whales --output sea --images 1": "cv2",
    "whales --input random.py --output w": "(cv2|numba|simplejpeg)",
    "shapes --output s": "numba",
}


def files(root: Path) -> set[str]:
    """Paths of the package's files below `root`, where the rooms are folders or links, without compiled ones."""
    found = {p for name in ROOMS for p in (root / name).rglob("*")} | set(root.glob("*"))
    kept = {p for p in found if p.is_file() and "__pycache__" not in p.parts}
    return {p.relative_to(root).as_posix() for p in kept}


@pytest.fixture(scope="module")
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
    pip = [sys.executable, "-m", "pip", "-q", "wheel", "--no-build-isolation", "--no-deps", "-w", place, unpacked]
    subprocess.run(pip, check=True)
    (wheel,) = place.glob("molino_jobs-*.whl")
    return unpacked, wheel


def test_sdist_and_wheel_hold_every_file_under_one_name(built):
    unpacked, wheel = built
    wanted = files(ROOT / "molino")
    assert {"py.typed", "jobs/forecast/constants.json", "transforms/report/page.css"} <= wanted
    assert files(unpacked / "molino") == wanted
    with zipfile.ZipFile(wheel) as file:
        names = [name for name in file.namelist() if ".dist-info/" not in name]
        licence = [name for name in file.namelist() if name.endswith("licenses/LICENSE")]
    assert {name.removeprefix("molino/") for name in names} == wanted
    assert licence


def test_the_rooms_are_links_that_lead_to_the_top_level():
    for room in ROOMS:
        assert os.readlink(ROOT / "molino" / room) == f"../{room}"


def test_the_distribution_has_the_name_and_the_version():
    import molino

    assert importlib.metadata.version("molino-jobs") == molino.VERSION


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


def run(python, folder, words):
    program = [python.with_name("molino") if isinstance(words, str) else python]
    command = [*program, *(words.split() if isinstance(words, str) else words)]
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("extra", ENOUGH, ids=lambda extra: extra or "base")
def test_an_install_is_enough_for_its_jobs(extra, built, hostile, request, tmp_path):
    """In an environment of its own, in a folder whose files have the names of ours and of the standard library's."""
    lock = ROOT / f"requirements/{extra or 'run'}.txt"
    python = python_with(request.config.cache, f"installed-{extra or 'base'}", lock)
    done = pip(python, "install", "--no-deps", "--force-reinstall", built[1])
    assert done.returncode == 0, done.stderr
    done = pip(python, "check")
    allowed = extra == "tensorflow"  # see requirements/overrides.txt
    assert done.returncode == 0 or allowed, done.stdout
    for words in ENOUGH[extra]:
        code, told = run(python, hostile, words.format(root=ROOT))
        assert code == 0, (words, told[-3000:])
        assert not words.startswith("doctor") or not extra or f"ok  molino-jobs[{extra}]" in told
    if not extra:
        for words, package in LACKING.items():
            code, told = run(python, hostile, words)
            assert (code, "Traceback" in told) == (1, False), told
            assert re.search(rf"molino: .*{package}.* pip install -r requirements/", told), told
        assert json.loads((hostile / "pca/_manifest.json").read_text())["packages"].keys() >= {"apache-beam", "pyarrow"}
        code, told = run(python, tmp_path, ["-c", "import molino.jobs.run.recheck, molino.jobs.run.manifest, sys;"
                                            "print({'apache_beam', 'numba'} & set(sys.modules))"])  # fmt: skip
        assert (code, told) == (0, "set()\n")
        code, told = run(python, hostile, ["-m", "molino", "names", "--input", "sep.txt", "--output", "names"])
        assert code == 0, told
        assert "nothing to do" in told
        gone = hostile / "gone"
        gone.mkdir()
        shell = f"cd {gone} && rmdir {gone} && exec {python} -m molino --version"
        done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        code, told = run(python, tmp_path, ["-c", "import jobs"])
        assert re.search(r"No module named 'jobs'", told)
