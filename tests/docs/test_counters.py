"""Counters and reasons are declared in schemas/, and what is declared is what the jobs count."""

import ast

import pytest

from molino.schemas import names, pca, predict, shapes, titles, training, whales
from molino.transforms.report.run import meaning_of
from tests.test_layers import ROOT, modules

# what each job is made of, besides the shared rooms
SHARED = ("transforms/text", "transforms/rows", "transforms/parquet", "transforms/images", "transforms/models")
JOBS = {
    names: ("jobs/names.py", "transforms/names"),
    titles: ("jobs/titles.py", "transforms/titles"),
    predict: ("jobs/predict.py", "transforms/predict"),
    whales: ("jobs/whales.py", "transforms/whales"),
    pca: ("jobs/pca.py", "transforms/pca"),
    shapes: ("jobs/shapes.py", "transforms/shapes"),
    training: ("jobs/train",),
}


def undeclared(manifest):
    """Return the counters of a run that its job has not declared."""
    job = training if " " in manifest["job"] else next(job for job in JOBS if job.__name__.endswith(manifest["job"]))
    reasons = {f"rejects.{reason}" for reason in getattr(job, "REASONS", ())}
    counted = {name for name in manifest["counters"] if name not in reasons}
    return {name for name in counted if name.startswith("rejects.") or not meaning_of(name, job.COUNTERS)}


def strings_of(job):
    """Return every string in the sources of a job, those inside f-strings too, but for its report."""
    rooms = [path for path in (*JOBS[job], *SHARED) if not path.endswith(".py")]
    files = [*modules(*rooms), *(ROOT / path for path in JOBS[job] if path.endswith(".py"))]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in files if path.name != "report.py"]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    found = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return found | {word.arg for word in nodes if isinstance(word, ast.keyword)}


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.__name__.rpartition(".")[2])
def test_what_is_declared_is_in_the_sources(job):
    strings = strings_of(job)

    def is_named(counter):
        kind, dot, of = counter.partition(".")
        built = {f"{kind}{dot}", of} if dot else {counter.removesuffix("_repaired"), "_repaired"}
        return counter in strings or {part for part in built if not part.isupper()} <= strings

    assert {counter for counter in job.COUNTERS if not is_named(counter)} == set()
    assert set(getattr(job, "REASONS", ())) <= strings


def test_a_counter_that_is_not_declared_is_found():
    known = {"rows_read": 1, "rejects.no_category": 1, "not_finite.small": 2, "split.train": 3}
    assert undeclared({"job": "titles", "counters": known}) == set()
    assert undeclared({"job": "titles", "counters": {**known, "rejects.x": 1, "odd": 2}}) == {"rejects.x", "odd"}
