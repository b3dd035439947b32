"""The page of the pca job, held to the code."""

import json
import re

import pytest

from molino.jobs import pca
from tests.docs.test_docs import FLAG, OPTION, page_of, prose, python_blocks, section


def test_the_page_lists_every_option_and_no_other():
    text = page_of("pca.md")
    of_the_job, of_the_sample = section(text, "Options").split("`molino sample pca`")
    flags = set(pca.parser().flags()) - {"-h", "--help"}
    assert sorted(OPTION.findall(of_the_job)) == sorted(flags)
    sample = {"--output", "--rows", "--numbers", "--seed", "--hostile"}
    assert sorted(OPTION.findall(of_the_sample)) == sorted(sample)
    allowed = flags | sample | {"--model", "--input", "--dim", "--epochs"}
    assert {flag for flag in FLAG.findall(prose(text)) if flag not in allowed} == set()


def test_the_page_gives_the_defaults():
    options = section(page_of("pca.md"), "Options").split("`molino sample pca`")[0]
    rows = dict(re.findall(r"^\| `(--[a-z-]+)` \| `?([^`|]+?)`? \|", options, re.MULTILINE))
    for action in pca.parser()._actions:
        flag = action.option_strings[-1]
        if isinstance(action.default, int | float | str) and not isinstance(action.default, bool) and flag in rows:
            assert rows[flag] == (str(action.default) or "none"), flag


def test_reasons_are_those_of_the_code():
    from molino.schemas.pca import REASONS
    from molino.schemas.rejects import TEXT_REASONS
    from molino.transforms.pca import numbers

    assert set(REASONS) - set(TEXT_REASONS) == {numbers.NULL_VECTOR, numbers.WRONG_LENGTH, *numbers.FAULTS}


@pytest.mark.slow
def test_the_examples_run(tmp_path, monkeypatch):
    from molino.transforms.pca.sample import sample_vectors

    monkeypatch.chdir(tmp_path)
    sample_vectors("demo/points.parquet", rows=1000, numbers=2, seed=2016)
    arguments = ["--input", "demo/points.parquet", "--column", "vector", "--output", "demo/points"]
    assert pca.JOB.main([*arguments, "--quiet", "--workers", "1"]) == 0
    results = {}
    for block in python_blocks("pca.md"):
        exec(compile(block, "pca.md", "exec"), results)
    assert len(results["errors"]) == 3
    assert (results["scores"] ** 2).sum() == pytest.approx(25)
    manifest = json.loads((tmp_path / "demo/points/_manifest.json").read_text())
    assert {name for name in manifest["datasets"] if f"{name}/" not in page_of("pca.md")} == set()
    counters = {name for name in manifest["counters"] if not name.startswith("rejects.")}
    assert {name for name in counters if f"`{name}`" not in page_of("pca.md")} == set()
