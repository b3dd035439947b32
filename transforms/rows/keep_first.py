"""Keep one row per key, and show what the others said."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molino.transforms import progress
from molino.transforms.rows.batches import Counters, Shard, first_appearance_codes
from molino.transforms.rows.outputs import NamedOutputs, ParDoInto
from molino.transforms.rows.partition import Parts, block_of, hash_strings, sort_by_block


def keep_first(rows: pa.RecordBatch, *, key: str) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Return (kept, pairs): the first row of each key in row order, and every other row beside the one kept.

    `pairs` has each column twice, as `kept_...` and `dropped_...`, in the order of the dropped rows. The key has no
    nulls.

    >>> kept, pairs = keep_first(pa.record_batch({"k": ["x", "y", "x"], "v": [1, 2, 3]}), key="k")
    >>> kept["v"].to_pylist(), pairs["kept_v"].to_pylist(), pairs["dropped_v"].to_pylist()
    ([1, 2], [1], [3])
    """
    codes, _ = first_appearance_codes(rows[key])
    # codes grow in order of first appearance, so a row is first where its code passes all before it
    first = np.diff(np.maximum.accumulate(codes), prepend=-1) > 0 if len(codes) else np.zeros(0, bool)
    kept_rows, dropped_rows = np.flatnonzero(first), np.flatnonzero(~first)
    dropped = rows.take(pa.array(dropped_rows))
    kept_of_dropped = rows.take(pa.array(kept_rows[codes[dropped_rows]]))
    names = [f"kept_{name}" for name in rows.schema.names] + [f"dropped_{name}" for name in rows.schema.names]
    pairs = pa.RecordBatch.from_arrays([*kept_of_dropped.columns, *dropped.columns], names)
    return (rows if not len(dropped_rows) else rows.take(pa.array(kept_rows))), pairs


def find_conflicts(pairs: pa.RecordBatch, *, columns: Sequence[str]) -> pa.RecordBatch:
    """Return the pairs that differ in any of `columns`, with a last column `differs` that names them."""
    unequal = [pc.not_equal(pairs[f"kept_{column}"], pairs[f"dropped_{column}"]) for column in columns]
    differs = np.stack([each.to_numpy(zero_copy_only=False) for each in unequal])
    rows = np.flatnonzero(differs.any(axis=0))
    differs = differs[:, rows]
    offsets = np.concatenate([[0], np.cumsum(differs.sum(axis=0))]).astype(np.int32)
    items = pa.array(list(columns), pa.string()).take(pa.array(np.nonzero(differs.T)[1]))
    type_ = pa.list_(pa.field("item", pa.string(), nullable=False))
    lists = pa.ListArray.from_arrays(pa.array(offsets), items, type=type_)
    found = pairs.take(pa.array(rows))
    return pa.RecordBatch.from_arrays([*found.columns, lists], [*found.schema.names, "differs"])


@dataclasses.dataclass(kw_only=True)
class DropDuplicates(beam.PTransform):
    """Keep one row of each key, through the runner's own shuffle: for pipelines that have batches, and no `Parts`.

    Input: Arrow batches of one schema. Output: batches of it, one for each group that has rows; each is ordered as
    `order_by` says. Memory: the rows of one group per worker thread.

    Which row is kept depends on the rows alone: where they are equal in `order_by`, all other columns that can be
    ordered decide. A null comes last. ValueError: the key holds nulls, or a column is not there.
    """

    key: str  # column that identifies a record, without nulls, of any type that Arrow casts to strings
    order_by: Sequence[str] = ()  # columns that order the rows of a key
    keep: Literal["first", "last"] = "first"
    groups: int = 64  # number of groups that the keys are spread over by a hash

    def __post_init__(self) -> None:
        if isinstance(self.order_by, str):
            self.order_by = (self.order_by,)
        if self.keep not in ("first", "last"):
            raise ValueError(f"keep is {self.keep!r}; it may be 'first' or 'last'")

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        return (
            batches
            | "Split" >> beam.FlatMap(self._split).with_output_types(tuple[int, pa.RecordBatch])
            | "Group" >> beam.GroupByKey()
            | "Keep" >> beam.MapTuple(self._keep).with_output_types(pa.RecordBatch)
        )

    def _split(self, batch: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
        if missing := [name for name in (self.key, *self.order_by) if name not in batch.schema.names]:
            raise ValueError(f"the batches have no column {missing[0]!r}; they have: {', '.join(batch.schema.names)}")
        if batch[self.key].null_count:
            raise ValueError(f"the key {self.key} holds nulls, which are no key; filter these rows out before")
        hashes = hash_strings(batch[self.key].cast(pa.string()))
        rows, bounds = sort_by_block(batch, block_of(hashes, self.groups), self.groups)
        for group in np.flatnonzero(np.diff(bounds)):
            yield int(group), rows.slice(bounds[group], bounds[group + 1] - bounds[group])

    def _keep(self, _: int, batches: Iterable[pa.RecordBatch]) -> pa.RecordBatch:
        rows = pa.Table.from_batches(batches)
        others = [field.name for field in rows.schema if not pa.types.is_nested(field.type)]
        order = "ascending" if self.keep == "first" else "descending"
        ordered = rows.sort_by([(name, order) for name in dict.fromkeys([*self.order_by, *others])]).combine_chunks()
        return keep_first(ordered.to_batches()[0], key=self.key)[0]


class FirstRows(NamedTuple):
    """What `KeepFirstPerKey` gives, one element a shard with a batch per block.

    `conflicts` are pairs of kept and dropped rows that differ, as `find_conflicts` returns them.
    """

    kept: beam.PCollection[Shard]
    conflicts: beam.PCollection[Shard]
    counters: beam.PCollection[Counters]


@dataclasses.dataclass(kw_only=True)
class KeepFirstPerKey(NamedOutputs):
    """Keep the first row of each key.

    Input: `Parts`, one per shard, whose blocks hold all rows of their keys in order. Output: FirstRows.
    Memory: the kept rows of one shard per worker thread.
    """

    key: str  # column that identifies a record, without nulls
    compare: Sequence[str]  # columns in which a repeated record may conflict
    kept_counter: str = "kept"  # name under which the kept records are counted, beside `duplicates` and `conflicts`

    def expand(self, parts: beam.PCollection) -> FirstRows:
        return parts | "Keep" >> ParDoInto(into=FirstRows, call=self._keep)

    def _keep(self, parts: Parts) -> Iterator[object]:
        kept, conflicts, dropped = [], [], 0
        for rows in parts:
            first, pairs = keep_first(rows, key=self.key)
            kept.append(first)
            conflicts.append(find_conflicts(pairs, columns=self.compare))
            dropped += pairs.num_rows
            progress.report("reduce", rows=rows.num_rows)
        people = sum(batch.num_rows for batch in kept)
        found = sum(batch.num_rows for batch in conflicts)
        counters = {self.kept_counter: people, "duplicates": dropped, "conflicts": found}
        yield beam.pvalue.TaggedOutput("counters", counters)
        if found:
            yield beam.pvalue.TaggedOutput("conflicts", (parts.shard, conflicts))
        if people:
            yield parts.shard, kept
