"""A record's place in the input: its source and its line."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from molino.transforms.warnings import Sighting

POSITION = "position"  # name of the column that batches carry it in, int64
LINE_BITS = 40  # a position is span << LINE_BITS | line: 8 million spans of a million million lines


@dataclasses.dataclass(frozen=True)
class LineTable:
    """Where each span starts: turns positions into sources and lines."""

    sources: tuple[str, ...]  # label of every source
    source_of: np.ndarray  # (spans,) int32, the source of each span
    # (spans,) int64, the line in its file of each span's first line; the header is line 1. Of Parquet, the number of
    # the row, from 1
    first_line: np.ndarray
    # of spans in which a record has several lines, by number: (2, n) int64, the line in the span of each record after
    # such a one, ascending, and how many lines before it begin no record. Such spans are whole sources
    longer: Mapping[int, np.ndarray] = dataclasses.field(default_factory=dict)

    def locate(self, positions: pa.Array) -> tuple[pa.Array, pa.Array]:
        """Return (source labels, line numbers) of positions."""
        values = positions.to_numpy()
        spans = values >> LINE_BITS
        labels = pa.array(self.sources, pa.string()).take(pa.array(self.source_of[spans]))
        return labels, pa.array(self.first_line[spans] + (values & ((1 << LINE_BITS) - 1)), pa.int64())

    def records(self, positions: pa.Array) -> pa.Array:
        """Return the number of the record in its source of each position, int64; the first after the header is 1."""
        values = positions.to_numpy()
        spans, lines = values >> LINE_BITS, values & ((1 << LINE_BITS) - 1)
        first_span = np.searchsorted(self.source_of, self.source_of[spans])  # spans stand in the order of sources
        numbers = self.first_line[spans] - self.first_line[first_span] + lines + 1
        for span in self.longer.keys() & set(np.unique(spans).tolist()):
            own, (at, others) = spans == span, self.longer[span]
            numbers[own] = lines[own] + 1 - np.append(0, others)[np.searchsorted(at, lines[own], side="right")]
        return pa.array(numbers, pa.int64())


def locate_sightings(counters: Mapping[str, int], lines: LineTable) -> dict[str, int]:
    """Return counters with the positions of rows turned into sources and lines."""
    located = dict(counters)
    for name, value in counters.items():
        if isinstance(value, Sighting) and isinstance(value.place, int):
            labels, numbers = lines.locate(pa.array([value.place], pa.int64()))
            source = lines.sources.index(labels[0].as_py())
            located[name] = Sighting(int(value), (source, numbers[0].as_py(), labels[0].as_py()))
    return located
