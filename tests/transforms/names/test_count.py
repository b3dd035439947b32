"""The tables of names, against pandas."""

import fractions

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from molino.jobs.names import JUNK
from molino.transforms.names import count as module
from molino.transforms.names.count import NameTables, finish_tables, partial_tables, sum_counts

PERSON = st.tuples(
    st.sampled_from(["GARCIA", "MUÑOZ", "NULL", "", "X"]),
    st.sampled_from(["GARCIA", "LOPEZ", "-"]),
    st.sampled_from(["ANA", "JOSE", "GUADALUPE", "_", "=1+1"]),
    st.sampled_from(["H", "M", None]),
    st.none() | st.integers(1900, 1999),
)


def batch_of(people):
    columns = list(zip(*people, strict=True)) if people else [()] * 5
    years = pa.array(columns[4], pa.int16())
    ages = pa.array([None if year is None else 2012 - year for year in columns[4]], pa.int16())
    sexes = pa.array(columns[3], pa.string()).dictionary_encode()
    names = [pa.array(column, pa.string()) for column in columns[:3]]
    curps = pa.array([""] * len(people), pa.string())
    return pa.RecordBatch.from_arrays(
        [curps, *names, sexes, years, ages],
        ["curp", "primer_apellido", "segundo_apellido", "nombre", "sex", "birth_year", "age"],
    )


def oracle(people, min_count):
    """Make the three tables with pandas, rounding as Python does."""
    d = pd.DataFrame(people, columns=["p", "s", "n", "g", "year"])
    d["age"] = 2012 - pd.to_numeric(d["year"])

    def counts(column):
        found = d[column].value_counts()
        return found[(found >= min_count) & ~found.index.isin(JUNK)]

    both = pd.DataFrame({"frec_pri": counts("p"), "frec_seg": counts("s")}).fillna(0).astype(int)
    tables = {"apellidos": sorted(([n, *map(int, r)] for n, *r in both.itertuples()), key=lambda r: (-r[1], r[0]))}
    mean = d.dropna(subset=["age"]).groupby("n")["age"].agg(["sum", "count"])
    for table, sex in (("hombres", "H"), ("mujeres", "M")):
        found = d[d.g == sex]["n"].value_counts()
        found = found[(found >= min_count) & ~found.index.isin(JUNK)]
        rows = [
            [
                n,
                int(f),
                round(float(mean.loc[n, "sum"] / mean.loc[n, "count"]), 2) if n in mean.index else None,
                f / found.sum(),
            ]
            for n, f in found.items()
        ]
        tables[table] = sorted(rows, key=lambda r: (-r[1], r[0]))
    return tables


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(PERSON, max_size=40), st.integers(1, 3), st.integers(1, 4))
def test_the_tables_are_those_of_pandas(people, min_count, cuts):
    shards = [people[i::cuts] for i in range(cuts)]
    counts = sum_counts(module.count_names(batch_of(shard), evidence=False) for shard in shards)
    assert sum(counts.filter(pa.compute.equal(counts["kind"], 0))["a"].to_pylist()) == len(people)
    # names may be reduced in any parts: here the odd rows apart from the even ones
    parts = [counts.take(pa.array(range(start, counts.num_rows, 2), pa.int64())) for start in (0, 1)]
    tables = finish_tables([partial_tables(part, min_count=min_count, junk=JUNK) for part in parts])
    expected = oracle(people, min_count)
    for name, table in tables.items():
        assert [list(row.values()) for row in table.to_pylist()] == expected[name]


@settings(deadline=None)
@given(st.lists(PERSON, max_size=40))
def test_births_are_those_of_pandas(people):
    births = module.sum_births([module.count_births((0, [batch_of(each)])) for each in (people, [])])
    found = {(row["birth_year"], row["sex"]): row["people"] for row in births.to_pylist()}
    expected = pd.Series([(p[4], p[3]) for p in people]).value_counts().to_dict() if people else {}
    assert found == expected
    assert all(
        row["age"] == (None if row["birth_year"] is None else 2012 - row["birth_year"]) for row in births.to_pylist()
    )


def test_no_people_make_empty_tables():
    tables = finish_tables([])
    assert [len(table) for table in tables.values()] == [0, 0, 0]
    assert tables["hombres"].column_names == ["nombre", "frec", "edad_media", "prob"]


@pytest.mark.parametrize(
    ("ages", "people", "mean"), [(1469, 40, 36.73), (261, 8, 32.62), (263, 8, 32.88), (1, 3, 0.33)]
)
def test_means_are_rounded_from_the_exact_binary_value(ages, people, mean):
    exact = fractions.Fraction(ages / people)
    assert abs(fractions.Fraction(mean) - exact) <= fractions.Fraction(1, 199)
    part = pa.table({"nombre": ["X"], "frec": [people], "age_sum": [ages], "age_n": [people]})
    empty = part.slice(0, 0)
    apellidos = pa.table(
        {"apellido": pa.array([], pa.string()), "frec_pri": np.zeros(0, int), "frec_seg": np.zeros(0, int)}
    )
    tables = finish_tables([{"apellidos": apellidos, "hombres": part, "mujeres": empty}])
    assert tables["hombres"]["edad_media"].to_pylist() == [mean]


def test_repairs_meet_whatever_the_partition():
    people = [("MUÑOZ", "X", "ANA", "M", 1980)] * 6 + [("MU!OZ", "X", "ANA", "M", 1980)] * 3
    counts = module.count_names(batch_of(people), evidence=True)
    tables = module.reduce_counts([counts], min_count=5, junk=JUNK, repair=True)
    done = module.join_tables([tables], repair=True)
    assert isinstance(done, NameTables)
    assert [row["written"] for row in done.repairs.to_pylist() if row["merged"]] == ["MU!OZ"]
    assert done.repaired["apellidos"].to_pylist()[0] == {"apellido": "MUÑOZ", "frec_pri": 9, "frec_seg": 0}
    assert done.record["apellidos"].to_pylist()[0] == {"apellido": "MUÑOZ", "frec_pri": 6, "frec_seg": 0}
