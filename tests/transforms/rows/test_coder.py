"""A batch travels as its own rows only, and arrives as it was."""

import pickle

import apache_beam as beam
import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, given, settings

from molino.transforms.rows.coder import ArrowBatchCoder
from tests.transforms.rows.test_digest import ROWS, batch_of


def test_beam_knows_the_coder():
    assert isinstance(beam.coders.registry.get_coder(pa.RecordBatch), ArrowBatchCoder)
    assert ArrowBatchCoder().is_deterministic()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROWS)
def test_a_batch_travels_unchanged(rows):
    coder = ArrowBatchCoder()
    assert coder.decode(coder.encode(batch_of(rows))).to_pylist() == batch_of(rows).to_pylist()


def test_a_slice_travels_alone():
    whole = pa.record_batch({"n": np.arange(100_000)})
    part = whole.slice(500, 10)
    encoded = ArrowBatchCoder().encode(part)
    assert len(encoded) < 1000
    assert len(pickle.dumps(part)) > 100_000  # what the coder is there to prevent
    assert ArrowBatchCoder().decode(encoded).equals(part)
