"""The page on training, held to the code: options, arguments, errors, examples."""

import dataclasses
import inspect
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from molino.jobs.train import model
from molino.schemas import field, schema
from molino.training import grow, runs
from molino.training.reader import Reader, Reading

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/training.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (`[^|]+`) \| ([^|]+) \|", re.MULTILINE)


def section(heading):
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def test_every_option_stands_there_with_its_default():
    rows = dict(ROW.findall(section("Options")))
    actions = {action.option_strings[-1]: action for action in model.parser()._actions}
    actions.pop("--help")
    assert sorted(rows) == sorted(f"`{flag}`" for flag in actions)
    for flag, action in actions.items():
        told = rows[f"`{flag}`"].strip("`")
        if action.required:
            assert told == "required"
        elif action.default is False:
            assert told == "off"
        elif flag == "--batch":
            assert told == str(grow.MAX_BATCH)
        elif action.default not in (None, []):
            assert told == (str(action.default) or "none")


def test_every_argument_of_the_reader_stands_there_with_its_default():
    told = {}
    for names, defaults in ROW.findall(section("Read batches")):
        told |= dict(zip(re.findall(r"`(\w+)`", names), defaults.split(", "), strict=False))
    asked = inspect.signature(Reader).parameters
    wanted = {name: str(each.default) for name, each in asked.items() if each.kind is each.KEYWORD_ONLY}
    few = {field.name: str(field.default) for field in dataclasses.fields(Reading)}
    wanted = {name: default for name, default in wanted.items() if name != "reading"} | few
    assert told.pop("reading") == "`Reading()`"
    assert told.pop("split") == "all rows"
    assert wanted.pop("split") == "None"
    assert {name: told[name] for name in wanted} == wanted


def test_every_error_stands_there():
    errors = {name for name, each in vars(runs).items() if inspect.isclass(each) and issubclass(each, runs.RunError)}
    assert {name.strip("`") for name, _ in ROW.findall(section("Open a run"))} == errors


@pytest.fixture
def made_run(tmp_path, monkeypatch):
    """A folder with demo/vectors, a finished run as the examples read it."""
    import sys

    monkeypatch.syspath_prepend(ROOT / "tests/training")
    from tests.training.made_run import publish, write_tables

    item = pa.field("element", pa.float32(), nullable=False)
    titles = schema(
        "titles.titles",
        2,
        field("title", pa.string(), "Title"),
        field("label", pa.int32(), "Label"),
        field("split", pa.string(), "Split"),
        field("small", pa.list_(item, 4), "Vector"),
    )
    vectors = np.random.default_rng(0).standard_normal((90, 4)).astype(np.float32)
    columns = [
        pa.array([f"título {n}" for n in range(90)]),
        pa.array(np.arange(90, dtype=np.int32) % 8),
        pa.array(["train", "train", "test"] * 30),
        pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), type=pa.list_(item, 4)),
    ]
    labels = schema("titles.labels", 1, field("label", pa.int32(), "Label"))
    numbers = pa.table([pa.array(range(8), pa.int32())], schema=labels)
    folder = tmp_path / "demo/vectors"
    manifest = write_tables(folder, "titles", titles, [pa.table(columns, schema=titles)])
    manifest["datasets"] |= write_tables(folder, "labels", labels, [numbers])["datasets"]
    publish(folder, manifest)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield tmp_path
    sys.modules.pop("made_run", None)


def test_examples_run(made_run):
    results = {}
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        exec(compile(block, "training.md", "exec"), results)
    assert results["vectors"].shape == (60, 4)
    assert results["model"].count_params() == 4 * 8 + 8
