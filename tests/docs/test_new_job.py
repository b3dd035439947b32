"""A new job is four files: that of docs/new-job.md, added to a copy of the tree, is found by all that knows of jobs."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from tests import programs
from tests.docs.test_docs import ROOT, python_blocks

pytestmark = pytest.mark.slow

PAGE = """# Towns

`molino towns` counts records: `--input`, `--output` and the other options of every job.
"""
APART = shutil.ignore_patterns(".*", "__pycache__", "demo", "build", "*.egg-info")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the tree, with the job's four files and no other change."""
    tree = tmp_path_factory.mktemp("tree") / "molino"
    shutil.copytree(ROOT, tree, symlinks=True, ignore=APART)
    schemas, count, job = python_blocks("new-job.md")
    (tree / "transforms/towns").mkdir()
    for name, text in {
        "schemas/towns.py": schemas,
        "transforms/towns/__init__.py": '"""The domain of the towns job."""\n',
        "transforms/towns/count.py": count,
        "jobs/towns.py": job,
        "docs/towns.md": PAGE,
    }.items():
        (tree / name).write_text(text, encoding="utf-8")
    return tree


@pytest.fixture
def molino(tree, tmp_path):
    """Return what runs the copy's program in a folder of its own, and returns what it says."""

    def run(*words, code=0):
        env = {**os.environ, "PYTHONPATH": str(tree)}
        process = programs.popen(["molino", *map(str, words)], env=env, cwd=tmp_path)
        out, wrong = process.communicate()
        assert process.returncode == code, wrong.decode()
        return out.decode() + wrong.decode()

    return run


def python(tree, *words):
    done = subprocess.run([sys.executable, *words], cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_command_knows_it(molino):
    assert re.search(r"^  towns +how many records name each town$", molino("--help"), re.MULTILINE)
    assert "How many records name each town." in molino("towns", "--help")
    assert re.search(r"^ +towns +towns, one a row$", molino("sample", "--help"), re.MULTILINE)
    assert "names, pca, predict, shapes, titles, towns, whales, " in " ".join(molino("plan", "--help").split())
    assert "did you mean towns?" in molino("twons", code=2)


def test_it_is_planned_run_and_verified(molino, tmp_path):
    (tmp_path / "towns.txt").write_text("TOWN|N\nLERMA|1\nTAXCO|2\nLERMA|3\nTAXCO\n")
    words = ["towns", "--input", "towns.txt", "--output", "out", "--max-reject-ratio", "0.5"]
    assert "not known: the job tells nothing of its size" in molino("plan", *words)
    assert "towns  2" in molino(*words, "--workers", 1)
    assert "nothing to do" in molino(*words)
    assert "everything is as it was written" in molino("verify", "out")
    manifest = json.loads((tmp_path / "out/_manifest.json").read_text())
    assert manifest["counters"] == {"counted": 3, "rejects": 1, "rejects.too_few_fields": 1, "rows_read": 4, "towns": 2}


def test_its_example_runs_on_its_sample(molino):
    assert "100 rows in in.txt" in molino("sample", "towns", "--output", "in.txt")
    assert "in.txt is there" in molino("sample", "towns", "--output", "in.txt", code=3)
    molino("towns", "--input", "in.txt", "--output", "out", "--workers", 1, "--quiet")


def test_it_changes_the_code_of_no_other_job(tree):
    program = "from molino import code; print(code.pipelines(), *map(str, code.job_files('names')), sep='\\n')"
    jobs, *files = python(tree, "-c", program).splitlines()
    assert "'towns'" in jobs
    assert not any("towns" in file for file in files)


def test_the_tests_of_every_job_have_it(tree):
    program = "from tests.every_job import JOBS; from tests.faults.odd_options import COMMANDS\n"
    program += "print(JOBS['towns'], COMMANDS['towns'], sep='\\n')"
    inputs, odd = python(tree, "-c", program).splitlines()
    assert inputs == "(['sample towns --output in.txt'], ['--input', 'in.txt'])"
    assert odd == "--input in.txt --output a.txt/o"


def test_the_rules_of_the_layers_hold_it(tree):
    named = "towns or rule or circle or function or name"
    said = python(tree, "-m", "pytest", "-p", "no:cacheprovider", "tests/test_layers.py", "-k", named)
    assert re.search(r"\d+ passed", said)
    wrong = (tree / "transforms/towns/count.py").read_text() + "\nimport molino.transforms.names.count\n"
    (tree / "transforms/towns/wrong.py").write_text(wrong)
    try:
        with pytest.raises(AssertionError, match="1 failed"):
            python(tree, "-m", "pytest", "-p", "no:cacheprovider", "tests/test_layers.py", "-k", "wrong and room")
    finally:
        (tree / "transforms/towns/wrong.py").unlink()


def test_its_templates_and_pages_follow(tree):
    python(tree, "docs/make_schemas.py")
    python(tree, "deploy/dataflow/make_metadata.py")
    metadata = json.loads((tree / "deploy/dataflow/towns.json").read_text())
    assert metadata["description"] == "How many records name each town. How many records name each town."
    assert "towns.towns" in (tree / "docs/schemas.md").read_text()
