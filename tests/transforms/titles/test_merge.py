"""Titles: copies become one row, nothing is lost, and the order depends on the rows alone."""

import itertools
from collections import Counter

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that
from hypothesis import given, settings
from hypothesis import strategies as st

from molino.transforms.errors import DataError
from molino.transforms.rows.outputs import ParDoInto
from molino.transforms.rows.partition import PartitionRows, Parts, cut_for_shards
from molino.transforms.text.position import POSITION
from molino.transforms.titles import merge as module
from molino.transforms.titles.keys import Draw, near_keys, title_ids
from molino.transforms.titles.merge import (
    COUNTS,
    ROWS,
    KeyedTitles,
    count_categories,
    find_conflicting_titles,
    key_or_reject,
    key_titles,
    merge_titles,
    sum_category_counts,
)

DRAW = Draw(seed=3, validation=0.2, test=0.2)
WORDS = st.sampled_from(["mesa", "Mesa", "silla roja", "roja silla", "", "tv 32", "sofá"])
TEXT_ROWS = st.lists(
    st.tuples(WORDS, st.sampled_from(["", "A", "B", "C"]), st.sampled_from(["", "x", "y"])), max_size=40
)


def read(rows, first=0):
    """Return rows as a reader gives them."""
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], []]
    return pa.record_batch(
        {
            "title": pa.array(columns[0], pa.string()),
            "label_quality": pa.array(columns[2], pa.string()),
            "language": pa.nulls(len(rows), pa.string()),
            "category": pa.array(columns[1], pa.string()),
            POSITION: pa.array(range(first, first + len(rows)), pa.int64()),
        }
    )


def oracle(rows):
    """Return {(title, category or None): (first position, quality or None, copies)} in the order of turns."""
    found = {}
    for position, (title, category, quality) in enumerate(rows):
        key = (title, category or None)
        if key in found:
            found[key][2] += 1
        else:
            found[key] = [position, quality or None, 1]
    ids = title_ids(pa.array([t for t, _ in found], pa.string()), pa.array([c for _, c in found], pa.string()))
    turns = DRAW.turn(pa.record_batch({"id": ids})).tolist()
    order = sorted(zip(turns, found, strict=True), key=lambda pair: pair[0])
    return {key: tuple(found[key]) for _, key in order}


@settings(deadline=None)
@given(TEXT_ROWS)
def test_merging_is_that_of_plain_python(rows):
    kept = merge_titles(key_titles(read(rows)), DRAW)
    wanted = oracle(rows)
    got = [
        ((row["title"], row["category"]), (row[POSITION], row["label_quality"], row["count"]))
        for row in kept.to_pylist()
    ]
    assert got == list(wanted.items())
    keys = near_keys(pa.array([title for title, _ in wanted], pa.string()))
    assert kept["split"].to_pylist() == DRAW.split(pa.record_batch({"near": keys})).tolist()
    assert sum(kept["count"].to_pylist()) == len(rows)


@settings(deadline=None)
@given(TEXT_ROWS, st.sets(st.integers(0, 40)))
def test_any_batches_give_the_same_titles_conflicts_and_counts(rows, cuts):
    bounds = [0, *sorted(cut for cut in cuts if 0 < cut < len(rows)), len(rows)]
    batches = [key_titles(read(rows[a:b], a)) for a, b in itertools.pairwise(bounds)]
    pieces = [cut_for_shards(batch, np.zeros(batch.num_rows, np.int64), 1, 1)[0] for batch in batches[::-1]]
    parts = Parts(0, range(1), ROWS, POSITION, batches=pieces)
    [whole] = list(parts)
    kept = merge_titles(whole, DRAW)
    assert kept.to_pylist() == merge_titles(key_titles(read(rows)), DRAW).to_pylist()
    several = {t for t, n in Counter(title for title, _ in oracle(rows)).items() if n > 1}
    wanted = sorted((key for key in oracle(rows) if key[0] in several), key=lambda k: (k[0], k[1] is None, k[1] or ""))
    found = find_conflicting_titles(kept).to_pylist()
    assert [(row["title"], row["category"]) for row in found] == wanted
    counts = Counter(zip(kept["category"].to_pylist(), kept["split"].to_pylist(), strict=True))
    table = count_categories(parts, DRAW)
    assert table.schema == COUNTS
    assert {(r["category"], r["split"]): r["titles"] for r in table.to_pylist()} == dict(counts)
    assert table.equals(sum_category_counts([table.slice(0, 1), table.slice(1)]))


def test_the_first_row_counts_and_its_copies_are_counted():
    rows = [("a", "A", "x"), ("b", "A", ""), ("a", "A", "y"), ("a", "A", "")]
    kept = {row["title"]: row for row in merge_titles(key_titles(read(rows)), DRAW).to_pylist()}
    assert (kept["a"]["label_quality"], kept["a"]["count"], kept["b"]["count"]) == ("x", 3, 1)


def test_rows_of_one_title_share_a_block():
    ids = title_ids(pa.array(["a"] * 3 + ["b"]), pa.array(["A", "B", None, "A"]))
    assert len(set(DRAW.block(pa.record_batch({"id": ids})).to_pylist())) == 2
    assert len(set(ids.tolist())) == 4


def test_two_titles_with_one_id_are_an_error_not_one_row(monkeypatch):
    monkeypatch.setattr(module, "title_ids", lambda texts, _: np.zeros(len(texts), np.int64))
    with pytest.raises(DataError, match=r"two different titles have the id 0: '(a|b)' and '(a|b)'"):
        merge_titles(key_titles(read([("a", "A", ""), ("b", "A", "")])), DRAW)
    with pytest.raises(DataError, match="two different titles"):
        merge_titles(key_titles(read([("a", "A", ""), ("a", "", "")])), DRAW)


@pytest.mark.parametrize("spill", [True, False])
def test_titles_without_category_are_rejects_or_kept(spill, tmp_path):
    rows = [(f"título {n}", "A" if n % 4 else "", "") for n in range(200)]
    folder = str(tmp_path) if spill else None
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        batches = pipeline | beam.Create([read(rows[i : i + 50], i) for i in range(0, 200, 50)])
        strict = batches | "Strict" >> ParDoInto(into=KeyedTitles, call=key_or_reject)
        how = {"without_category": True}
        loose = batches | "Loose" >> ParDoInto(into=KeyedTitles, call=key_or_reject, arguments=how)
        places = strict.rejects | beam.FlatMap(
            lambda batch: list(zip(batch[POSITION].to_pylist(), batch["reason"].to_pylist(), strict=True))
        )
        assert_that(
            places, lambda got: np.testing.assert_equal(sorted(got), [(n, "no_category") for n in range(0, 200, 4)])
        )
        assert_that(loose.rejects, lambda got: np.testing.assert_equal(got, []), label="none")
        for name, rows_out, wanted in (("strict", strict.rows, 150), ("loose", loose.rows, 200)):
            counts = (
                rows_out
                | f"By {name}"
                >> PartitionRows(key=DRAW.block, schema=ROWS, blocks=8, shards=3, order_by=POSITION, spill=folder)
                | f"Count {name}" >> beam.Map(count_categories, draw=DRAW)
                | f"Sum {name}" >> beam.Map(lambda table: sum(table["titles"].to_pylist()))
            )
            assert_that(counts, lambda got, n=wanted: np.testing.assert_equal(sum(got), n), label=name)


def test_a_category_with_a_line_end_is_a_reject():
    """A vocabulary is a text file with a category on each line."""
    keyed = list(key_or_reject(read([("a", "A\nB", ""), ("b", "B\r", ""), ("c", "C", "")])))
    tagged = [item for item in keyed if isinstance(item, beam.pvalue.TaggedOutput)]
    assert [item.value["reason"].to_pylist() for item in tagged] == [["bad_category", "bad_category"]]
    assert [item["title"].to_pylist() for item in keyed if isinstance(item, pa.RecordBatch)] == [["c"]]


def test_titles_whose_vectors_are_not_finite_are_rejects_of_that_reason_alone(monkeypatch):
    monkeypatch.setattr(module, "are_finite", lambda titles, _: np.array([t != "" for t in titles.to_pylist()], bool))
    keyed = list(key_or_reject(read([("", "A", ""), ("b", "B", ""), ("", "", "")]), models=["a model"]))
    rejects = [out.value["reason"].to_pylist() for out in keyed if isinstance(out, beam.pvalue.TaggedOutput)]
    assert rejects == [["no_category"], ["not_finite"]]
    assert keyed[-1]["title"].to_pylist() == ["b"]
