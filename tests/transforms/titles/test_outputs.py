"""The embedder, the labels and the predictions in a pipeline of someone else's: Beam warns of nothing."""

import logging

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from molino.transforms.models.embed import open_embedder
from molino.transforms.predict import predict_titles
from molino.transforms.predict.predict_titles import Classifier, PredictTitles, spread
from molino.transforms.rows.partition import PartitionRows
from molino.transforms.text.position import POSITION, LineTable
from molino.transforms.titles import labels as labels_module
from molino.transforms.titles.labels import LabelCategories
from molino.transforms.titles.merge import ROWS, Draw, KeyTitles, count_categories
from molino.transforms.titles.write import TitleColumns, WriteTitles

DRAW = Draw(seed=1, validation=0.2, test=0.2)
LINES = LineTable(("a.csv",), np.zeros(1, np.int32), np.full(1, 2))


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


def count_rows(batch: pa.RecordBatch) -> int:
    return batch.num_rows


@pytest.mark.parametrize("spills", [True, False])
def test_titles_are_embedded_labeled_and_written(spills, planned, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(labels_module, "make_graph", lambda labels: {"transform/graph": b"made by another process"})
    model = planned["dim5-normalization"]
    spill = str(tmp_path / "spill") if spills else None
    caplog.set_level(logging.WARNING)
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        titles = pipeline | "Titles" >> beam.Create([read(100)])
        lines = pipeline | "Lines" >> beam.Create([LINES])
        lengths = titles | "Embed" >> beam.Map(lambda rows: open_embedder(model).embed(rows["title"]).shape)
        keyed = titles | KeyTitles(models=[model])
        parts = keyed.rows | PartitionRows(
            key=DRAW.block, schema=ROWS, blocks=4, shards=2, order_by=POSITION, spill=spill
        )
        numbered = parts | beam.Map(count_categories, draw=DRAW) | LabelCategories(folder=str(tmp_path))
        columns = TitleColumns(models=(model,))
        written = parts | WriteTitles(
            labels=numbered.labels, lines=lines, draw=DRAW, columns=columns, folder=str(tmp_path)
        )
        rejects = keyed.rejects | "Rejects" >> beam.Reshuffle() | beam.Map(count_rows)
        labels = numbered.labels | "Labels" >> beam.Reshuffle() | beam.Map(lambda labels: len(labels.categories))
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


def test_titles_are_predicted(tmp_path, caplog, monkeypatch):
    def call(titles, languages):
        scores = np.full((len(titles), 1), 0.5, np.float32)
        scores[:3] = np.nan
        return np.full((len(titles), 1), b"A", object), scores, None

    monkeypatch.setattr(predict_titles, "open_classifier", lambda classifier: call)
    caplog.set_level(logging.WARNING)
    classifier = Classifier(location="made", path="made", digest="0" * 64)
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        titles = pipeline | "Titles" >> beam.Create([read(100).select(["title", "language", POSITION])])
        lines = pipeline | "Lines" >> beam.Create([LINES])
        schema = pa.schema([("title", pa.string()), ("language", pa.string()), (POSITION, pa.int64())])
        parts = titles | PartitionRows(key=spread, schema=schema, blocks=4, shards=1, order_by=POSITION, spill=None)
        predicted = parts | PredictTitles(classifier=classifier, lines=lines, folder=str(tmp_path))
        rows = predicted.files | "Files" >> beam.Reshuffle() | beam.Map(lambda file: file.rows)
        rejects = predicted.rejects | "Rejects" >> beam.Reshuffle() | beam.Map(count_rows)
        counts = predicted.counters | "Counters" >> beam.Reshuffle() | beam.Map(lambda counts: counts["predictions"])
        assert_that(rows, equal_to([97]), label="rows")
        assert_that(rejects, equal_to([3]), label="rejects")
        assert_that(counts, equal_to([97]), label="counts")
    assert [record.getMessage() for record in caplog.records] == []
