"""The page of the shapes job, held to the code."""

import json
import re

import pytest
import yaml

from molino.jobs import shapes
from tests.docs.test_docs import FENCE, FLAG, OPTION, page_of, prose, python_blocks, section


def test_the_page_lists_every_option_and_no_other():
    text = page_of("shapes.md")
    flags = set(shapes.parser().flags()) - {"-h", "--help"}
    assert sorted(OPTION.findall(section(text, "Options"))) == sorted(flags)
    assert {flag for flag in FLAG.findall(prose(text)) if flag not in flags} == set()


def test_the_page_gives_the_defaults():
    rows = dict(re.findall(r"^\| `(--[a-z-]+)` \| `?([^`|]+?)`? \|", page_of("shapes.md"), re.MULTILINE))
    for action in shapes.parser()._actions:
        flag = action.option_strings[-1]
        if isinstance(action.default, int | float | str) and not isinstance(action.default, bool) and flag in rows:
            assert rows[flag] in (str(action.default) or "none", "none"), flag


def test_the_page_gives_every_parameter_of_a_sweep_and_its_default():
    from molino.transforms.shapes.sweep import PARAMETERS

    rows = dict(re.findall(r"^\| `([a-z0-9_]+)` \| ([^|]+) \|", section(page_of("shapes.md"), "Sweeps"), re.MULTILINE))
    assert list(rows) == list(PARAMETERS)
    for name, (_, default) in PARAMETERS.items():
        told = "an error" if default is None else "all six" if name == "problem" else f"{default:g}"
        assert rows[name] == told


def test_the_page_gives_every_problem_and_its_radius():
    from molino.transforms.shapes.points import PROBLEMS

    rows = dict(
        re.findall(r"^\| `([a-z]+)` \|.*\| ([^|]+) \|$", section(page_of("shapes.md"), "Problems"), re.MULTILINE)
    )
    assert rows == {name: "none" if r is None else f"{r:g}" for name, r in PROBLEMS.items()}


def test_the_sweep_of_the_page_is_one():
    from molino.transforms.shapes.sweep import expand_sweep, parse_sweep

    [block] = [block for language, block in FENCE.findall(page_of("shapes.md")) if language == "yaml"]
    assert len(expand_sweep(parse_sweep(yaml.safe_load(block), "page"), "page")[0]) == 25


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A folder with demo/shapes, as the page has it, but small; and the manifest."""
    folder = tmp_path_factory.mktemp("docs")
    sweep = folder / "s.yaml"
    sweep.write_text("- {problem: [ring, linear], hidden: [2, [3, 3]], batch: 20, steps: 9, seed: [1, 2]}")
    output = folder / "demo/shapes"
    options = ["--quiet", "--workers", "1", "--rows", "1000", "--sweep", str(sweep)]
    assert shapes.JOB.main(["--output", str(output), *options]) == 0
    return folder, json.loads((output / "_manifest.json").read_text())


@pytest.mark.slow
def test_the_cookbook_runs(demo, monkeypatch):
    folder, manifest = demo
    monkeypatch.chdir(folder)
    results = {}
    for block in python_blocks("shapes.md"):
        exec(compile(block, "shapes.md", "exec"), results)
    assert sorted(results["best"]["problem"]) == ["linear", "ring"]
    assert len(results["predictions"]) == 50
    run = results["runs"].set_index("run").loc[results["ring"]]
    assert len(results["wrong"]) == round((1 - run["test_accuracy"]) * 50)
    assert len(results["spread"]) == 4
    assert set(manifest["datasets"]) == {"points", "runs", "predictions"}
    assert {name for name in manifest["datasets"] if f"{name}/" not in page_of("shapes.md")} == set()
