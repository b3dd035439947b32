"""The report of the titles job: true figures, and a page that depends on nothing else."""

import dataclasses
import itertools
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molino.schemas.titles import LABELS
from molino.transforms.models.embed import Coverage, Model
from molino.transforms.report.run import RunFacts
from molino.transforms.text.position import POSITION
from molino.transforms.titles import glance as module
from molino.transforms.titles.glance import LONGEST, Glance, combine_glances, glance_at
from molino.transforms.titles.keys import Draw
from molino.transforms.titles.merge import key_titles, merge_titles
from molino.transforms.titles.report import TERMS, project, titles_report

EVIL = '<script>alert("x")</script>'
DRAW = Draw(seed=1, validation=0.2, test=0.2)
MODEL = Model(
    name="m", location="m", path="m", digest="ab" * 32, bytes=0, dim=3, kind="table", vocabulary=10, buckets=2
)  # fmt: skip


@pytest.fixture(autouse=True)
def embedder(monkeypatch):
    """A model that knows the words that begin with a k."""

    class Embedder:
        def __init__(self, model):
            pass

        def coverage(self, titles):
            words = [word for title in titles.to_pylist() for word in title.split(" ")]
            unknown = [word for word in words if not word.startswith("k")]
            distinct = sorted(set(unknown))
            counts = {word: unknown.count(word) for word in distinct}
            return Coverage(titles=len(titles), tokens=len(words), unknown=len(unknown), words=counts)

        def embed(self, titles):
            return np.array([[len(title), title.count("k"), 1] for title in titles.to_pylist()], np.float32).reshape(
                -1, 3
            )

    monkeypatch.setattr(module, "open_embedder", Embedder)
    monkeypatch.setattr(module, "embed_many", lambda models, titles: [model.embed(titles) for model in models])


def blocks_of(rows, count):
    """Return (kept, turns) of titles cut into runs of their order."""
    batch = pa.record_batch(
        {
            "title": pa.array([row[0] for row in rows], pa.string()),
            "label_quality": pa.nulls(len(rows), pa.string()),
            "language": pa.array([row[1] for row in rows], pa.string()),
            "category": pa.array([row[2] for row in rows], pa.string()),
            POSITION: pa.array(range(len(rows)), pa.int64()),
        }
    )
    kept = merge_titles(key_titles(batch), DRAW)
    bounds = [kept.num_rows * i // count for i in range(count + 1)]
    pairs = list(itertools.pairwise(bounds))
    return [(kept.slice(a, b - a), DRAW.turn(kept.slice(a, b - a))) for a, b in pairs]


ROWS = st.lists(
    st.tuples(st.text("kab ñ", max_size=9), st.sampled_from(["es", "pt", ""]), st.sampled_from("ABC")), min_size=1
)


@settings(deadline=None)
@given(ROWS, st.integers(1, 5))
def test_any_blocks_show_the_same(rows, count):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAP_TITLES", 5)
        patch.setattr(module, "KNOWN_TITLES", 8)
        [(kept, turns)] = blocks_of(rows, 1)
        titles = kept.num_rows
        whole = combine_glances([glance_at(kept, turns, models=[MODEL], titles=titles)])
        parts = [
            glance_at(*block, models=[MODEL], titles=titles) for block in blocks_of(rows, count) if block[0].num_rows
        ]
    together = combine_glances(parts[::-1])
    assert together.groups == whole.groups
    assert together.known == whole.known
    assert together.lengths.tolist() == whole.lengths.tolist()
    assert together.sample.equals(whole.sample)
    assert sum(together.lengths) == titles
    assert sum(n for (what, _, _), n in together.groups.items() if what == "language") == titles


def glance():
    """Titles of three categories in two languages."""
    rng = np.random.default_rng(3)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rng.standard_normal(600).astype(np.float32)), 3)
    sample = pa.table({"turn": np.arange(200, dtype=np.uint64), "category": ["A", "B", EVIL, None] * 50, "m": vectors})
    return Glance(
        groups={
            ("language", "spanish", "train"): 100,
            ("language", EVIL, "test"): 7,
            ("language", None, "validation"): 3,
            ("label_quality", None, "train"): 110,
        },
        lengths=np.bincount([30] * 60 + [45] * 49 + [LONGEST], minlength=LONGEST + 1),
        known={"m": Coverage(titles=110, tokens=1000, unknown=250, words={EVIL: 200, "": 50})},
        sample=sample,
    )


def labels():
    columns = [[0, 1, -1], ["A", EVIL, "rare"], [90, 10, 0], [3, 0, 1], [5, 0, 1]]
    return pa.Table.from_arrays([pa.array(c, f.type) for c, f in zip(columns, LABELS, strict=True)], schema=LABELS)


COUNTED = {
    "rows_read": 125,
    "titles": 110,
    "duplicates": 10,
    "rejects": 5,
    "rejects.no_category": 5,
    "conflicting_titles": 2,
}


def report(*, counters=COUNTED, models=(MODEL,), **changed):
    facts = RunFacts(
        terms=TERMS,
        balance=("rows_read", ("titles", "duplicates", "rejects")),
        counters=counters,
        options={"seed": 1, "models": [{"name": "m"}]},
        inputs=[{"path": f"{EVIL}.csv", "bytes": 9}],
        warnings=[EVIL],
    )
    return titles_report(changed.pop("glance", glance()), changed.pop("labels", labels()), models, facts)


def test_the_page_says_what_the_figures_are():
    text = re.sub(r"<[^>]+>", " ", report())
    for word in (
        "110",
        "25.00%",
        "the empty token",
        "rare"[:0] or "1 more have titles",
        "add up to the rows read",
        "no_category",
    ):
        assert word in text
    assert "Median 30, mean 45.5" in text


def test_a_stranger_s_text_is_escaped_everywhere():
    page = report()
    assert EVIL not in page
    assert page.count("&lt;script&gt;") >= 5
    assert "<script" not in page


def test_the_bytes_depend_on_the_arguments_alone():
    assert report() == report()
    assert report(counters=dict(reversed(COUNTED.items()))) == report()
    assert report(counters=COUNTED | {"titles": 111}) != report()


def test_rows_that_do_not_add_up_are_not_said_to():
    assert "add up to the rows read" not in report(counters=COUNTED | {"titles": 111})


def test_models_of_one_vocabulary_share_a_table_of_words():
    other = glance()
    more = other.known | {"n": other.known["m"]}
    sample = other.sample.append_column("n", other.sample["m"])
    both = Glance(groups=other.groups, lengths=other.lengths, known=more, sample=sample)
    page = report(glance=both, models=[MODEL, dataclasses.replace(MODEL, name="n")])
    assert page.count("Commonest unknown tokens") == 2  # a label and a caption of one table
    assert "Commonest unknown tokens: m, n" in page


def test_nothing_at_all_is_a_page_too():
    empty = LABELS.empty_table()
    model = dataclasses.replace(MODEL, kind="generic")
    page = report(glance=combine_glances([]), labels=empty, counters={}, models=[model])
    assert page.count("No data") >= 5


@given(st.integers(3, 30), st.integers(1, 5))
def test_the_map_is_the_principal_components(rows, dim):
    vectors = np.random.default_rng(rows * 10 + dim).standard_normal((rows, dim))
    points, shares = project(vectors)
    values = np.linalg.eigvalsh(np.cov(vectors.T).reshape(dim, dim))[::-1]
    np.testing.assert_allclose(points.var(axis=0, ddof=1)[: min(2, dim)], values[:2], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(shares[: min(2, dim)], values[:2] / values.sum(), rtol=1e-9, atol=1e-12)
    assert points.shape == (rows, 2)
    np.testing.assert_allclose(np.abs(points), np.abs(project(-vectors)[0]), atol=1e-9)
