"""What is installed: every file under one name, found wherever the command is called, and enough for its jobs."""

import importlib.metadata
import json
import os
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.setup.installed import ROOMS, ROOT, assert_enough, run

# what each extra is said to be enough for; TensorFlow's has a file of its own
ENOUGH = {
    "shapes": ["shapes --output shapes --rows 2000 --sweep {root}/sweeps/demo.yaml --quiet", "verify shapes"],
    "images": [
        "sample whales --output sea --images 2",
        "whales --input sea/images --output whales --method saliency --quiet",
        "verify whales",
    ],
    "aws": ["doctor"],
    "xlsx": ["doctor"],
    "heic": ["doctor"],
    "dataflow": ["doctor --runner DataflowRunner"],
}
# and the install without any
BASE = [
    "sample names --output sep.txt --rows 3000",
    "names --input sep.txt --output names --quiet --worker-mode processes",
    "verify names",
    "sample pca --output v.parquet --rows 2000 --numbers 6",
    "pca --input v.parquet --column vector --output pca --quiet",
    "verify pca",
    "doctor",
]

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


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("extra", ENOUGH)
def test_an_extra_is_enough_for_its_jobs(extra, install, hostile):
    """In an environment of its own, in a folder whose files have the names of ours and of the standard library's."""
    assert_enough(install(extra), hostile, extra, ENOUGH[extra])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_install_is_enough_for_its_jobs_and_says_what_it_lacks_for_others(install, hostile, tmp_path):
    python = install("")
    assert_enough(python, hostile, "", BASE)
    for words, package in LACKING.items():
        code, told = run(python, hostile, words)
        assert (code, "Traceback" in told) == (1, False), told
        assert re.search(rf"molino: .*{package}.* pip install -r requirements/", told), told
    assert json.loads((hostile / "pca/_manifest.json").read_text())["packages"].keys() >= {"apache-beam", "pyarrow"}
    program = "import molino.jobs.run.recheck, molino.jobs.run.output, sys; "
    code, told = run(python, tmp_path, ["-c", program + "print({'apache_beam', 'numba'} & set(sys.modules))"])
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
