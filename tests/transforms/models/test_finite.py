"""Vectors that are not finite: found by title, and told of."""

import numpy as np
import pyarrow as pa
import pytest

from molino.transforms.models import finite
from molino.transforms.warnings import Sighting

PLACE = (0, 9, "t.csv")


def test_each_title_is_looked_at_once_and_by_every_model(monkeypatch):
    asked = []

    def embed_many(models, titles):
        asked.append(titles.to_pylist())
        numbers = np.array([[float(title)] for title in titles.to_pylist()], np.float32)
        return [np.where(numbers == 7, np.nan, 1), numbers]

    monkeypatch.setattr(finite, "embed_many", embed_many)
    monkeypatch.setattr(finite, "open_embedder", lambda model: model)
    found = finite.are_finite(pa.array(["1", "nan", "7", "1", "-inf", "2"]), ["one", "other"])
    assert found.tolist() == [True, False, False, True, False, True]
    assert asked == [["1", "nan", "7", "-inf", "2"]]


@pytest.mark.parametrize(
    ("counters", "way", "told"),
    [
        ({"rejects": 3}, "reject", []),
        ({"rejects.not_finite": 2}, "reject", ["NaN or infinite): 2; each is in rejects/"]),
        (
            {"not_finite.es": Sighting(4, PLACE)},
            "zero",
            ["not finite: 4, set to zero; first: t.csv line 9; --not-finite"],
        ),
        ({"not_finite.es": Sighting(1, PLACE)}, "keep", ["1, kept; training and pca refuse them; t.csv line 9"]),
    ],
)
def test_what_was_met_is_told(counters, way, told):
    warnings = finite.warn_not_finite(counters, way)
    assert [text in str(warning) for text, warning in zip(told, warnings, strict=True)] == [True] * len(told)
