"""The report of predictions shows the same for any batches; a plain count agrees."""

import math
from collections import Counter

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from molino.schemas.predict import PREDICTED
from molino.transforms.predict.report import BINS, TERMS, TOP, predict_report, sum_tallies, tally_predictions
from molino.transforms.report.run import RunFacts

SCORES = st.one_of(st.floats(0, 1, width=32), st.sampled_from([0.0, 0.5, 1.0, math.nan]))


def predicted(rows):
    """Return predictions of (category, score), in the order of their lines."""
    columns = {name: [None] * len(rows) for name in PREDICTED.names} | {
        "source": ["a.csv"] * len(rows),
        "line": range(2, len(rows) + 2),
        "title": [f"title <{n}>" for n in range(len(rows))],
        "prediction": [name for name, _ in rows],
        "top_categories": [[name, "OTHER"] for name, _ in rows],
        "top_scores": [[score, 0.0] for _, score in rows],
        "record": range(len(rows)),
    }
    return pa.record_batch([pa.array(columns[f.name], f.type) for f in PREDICTED], schema=PREDICTED)


@given(rows=st.lists(st.tuples(st.sampled_from("ABC"), SCORES), max_size=60), cut=st.integers(0, 60))
def test_any_batches_show_the_same(rows, cut):
    whole = predicted(rows)
    tally = sum_tallies([tally_predictions(whole.slice(cut)), tally_predictions(whole.slice(0, cut))])
    assert tally.categories == Counter(name for name, _ in rows)
    finite = [(score, 2 + n) for n, (_, score) in enumerate(rows) if math.isfinite(score)]
    assert tally.scores.tolist() == [
        sum(min(int(score * BINS), BINS - 1) == place for score, _ in finite) for place in range(BINS)
    ]
    assert [(score, line) for score, _, line, *_ in tally.doubts] == sorted(finite)[:TOP]


def test_the_page_shows_titles_as_texts():
    rows = [(f"C{n % 30:02}", n / 100) for n in range(100)]
    facts = RunFacts(terms=TERMS, balance=("rows_read", ["predictions"]), counters={"predictions": 100}, options={})
    page = predict_report(tally_predictions(predicted(rows)), facts)
    assert "title &lt;0&gt;" in page
    assert "title &lt;20&gt;" not in page
    assert "10 others" in page
    assert "a.csv, line 21" in page
    assert predict_report(sum_tallies([]), facts).count("No data") >= 2
