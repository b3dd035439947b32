"""Titles: rows to keys, copies to one row with a count, and titles of two categories beside each other."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molino.transforms import progress
from molino.transforms.errors import DataError
from molino.transforms.models.embed import Model
from molino.transforms.models.finite import REASON, are_finite
from molino.transforms.rows.batches import first_appearance_codes, sum_rows
from molino.transforms.rows.partition import Parts
from molino.transforms.text.lines import reject_titles
from molino.transforms.text.position import POSITION
from molino.transforms.text.sources import KEPT
from molino.transforms.titles.keys import OWN, SPLITS, Draw, near_keys, title_ids

CODED = pa.dictionary(pa.int32(), pa.string())
NULLABLE = ("label_quality", "language", "category")
_KEYS = [(POSITION, pa.int64()), ("id", pa.int64()), ("near", pa.uint64())]
# Rows on their way: `id` and `near` are those of molino.transforms.titles.keys.
ROWS = pa.schema([("title", pa.string()), *((name, CODED) for name in NULLABLE), *_KEYS])
SPLIT_NAMES = dict.fromkeys(("train", "training"), 0) | dict.fromkeys(("validation", "valid", "val", "dev"), 1)
SPLIT_NAMES |= dict.fromkeys(("test", "testing"), 2)


def keyed_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema of keyed rows: ROWS, the input's own split where it is read, and the columns carried."""
    own = [pa.field(OWN, pa.int8())] if "split" in schema.names else []
    return pa.schema([*ROWS, *own, *(field for field in schema if field.name.startswith(KEPT))])


def key_titles(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return rows with null for an empty field, and with their keys: see `keyed_schema`."""
    schema = keyed_schema(rows.schema)
    columns: dict[str, Any] = {name: rows[name] for name in rows.schema.names}
    for name in NULLABLE:
        coded = pc.dictionary_encode(columns[name])
        if (empty := pc.index(coded.dictionary, "").as_py()) >= 0:
            indices = pc.if_else(pc.equal(coded.indices, empty), pa.scalar(None, pa.int32()), coded.indices)
            coded = pa.DictionaryArray.from_arrays(indices, coded.dictionary)
        columns[name] = coded
    columns["id"] = pa.array(title_ids(columns["title"], columns["category"]))
    columns["near"] = pa.array(near_keys(columns["title"]))
    if OWN in schema.names:
        places = pc.index_in(pc.utf8_lower(pc.utf8_trim_whitespace(rows["split"])), pa.array(SPLIT_NAMES))
        columns[OWN] = pa.array(list(SPLIT_NAMES.values()), pa.int8()).take(places)
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


class KeyedTitles(NamedTuple):
    """What `key_or_reject` gives: batches of `keyed_schema`, and raw rejects."""

    rows: beam.PCollection[pa.RecordBatch]
    rejects: beam.PCollection[pa.RecordBatch]


def key_or_reject(
    rows: pa.RecordBatch, *, without_category: bool = False, models: Sequence[Model] = ()
) -> Iterator[object]:
    """Give titles their id and near key; reject those without category, split, or finite vectors of `models`."""
    keyed = key_titles(rows)
    category = keyed["category"]
    faults = {"no_category": category.is_null()} if category.null_count and not without_category else {}
    # a vocabulary is a text file with a category on each line
    broken = pc.match_substring_regex(category.dictionary, "[\r\n]")
    if pc.any(broken).as_py():
        faults["bad_category"] = broken.take(category.indices).fill_null(False)
    if OWN in keyed.schema.names and keyed[OWN].null_count:
        faults["bad_split"] = keyed[OWN].is_null()
    for reason, rows_at in faults.items():
        yield beam.pvalue.TaggedOutput("rejects", reject_titles(keyed.filter(rows_at), reason))
    if faults:
        keyed = keyed.filter(pc.invert(functools.reduce(pc.or_, faults.values())))
    if models and not (good := are_finite(keyed["title"], models)).all():
        yield beam.pvalue.TaggedOutput("rejects", reject_titles(keyed.filter(pa.array(~good)), REASON))
        keyed = keyed.filter(pa.array(good))
    if keyed.num_rows:
        yield keyed


def first_of_each(rows: pa.RecordBatch, draw: Draw) -> tuple[np.ndarray, np.ndarray]:
    """Return the index of each id's first row, int64, in the order of their turns, and how many rows it has, int32."""
    turn = draw.turn(rows)
    order = np.argsort(turn)  # any order of equal turns will do: the first row is found below
    ordered = turn[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if len(order) else order
    first = np.minimum.reduceat(order, starts) if len(order) else order
    return first, np.diff(starts, append=len(order)).astype(np.int32)


def merge_titles(rows: pa.RecordBatch, draw: Draw) -> pa.RecordBatch:
    """Return one row for each title and category: the first, with `split` (int8) and `count` (int32), in its turn.

    `rows`: all rows of their ids, in the order in which the first is to be found. Raises DataError where two different
    rows have one id.
    """
    first, counts = first_of_each(rows, draw)
    kept = rows.take(pa.array(first))
    _check_ids(rows, kept, first, counts, draw)
    columns = [*kept.columns, pa.array(draw.split(kept)), pa.array(counts)]
    return pa.RecordBatch.from_arrays(columns, [*kept.schema.names, "split", "count"])


def find_contradicted(rows: pa.RecordBatch, kept: pa.RecordBatch, draw: Draw) -> np.ndarray:
    """Return the rows whose own split is not that of the row that they were merged into: their numbers, int64."""
    first = np.searchsorted(draw.turn(kept), draw.turn(rows))
    return np.flatnonzero(rows[OWN].to_numpy() != kept[OWN].to_numpy()[first])


def _check_ids(rows: pa.RecordBatch, kept: pa.RecordBatch, first: np.ndarray, counts: np.ndarray, draw: Draw) -> None:
    """Raise DataError where a row was merged into one that has only its id in common."""
    if len(first) == rows.num_rows:
        return
    copies = rows.take(pa.array(np.setdiff1d(np.arange(rows.num_rows), first, assume_unique=True)))
    originals = kept.take(pa.array(np.searchsorted(draw.turn(kept), draw.turn(copies))))
    for name in ("title", "category"):
        one, other = _plain(copies[name]), _plain(originals[name])
        same = pc.or_kleene(pc.equal(one, other), pc.and_(one.is_null(), other.is_null()))
        if not pc.all(same.fill_null(False)).as_py():
            row = same.fill_null(False).index(False).as_py()
            raise DataError(
                f"two different titles have the id {copies['id'][row]}: {copies['title'][row].as_py()[:80]!r} and "
                f"{originals['title'][row].as_py()[:80]!r}; leave one of them out"
            )


def _plain(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if column.type == CODED else column


def find_conflicting_titles(kept: pa.RecordBatch) -> pa.RecordBatch:
    """Return, of all rows that `merge_titles` kept, those of titles with several categories, by title and category."""
    # rows of one title share the high half of their id, and hardly any others do
    heads = (kept["id"].to_numpy() >> 32).astype(np.int32)
    ordered = np.sort(heads)
    shared = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    candidates = kept.take(pa.array(np.flatnonzero(np.isin(heads, shared)) if len(shared) else shared))
    codes, _ = first_appearance_codes(candidates["title"])
    found = candidates.take(pa.array(np.flatnonzero((np.bincount(codes, minlength=1) > 1)[codes])))
    plain = pa.table({name: _plain(found[name]) for name in found.schema.names})
    order = pc.sort_indices(plain.select(["title", "category"]), [("title", "ascending"), ("category", "ascending")])
    return found.take(order)


def count_categories(parts: Parts, draw: Draw) -> pa.Table:
    """Return COUNTS of the titles of each category, null too, and split, that occur. Memory: the rows of a shard."""
    tables = []
    for rows in parts:
        keys = rows.select([name for name in ("category", "id", "near", OWN) if name in rows.schema.names])
        kept = keys.take(pa.array(first_of_each(keys, draw)[0]))
        coded = kept["category"]
        # null comes last
        codes = coded.indices.fill_null(len(coded.dictionary)).to_numpy().astype(np.int64)
        cells = np.bincount(codes * len(SPLITS) + draw.split(kept))
        found = np.flatnonzero(cells)
        names = pa.concat_arrays([coded.dictionary, pa.nulls(1, pa.string())]).take(pa.array(found // len(SPLITS)))
        columns = [names, pa.array((found % len(SPLITS)).astype(np.int8)), pa.array(cells[found])]
        tables.append(pa.Table.from_arrays(columns, schema=COUNTS))
        progress.report("reduce", rows=rows.num_rows)
    return sum_category_counts(tables)


COUNTS = pa.schema([("category", pa.string()), ("split", pa.int8()), ("titles", pa.int64())])


def sum_category_counts(tables: Iterable[pa.Table]) -> pa.Table:
    """Add up tables of COUNTS; ordered by category and split, null last."""
    return sum_rows((table.cast(COUNTS) for table in tables), COUNTS, ["category", "split"])
