"""Count how many people bear each name, and make the published tables of it."""

import dataclasses
import functools
import operator
from collections.abc import Callable, Iterable, Sequence

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molino.schemas.names import APELLIDOS, NOMBRES, REPAIRS
from molino.transforms.names.curp import curp_matrix
from molino.transforms.names.repair import (
    REPAIRS_ORDER,
    apply_repairs,
    curp_evidence,
    plan_repairs,
    same_person_counts,
    skeleton,
)
from molino.transforms.rows.batches import Shard, concat, first_appearance_codes, sum_counters, sum_rows
from molino.transforms.rows.gather import Gather
from molino.transforms.rows.partition import PartitionRows, Parts

APELLIDO, NOMBRE = 0, 1
# of a person: kind, column, what it counts in (men and women apart where it is None), and its letter in the CURP
COLUMNS = (
    (APELLIDO, "primer_apellido", "a", 13),
    (APELLIDO, "segundo_apellido", "b", 14),
    (NOMBRE, "nombre", None, 15),
)
AMOUNTS = ("a", "b", "age_sum", "age_n", "curp_x", "curp_n", "same_person")
# One row per kind and name. `a` and `b` are people: by first and second surname, or men and women.
COUNTS = pa.schema([("kind", pa.int8()), ("name", pa.string()), *((amount, pa.int64()) for amount in AMOUNTS)])
# What a part of the tables of given names holds: how many bear one, and their ages.
BEARERS = pa.schema([("nombre", pa.string()), ("frec", pa.int64()), ("age_sum", pa.int64()), ("age_n", pa.int64())])
BIRTHS = pa.schema([("birth_year", pa.int16()), ("age", pa.int16()), ("sex", pa.string()), ("people", pa.int64())])


def count_names(people: pa.RecordBatch, *, evidence: bool) -> pa.RecordBatch:
    """Return COUNTS of some people, a row for each column of a name; `evidence`: what their CURPs say of Ñ, too."""
    letters = curp_matrix(people["curp"]) if evidence else None
    parts = []
    for kind, column, amount, place in COLUMNS:
        codes, names = first_appearance_codes(people[column])
        amounts: dict[str, np.ndarray] = {}
        if amount:
            amounts[amount] = np.bincount(codes, minlength=len(names))
        else:
            sex, age = people["sex"], people["age"]
            known = np.asarray(age.is_valid())
            amounts["a"] = np.bincount(codes[_is(sex, "H")], minlength=len(names))
            amounts["b"] = np.bincount(codes[_is(sex, "M")], minlength=len(names))
            amounts["age_n"] = np.bincount(codes[known], minlength=len(names))
            # sums of whole ages are exact in float64 up to 2**53
            amounts["age_sum"] = np.bincount(codes, weights=age.fill_null(0).to_numpy(), minlength=len(names))
        if letters is not None:
            found = curp_evidence(names, codes, letters[:, place], is_given=kind == NOMBRE)
            amounts["curp_x"], amounts["curp_n"] = found
        parts.append(_counts(kind, names, amounts))
    return concat(parts, COUNTS)


def count_same_person(conflicts: pa.RecordBatch) -> pa.RecordBatch:
    """Return, as COUNTS, the people whose rows spell a name both with Ñ and without."""
    parts = []
    for kind, column, *_ in COLUMNS:
        found = same_person_counts(conflicts[f"kept_{column}"], conflicts[f"dropped_{column}"]).combine_chunks()
        names = pa.array(found["name"].to_pylist(), pa.string())
        parts.append(_counts(kind, names, {"same_person": found["people"].to_numpy()}))
    return concat(parts, COUNTS)


def count_births(shard: Shard) -> pa.Table:
    """Return how many people of a shard there are of each birth year, age and sex, nulls included."""
    people = pa.Table.from_batches(shard[1]).select(BIRTHS.names[:3]).cast(pa.schema(list(BIRTHS)[:3]))
    counts = people.group_by(people.column_names, use_threads=False).aggregate([([], "count_all")])
    return counts.rename_columns(BIRTHS.names).cast(BIRTHS)


def sum_counts(parts: Iterable[pa.RecordBatch]) -> pa.RecordBatch:
    """Add up COUNTS of the same kind and name; one row of each."""
    sums = sum_rows([pa.Table.from_batches(list(parts), COUNTS)], COUNTS, ["kind", "name"])
    return concat(sums.to_batches(), COUNTS)


def _counts(kind: int, names: pa.Array, amounts: dict[str, np.ndarray]) -> pa.RecordBatch:
    zeros = np.zeros(len(names), np.int64)
    columns = [pa.array(amounts.get(amount, zeros).astype(np.int64)) for amount in AMOUNTS]
    kinds = pa.array(np.full(len(names), kind, np.int8))
    return pa.RecordBatch.from_arrays([kinds, names, *columns], schema=COUNTS)


def _is(sex: pa.Array, letter: str) -> np.ndarray:
    return np.asarray(pc.equal(sex, letter).fill_null(False).to_numpy(zero_copy_only=False))


def partial_tables(counts: pa.RecordBatch, *, min_count: int, junk: Sequence[str]) -> dict[str, pa.Table]:
    """Return the part of the three tables that a set of complete counts gives, unsorted.

    `apellidos`: both frequencies, 0 where below `min_count`. `hombres` and `mujeres`: nombre, frec, age_sum, age_n.
    """
    names = pa.Table.from_batches([counts])
    if "" in junk:  # a field of fixed width is blank where it is empty
        names = names.filter(pc.not_equal(pc.utf8_trim_whitespace(names["name"]), ""))
    names = names.filter(pc.invert(pc.is_in(names["name"], pa.array(junk, pa.string()))))
    surnames, given = (names.filter(pc.equal(names["kind"], kind)) for kind in (APELLIDO, NOMBRE))
    a, b = (pc.if_else(pc.greater_equal(surnames[amount], min_count), surnames[amount], 0) for amount in ("a", "b"))
    apellidos = pa.table({"apellido": surnames["name"], "frec_pri": a, "frec_seg": b})
    tables = {"apellidos": apellidos.filter(pc.greater(pc.add(a, b), 0))}
    for table, amount in (("hombres", "a"), ("mujeres", "b")):
        enough = given.filter(pc.greater_equal(given[amount], min_count))
        tables[table] = enough.select(["name", amount, "age_sum", "age_n"]).rename_columns(BEARERS.names)
    return tables


def finish_tables(parts: Iterable[dict[str, pa.Table]]) -> dict[str, pa.Table]:
    """Join partial tables into `apellidos`, `hombres` and `mujeres`, by frequency from the top, then by name.

    The mean age is rounded by Python, whose `round` looks at the exact binary value: NumPy, pandas and DuckDB scale
    first, and give 36.72 for 1469/40 where 36.73 is right.
    """
    held = list(parts)
    empty = {"apellidos": APELLIDOS.remove_metadata().empty_table()}
    empty |= dict.fromkeys(("hombres", "mujeres"), BEARERS.empty_table())
    joined = {
        table: pa.concat_tables([none, *(part[table] for part in held)], promote_options="permissive")
        for table, none in empty.items()
    }
    surnames = joined["apellidos"].sort_by([("frec_pri", "descending"), ("apellido", "ascending")])
    tables = {"apellidos": surnames.cast(APELLIDOS)}
    for table in ("hombres", "mujeres"):
        ranked = joined[table].sort_by([("frec", "descending"), ("nombre", "ascending")])
        total = pc.sum(ranked["frec"]).as_py() or 0
        sums = zip(ranked["age_sum"].to_pylist(), ranked["age_n"].to_pylist(), strict=True)
        means = [round(ages / people, 2) if people else None for ages, people in sums]
        probabilities = [frequency / total for frequency in ranked["frec"].to_pylist()]
        tables[table] = pa.table(
            {"nombre": ranked["nombre"], "frec": ranked["frec"], "edad_media": means, "prob": probabilities},
            schema=NOMBRES,
        )
    return tables


@dataclasses.dataclass(frozen=True)
class NameTables:
    """The tables of record, those with repaired spellings, and the repairs; the last two only when asked for."""

    people: int  # that were counted, junk names and rare ones too
    record: dict[str, pa.Table]
    rare: dict[str, int]  # how many names each table of record lacks because of `min_count`
    repaired: dict[str, pa.Table] | None = None
    repairs: pa.Table | None = None


def _count_shard(shard: Shard, count: Callable[[pa.RecordBatch], pa.RecordBatch]) -> pa.RecordBatch:
    return count(pa.concat_batches(shard[1]))


def _spelling(counts: pa.RecordBatch) -> pa.Array:
    """Return what all spellings of a name share, so that they meet in one place."""
    return skeleton(counts["name"])


def reduce_counts(
    parts: Parts | Sequence[pa.RecordBatch], *, min_count: int, junk: Sequence[str], repair: bool
) -> NameTables:
    """Return the part of all tables that COUNTS of some names give; all spellings of a name are in one part."""
    counts = sum_counts(parts)
    people = pc.sum(counts.filter(pc.equal(counts["kind"], APELLIDO))["a"]).as_py() or 0
    record = partial_tables(counts, min_count=min_count, junk=junk)
    every = partial_tables(counts, min_count=1, junk=junk)
    rare = {table: len(every[table]) - len(record[table]) for table in record}
    if not repair:
        return NameTables(people, record, rare)
    held, repairs = [], []
    for kind, name in ((APELLIDO, "apellido"), (NOMBRE, "nombre")):
        of_kind = pa.Table.from_batches([counts]).filter(pc.equal(pc.field("kind"), kind)).drop_columns("kind")
        planned = plan_repairs(of_kind, kind=name, min_count=min_count)
        merged = apply_repairs(of_kind, planned).combine_chunks()
        kinds = pa.array(np.full(len(merged), kind, np.int8))
        held += merged.add_column(0, "kind", kinds).select(COUNTS.names).cast(COUNTS).to_batches()
        repairs.append(planned)
    repaired = partial_tables(concat(held, COUNTS), min_count=min_count, junk=junk)
    return NameTables(people, record, rare, repaired, pa.concat_tables(repairs))


def join_tables(parts: Sequence[NameTables], *, repair: bool) -> NameTables:
    """Return the tables of all parts, sorted."""
    people = sum(part.people for part in parts)
    record = finish_tables(part.record for part in parts)
    rare = sum_counters(part.rare for part in parts)
    if not repair:
        return NameTables(people, record, rare)
    repairs = pa.concat_tables([REPAIRS.empty_table(), *(part.repairs for part in parts if part.repairs is not None)])
    order = [("kind", "ascending"), *REPAIRS_ORDER]
    repaired = finish_tables(part.repaired for part in parts if part.repaired is not None)
    return NameTables(people, record, rare, repaired, repairs.sort_by(order))


@dataclasses.dataclass(kw_only=True)
class CountNames(beam.PTransform):
    """Make the tables of surnames and given names.

    Input: shards of people with curp, names, sex and age. Output: one NameTables.
    Memory: the distinct names of one of `partitions` per worker thread; at the end the names of the tables.
    """

    conflicts: beam.PCollection  # shards of pairs of rows of one person that differ; evidence for repairs
    min_count: int  # names of fewer people are left out
    junk: Sequence[str]  # values that are no names
    repair: bool  # make the tables with repaired spellings too
    partitions: int  # how many parts the distinct names are reduced in
    spill: str | None  # see `PartitionRows`

    def expand(self, people: beam.PCollection) -> beam.PCollection:
        counts = people | "Count" >> beam.Map(_count_shard, functools.partial(count_names, evidence=self.repair))
        if self.repair:
            same = self.conflicts | "CountSame" >> beam.Map(_count_shard, count_same_person)
            counts = (counts, same) | "Evidence" >> beam.Flatten()
        key = _spelling if self.repair else operator.itemgetter("name")
        parts = self.partitions
        return (
            counts
            | "ByName" >> PartitionRows(key=key, schema=COUNTS, blocks=parts, shards=parts, spill=self.spill)
            | "Reduce" >> beam.Map(reduce_counts, min_count=self.min_count, junk=self.junk, repair=self.repair)
            | "Finish" >> Gather(into=join_tables, arguments={"repair": self.repair})
        )


def sum_births(parts: Iterable[pa.Table]) -> pa.Table:
    """Return one table of BIRTHS, sorted."""
    return sum_rows(parts, BIRTHS, BIRTHS.names[:3])
