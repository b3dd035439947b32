"""The transforms of the pca job in a pipeline of someone else."""

import logging

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from molino.transforms.files.list_files import list_files
from molino.transforms.pca import read_vectors
from molino.transforms.pca.components import Components
from molino.transforms.pca.read_vectors import VectorColumns, list_vectors
from molino.transforms.pca.rotate import FindComponents, Findings, Rotation, WriteVectors
from molino.transforms.pca.sample import sample_vectors

ROTATION = Rotation(
    components=2, max_cosine_error=None, center=True, against=None, vector_type="float32", label="id", seed=1
)


@pytest.mark.parametrize("files", [1, 18])  # more than AddMoments adds up in one place
def test_a_pipeline_of_someone_else_prints_no_warning(files, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(read_vectors, "LEAST_BYTES", 1000)
    for number in range(files):
        sample_vectors(str(tmp_path / f"{number:02d}.parquet"), rows=50, numbers=4, seed=number)
    vectors = list_vectors(
        list_files(str(tmp_path / "*.parquet")).files, VectorColumns(vector=("vector",), others=("id",))
    )
    spans = vectors.spans(sample=30, seed=1)
    assert len(spans) == files
    with caplog.at_level(logging.WARNING), beam.Pipeline(runner="FnApiRunner") as pipeline:
        pieces = pipeline | beam.Create(spans) | beam.Reshuffle()
        found = pieces | "Find" >> FindComponents(vectors=vectors, rotation=ROTATION, spans=len(spans))
        write = WriteVectors(turn=found.turn, vectors=vectors, rotation=ROTATION, folder=str(tmp_path / "staging"))
        staged = pieces | "Write" >> write | "Staged" >> beam.Reshuffle()
        counted = found.counters | "Counters" >> beam.Reshuffle() | beam.Map(lambda counters: counters["vectors"])
        kept = found.findings | "Findings" >> beam.Reshuffle() | beam.Map(lambda findings: findings.kept)
        axes = found.turn | "Turn" >> beam.Reshuffle() | "Axes" >> beam.Map(lambda turn: turn.axes.shape)
        assert_that(staged | "Rows" >> beam.Map(lambda file: file.rows), equal_to([50] * files), label="staged")
        assert_that(counted, equal_to([50] * files), label="counted")
        assert_that(kept, equal_to([2]), label="kept")
        assert_that(axes, equal_to([(4, 2)]), label="axes")
    assert (found.findings.element_type, found.turn.element_type) == (Findings, Components)
    assert [record.getMessage() for record in caplog.records] == []
