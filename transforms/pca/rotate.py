"""Principal components of a column of vectors, and its rows with the vectors rotated: three passes over the files.

The first adds up the second moment and takes the sample. The second does so again with rotated rows, and only where
small components need it. The third rotates and writes.
"""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from molino.schemas.pca import CENTER, ERRORS, components_schema, place_names, vectors_schema
from molino.schemas.rejects import REJECTS
from molino.transforms import progress
from molino.transforms.errors import DataError
from molino.transforms.parquet.shards import StagedFile, write_shard
from molino.transforms.pca.blas import pin_blas
from molino.transforms.pca.components import Components, find_components, refine_components, rotate_vectors
from molino.transforms.pca.cosine_errors import Sample, choose_components, count_errors, take_sample
from molino.transforms.pca.read_vectors import BLOCK_ROWS, Block, Vectors, VectorSpan, read_blocks, sort_out
from molino.transforms.pca.second_moment import AddMoments, add_moments, no_moment, second_moment
from molino.transforms.rows.gather import Gather
from molino.transforms.warnings import Sighting, add_sightings

FLOATS = {"float16": pa.float16(), "float32": pa.float32(), "float64": pa.float64()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rotation:
    """What is done with the vectors. All of it is part of a run's identity.

    Attributes:
      components: kept; None for all.
      max_cosine_error: that the mean over the sampled pairs may have; decides `components`; None for no limit.
      center: subtract the mean.
      against: another column of vectors, to compare cosines with; or None.
      vector_type: float16, float32 or float64.
      label: column with what the report calls a row, or None.
      seed: of the sample.
    """

    components: int | None
    max_cosine_error: float | None
    center: bool
    against: str | None
    vector_type: str
    label: str | None
    seed: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """The components, how many are kept, and what the sample shows.

    Attributes:
      refined: whether small components took a pass of their own.
      errors: schemas.pca.ERRORS.
      stored: (n, kept) float64, the sample's scores as they are written.
    """

    components: Components
    kept: int
    refined: bool
    sample: Sample
    errors: pa.RecordBatch
    stored: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Turn:
    """What a worker needs to rotate: the axes that are kept, (numbers, kept), and the mean to subtract, or None."""

    axes: np.ndarray
    mean: np.ndarray | None


class _AddUp(beam.DoFn):
    """Add up the moment of a span, and take the rows of the sample that lie in it."""

    def __init__(self, vectors: Vectors, how: Rotation):
        self.vectors, self.how = vectors, how
        self.columns = list(dict.fromkeys(c for c in (vectors.column, how.label, how.against) if c))
        self.against = vectors.numbers_of(how.against) if how.against else 0

    def setup(self) -> None:
        pin_blas()

    def process(self, span: VectorSpan) -> Iterator[object]:
        numbers, center = self.vectors.numbers, self.how.center
        total = no_moment(numbers, center=center)
        counters: Counter[str] = Counter()
        sampled = np.array(span.sampled, np.int64)
        for block in read_blocks(span, self.vectors.column, numbers, self.columns):
            total = add_moments(total, second_moment(block.vectors, center=center))
            counters += Counter({"rows_read": block.records, "vectors": len(block.vectors)})
            counters += Counter({"rejects": len(block.rejects)})
            if zeros := count_zeros(block, span):
                counters["_zeros"] = add_sightings(counters["_zeros"], zeros)
            counters += Counter(f"rejects.{reason}" for _, reason, _ in block.rejects)
            chosen = np.flatnonzero(np.isin(block.places, sampled, assume_unique=True))
            if len(chosen):
                picked = sample_rows(block, chosen, self.how, self.against)
                yield beam.pvalue.TaggedOutput("samples", picked)
            progress.report("read", rows=block.records, bytes=block.rows.nbytes)
        yield beam.pvalue.TaggedOutput("counters", dict(counters))
        yield span.number, total


def count_zeros(block: Block, span: VectorSpan) -> int:
    """Return how many vectors of a block are all zeros, with the place of the first."""
    begin = np.flatnonzero(block.vectors[:, 0] == 0)  # few do, and no more is looked at
    zeros = begin[~block.vectors[begin].any(axis=1)]
    first = (span.number, int(block.places[zeros[0]]) - span.row + span.line + 1, span.label) if len(zeros) else None
    return Sighting(len(zeros), first) if first else 0


def sample_rows(block: Block, chosen: np.ndarray, how: Rotation, numbers: int) -> dict[str, Any]:
    """Return what the sample keeps of some rows of a block.

    Args:
      numbers: of a vector of `how.against`.
    """
    picked: dict[str, Any] = {"rows": block.places[chosen], "vectors": block.vectors[chosen].astype(np.float64)}
    if how.label:
        picked["labels"] = [str(value) for value in block.rows[how.label].take(pa.array(chosen)).to_pylist()]
    if how.against:
        good, vectors, _ = sort_out(block.rows[how.against].take(pa.array(chosen)), numbers)
        picked["against"] = np.full((len(chosen), numbers), np.nan)
        picked["against"][good] = vectors
    return picked


class _AddUpRotated(beam.DoFn):
    """Add up the moment of a span's rotated vectors, where small components need it."""

    def __init__(self, vectors: Vectors, center: bool):
        self.vectors, self.center = vectors, center

    def setup(self) -> None:
        pin_blas()

    def process(self, span: VectorSpan, rough: Components) -> Iterator[tuple[int, Any]]:
        total = no_moment(self.vectors.numbers, center=self.center)
        if rough.needs_refinement:
            column = self.vectors.column
            for block in read_blocks(span, column, self.vectors.numbers, [column]):
                rotated = rotate_vectors(block.vectors, rough.axes, rough.mean)
                total = add_moments(total, second_moment(rotated, center=self.center))
        yield span.number, total


def find_rough(moments: Sequence[Any]) -> Components:
    """Return the components of the one moment of all rows."""
    pin_blas()
    return find_components(moments[0])


def settle(
    moments: Sequence[Any], rough: Components, samples: Sequence[dict[str, Any]], how: Rotation, column: str
) -> Found:
    """Return the exact components, how many are kept, and the errors of the sample.

    Raises:
      DataError: no number of components holds the error.
    """
    pin_blas()
    components = refine_components(rough, moments[0]) if rough.needs_refinement else rough
    sample = join_samples(samples, components, how)
    numbers = len(components.singular)
    kept = numbers if how.components is None else how.components
    if how.max_cosine_error is not None:
        chosen = choose_components(sample, components, how.max_cosine_error, how.seed)
        if chosen is None:
            raise DataError(
                f"no number of components keeps the mean cosine error within {how.max_cosine_error:g}: centring alone "
                "costs more; leave out --center"
            )
        kept = chosen
    stored = round_to(sample, kept, how.vector_type)
    errors = count_errors(
        sample,
        components,
        kept=kept,
        column=column,
        against=how.against,
        stored=stored,
        vector_type=how.vector_type,
        seed=how.seed,
    )
    return Found(
        components=components, kept=kept, refined=rough.needs_refinement, sample=sample, errors=errors, stored=stored
    )


def to_turn(found: Found) -> Turn:
    """Return what a worker needs to rotate."""
    axes = np.ascontiguousarray(found.components.axes[:, : found.kept])
    return Turn(axes=axes, mean=found.components.mean)


def join_samples(samples: Sequence[dict[str, Any]], components: Components, how: Rotation) -> Sample:
    """Return the sample of all rows, in their order."""
    held = sorted(samples, key=lambda one: int(one["rows"][0]))
    numbers = len(components.singular)
    rows = np.concatenate([one["rows"] for one in held]) if held else np.zeros(0, np.int64)
    vectors = np.concatenate([one["vectors"] for one in held]) if held else np.zeros((0, numbers))
    labels = [label for one in held for label in one["labels"]] if how.label else None
    against = np.concatenate([one["against"] for one in held]) if how.against and held else None
    return take_sample(rows, vectors, components, labels, against)


def round_to(sample: Sample, kept: int, vector_type: str) -> np.ndarray:
    """Return the sample's first scores as a type holds them, divided again as the sample is, (n, kept) float64.

    Raises:
      DataError: it cannot hold a number.
    """
    rounded = round_scores(sample.scores[:, :kept], vector_type).astype(np.float64)
    return np.ldexp(rounded, -sample.exponents[:, None])


def round_scores(scores: np.ndarray, vector_type: str) -> np.ndarray:
    """Return scores in a type; what is too small for it becomes 0.

    Raises:
      DataError: it cannot hold a number.
    """
    with np.errstate(over="ignore"):
        numbers = np.ascontiguousarray(scores.astype(vector_type))
    if not np.isfinite(numbers).all():
        wider = "float64" if vector_type == "float32" else "float32"
        remedy = f"use --vector-type {wider}" if vector_type != "float64" else "divide the vectors by a power of two"
        raise DataError(f"{vector_type} cannot hold a score as large as {np.abs(scores).max():.3g}; {remedy}")
    return numbers


def to_lists(scores: np.ndarray, vector_type: str) -> pa.FixedSizeListArray:
    """Return scores as lists of a type; raise DataError where it cannot hold one."""
    numbers = round_scores(scores, vector_type)
    of = FLOATS[vector_type]
    flat = pa.Array.from_buffers(of, numbers.size, [None, pa.py_buffer(numbers)])
    type_ = pa.list_(pa.field("element", of, nullable=False), scores.shape[1])
    return pa.FixedSizeListArray.from_arrays(flat, type=type_)


class _Write(beam.DoFn):
    """Rotate the vectors of a span and stage its rows, and its rejects."""

    def __init__(self, vectors: Vectors, how: Rotation, folder: str):
        self.vectors, self.how, self.folder = vectors, how, folder

    def setup(self) -> None:
        pin_blas()

    def process(self, span: VectorSpan, turn: Turn) -> Iterator[StagedFile]:
        column, numbers = self.vectors.column, self.vectors.numbers
        schema = vectors_schema(self.vectors.schema, column, turn.axes.shape[1], FLOATS[self.how.vector_type])
        source, row = place_names(self.vectors.schema)
        rejects: list[tuple[int, str, str]] = []

        def batches() -> Iterator[pa.RecordBatch]:
            for block in read_blocks(span, column, numbers, self.vectors.schema.names):
                rejects.extend(block.rejects)
                progress.report("write", rows=block.records)
                if not len(block.vectors):
                    continue
                with np.errstate(over="ignore", invalid="ignore"):
                    scores = rotate_vectors(block.vectors, turn.axes, turn.mean)
                made = {column: to_lists(scores, self.how.vector_type)}
                made[source] = pa.array([span.label]).take(pa.array(np.zeros(len(scores), np.int32)))
                made[row] = pa.array(block.places - (span.row - span.line) + 1)
                arrays = [made[name] if name in made else block.rows[name] for name in schema.names]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)

        yield from stage(batches(), schema, self.folder, "vectors", (span.number,), group_rows=BLOCK_ROWS)
        if rejects:
            lines, reasons, details = zip(*rejects, strict=True)
            sources = pa.array([span.label] * len(lines))
            batch = pa.RecordBatch.from_arrays(
                [sources, pa.array(lines, pa.int64()), pa.array(reasons), pa.array(details)], schema=REJECTS
            )
            yield from stage(iter([batch]), REJECTS, self.folder, "rejects", (span.number,))


def stage(
    batches: Iterator[pa.RecordBatch], schema: pa.Schema, folder: str, dataset: str, key: tuple[int, ...], **how: Any
) -> Iterator[StagedFile]:
    """Write batches as they come; no batches, no file."""
    first = next(batches, None)
    if first is not None:
        batches = itertools.chain([first], batches)
        yield write_shard(batches, schema=schema, folder=folder, dataset=dataset, key=key, **how)


def stage_components(found: Found, folder: str) -> Iterator[StagedFile]:
    """Stage the components, the mean and the errors."""
    of = found.components
    numbers = len(of.singular)
    schema = components_schema(numbers)
    loadings = pa.FixedSizeListArray.from_arrays(
        pa.array(np.ascontiguousarray(of.axes.T).reshape(-1)), type=schema.field("loadings").type
    )
    arrays = [
        pa.array(np.arange(1, numbers + 1), pa.int32()),
        pa.array(np.arange(numbers) < found.kept),
        pa.array(of.deviations),
        pa.array(of.proportions),
        pa.array(np.cumsum(of.proportions)),
        loadings,
    ]
    rows = pa.RecordBatch.from_arrays(arrays, schema=schema)
    yield from stage(iter([rows]), schema, folder, "components", (0,))
    yield from stage(iter([found.errors]), ERRORS, folder, "errors", (0,))
    if of.mean is not None:
        mean = [pa.array(np.arange(1, numbers + 1), pa.int32()), pa.array(of.mean)]
        yield from stage(iter([pa.RecordBatch.from_arrays(mean, schema=CENTER)]), CENTER, folder, "center", (0,))


@dataclasses.dataclass(kw_only=True)
class FindComponents(beam.PTransform):
    """Find the principal components of the vectors of all spans, and what they cost.

    Input: VectorSpans. Output: `found`, one Found; `turn`, its Turn; and `counters`. Memory: a block and a moment a
    worker thread; the sample, and what CELLS says, where all comes together.

    Attributes:
      vectors: where they are.
      how: what is done with them.
      spans: how many there are.
    """

    vectors: Vectors
    how: Rotation
    spans: int

    def expand(self, spans: beam.PCollection) -> dict[str, beam.PCollection]:
        add = AddMoments(count=self.spans, numbers=self.vectors.numbers, center=self.how.center)
        added = spans | "AddUp" >> beam.ParDo(_AddUp(self.vectors, self.how)).with_outputs(
            "samples", "counters", main="moments"
        )
        moment = added.moments | "AddMoments" >> add
        rough = moment | "Rough" >> Gather(into=find_rough)
        again = spans | "AddUpRotated" >> beam.ParDo(
            _AddUpRotated(self.vectors, self.how.center), rough=beam.pvalue.AsSingleton(rough)
        )
        arguments = {
            "rough": beam.pvalue.AsSingleton(rough),
            "samples": beam.pvalue.AsList(added.samples),
            "how": self.how,
            "column": self.vectors.column,
        }
        found = again | "AddRotated" >> add | "Settle" >> Gather(into=settle, arguments=arguments)
        return {"found": found, "turn": found | "Turn" >> beam.Map(to_turn), "counters": added.counters}


@dataclasses.dataclass(kw_only=True)
class WriteVectors(beam.PTransform):
    """Write the rows of each span with the vectors rotated, and its rejects.

    Input: VectorSpans. Output: StagedFiles. Memory: a block a worker thread.

    Attributes:
      turn: one Turn.
      vectors: where they are.
      how: what is done with them.
      folder: the run's staging folder.
    """

    turn: beam.PCollection
    vectors: Vectors
    how: Rotation
    folder: str

    def expand(self, spans: beam.PCollection) -> beam.PCollection:
        return spans | "Rotate" >> beam.ParDo(
            _Write(self.vectors, self.how, self.folder), turn=beam.pvalue.AsSingleton(self.turn)
        )
