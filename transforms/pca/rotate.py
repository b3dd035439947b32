"""Principal components of a column of vectors, and its rows with the vectors rotated: three passes over the files.

The first adds up the second moment and takes the sample. The second does so again with rotated rows, and only where
small components need it. The third rotates and writes.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa

from molino.schemas.pca import CENTER, components_schema, place_names, vectors_schema
from molino.schemas.rejects import REJECTS
from molino.transforms import progress
from molino.transforms.blas import pin_blas
from molino.transforms.errors import DataError
from molino.transforms.parquet.shards import StagedFile, write_if_any, write_shard
from molino.transforms.pca.components import Components, find_components, refine_components, rotate_vectors
from molino.transforms.pca.cosine_errors import Sample, choose_components, count_errors, score_sample
from molino.transforms.pca.numbers import Block, sort_out
from molino.transforms.pca.read_vectors import BLOCK_ROWS, Vectors, VectorSpan, read_blocks
from molino.transforms.pca.second_moment import AddMoments, Moment, add_moments, no_moment, second_moment
from molino.transforms.rows.batches import Counters, sum_counters
from molino.transforms.rows.gather import Gather
from molino.transforms.rows.outputs import NamedOutputs, ParDoInto
from molino.transforms.warnings import Sighting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rotation:
    """What is done with the vectors. All of it is part of a run's identity."""

    components: int | None  # kept; None for all
    # that the mean over the sampled pairs may have; decides `components`; None for no limit
    max_cosine_error: float | None
    center: bool  # subtract the mean
    against: str | None  # another column of vectors, to compare cosines with; or None
    vector_type: str  # float16, float32 or float64
    label: str | None  # column with what the report calls a row, or None
    seed: int  # of the sample


@dataclasses.dataclass(frozen=True, kw_only=True)
class Findings:
    """The components, how many are kept, and what the sample shows."""

    components: Components
    kept: int
    refined: bool  # whether small components took a pass of their own
    sample: Sample
    errors: pa.RecordBatch  # schemas.pca.ERRORS
    stored: np.ndarray  # (n, kept) float64, the sample's scores as they are written


class _Added(NamedTuple):
    moments: beam.PCollection[tuple[int, Moment]]
    samples: beam.PCollection[dict[str, Any]]
    counters: beam.PCollection[Counters]


def _add_up(span: VectorSpan, vectors: Vectors, rotation: Rotation, against_numbers: int) -> Iterator[object]:
    """Add up the moment of a span, and take the rows of the sample that lie in it."""
    pin_blas()
    total = no_moment(vectors.numbers, center=rotation.center)
    counters: dict[str, int] = {}
    sampled = np.array(span.sampled, np.int64)
    for block in read_blocks(span, vectors, vectors.columns.others):
        total = add_moments(total, second_moment(block.vectors, center=rotation.center))
        seen = {"rows_read": block.records, "vectors": len(block.vectors), "_zeros": count_zeros(block, span)}
        seen |= {"rejects": len(block.rejects), **Counter(f"rejects.{reason}" for _, reason, _ in block.rejects)}
        counters = sum_counters([counters, {name: n for name, n in seen.items() if n}, block.counters])
        chosen = np.flatnonzero(np.isin(block.places, sampled, assume_unique=True))
        if len(chosen):
            yield beam.pvalue.TaggedOutput("samples", sample_rows(block, chosen, rotation, against_numbers))
        progress.report("read", rows=block.records, bytes=block.rows.nbytes)
    yield beam.pvalue.TaggedOutput("counters", counters)
    yield span.number, total


def count_zeros(block: Block, span: VectorSpan) -> int:
    """Return how many vectors of a block are all zeros, with the place of the first."""
    begin = np.flatnonzero(block.vectors[:, 0] == 0)  # few do, and no more is looked at
    zeros = begin[~block.vectors[begin].any(axis=1)]
    first = (span.number, int(block.lines[zeros[0]]), span.file.label) if len(zeros) else None
    return Sighting(len(zeros), first) if first else 0


def sample_rows(block: Block, chosen: np.ndarray, rotation: Rotation, against_numbers: int) -> dict[str, Any]:
    """Return what the sample keeps of some rows of a block; `against_numbers` are of a vector of `rotation.against`."""
    picked: dict[str, Any] = {"rows": block.places[chosen], "vectors": block.vectors[chosen].astype(np.float64)}
    if rotation.label:
        picked["labels"] = [str(value) for value in block.rows[rotation.label].take(pa.array(chosen)).to_pylist()]
    if rotation.against:
        good, vectors, _ = sort_out(block.rows[rotation.against].take(pa.array(chosen)), against_numbers)
        picked["against"] = np.full((len(chosen), against_numbers), np.nan)
        picked["against"][good] = vectors
    return picked


def _add_up_rotated(span: VectorSpan, rough: Components, vectors: Vectors, *, center: bool) -> tuple[int, Moment]:
    """Add up the moment of a span's rotated vectors, where small components need it."""
    pin_blas()
    total = no_moment(vectors.numbers, center=center)
    if rough.needs_refinement:
        for block in read_blocks(span, vectors, ()):
            rotated = rotate_vectors(block.vectors, rough.axes, rough.mean)
            total = add_moments(total, second_moment(rotated, center=center))
    return span.number, total


def find_rough(moments: Sequence[Moment]) -> Components:
    """Return the components of the one moment of all rows."""
    pin_blas()
    return find_components(moments[0])


def settle(
    moments: Sequence[Moment], rough: Components, samples: Sequence[dict[str, Any]], rotation: Rotation, column: str
) -> Findings:
    """Return the exact components, how many are kept, and the sample's errors; DataError where none hold the limit."""
    pin_blas()
    components = refine_components(rough, moments[0]) if rough.needs_refinement else rough
    sample = join_samples(samples, components, rotation)
    kept = len(components.singular) if rotation.components is None else rotation.components
    if rotation.max_cosine_error is not None:
        chosen = choose_components(sample, components, rotation.max_cosine_error, rotation.seed)
        if chosen is None:
            what = f"no number of components keeps the mean cosine error within {rotation.max_cosine_error:g}"
            raise DataError(f"{what}: the error of centring alone is larger; leave out --center")
        kept = chosen
    rounded = round_scores(sample.scores[:, :kept], rotation.vector_type).astype(np.float64)
    stored = np.ldexp(rounded, -sample.exponents[:, None])  # divided again as the sample is
    errors = count_errors(
        sample,
        components,
        column=column,
        against=rotation.against,
        stored=stored,
        vector_type=rotation.vector_type,
        seed=rotation.seed,
    )
    return Findings(
        components=components, kept=kept, refined=rough.needs_refinement, sample=sample, errors=errors, stored=stored
    )


def keep_components(findings: Findings) -> Components:
    """Return the components with the axes that are kept alone, (numbers, kept): what a worker needs to rotate."""
    axes = np.ascontiguousarray(findings.components.axes[:, : findings.kept])
    return dataclasses.replace(findings.components, axes=axes)


def join_samples(samples: Sequence[dict[str, Any]], components: Components, rotation: Rotation) -> Sample:
    """Return the sample of all rows, in their order."""
    held = sorted(samples, key=lambda one: int(one["rows"][0]))
    numbers = len(components.singular)
    rows = np.concatenate([one["rows"] for one in held]) if held else np.zeros(0, np.int64)
    vectors = np.concatenate([one["vectors"] for one in held]) if held else np.zeros((0, numbers))
    labels = [label for one in held for label in one["labels"]] if rotation.label else None
    against = np.concatenate([one["against"] for one in held]) if rotation.against and held else None
    return score_sample(rows, vectors, components, labels, against)


def round_scores(scores: np.ndarray, vector_type: str) -> np.ndarray:
    """Return scores in a type; what is too small for it becomes 0, DataError for what is too large."""
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
    of = pa.from_numpy_dtype(vector_type)
    flat = pa.Array.from_buffers(of, numbers.size, [None, pa.py_buffer(numbers)])
    type_ = pa.list_(pa.field("element", of, nullable=False), scores.shape[1])
    return pa.FixedSizeListArray.from_arrays(flat, type=type_)


def _write(
    span: VectorSpan, turn: Components, vectors: Vectors, rotation: Rotation, folder: str
) -> Iterator[StagedFile]:
    """Rotate the vectors of a span and stage its rows, and its rejects."""
    pin_blas()
    column, carried = vectors.column, vectors.carried
    schema = vectors_schema(carried, column, turn.axes.shape[1], pa.from_numpy_dtype(rotation.vector_type))
    source, row = place_names(carried)
    rejects: list[dict[str, Any]] = []

    def batches() -> Iterator[pa.RecordBatch]:
        for block in read_blocks(span, vectors, carried.names):
            rejects.extend(
                dict(zip(REJECTS.names, (span.file.label, *reject), strict=True)) for reject in block.rejects
            )
            progress.report("write", rows=block.records)
            if not len(block.vectors):
                continue
            with np.errstate(over="ignore", invalid="ignore"):
                scores = rotate_vectors(block.vectors, turn.axes, turn.mean)
            made = {column: to_lists(scores, rotation.vector_type)}
            made[source] = pa.array([span.file.label]).take(pa.array(np.zeros(len(scores), np.int32)))
            made[row] = pa.array(block.places - (span.row - span.line) + 1)
            arrays = [made[name] if name in made else block.rows[name] for name in schema.names]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    place: dict[str, Any] = {"folder": folder, "key": (span.number,)}
    yield from write_if_any(batches(), schema=schema, dataset="vectors", group_rows=BLOCK_ROWS, **place)
    if rejects:
        batch = pa.RecordBatch.from_pylist(sorted(rejects, key=lambda reject: reject["line"]), schema=REJECTS)
        yield write_shard([batch], schema=REJECTS, dataset="rejects", **place)


def stage_components(findings: Findings, folder: str) -> Iterator[StagedFile]:
    """Stage the components, the mean and the errors."""
    of = findings.components
    numbers = len(of.singular)
    schema = components_schema(numbers)
    flat = pa.array(np.ascontiguousarray(of.axes.T).reshape(-1))
    loadings = pa.FixedSizeListArray.from_arrays(flat, type=schema.field("loadings").type)
    component = pa.array(np.arange(1, numbers + 1), pa.int32())
    columns = [np.arange(numbers) < findings.kept, of.deviations, of.proportions, np.cumsum(of.proportions)]
    arrays = [component, *map(pa.array, columns), loadings]
    rows = {"components": pa.RecordBatch.from_arrays(arrays, schema=schema), "errors": findings.errors}
    if of.mean is not None:
        rows["center"] = pa.RecordBatch.from_arrays([component, pa.array(of.mean)], schema=CENTER)
    for dataset, batch in rows.items():
        yield from write_if_any([batch], schema=batch.schema, folder=folder, dataset=dataset, key=(0,))


class PrincipalComponents(NamedTuple):
    """What `FindComponents` gives: one Findings, the components that are kept, and what was read."""

    findings: beam.PCollection[Findings]
    turn: beam.PCollection[Components]
    counters: beam.PCollection[Counters]


@dataclasses.dataclass(kw_only=True)
class FindComponents(NamedOutputs):
    """Find the principal components of the vectors of all spans, and what they cost.

    Input: VectorSpans. Output: PrincipalComponents. Memory: a block and a moment a worker thread; the sample, and what
    CELLS says, where all comes together.
    """

    vectors: Vectors  # where they are
    rotation: Rotation  # what is done with them
    spans: int  # how many there are

    def expand(self, spans: beam.PCollection) -> PrincipalComponents:
        vectors, rotation, center = self.vectors, self.rotation, self.rotation.center
        add = AddMoments(count=self.spans, numbers=vectors.numbers, center=center)
        against_numbers = vectors.numbers_of(rotation.against) if rotation.against else 0
        arguments = {"vectors": vectors, "rotation": rotation, "against_numbers": against_numbers}
        added = spans | "AddUp" >> ParDoInto(into=_Added, call=_add_up, arguments=arguments)
        rough = beam.pvalue.AsSingleton(added.moments | "AddMoments" >> add | "Rough" >> Gather(into=find_rough))
        again = spans | "AddUpRotated" >> beam.Map(_add_up_rotated, rough=rough, vectors=vectors, center=center)
        samples = beam.pvalue.AsList(added.samples)
        held = {"rough": rough, "samples": samples, "rotation": rotation, "column": ", ".join(vectors.columns.vector)}
        settled = Gather(into=settle, arguments=held)
        findings = again | "AddRotated" >> add | "Settle" >> settled.with_output_types(Findings)
        return PrincipalComponents(findings, findings | "Turn" >> beam.Map(keep_components), added.counters)


@dataclasses.dataclass(kw_only=True)
class WriteVectors(beam.PTransform):
    """Write the rows of each span with the vectors rotated, and its rejects.

    Input: VectorSpans. Output: StagedFiles. Memory: a block a worker thread.
    """

    turn: beam.PCollection  # the components that are kept, one element
    vectors: Vectors  # where they are
    rotation: Rotation  # what is done with them
    folder: str  # the run's staging folder

    def expand(self, spans: beam.PCollection) -> beam.PCollection:
        arguments = {"vectors": self.vectors, "rotation": self.rotation, "folder": self.folder}
        return spans | "Rotate" >> beam.FlatMap(_write, turn=beam.pvalue.AsSingleton(self.turn), **arguments)
