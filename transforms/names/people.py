"""People from payroll rows: what their CURP says of them, and where their row stands."""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molino.schemas.names import CONFLICTS, PEOPLE
from molino.transforms.files.secret_key import SecretKey
from molino.transforms.names.curp import parse_curp, protect_curp
from molino.transforms.parquet.shards import Layout
from molino.transforms.rows.batches import Counters, Shard
from molino.transforms.rows.keep_first import KeepFirstPerKey
from molino.transforms.rows.outputs import NamedOutputs, ParDoInto
from molino.transforms.rows.partition import PartitionRows
from molino.transforms.text.position import POSITION, LineTable, locate_sightings
from molino.transforms.warnings import Sighting

MANY = 5  # rows of one CURP that share no name with its first row: it is hardly one person's
LAYOUTS = {
    "people": Layout(plain=["curp"], encodings={"line": "DELTA_BINARY_PACKED"}),
    "conflicts": Layout(plain=["curp"]),
}
NAMES = ("primer_apellido", "segundo_apellido", "nombre")


def curp_of(rows: pa.RecordBatch) -> pa.Array:
    """Return the key of the rows."""
    return rows["curp"]


class DescribedPeople(NamedTuple):
    """What `DescribePeople` gives: the shards with three columns more, and the nulls in them by reason."""

    people: beam.PCollection[Shard]
    counters: beam.PCollection[Counters]


@dataclasses.dataclass(kw_only=True)
class DescribePeople(NamedOutputs):
    """Add sex, birth_year and age, read from `curp`; nulls are counted by reason.

    Input: shards of rows. Output: DescribedPeople.

    Attributes:
      reference_year: ages are as of this year.
      century: take the century of birth from character 17 of the CURP.
    """

    reference_year: int
    century: bool

    def expand(self, shards: beam.PCollection) -> DescribedPeople:
        return shards | "Describe" >> ParDoInto(into=DescribedPeople, call=self._describe)

    def _describe(self, shard: Shard) -> Iterator[object]:
        key, batches = shard
        described = []
        for batch in batches:
            columns, counters = parse_curp(batch["curp"], reference_year=self.reference_year, century=self.century)
            arrays = [*batch.columns, *columns.values()]
            described.append(pa.RecordBatch.from_arrays(arrays, [*batch.schema.names, *columns]))
            yield beam.pvalue.TaggedOutput("counters", dict(counters))
        yield key, described


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
    """What `FindPeople` gives: described people, and pairs of rows of one person that differ; shards of both."""

    people: beam.PCollection[Shard]
    conflicts: beam.PCollection[Shard]
    counters: beam.PCollection[Counters]


@dataclasses.dataclass(kw_only=True)
class FindPeople(NamedOutputs):
    """Keep the first row of each CURP, and add what the CURP says. Output: DistinctPeople.

    Attributes:
      schema, blocks, shards, spill: see `PartitionRows`.
      lines: the one LineTable of the rows.
      reference_year, century: see `DescribePeople`.
    """

    schema: pa.Schema
    blocks: int
    shards: int
    spill: str | None
    lines: beam.PCollection[LineTable]
    reference_year: int
    century: bool

    def expand(self, rows: beam.PCollection) -> DistinctPeople:
        by_curp = PartitionRows(
            key=curp_of, schema=self.schema, blocks=self.blocks, shards=self.shards, order_by=POSITION, spill=self.spill
        )
        first = rows | by_curp | KeepFirstPerKey(key="curp", compare=NAMES, kept_counter="people")
        described = first.kept | DescribePeople(reference_year=self.reference_year, century=self.century)
        shared = (
            first.conflicts
            | "CountShared" >> beam.Map(count_shared)
            | "Locate" >> beam.Map(locate_sightings, lines=beam.pvalue.AsSingleton(self.lines))
        )
        counters = (first.counters, described.counters, shared) | "Counters" >> beam.Flatten()
        return DistinctPeople(described.people, first.conflicts, counters)


def finish_people(shard: Shard, *, lines: LineTable, mode: str, key: SecretKey | None, each: bool) -> Shard:
    """Return a shard of PEOPLE: with sources and lines for positions, and CURPs as the output may show them.

    With `each`, rows whose keys are those of `key_missing` have no CURP, and the rows of a batch are put in order.
    """
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
