"""The page of the titles job, held to the code."""

import json
import re
import warnings

import numpy as np
import pytest

from molino.jobs import titles
from tests.docs.test_docs import FLAG, OPTION, page_of, prose, python_blocks, section


def test_the_page_lists_every_option_and_no_other():
    text = page_of("titles.md")
    flags = set(titles.parser().flags()) - {"-h", "--help"}
    assert sorted(OPTION.findall(section(text, "Options"))) == sorted(flags)
    assert {flag for flag in FLAG.findall(prose(text)) if flag not in flags} == set()


def test_the_page_gives_the_defaults():
    rows = dict(re.findall(r"^\| `(--[a-z-]+)` \| `?([^`|]+?)`? \|", page_of("titles.md"), re.MULTILINE))
    for action in titles.parser()._actions:
        flag = action.option_strings[-1]
        if isinstance(action.default, int | float | str) and not isinstance(action.default, bool) and flag in rows:
            assert rows[flag] in (str(action.default) or "none", "none"), flag


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A folder with demo/titles, as the page has it, and the manifest."""
    from molino.training.nnlm_export import export_nnlm
    from molino.transforms.titles.sample import sample_titles

    folder = tmp_path_factory.mktemp("docs")
    sample_titles(str(folder / "demo/titles.csv"), rows=2000, hostile=True)
    table = np.random.default_rng(1).standard_normal((9, 4)).astype(np.float32)
    export_nnlm(str(folder / "demo/model"), ["Tv", "Smart", "De", "Mesa"], table, buckets=5, normalization=True)
    output = folder / "demo/titles"
    options = ["--quiet", "--workers", "1", "--max-reject-ratio", "0.1", f"--model=es={folder / 'demo/model'}"]
    assert titles.JOB.main(["--input", str(folder / "demo/titles.csv"), "--output", str(output), *options]) == 0
    return folder, json.loads((output / "_manifest.json").read_text())


@pytest.mark.slow
def test_the_examples_run(demo, monkeypatch):
    folder, manifest = demo
    monkeypatch.chdir(folder)
    results = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own
        for block in python_blocks("titles.md"):
            exec(compile(block, "titles.md", "exec"), results)
    assert results["names"][int(results["label"][0])] == b"CELLPHONES"
    assert results["vectors"].shape[1] == 4
    assert len(results["labels"]) == len(results["vectors"]) or results["labels"].num_rows
    assert results["rare"].num_rows <= manifest["counters"]["labels"]


@pytest.mark.slow
def test_data_sets_and_counters_are_documented(demo):
    page = page_of("titles.md")
    _, manifest = demo
    assert {name for name in manifest["datasets"] if f"{name}/" not in page} == set()
    counters = {name for name in manifest["counters"] if not name.startswith("rejects.")}
    assert {name for name in counters if f"`{name}`" not in page} == set()
