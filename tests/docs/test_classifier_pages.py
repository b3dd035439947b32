"""The pages on classifiers and on the comparison, held to the code: options and their defaults, architectures."""

import re
from pathlib import Path

import pytest

from molino.jobs import predict
from molino.jobs import titles as module
from molino.jobs.train import compare, titles
from molino.training import recipe

DOCS = Path(__file__).resolve().parents[2] / "docs"
ROW = re.compile(r"^\| `(--[a-z-]+)` \| ([^|]+) \|", re.MULTILINE)
# defaults that follow from something else
TOLD = {"--embedding": "all, joined"} | {
    f"--{name}": f"{value}; phrases {recipe.OF_PHRASES[name]}" for name, value in recipe.DEFAULTS.items()
}


def section(page, heading):
    return (DOCS / page).read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]


def options_of(parser):
    return {action.option_strings[-1]: action for action in parser._actions if action.dest != "help"}


def check_defaults(rows, actions):
    for flag, told in rows.items():
        action, told = actions[flag], told.strip("`")
        if action.required:
            assert told == "required"
        elif flag in TOLD:
            assert told == TOLD[flag]
        elif action.default is False:
            assert told == "off"
        elif action.default in (None, []):
            assert told == "none"
        else:
            assert told == str(action.default), flag


def test_every_option_of_a_training_stands_there_with_its_default():
    rows, actions = dict(ROW.findall(section("classifiers.md", "Options"))), options_of(titles.parser())
    assert sorted(rows) == sorted(actions)
    check_defaults(rows, actions)


def test_every_option_of_a_comparison_stands_there_or_among_those_of_a_training():
    rows, actions = dict(ROW.findall(section("compare.md", "Options"))), options_of(compare.parser())
    assert set(rows) <= set(actions)
    shared = set(options_of(titles.parser()))
    assert set(actions) - set(rows) <= shared
    check_defaults(rows, actions)


def test_the_options_of_predict_are_its_own_and_those_of_the_titles_job():
    rows, actions = dict(ROW.findall(section("classifiers.md", "Predict"))), options_of(predict.parser())
    assert set(actions) - set(rows) <= set(options_of(module.parser()))
    assert set(rows) <= set(actions)


@pytest.mark.slow  # Keras takes seconds to load
def test_every_architecture_stands_there():
    from molino.training.classifier import ARCHITECTURES

    named = re.findall(r"^\| `([a-z0-9-]+)` \|", section("classifiers.md", "Architectures"), re.MULTILINE)
    assert named == [*ARCHITECTURES, recipe.PHRASES]
    assert set(ARCHITECTURES) == set(recipe.VECTORS)
