"""Who may import whom, what a help text may load, and what no module may name."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
ALLOWED = {
    "schemas": {"schemas", "pyarrow"},
    "transforms": {
        "schemas",
        "transforms",
        "pyarrow",
        "numpy",
        "numba",
        "llvmlite",
        "apache_beam",
        *sys.stdlib_module_names,
    },
    "jobs": {"jobs", "transforms", "schemas", "apache_beam", "pyarrow", *sys.stdlib_module_names},
}
# a heavy library stands in one module
ALSO = {
    "transforms/decode_image.py": {"cv2", "simplejpeg"},
    "transforms/encode_image.py": {"cv2"},
    "transforms/find_region.py": {"cv2"},
    "transforms/find_salient_region.py": {"cv2"},
    "transforms/label_vocabulary.py": {"tensorflow", "tensorflow_transform", "tfx_bsl"},
    "transforms/object_stores.py": {"obstore", "google"},
    "transforms/read_sweep.py": {"yaml"},
    "transforms/report.py": {"jinja2", "markupsafe", "matplotlib", "PIL"},
    "transforms/saved_model.py": {"tensorflow", "tensorflow_hub", "google"},
    "transforms/vector_file.py": {"zlib_ng"},
    "jobs/progress.py": {"tqdm"},
}
FORBIDDEN = {"training": {"apache_beam", "transforms", "jobs"}}
SHARED_JOBS = {"buckets", "cli", "command", "commit", "doctor", "flink", "forecast", "lock", "manifest", "options"}
SHARED_JOBS |= {"plan", "progress", "recheck", "runners", "runs", "sample", "sizes", "temporary", "verify", "worker"}
REGISTRIES = re.compile(
    r"(pypi|pythonhosted|npmjs|crates|rubygems|anaconda|nuget|(repo\d*\.)?maven(\.apache)?|proxy\.golang)\.(org|io|com)\b"
    r"|--(extra-)?index-url|[/.]simple/"
)


def modules(*rooms):
    return [path for room in rooms for path in sorted((ROOT / room).rglob("*.py"))]


def by_name(path):
    return str(path.relative_to(ROOT))


def imports(path):
    """Return every module that a file imports, at its top or inside a function: {"jobs.runs", "pyarrow"}."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports hide who imports whom"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def tops(path):
    return {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", modules(*ALLOWED), ids=by_name)
def test_a_room_imports_only_what_it_may(path):
    room = path.relative_to(ROOT).parts[0]
    assert tops(path) - ALLOWED[room] - ALSO.get(by_name(path), set()) == set()


@pytest.mark.parametrize("path", modules("jobs"), ids=by_name)
def test_a_job_imports_no_other_job(path):
    others = {f"jobs.{other.stem}" for other in modules("jobs") if other != path} - {"jobs.__init__"}
    others -= {f"jobs.{name}" for name in SHARED_JOBS}
    assert imports(path) & others == set()


def test_training_does_without_the_jobs():
    wrong = {by_name(path): tops(path) & FORBIDDEN["training"] for path in modules("training")}
    assert {name: found for name, found in wrong.items() if found} == {}


def test_files_are_read_without_beam():
    names = [f"transforms.{name}" for name in ("storage", "object_stores", "list_files", "carry", "secret_key")]
    program = f"import {', '.join(names)}, sys; print('apache_beam' in sys.modules, 'boto3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["names", "--help"],
        ["titles", "--help"],
        ["whales", "--help"],
        ["pca", "--help"],
        ["shapes", "--help"],
        ["model", "--help"],
        ["train", "--help"],
        ["train", "titles", "--help"],
        ["predict", "--help"],
        ["plan", "--help"],
        ["plan", "names", "--help"],
        ["--version"],
    ],
    ids=" ".join,
)
def test_help_loads_nothing_heavy(arguments):
    program = f"""
import contextlib, sys
from jobs.cli import main
with contextlib.suppress(SystemExit):
    main({arguments!r})
print(sorted({{"apache_beam", "pyarrow", "numpy", "matplotlib", "jinja2"}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_no_module_names_a_registry():
    files = [*modules("jobs", "transforms", "schemas", "training", "benchmarks", "docs", "tests"), ROOT / "setup.py"]
    files += [*(ROOT / "requirements").glob("*.txt"), ROOT / "Makefile", ROOT / "pyproject.toml"]
    found = {by_name(path): REGISTRIES.search(path.read_text(encoding="utf-8")) for path in files}
    found.pop(by_name(pathlib.Path(__file__).resolve()))  # its own pattern
    assert {name: match[0] for name, match in found.items() if match} == {}
