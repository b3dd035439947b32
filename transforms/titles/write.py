"""Titles with their labels and vectors, written a row group at a time: no more vectors than that are ever held."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molino.schemas import list_of
from molino.schemas.titles import CONFLICTS, TOKENS, titles_schema
from molino.transforms import progress
from molino.transforms.errors import DataError
from molino.transforms.models.embed import Model, embed_many, open_embedder
from molino.transforms.models.finite import COUNTER
from molino.transforms.parquet.shards import Layout, ShardWriter, StagedFile, write_if_any
from molino.transforms.rows.batches import Counters
from molino.transforms.rows.partition import Parts
from molino.transforms.text.position import POSITION, LineTable, locate_sightings
from molino.transforms.text.sources import KEPT
from molino.transforms.titles.glance import Glance, combine_glances, glance_at
from molino.transforms.titles.keys import OWN, SPLITS, Draw, split_names
from molino.transforms.titles.labels import Labels
from molino.transforms.titles.merge import NULLABLE, find_conflicting_titles, find_contradicted, merge_titles
from molino.transforms.warnings import Sighting, add_sightings

GROUP_ROWS = 4096  # of a row group at most: what a trainer reads fastest
# with a dictionary, and compressed; the others are neither: vectors would hardly get smaller
CODED = ("language", "label_quality", "category", "label", "split", "count", "source")
PLAIN = ["id", "title", "model_text"]  # without one
CONTRADICTED = "split.contradicted"
PUNCTUATION = r"\pP"  # what models with normalization take out


@dataclasses.dataclass(frozen=True, kw_only=True)
class TitleColumns:
    """What the titles are written with."""

    models: tuple[Model, ...]  # one column of vectors each
    half: bool = False  # vectors of float16, else float32
    model_text: bool = False  # with a column of what models with normalization see
    tokens: bool = False  # with the token ids of the models, all of which are tables
    not_finite: str = "reject"  # what becomes of vectors that are not finite: "reject", "zero" or "keep"
    kept: tuple[pa.Field, ...] = ()  # the columns that are carried from the input

    @property
    def schema(self) -> pa.Schema:
        """Schema of the titles."""
        dimensions = {model.name: model.dim for model in self.models}
        half = pa.float16() if self.half else pa.float32()
        options: dict[str, Any] = {"model_text": self.model_text, "tokens": self.tokens, "kept": self.kept}
        return titles_schema(dimensions, vector_type=half, **options)


def embed_titles(
    titles: pa.Array, columns: TitleColumns
) -> tuple[dict[str, pa.FixedSizeListArray], dict[str, np.ndarray]]:
    """Return the vectors of the titles by every model, each a list of `dim` numbers without nulls.

    With them, for each model that gives some: the places of the titles whose vectors are not finite. Raises DataError
    where float16 cannot hold a number, or a vector is not finite that was so before.
    """
    made, found = {}, {}
    vectors = embed_many([open_embedder(model) for model in columns.models], titles)
    for model, of in zip(columns.models, vectors, strict=True):
        if not model.finite and len(bad := np.flatnonzero(~np.isfinite(of).all(axis=1))):
            if columns.not_finite == "reject":
                raise DataError(f"{model.name} gives other vectors each time; use --not-finite zero or keep")
            found[model.name] = bad
            if columns.not_finite == "zero":
                of[bad] = 0
        made[model.name] = _lists(of, model, half=columns.half)
    return made, found


def _lists(vectors: np.ndarray, model: Model, *, half: bool) -> pa.FixedSizeListArray:
    if half:
        with np.errstate(over="ignore"):
            wide, vectors = vectors, vectors.astype(np.float16)
        if (np.isinf(vectors) & np.isfinite(wide)).any():
            raise DataError(f"float16 cannot hold the vectors of {model.name}; use --vector-type float32")
    of = pa.float16() if half else pa.float32()
    numbers = pa.Array.from_buffers(of, vectors.size, [None, pa.py_buffer(vectors)])
    return pa.FixedSizeListArray.from_arrays(numbers, type=list_of(of, model.dim))


def list_tokens(titles: pa.Array, columns: TitleColumns) -> dict[str, pa.Array]:
    """Return the token ids of the titles by every model, TOKENS a title, padded with -1, and how many there are."""
    made: dict[str, pa.Array] = {}
    for model in columns.models:
        rows, offsets = open_embedder(model).token_ids(titles)
        lengths = np.diff(offsets)
        padded = np.full((len(titles), TOKENS), -1, np.int32)
        places = np.arange(len(rows)) - np.repeat(offsets[:-1], lengths)
        kept = places < TOKENS
        padded[np.repeat(np.arange(len(titles)), lengths)[kept], places[kept]] = rows[kept]
        type_ = columns.schema.field(f"{model.name}_tokens").type
        made[f"{model.name}_tokens"] = pa.FixedSizeListArray.from_arrays(pa.array(padded.ravel()), type=type_)
        made[f"{model.name}_length"] = pa.array(lengths.astype(np.int32))
    return made


def label_titles(kept: pa.RecordBatch, labels: Labels) -> pa.RecordBatch:
    """Return merged titles with `label`, int32, and plain strings for dictionaries."""
    made = {name: kept[name].dictionary_decode() for name in NULLABLE} | {"label": labels.number(kept["category"])}
    names = [*kept.schema.names, "label"]
    return pa.RecordBatch.from_arrays([made[name] if name in made else kept[name] for name in names], names)


def group_titles(kept: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield merged titles in groups of at most GROUP_ROWS of one split, as equal as can be, with its number."""
    of = kept["split"].to_numpy()
    ordered, start = kept.take(pa.array(np.argsort(of, kind="stable"))), 0
    for split, rows in enumerate(np.bincount(of, minlength=len(SPLITS)).tolist()):
        for part in np.array_split(np.arange(rows), -(-rows // GROUP_ROWS)) if rows else []:
            yield split, ordered.slice(start, len(part))
            start += len(part)


def finish_titles(
    group: pa.RecordBatch, columns: TitleColumns, lines: LineTable
) -> tuple[pa.RecordBatch, dict[str, Sighting]]:
    """Return labeled titles as `columns.schema` has them, with vectors, and counters of those that are not finite."""
    vectors, odd = embed_titles(group["title"], columns)
    made: dict[str, Any] = {"split": split_names(group["split"].to_numpy()), **vectors}
    made["source"], made["record"] = lines.locate(group[POSITION])[0], lines.records(group[POSITION])
    places = group[POSITION].to_numpy()
    counters = {f"{COUNTER}{name}": Sighting(len(at), int(places[at].min())) for name, at in odd.items()}
    made |= {field.name: group[KEPT + field.name] for field in columns.kept}
    if columns.model_text:
        made["model_text"] = pc.replace_substring_regex(group["title"], PUNCTUATION, "")
    if columns.tokens:
        made |= list_tokens(group["title"], columns)
    schema = columns.schema
    arrays = [made[name] if name in made else group[name] for name in schema.names]
    return pa.RecordBatch.from_arrays(arrays, schema=schema), counters


class WrittenTitles(NamedTuple):
    """What `write_titles` gives; one Glance a shard."""

    files: beam.PCollection[StagedFile]
    glances: beam.PCollection[Glance]
    counters: beam.PCollection[Counters]


def write_titles(
    parts: Parts, *, labels: Labels, lines: LineTable, draw: Draw, columns: TitleColumns, folder: str
) -> Iterator[object]:
    """Merge copies, add label, split and vectors; write a shard of each split and one of conflicts.

    Memory: the rows of one block and the vectors of one row group, and the models. `parts`: rows of `merge.ROWS`, whose
    blocks hold all rows of their titles. `draw`: order and split. `folder`: the run's staging folder.
    """
    conflicts: list[pa.RecordBatch] = []
    glances: list[Glance] = []
    counters: dict[str, int] = {"titles": 0, "duplicates": 0, "conflicts": 0, "conflicting_titles": 0}

    def blocks() -> Iterator[tuple[int, pa.RecordBatch]]:
        for rows in parts:
            kept = merge_titles(rows, draw)
            found = find_conflicting_titles(kept)
            counters["titles"] += kept.num_rows
            counters["duplicates"] += rows.num_rows - kept.num_rows
            counters["conflicts"] += found.num_rows
            counters["conflicting_titles"] += len(found["title"].unique())
            if OWN in rows.schema.names and len(odd := find_contradicted(rows, kept, draw)):
                seen = Sighting(len(odd), int(rows[POSITION].to_numpy()[odd].min()))
                counters[CONTRADICTED] = add_sightings(counters.get(CONTRADICTED, 0), seen)
            plain = {"category": found["category"].dictionary_decode(), "split": split_names(found["split"].to_numpy())}
            arrays = [plain[name] if name in plain else found[name] for name in CONFLICTS.names]
            conflicts.append(pa.RecordBatch.from_arrays(arrays, schema=CONFLICTS))
            if kept.num_rows:
                glances.append(glance_at(kept, draw.turn(kept), models=columns.models, titles=labels.titles))
            # a row group at a time: its vectors are written while they are in the cache
            for split, group in group_titles(label_titles(kept, labels)):
                made, not_finite = finish_titles(group, columns, lines)
                for name, count in not_finite.items():
                    counters[name] = add_sightings(counters.get(name, 0), count)
                yield split, made
            progress.report("write", rows=rows.num_rows)

    schema = columns.schema
    tokens = [f"{model.name}_{of}" for model in columns.models for of in ("tokens", "length")]
    packed = {*CODED, *tokens, "record", *(field.name for field in columns.kept)}
    raw = [name for name in schema.names if name not in packed]
    layout = Layout(plain=[*PLAIN, "record"], raw=raw)
    options = {"schema": schema, "folder": folder, "dataset": "titles", "layout": layout, "group_rows": GROUP_ROWS}
    writers: dict[int, ShardWriter] = {}
    with contextlib.ExitStack() as stack:  # a file for each split: who reads one opens no other
        for split, group in blocks():
            if split not in writers:
                writer = ShardWriter(key=(split, parts.shard), split=SPLITS[split], **options)
                writers[split] = stack.enter_context(writer.opened())
            writers[split].write(group)
        files = [writer.close() for writer in writers.values()]
    yield from files
    held = (batch for batch in conflicts if batch.num_rows)
    place: dict[str, Any] = {"folder": folder, "key": (parts.shard,)}
    yield from write_if_any(held, schema=CONFLICTS, dataset="conflicts", layout=Layout(plain=PLAIN), **place)
    yield beam.pvalue.TaggedOutput("counters", locate_sightings(counters, lines))
    yield beam.pvalue.TaggedOutput("glances", combine_glances(glances))
