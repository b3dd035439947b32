"""Predictions in a pipeline of someone else's."""

import logging

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from molino.transforms.predict import predict_titles
from molino.transforms.predict.predict_titles import Classifier, PredictedTitles, predict_parts, spread
from molino.transforms.rows.outputs import ParDoInto
from molino.transforms.rows.partition import PartitionRows
from molino.transforms.text.position import POSITION, LineTable


def test_nothing_warns_in_a_pipeline_of_someone_else(tmp_path, caplog, monkeypatch):
    def call(titles, languages):
        scores = np.full((len(titles), 1), 0.5, np.float32)
        scores[:3] = np.nan
        return np.full((len(titles), 1), b"A", object), scores, None

    monkeypatch.setattr(predict_titles, "open_classifier", lambda classifier: call)
    caplog.set_level(logging.WARNING)
    classifier = Classifier(location="made", path="made", digest="0" * 64)
    rows = pa.record_batch(
        {
            "title": pa.array([f"hola {n}" for n in range(100)]),
            "language": pa.array(["spanish"] * 100),
            POSITION: pa.array(range(100), pa.int64()),
        }
    )
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        titles = pipeline | "Titles" >> beam.Create([rows])
        lines = pipeline | "Lines" >> beam.Create([LineTable(("a.csv",), np.zeros(1, np.int32), np.full(1, 2))])
        parts = titles | PartitionRows(
            key=spread, schema=rows.schema, blocks=4, shards=1, order_by=POSITION, spill=None
        )
        given = {"lines": beam.pvalue.AsSingleton(lines), "classifier": classifier, "folder": str(tmp_path)}
        predicted = parts | ParDoInto(into=PredictedTitles, call=predict_parts, arguments=given)
        counts_of_files = predicted.files | "Files" >> beam.Reshuffle() | beam.Map(lambda file: file.rows)
        rejects = predicted.rejects | "Rejects" >> beam.Reshuffle() | beam.Map(lambda rows: rows.num_rows)
        counts = predicted.counters | "Counters" >> beam.Reshuffle() | beam.Map(lambda counts: counts["predictions"])
        assert_that(counts_of_files, equal_to([97]), label="rows")
        assert_that(rejects, equal_to([3]), label="rejects")
        assert_that(counts, equal_to([97]), label="counts")
    assert [record.getMessage() for record in caplog.records] == []
