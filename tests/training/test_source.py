import json

import pytest

from molino.training.source import find_leaks, open_source
from tests.training.made_run import publish

GROWN = {"sha256": "0" * 64, "split": "train", "seed": 1, "test": 0.05}


@pytest.mark.parametrize(
    ("grown", "word"),
    [
        (None, ""),
        (GROWN, ""),
        (GROWN | {"split": "validation"}, ""),
        (GROWN | {"test": 0.1}, ""),
        ({"sha256": "0" * 64}, "on a whole file"),
        (GROWN | {"split": "test"}, "on the split test of a run"),
        (GROWN | {"seed": 2}, "on a run that was split in another way"),
        (GROWN | {"test": 0.01}, "on a run that was split in another way"),
    ],
)
def test_models_that_saw_the_test_split_are_told(run_of_titles, grown, word):
    manifest = json.loads((run_of_titles / "_manifest.json").read_text())
    model = {"name": "es"} | ({"grown_on": json.dumps(grown)} if grown else {})
    publish(run_of_titles, manifest | {"options": {"seed": 1, "test": 0.05, "models": [model]}})
    source = open_source(str(run_of_titles))
    told = find_leaks(source, ["es", "en"])
    assert [word in str(warning) for warning in told] == ([True] if word else [])
    assert find_leaks(source, ["en"]) == []
