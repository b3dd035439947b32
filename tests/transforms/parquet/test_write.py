"""Shards: their bytes depend on their rows alone, and what is said of them is true."""

import apache_beam as beam
import numpy as np
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that

from molino.transforms.parquet.write import WriteParquet
from tests.transforms.parquet.test_shards import SCHEMA, batch_of


def test_write_parquet_leaves_out_shards_without_rows(tmp_path):
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        files = (
            pipeline
            | beam.Create([(0, [batch_of(0, 5)]), (1, [batch_of(0, 0)]), (2, [])])
            | WriteParquet(schema=SCHEMA, folder=str(tmp_path), dataset="rows")
        )
        keys = files | beam.Map(lambda file: (file.key, file.rows))
        assert_that(keys, lambda found: np.testing.assert_equal(found, [((0,), 5)]))
