"""Payrolls from their files: rows whose CURPs are verified, and the rejects of reading and verifying."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import apache_beam as beam
import pyarrow as pa

from molino.transforms.names.curp import VerifyCurp, key_missing
from molino.transforms.rows.batches import Counters
from molino.transforms.rows.outputs import NamedOutputs
from molino.transforms.text.position import LineTable, locate_sightings
from molino.transforms.text.read import GatherRejects, ReadDelimited
from molino.transforms.text.sources import Source, TextFormat


class PayrollRows(NamedTuple):
    """What `ReadPayrolls` gives: rows, the one table of where their lines are, shards of REJECTS, and counters."""

    rows: beam.PCollection[pa.RecordBatch]
    lines: beam.PCollection[LineTable]
    rejects: beam.PCollection[tuple[tuple[int, int], list[pa.RecordBatch]]]
    counters: beam.PCollection[Counters]


@dataclasses.dataclass(kw_only=True)
class ReadPayrolls(NamedOutputs):
    """Read payrolls and verify their CURPs. Output: PayrollRows.

    Attributes:
      sources, text, span_bytes: see `ReadDelimited`.
      reject_invalid, missing, mask: see `VerifyCurp`. With `each`, rows without a CURP get keys of their own.
    """

    sources: Sequence[Source]
    text: TextFormat
    span_bytes: int
    reject_invalid: bool
    missing: str
    mask: bool

    def expand(self, pipeline: beam.Pipeline) -> PayrollRows:
        read = pipeline | ReadDelimited(sources=self.sources, text=self.text, span_bytes=self.span_bytes)
        verified = read.rows | VerifyCurp(reject_invalid=self.reject_invalid, missing=self.missing, mask=self.mask)
        rejects = (read.rejects, verified.rejects) | "Rejects" >> beam.Flatten() | GatherRejects(lines=read.lines)
        rows, lines = verified.rows, beam.pvalue.AsSingleton(read.lines)
        if self.missing == "each":
            keyed = verified.missing | beam.Map(key_missing, lines=lines).with_output_types(pa.RecordBatch)
            rows = (rows, keyed) | "Rows" >> beam.Flatten()
        located = verified.counters | "Locate" >> beam.Map(locate_sightings, lines=lines)
        counters = (read.counters, rejects.counters, located) | "Counters" >> beam.Flatten()
        return PayrollRows(rows, read.lines, rejects.shards, counters)
