"""What a run's identity says of the code: what is a job's own, what all share, and jobs from elsewhere."""

import functools
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from molino import code
from molino.jobs.run import runs
from molino.jobs.run.runs import Plan, make_run
from molino.schemas import schema

JOBS = tuple(code.pipelines())
ALL = {*JOBS, "train"}
# a file, and whose identity a change of it changes
OWNERS = {
    "jobs/names.py": {"names"},
    "jobs/cli.py": set(),
    "jobs/commands/plan.py": set(),
    "jobs/options.py": ALL,
    "jobs/run/commit.py": ALL,
    "jobs/runners/flink.py": ALL,
    "jobs/forecast/constants.json": ALL,
    "transforms/rows/digest.py": ALL,
    "transforms/report/page.html": ALL,
    "transforms/report/page.css": ALL,
    "transforms/names/words/men.txt": {"names"},
    "transforms/shapes/one_layer.py": {"shapes"},
    "transforms/whales/report.py": {"whales"},
    "transforms/titles/keys.py": {"titles"},
    "transforms/blas.py": ALL,
    "transforms/predict/predict_titles.py": {"predict"},
    "schemas/__init__.py": ALL,
    "schemas/rejects.py": ALL,
    "schemas/titles.py": {"titles"},
    "schemas/training.py": {"train"},
    "training/words.py": {"train"},
    "jobs/train/titles.py": {"train"},
}


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """Make the package's identity that of a copy, which can be changed; return its folder."""
    place = tmp_path / "elsewhere/molino"
    for room in ("jobs", "schemas", "training", "transforms"):
        shutil.copytree(code.ROOT / room, place / room, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code, "ROOT", place)
    return place


def digests():
    return {job: code.digest_files(code.job_files(job)) for job in ALL}


def test_the_place_of_the_package_does_not_count(copy, monkeypatch):
    there = digests()
    monkeypatch.undo()
    assert digests() == there


@pytest.mark.parametrize("name", OWNERS)
def test_a_change_makes_another_run_of_those_that_use_it(name, copy):
    before = digests()
    with (copy / name).open("a") as file:
        file.write("\n")
    after = digests()
    assert {job for job in ALL if before[job] != after[job]} == OWNERS[name]


def test_a_new_file_counts_and_a_compiled_one_does_not(copy):
    before = digests()
    (copy / "transforms/rows/__pycache__").mkdir()
    (copy / "transforms/rows/__pycache__/digest.py").write_text("compiled")
    assert digests() == before
    (copy / "transforms/rows/more.py").write_text("")
    assert all(digests()[job] != before[job] for job in JOBS)


def plan(build, **more):
    return Plan(
        job="towns",
        options={},
        datasets={"towns": schema("towns", 1, pa.field("town", pa.string()))},
        balance=("rows_read", ("towns",)),
        counted=("towns",),
        build=build,
        **more,
    )


def digest_of(build, **more):
    return make_run(plan(build, **more), [], output="out").code["digest"]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A module and a package that are not of this program; return their folder."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "towns_job.py").write_text("def build(*_): pass\n")
    package = tmp_path / "towns_package"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "words.txt").write_text("MESA\n")
    (package / "deep/__init__.py").write_text("")
    (package / "deep/job.py").write_text("def build(*_): pass\n")
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("towns_")]:
        del sys.modules[name]


def test_a_job_from_elsewhere_counts_its_file(elsewhere):
    from towns_job import build

    before = digest_of(build)
    assert digest_of(functools.partial(build, 1)) == before
    (elsewhere / "towns_package/words.txt").write_text("SILLA\n")
    assert digest_of(build) == before
    (elsewhere / "towns_job.py").write_text("def build(*_): return 1\n")
    assert digest_of(build) != before


def test_a_job_from_elsewhere_counts_the_modules_beside_it_that_are_loaded(elsewhere):
    from towns_job import build

    before = digest_of(build)
    (elsewhere / "towns_beside.py").write_text("ROWS = 1\n")
    assert digest_of(build) == before
    import towns_beside  # noqa: F401

    counted = digest_of(build)
    assert counted != before
    (elsewhere / "towns_beside.py").write_text("ROWS = 2\n")
    assert digest_of(build) != counted


def test_a_job_in_a_folder_that_is_no_package_counts_what_it_has_loaded_there(elsewhere):
    folder = elsewhere / "towns_folder"
    folder.mkdir()
    (folder / "counting.py").write_text("ROWS = 1\n")
    (folder / "job.py").write_text("from towns_folder import counting\ndef build(*_): pass\n")
    from towns_folder.job import build

    before = digest_of(build)
    (folder / "counting.py").write_text("ROWS = 2\n")
    assert digest_of(build) != before


def test_a_job_from_elsewhere_counts_its_whole_package(elsewhere):
    from towns_package.deep.job import build

    before = digest_of(build)
    (elsewhere / "towns_package/words.txt").write_text("SILLA\n")
    assert digest_of(build) != before


def test_a_job_from_elsewhere_counts_all_of_this_package(elsewhere, copy):
    from towns_job import build

    before = digest_of(build)
    (copy / "transforms/shapes/one_layer.py").write_text("")
    assert digest_of(build) != before


def test_the_plan_may_name_the_code(elsewhere):
    from towns_job import build

    named = digest_of(build, code=["towns_package"])
    (elsewhere / "towns_job.py").write_text("def build(*_): return 1\n")
    assert digest_of(build, code=["towns_package"]) == named
    (elsewhere / "towns_package/deep/job.py").write_text("")
    assert digest_of(build, code=["towns_package"]) != named


@pytest.mark.parametrize("more", [{}, {"code": ["no_such_module"]}, {"code": ["towns_package", "no_such_module"]}])
def test_without_source_no_run_is_taken_for_another(more, elsewhere):
    typed: dict = {"__name__": "typed_in"}
    exec("def build(*_): pass", typed)
    made = plan(typed["build"], **more)
    first, second = (make_run(made, [], output="out") for _ in range(2))
    assert first.id != second.id
    assert first.work != second.work
    assert runs.UNKNOWN in first.warnings


def test_a_program_counts_its_own_file(tmp_path):
    program = tmp_path / "towns.py"
    text = """
from molino import code
def build(*_): pass
print(*code.files_of(code.module_of(build)))
"""
    program.write_text(text)
    assert run([program], tmp_path) == "towns.py\n"
    assert run(["-m", "towns"], tmp_path) == "towns.py\n"
    (tmp_path / "package").mkdir()
    (tmp_path / "package/__init__.py").write_text("")
    (tmp_path / "package/towns.py").write_text(text)
    assert run(["-m", "package.towns"], tmp_path) == "package/__init__.py package/towns.py\n"
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/towns.py").write_text(text)
    assert run(["-m", "folder.towns"], tmp_path) == "towns.py\n"
    assert run(["-c", text], tmp_path) == "\n"


def run(words, folder):
    root = Path(__file__).parents[2]
    program = [sys.executable, *words]
    done = subprocess.run(
        program, cwd=folder, env={"PYTHONPATH": f"{root}:{folder}"}, capture_output=True, text=True, check=True
    )
    return " ".join(sorted(done.stdout.split())) + "\n"
