"""People from payroll rows: what their CURP says of them, and where their row stands."""

import dataclasses
import operator
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molino.schemas.names import CONFLICTS, PEOPLE
from molino.transforms.files.secret_key import SecretKey
from molino.transforms.names.curp import (
    INVALID,
    count_curps,
    curp_faults,
    key_missing,
    mask_curps,
    missing_kinds,
    normalize_curp,
    parse_curp,
    protect_curp,
)
from molino.transforms.parquet.shards import Layout
from molino.transforms.rows.batches import Counters, Shard
from molino.transforms.rows.keep_first import KeepFirstPerKey
from molino.transforms.rows.outputs import NamedOutputs, ParDoInto
from molino.transforms.rows.partition import PartitionRows
from molino.transforms.text.lines import reject_rows
from molino.transforms.text.position import POSITION, LineTable, locate_sightings
from molino.transforms.text.read import GatherRejects, ReadDelimited
from molino.transforms.text.sources import Source, TextFormat
from molino.transforms.warnings import Sighting

MANY = 5  # rows of one CURP that share no name with its first row: it is hardly one person's
LAYOUTS = {
    "people": Layout(plain=["curp"], encodings={"line": "DELTA_BINARY_PACKED"}),
    "conflicts": Layout(plain=["curp"]),
}
NAMES = ("primer_apellido", "segundo_apellido", "nombre")


class VerifiedRows(NamedTuple):
    """What `verify_curps` gives: rows, those whose CURP tells of nobody, raw rejects, and what is wrong by kind."""

    rows: beam.PCollection[pa.RecordBatch]
    missing: beam.PCollection[pa.RecordBatch]
    rejects: beam.PCollection[pa.RecordBatch]
    counters: beam.PCollection[Counters]


def verify_curps(
    batch: pa.RecordBatch, *, reject_invalid: bool = False, missing: str = "one", mask: bool = False
) -> Iterator[object]:
    """Bring CURPs, the first column, to one spelling, and count those that tell of nobody: empty, filler, invalid.

    `reject_invalid` rejects rows whose CURP has a wrong form or check digit. `missing` is what becomes of rows whose
    CURP tells of nobody: `one`, they are rows as any; `each`, they go to `missing`, for `key_missing`; `reject`, they
    are rejected. `mask` writes [CURP] for CURPs that stand in other columns.
    """
    curps, changed = normalize_curp(batch["curp"])
    if changed:
        batch = batch.set_column(0, batch.schema.field("curp"), curps)
    faults = curp_faults(curps)
    kinds = missing_kinds(curps, faults)
    counters = {"curp.normalized": changed, **count_curps(batch, faults, kinds)}
    if mask:
        batch, counters["curp.in_name"] = mask_curps(batch)
    yield beam.pvalue.TaggedOutput("counters", counters)
    rejected = kinds > 0 if missing == "reject" else np.zeros(len(kinds), bool)
    if reject_invalid:
        rejected = rejected | (kinds == INVALID if missing == "each" else faults > 0)
    kept = ~rejected
    if rejected.any():
        told = np.array(["", "curp_empty", "curp_placeholder", "curp_symbols", ""], object)[kinds]
        told = np.where(kinds == INVALID, np.array(["", "curp_format", "curp_check_digit"], object)[faults], told)
        yield beam.pvalue.TaggedOutput("rejects", reject_rows(batch, np.where(rejected, told, "")))
    if missing == "each" and (apart := kept & (kinds > 0)).any():
        known = pc.if_else(pa.array(kinds == INVALID), batch["curp"], "")  # a placeholder tells no sex
        rows = batch.set_column(0, batch.schema.field("curp"), known).filter(pa.array(apart))
        yield beam.pvalue.TaggedOutput("missing", rows)
        kept &= ~apart
    if not kept.all():
        batch = batch.filter(pa.array(kept))
    if batch.num_rows:
        yield batch


class DescribedPeople(NamedTuple):
    """What becomes of shards by `describe_people`: three columns more, and the nulls in them by reason."""

    people: beam.PCollection[Shard]
    counters: beam.PCollection[Counters]


def describe_people(shard: Shard, *, reference_year: int, century: bool) -> Iterator[object]:
    """Yield counters, then the shard with sex, birth_year and age, see `parse_curp`; nulls are counted by reason."""
    described = []
    for batch in shard[1]:
        columns, counters = parse_curp(batch["curp"], reference_year=reference_year, century=century)
        arrays = [*batch.columns, *columns.values()]
        described.append(pa.RecordBatch.from_arrays(arrays, [*batch.schema.names, *columns]))
        yield beam.pvalue.TaggedOutput("counters", dict(counters))
    yield shard[0], described


def count_shared(shard: Shard) -> dict[str, int]:
    """Return in how many rows of conflicts a CURP that has many such rows shares no name with its first row."""
    found, first = 0, []
    for batch in shard[1]:
        apart = pc.equal(pc.list_value_length(batch["differs"]), len(NAMES))
        places, counts = np.unique(batch[f"kept_{POSITION}"].filter(apart).to_numpy(), return_counts=True)
        found += int(counts[counts >= MANY].sum())
        first += places[counts >= MANY][:1].tolist()
    return {"curp.shared": Sighting(found, min(first))} if found else {}


class DistinctPeople(NamedTuple):
    """What `FindPeople` gives; `conflicts` are pairs of rows of one person that differ, `rejects` shards of REJECTS."""

    people: beam.PCollection[Shard]
    conflicts: beam.PCollection[Shard]
    rejects: beam.PCollection[tuple[tuple[int, int], list[pa.RecordBatch]]]
    lines: beam.PCollection[LineTable]
    counters: beam.PCollection[Counters]


@dataclasses.dataclass(kw_only=True)
class FindPeople(NamedOutputs):
    """Read payrolls, keep the first row of each valid CURP, and add what the CURP says. Output: DistinctPeople."""

    sources: Sequence[Source]  # these three: see `ReadDelimited`
    text: TextFormat
    span_bytes: int
    reject_invalid: bool  # these three: see `verify_curps`; with `each`, rows without a CURP get keys of their own
    missing: str
    mask: bool
    blocks: int  # these three: see `PartitionRows`
    shards: int
    spill: str | None
    reference_year: int  # these two: see `parse_curp`
    century: bool

    def expand(self, pipeline: beam.Pipeline) -> DistinctPeople:
        read = pipeline | ReadDelimited(sources=self.sources, text=self.text, span_bytes=self.span_bytes)
        how = {"reject_invalid": self.reject_invalid, "missing": self.missing, "mask": self.mask}
        verified = read.rows | "Verify" >> ParDoInto(into=VerifiedRows, call=verify_curps, arguments=how)
        rejects = (read.rejects, verified.rejects) | "Rejects" >> beam.Flatten() | GatherRejects(lines=read.lines)
        rows, lines = verified.rows, beam.pvalue.AsSingleton(read.lines)
        if self.missing == "each":
            keyed = verified.missing | beam.Map(key_missing, lines=lines).with_output_types(pa.RecordBatch)
            rows = (rows, keyed) | "Rows" >> beam.Flatten()
        by_curp = PartitionRows(
            key=operator.itemgetter("curp"),
            schema=self.text.schema,
            blocks=self.blocks,
            shards=self.shards,
            order_by=POSITION,
            spill=self.spill,
        )
        first = rows | by_curp | KeepFirstPerKey(key="curp", compare=NAMES, kept_counter="people")
        ages = {"reference_year": self.reference_year, "century": self.century}
        described = first.kept | "Describe" >> ParDoInto(into=DescribedPeople, call=describe_people, arguments=ages)
        located = (
            (verified.counters, first.conflicts | "CountShared" >> beam.Map(count_shared))
            | "Doubts" >> beam.Flatten()
            | "Locate" >> beam.Map(locate_sightings, lines=lines)
        )
        counters = (read.counters, rejects.counters, first.counters, described.counters, located)
        return DistinctPeople(
            described.people, first.conflicts, rejects.shards, read.lines, counters | "Counters" >> beam.Flatten()
        )


def finish_people(shard: Shard, *, lines: LineTable, mode: str, key: SecretKey | None, each: bool) -> Shard:
    """Return a shard of PEOPLE; with `each`, keys of `key_missing` become nulls, and each batch is put in order."""
    finished, secret = [], key.read() if key else b""
    for batch in shard[1]:
        batch = batch.sort_by(POSITION) if each else batch
        sources, numbers = lines.locate(batch[POSITION])
        curps = protect_curp(batch["curp"], mode, secret)
        if each:  # null where the key is one of `key_missing`
            curps = pc.if_else(pc.match_substring(batch["curp"], "\0"), pa.scalar(None, pa.string()), curps)
        columns = {"curp": curps, "source": sources, "line": numbers}
        arrays = [columns[name] if name in columns else batch[name] for name in PEOPLE.names]
        finished.append(pa.RecordBatch.from_arrays(arrays, PEOPLE.names))
    return shard[0], finished


def finish_conflicts(shard: Shard, *, lines: LineTable, mode: str, key: SecretKey | None) -> Shard:
    """Return a shard of CONFLICTS, in the order of the dropped rows."""
    finished, secret = [], key.read() if key else b""
    for batch in shard[1]:
        columns = {"curp": protect_curp(batch["kept_curp"], mode, secret)}
        for which in ("kept", "dropped"):
            columns[f"{which}_source"], columns[f"{which}_line"] = lines.locate(batch[f"{which}_{POSITION}"])
        arrays = [columns[name] if name in columns else batch[name] for name in CONFLICTS.names]
        finished.append(pa.RecordBatch.from_arrays(arrays, CONFLICTS.names))
    return shard[0], finished
