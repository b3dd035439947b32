"""Bring the rows of one key together: rows go to blocks by a hash of the key, and runs of blocks are shards.

A block is the unit of an output's order and of its digests; how many there are depends on the input's size alone. A
shard is a run of consecutive blocks. So the rows of an output, read shard after shard, stand in the same order however
many shards it has.
"""

import dataclasses
import itertools
import uuid
from collections.abc import Callable, Iterator, Sequence

import apache_beam as beam
import numpy as np
import pyarrow as pa

import molino.transforms.rows.coder  # noqa: F401  batches travel as Arrow IPC
from molino.transforms.files import storage
from molino.transforms.rows.batches import concat, lengths_and_bytes

# Odd 64-bit constants, one for each word of a string: a multilinear hash, the same in every process and on every day.
WEIGHTS = np.random.Generator(np.random.PCG64(1)).integers(0, 2**63, 256, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
WORD = 8  # bytes
PLACE = "_place"  # column of rows on their way: the number of their block among those of its shard


def hash_strings(values: pa.Array) -> np.ndarray:
    """Return a 64-bit hash of every string: (n,) uint64.

    Equal strings hash alike in every process; distinct ones may collide, so use it to spread, never to compare.
    `values` has no nulls. Memory: 20 times their bytes.
    """
    n = len(values)
    if n == 0:
        return np.zeros(0, np.uint64)
    lengths, data = lengths_and_bytes(values)
    # zeros fill the last word, and are no text
    sums = lengths.astype(np.uint64) * WEIGHTS[-1] + _sum_words(data, lengths)
    sums ^= sums >> np.uint64(32)
    return sums * np.uint64(0x9E3779B97F4A7C15)


def hash_keys(keys: pa.Array) -> np.ndarray:
    """Return the hash of every key: (n,) uint64. Keys that are uint64 are taken for hashes already."""
    return keys.to_numpy() if keys.type == pa.uint64() else hash_strings(keys)


def _sum_words(data: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    starts, counts = np.cumsum(lengths) - lengths, -(-lengths // WORD)
    first = np.cumsum(counts) - counts
    padded = np.zeros(int(counts.sum()) * WORD, np.uint8)
    padded[np.arange(len(data)) + np.repeat(first * WORD - starts, lengths)] = data
    place_of = (np.arange(len(padded) // WORD) - np.repeat(first, counts)) % len(WEIGHTS)
    sums = np.zeros(len(lengths), np.uint64)
    filled = lengths > 0  # reduceat knows no empty runs
    sums[filled] = np.add.reduceat(padded.view("<u8") * WEIGHTS[place_of], first[filled])
    return sums


def block_of(hashes: np.ndarray, blocks: int) -> np.ndarray:
    """Return the block of every hash: (n,) int64 from 0 to `blocks` - 1."""
    return ((hashes >> np.uint64(32)) * np.uint64(blocks) >> np.uint64(32)).astype(np.int64)


def blocks_of_shard(shard: int, shards: int, blocks: int) -> range:
    """Return the blocks that a shard holds.

    >>> [list(blocks_of_shard(s, 2, 5)) for s in range(2)]
    [[0, 1], [2, 3, 4]]
    """
    return range(shard * blocks // shards, (shard + 1) * blocks // shards)


def sort_by_block(batch: pa.RecordBatch, block: np.ndarray, blocks: int) -> tuple[pa.RecordBatch, np.ndarray]:
    """Return the rows ordered by block, else as they were, and the (blocks + 1,) bounds of the blocks among them."""
    small = block.astype(np.uint16) if blocks <= 1 << 16 else block  # a radix sort, three times as fast
    order = np.argsort(small, kind="stable")
    bounds = np.concatenate([[0], np.cumsum(np.bincount(block, minlength=blocks))])
    return batch.take(pa.array(order)), bounds


def cut_for_shards(batch: pa.RecordBatch, block: np.ndarray, blocks: int, shards: int) -> list[pa.RecordBatch]:
    """Return the rows of each shard, ordered by block, with the column PLACE.

    One piece a shard and not one a block: a piece costs some hundred bytes besides its rows, and where there are many
    blocks most would have no row.
    """
    ordered, bounds = sort_by_block(batch, block, blocks)
    firsts = np.array([blocks_of_shard(shard, shards, blocks).start for shard in range(shards)] + [blocks])
    places = np.arange(blocks) - np.repeat(firsts[:-1], np.diff(firsts))
    placed = pa.array(np.repeat(places, np.diff(bounds)).astype(np.min_scalar_type(-(-blocks // shards) - 1)))
    ordered = ordered.append_column(PLACE, placed)
    return [ordered.slice(start, end - start) for start, end in itertools.pairwise(bounds[firsts])]


@dataclasses.dataclass(frozen=True)
class Parts:
    """The rows of one shard, block by block. Memory while iterated: the rows of the shard."""

    shard: int
    blocks: range
    schema: pa.Schema
    order_by: str | None
    batches: Sequence[pa.RecordBatch] = ()  # its rows in memory, as `cut_for_shards` cuts them, or
    files: Sequence[str] = ()  # paths of bucket files, each with one such batch per shard of the whole data set

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows of every block in order, empty ones too."""
        held: list[list[pa.RecordBatch]] = [[] for _ in self.blocks]
        for batch in itertools.chain(self.batches, self._read()):
            bounds = np.searchsorted(batch[PLACE].to_numpy(), np.arange(len(held) + 1))
            rows = batch.select(self.schema.names)
            for parts, (start, end) in zip(held, itertools.pairwise(bounds), strict=True):
                if end > start:
                    parts.append(rows.slice(start, end - start))
        while held:
            yield self._ordered(held.pop(0))

    def _read(self) -> Iterator[pa.RecordBatch]:
        """Yield the shard's part of every bucket file."""
        for path in self.files:  # one after the other: there may be more of them than files that a process may open
            with storage.open_input(path) as source, storage.explained(path, "read"):
                yield pa.ipc.open_file(source).get_batch(self.shard)

    def _ordered(self, parts: list[pa.RecordBatch]) -> pa.RecordBatch:
        """Join parts in the order of their first row: each part is a run of the whole order."""
        if self.order_by:
            parts = sorted(parts, key=lambda part: part[self.order_by][0].as_py())
        return concat(parts, self.schema)


def write_buckets(pieces: Sequence[pa.RecordBatch], folder: str) -> str:
    """Write what `cut_for_shards` gives as one Arrow IPC file, a batch per shard, and return its path."""
    path = storage.join(folder, f"{uuid.uuid4().hex}.arrow")
    # an empty slice of strings is written with all offsets of the batch
    nothing = pieces[0].take(pa.array([], pa.int64()))
    with (
        storage.explained(path, "write"),
        storage.open_output(path) as file,
        pa.ipc.new_file(file, pieces[0].schema) as to,
    ):
        for piece in pieces:
            to.write_batch(piece if piece.num_rows else nothing)
    return path


@dataclasses.dataclass(kw_only=True)
class PartitionRows(beam.PTransform):
    """Send every row to the shard of its key.

    Input: batches of `schema`. Output: one `Parts` per shard; a shard of no rows may be left out.
    Memory: one input batch and its copy per worker thread; with the runner's shuffle, what the runner takes.
    """

    # returns the batch's key without nulls: strings, or uint64 hashes of what the key is
    key: Callable[[pa.RecordBatch], pa.Array]
    schema: pa.Schema  # of the batches
    blocks: int  # number of blocks, from the input's size
    shards: int  # number of shards, at most `blocks`
    order_by: str | None = None  # column that orders the rows of a block; every input batch must be a run of that order
    # folder for bucket files. The runner then carries only their names: on one machine the fast way, with the least
    # memory. None sends the rows through the runner's own shuffle, for workers that share no fast disk
    spill: str | None = None

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        if self.spill is not None:
            files = rows | "Spill" >> beam.Map(self._spill)
            return (
                rows.pipeline
                | "Once" >> beam.Impulse()
                | "Shards" >> beam.FlatMap(self._all_parts, files=beam.pvalue.AsList(files))
                | "Spread" >> beam.Reshuffle()
            )
        return (
            rows
            | "Split" >> beam.FlatMap(self._pieces).with_output_types(tuple[int, pa.RecordBatch])
            | "Group" >> beam.GroupByKey()
            | "Parts"
            >> beam.MapTuple(lambda shard, batches: self._parts(shard, batches=list(batches))).with_output_types(Parts)
        )

    def _cut(self, batch: pa.RecordBatch) -> list[pa.RecordBatch]:
        return cut_for_shards(batch, block_of(hash_keys(self.key(batch)), self.blocks), self.blocks, self.shards)

    def _spill(self, batch: pa.RecordBatch) -> str:
        return write_buckets(self._cut(batch), str(self.spill))

    def _pieces(self, batch: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
        return ((shard, piece) for shard, piece in enumerate(self._cut(batch)) if piece.num_rows)

    def _all_parts(self, _: bytes, files: list[str]) -> Iterator[Parts]:
        return (self._parts(shard, files=sorted(files)) for shard in range(self.shards))

    def _parts(self, shard: int, **held: Sequence) -> Parts:
        blocks = blocks_of_shard(shard, self.shards, self.blocks)
        return Parts(shard, blocks, self.schema, self.order_by, **held)
