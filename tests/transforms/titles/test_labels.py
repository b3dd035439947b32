"""Labels: the order of tensorflow-transform, counted in training alone, and a graph that says the same."""

import logging
import subprocess
import sys

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given, settings
from hypothesis import strategies as st

from molino.schemas.titles import LABELS
from molino.transforms.errors import DataError
from molino.transforms.models.embed import open_embedder
from molino.transforms.rows.gather import Gather
from molino.transforms.rows.outputs import ParDoInto
from molino.transforms.rows.partition import PartitionRows
from molino.transforms.text.position import POSITION, LineTable
from molino.transforms.titles import labels as module
from molino.transforms.titles.keys import Draw
from molino.transforms.titles.labels import (
    WrittenLabels,
    count_labels,
    make_graph,
    number_categories,
    warn_of_labels,
    write_labels,
)
from molino.transforms.titles.merge import COUNTS, KeyedTitles, count_categories, key_or_reject
from molino.transforms.titles.merge import ROWS as TITLE_ROWS
from molino.transforms.titles.write import TitleColumns, WrittenTitles, write_titles

ROWS = st.dictionaries(
    st.tuples(st.none() | st.text("AÑz 9,", min_size=1, max_size=3), st.integers(0, 2)), st.integers(1, 4), max_size=12
)


def counts_of(rows):
    columns = [[category for category, _ in rows], [split for _, split in rows], list(rows.values())]
    return pa.Table.from_arrays([pa.array(c, f.type) for c, f in zip(columns, COUNTS, strict=True)], schema=COUNTS)


@settings(deadline=None)
@given(ROWS)
def test_numbers_follow_from_training(rows):
    labels = number_categories([counts_of(rows)])
    table = labels.table.to_pylist()
    assert labels.table.schema == LABELS
    assert {row["category"] for row in table} == {category for category, _ in rows}
    for row in table:
        given_rows = [rows.get((row["category"], split), 0) for split in range(3)]
        assert [row["train"], row["validation"], row["test"]] == given_rows
        assert (row["label"] >= 0) == (row["category"] is not None and row["train"] > 0)
    trained = [row for row in table if row["label"] >= 0]
    assert [row["label"] for row in trained] == list(range(len(trained)))
    keys = [(row["train"], row["category"].encode()) for row in trained]
    assert keys == sorted(keys, reverse=True)
    assert labels.categories.to_pylist() == [row["category"] for row in trained]
    assert labels.titles == sum(rows.values())
    counted = count_labels(labels)
    assert counted["split.test"] == sum(n for (_, split), n in rows.items() if split == 2)
    assert counted["unlabeled"] == sum(n for (category, _), n in rows.items() if category is None)


def test_every_category_gets_its_number_and_others_none():
    labels = number_categories([counts_of({("A", 0): 2, ("B", 0): 3, ("C", 1): 1})])
    given_rows = pa.array(["A", None, "C", "B", "D", "A"]).dictionary_encode()
    assert labels.number(given_rows).to_pylist() == [1, -1, -1, 0, -1, 1]
    assert labels.number(given_rows.slice(3)).to_pylist() == [0, -1, 1]
    assert labels.number(given_rows.slice(0, 0)).type == pa.int32()


def test_no_rows_are_no_labels():
    labels = number_categories([counts_of({})])
    assert (len(labels.table), labels.titles, len(labels.categories)) == (0, 0, 0)


CATEGORIES = {"B": 3, "A": 5, "D ñ": 3, "C": 3, 'comma, quote"': 1, "日本": 1, " space ": 2}


@pytest.fixture(autouse=True)
def graphs(tmp_path, monkeypatch):
    """A cache of one's own, in which no graph is kept."""
    monkeypatch.setenv("MOLINO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache/graphs"


@pytest.mark.slow
def test_the_weighted_vocabulary_is_that_of_all_titles(tmp_path):
    """What tensorflow-transform makes of every title, one by one, without weights."""
    titles = [category for category, n in CATEGORIES.items() for _ in range(n)]
    shuffled = [titles[i] for i in np.random.default_rng(0).permutation(len(titles))]
    root = module.Path(module.__file__).parents[3]
    program = f"""
import os, sys
sys.path.insert(0, {str(root)!r})
os.chdir({str(tmp_path)!r})
from molino.transforms.titles.labels import analyze
analyze({shuffled!r}, None, "plain")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    plain = (tmp_path / "plain/transform_fn/assets/labels").read_bytes()
    labels = number_categories([counts_of({(category, 0): n for category, n in CATEGORIES.items()})])
    graph = make_graph(labels)
    assert graph["transform/transform_fn/assets/labels"] == plain
    assert plain.decode().splitlines() == labels.categories.to_pylist()
    assert make_graph(labels) == graph


@pytest.mark.slow
def test_a_graph_is_made_once_for_as_many_labels_and_anew_where_it_is_damaged(graphs, monkeypatch):
    ask, asked = module.ask_tensorflow, []
    monkeypatch.setattr(module, "ask_tensorflow", lambda *words, **more: asked.append(words) or ask(*words, **more))
    one, other, more = (
        number_categories([counts_of({(f"{name} {i}", 0): 9 - i for i in range(count)})])
        for name, count in (("ñ", 3), ("z", 3), ("z", 4))
    )
    made = [make_graph(labels) for labels in (one, other, more, one)]
    assert (len(asked), len(list(graphs.iterdir()))) == (2, 2)
    assert made[3] == made[0]
    for path in graphs.iterdir():
        path.write_bytes(path.read_bytes()[:-9] + b"123456789")
    assert [make_graph(labels) for labels in (other, more)] == made[1:3]  # as made for them
    assert len(asked) == 4
    for path in graphs.iterdir():
        path.unlink()
    graphs.rmdir()
    graphs.write_text("no folder")
    assert make_graph(one) == made[0]
    assert len(asked) == 5


def test_numbers_of_another_order_are_refused(monkeypatch):
    def ask(function, requests, *, doing):
        folder = module.Path(requests[0]["folder"], "transform/transform_fn/assets")
        folder.mkdir(parents=True)
        (folder / "labels").write_text("B\nA\n")

    monkeypatch.setattr(module, "ask_tensorflow", ask)
    with pytest.raises(DataError, match="another way"):
        make_graph(number_categories([counts_of({("A", 0): 2, ("B", 0): 1})]))


@pytest.mark.parametrize(
    ("labels", "unseen", "unlabeled", "told"),
    [
        (2, 0, 0, ""),
        (3, 1, 0, ""),
        (1, 0, 0, "one"),
        (2, 1, 0, "one"),
        (2, 0, 3, "one"),
        (2, 2, 0, "none"),
        (1, 0, 9, ""),
    ],
)
def test_fewer_than_two_categories_are_told(labels, unseen, unlabeled, told):
    counters = {"titles": 9, "labels": labels, "unseen_categories": unseen, "unlabeled": unlabeled}
    warnings = warn_of_labels(counters)
    assert [warning.kind for warning in warnings] == (["labels.few"] if told else [])
    assert all(told in warning.text for warning in warnings)


def read(count):
    """Return titles as a reader gives them; one in ten has no category."""
    return pa.record_batch(
        {
            "title": pa.array([f"hola {n}" for n in range(count)]),
            "label_quality": pa.nulls(count, pa.string()),
            "language": pa.array(["spanish"] * count),
            "category": pa.array(["" if n % 10 == 0 else "AB"[n % 2] for n in range(count)]),
            POSITION: pa.array(range(count), pa.int64()),
        }
    )


@pytest.mark.slow
@pytest.mark.parametrize("spills", [True, False])
def test_nothing_warns_in_a_pipeline_of_someone_else(spills, planned, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(module, "make_graph", lambda labels: {"transform/graph": b"made by another process"})
    draw, model = Draw(seed=1, validation=0.2, test=0.2), planned["dim5-normalization"]
    spill = str(tmp_path / "spill") if spills else None
    caplog.set_level(logging.WARNING)
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        titles = pipeline | "Titles" >> beam.Create([read(100)])
        lines = pipeline | "Lines" >> beam.Create([LineTable(("a.csv",), np.zeros(1, np.int32), np.full(1, 2))])
        lengths = titles | "Embed" >> beam.Map(lambda rows: open_embedder(model).embed(rows["title"]).shape)
        keyed = titles | "Key" >> ParDoInto(into=KeyedTitles, call=key_or_reject, arguments={"models": [model]})
        parts = keyed.rows | PartitionRows(
            key=draw.block, schema=TITLE_ROWS, blocks=4, shards=2, order_by=POSITION, spill=spill
        )
        counted = parts | beam.Map(count_categories, draw=draw) | Gather(into=number_categories)
        folder = {"folder": str(tmp_path)}
        numbered = counted | ParDoInto(into=WrittenLabels, call=write_labels, arguments=folder)
        given = {"labels": beam.pvalue.AsSingleton(counted), "lines": beam.pvalue.AsSingleton(lines), "draw": draw}
        given |= {"columns": TitleColumns(models=(model,)), **folder}
        written = parts | "Write" >> ParDoInto(into=WrittenTitles, call=write_titles, arguments=given)
        rejects = keyed.rejects | "Rejects" >> beam.Reshuffle() | beam.Map(lambda rows: rows.num_rows)
        labels = counted | "Labels" >> beam.Reshuffle() | beam.Map(lambda labels: len(labels.categories))
        files = (numbered.files, written.files) | beam.Flatten() | "Files" >> beam.Reshuffle()
        counters = (numbered.counters, written.counters) | "Sum" >> beam.Flatten() | "Counters" >> beam.Reshuffle()
        glances = written.glances | "Glances" >> beam.Reshuffle() | beam.Map(lambda glance: int(glance.lengths.sum()))
        assert_that(lengths, equal_to([(100, 5)]), label="lengths")
        assert_that(rejects, equal_to([10]), label="rejects")
        assert_that(labels, equal_to([2]), label="labels")
        paths = files | beam.Map(lambda file: file.path.rpartition(str(tmp_path))[2].split("/")[1]) | beam.Distinct()
        assert_that(paths, equal_to(["labels", "titles", "views"]), label="files")
        counts = (
            counters | beam.Map(lambda counts: counts.get("titles", 0)) | "Titles counted" >> beam.CombineGlobally(sum)
        )
        assert_that(counts, equal_to([90]), label="counters")
        assert_that(glances | beam.CombineGlobally(sum), equal_to([90]), label="glances")
    assert [record.getMessage() for record in caplog.records] == []
