"""The name tables as Parquet, as CSV, and in a report: what the job counted, and how far to trust it."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from molino.schemas.names import COUNTERS, REASONS
from molino.transforms.errors import DataError
from molino.transforms.names.count import NameTables
from molino.transforms.names.curp import CURP
from molino.transforms.parquet.shards import StagedFile, write_if_any, write_view
from molino.transforms.report.charts import Series, bar_plot, line_plot, rank_series
from molino.transforms.report.page import Plot, Section, Table, Term, format_number
from molino.transforms.report.run import JobTerms, RunFacts, run_page
from molino.transforms.report.spreadsheet import to_csv
from molino.transforms.warnings import many

TOP = 20
TOP_REPAIRS = 30
AGE_STEP = 5
OLDEST = 100  # first age of the last, open group

TERMS = JobTerms(
    counters=COUNTERS,
    reasons=REASONS,
    outputs="tables",
    flags={
        "century": "--century-from-curp",
        "missing": "--missing-curp",
        "reject_invalid": "--invalid-curp reject",
        "repair": "--repair-names",
        "curp_key": "mark of the key in --curp-key-file",
    },
)
SUMMARY = {
    "people": "people",
    "rows read": "rows_read",
    "duplicate rows": "duplicates",
    "conflicts": "conflicts",
    "rejected rows": "rejects",
}
SEXES = (("H", "Men"), ("M", "Women"), (None, "Not known"))

# of the table of merged names: columns of REPAIRS, and their titles
MERGED = {
    "written": "As written",
    "repaired": "Repaired",
    "written_people": "People as written",
    "repaired_people": "People with Ñ",
    "evidence": "Evidence",
    "kind": "Kind",
    "curp_x": "CURPs with X",
    "curp_n": "CURPs with N",
    "same_person": "CURPs with both",
}
EVIDENCE = {
    "symbol": "A symbol that is in no Spanish name stands where other people have Ñ.",
    "curp": "The CURPs of its bearers have X at that letter, which is how a CURP writes Ñ.",
    "same_person": "CURPs were found with both spellings.",
    "contradicted": "CURPs of its bearers have N at that letter: the name is right as written.",
    "insufficient": "Too little to decide.",
}


def names_report(
    *,
    apellidos: pa.Table,
    hombres: pa.Table,
    mujeres: pa.Table,
    births: pa.Table,  # birth_year and age (int16), sex (H, M), all nullable, and people; one row per combination
    repairs: pa.Table | None,  # schemas.names.REPAIRS, or None when the job ran without them
    facts: RunFacts,
) -> str:
    """Return the report of a run as one HTML page.

    The bytes depend on the arguments only, and not on the order of a table's rows or of a mapping's keys. No CURP is
    shown, not even one that stands where a name, a path or an option should; an option named like a key is masked.
    `apellidos`, `hombres`, `mujeres`: schemas.names.APELLIDOS, and NOMBRES of men and of women.
    """
    known = facts.options.get("reference_year")
    year = f"in {known}" if known else "in the reference year"
    surnames = (
        f"The {TOP} most common of each. A person counts once under the first surname (the father's, as a rule) and "
        "once under the second; shares are of everyone in the column."
    )
    given = (
        f"The {TOP} most common of each sex. Share is the probability of the name within its table; the mean age, "
        f"{year}, is of everyone who bears the name, of either sex."
    )
    ages = (
        "Both come from the CURP, which writes the year with two digits: the century is that of its 17th character, or "
        "the 1900s for everyone, by option. A lone peak or a gap is an error more often than a fact."
    )
    columns = {"frec_pri": "First surnames", "frec_seg": "Second surnames"}
    tables = [_top_names(apellidos, "Surname", "apellido", by, caption) for by, caption in columns.items()]
    sexes = [(hombres, "Men"), (mujeres, "Women")]
    named = [_top_names(table, "Name", "nombre", "frec", caption, f"Mean age {year}") for table, caption in sexes]
    sections = [
        Section("Surnames", surnames, tables),
        Section("Given names", given, named),
        Section("Age and birth year", ages, [_age_plot(births, year), _birth_plot(births)]),
        _spread(apellidos, hombres, mujeres),
    ]
    names = ["apellidos", "hombres", "mujeres"]
    if repairs is not None:
        sections.append(_repairs(repairs))
        names += [*(f"{name}_repaired" for name in names), "repairs"]
    figures = facts.figures(SUMMARY)
    sizes = (("surnames", apellidos), ("men's names", hombres), ("women's names", mujeres))
    return run_page(
        "Names",
        facts,
        subtitle=f"How many people bear each surname and given name, counted once per person. Ages are those {year}.",
        summary=figures + [(title, format_number(table.num_rows)) for title, table in sizes],
        sections=sections,
        links=[(f"{name}.csv", f"{name}.csv") for name in names],
        redact=hide_curps,
    )


def write_tables(
    tables: NameTables, counters: Mapping[str, int], run: Any, *, births: pa.Table
) -> Iterator[StagedFile | Mapping[str, int]]:
    """Stage every table, its CSV, and the report, of nothing else; raise DataError where they do not count everyone."""
    counted = {"tables of names": tables.people, "table of births": pc.sum(births["people"]).as_py() or 0}
    for name, people in counted.items():
        if people != counters.get("people", 0):
            raise DataError(
                f"the {name} counts {people:,} people where {counters.get('people', 0):,} were kept; "
                "nothing was published; run again, and report this"
            )
    yield {f"rare.{name}": names for name, names in tables.rare.items()}
    named = dict(tables.record)
    if tables.repaired is not None and tables.repairs is not None:
        named |= {f"{name}_repaired": table for name, table in tables.repaired.items()} | {"repairs": tables.repairs}
    for name, table in named.items():
        yield {name: len(table)}
        batches = table.combine_chunks().to_batches()
        yield from write_if_any(batches, schema=table.schema, folder=run.staging, dataset=name, key=(0,))
        rows = [table.column_names, *zip(*(column.to_pylist() for column in table.columns), strict=True)]
        yield write_view(to_csv(rows, run.options["csv"]), folder=run.staging, name=f"{name}.csv")
    facts = RunFacts.of(run, counters, TERMS)
    report = names_report(**tables.record, births=births, repairs=tables.repairs, facts=facts)
    yield write_view(report.encode(), folder=run.staging, name="report.html")


def hide_curps(text: str) -> str:
    """Return `text` with every CURP in it masked.

    >>> hide_curps("row of HEGG560427MVZRRL04.csv"), hide_curps("HERNANDEZ")
    ('row of [CURP].csv', 'HERNANDEZ')
    """
    return re.sub(CURP, "[CURP]", text)


def top_rows(table: pa.Table, by: str, name: str, count: int) -> list[dict[str, Any]]:
    """Return the `count` rows with the largest positive `by`, ties in the order of `name`."""
    kept = table.filter(pc.greater(table[by], 0))
    if not kept.num_rows:  # select_k_unstable fails on no rows
        return []
    order = pc.select_k_unstable(kept, k=count, sort_keys=[(by, "descending"), (name, "ascending")])
    return kept.take(order).to_pylist()


def people_by(births: pa.Table, column: str, *, lowest: int | None = None) -> dict[str | None, dict[int, int]]:
    """Return {sex: {value of `column`: people}}, nulls of `column` left out and values in ascending order."""
    known = births.filter(pc.is_valid(births[column]))
    if lowest is not None:
        known = known.filter(pc.greater_equal(known[column], lowest))
    totals = known.group_by(["sex", column]).aggregate([("people", "sum")]).sort_by(column)
    found: dict[str | None, dict[int, int]] = {}
    for row in totals.to_pylist():
        found.setdefault(row["sex"], {})[row[column]] = row["people_sum"]
    return found


def _top_names(table: pa.Table, column: str, name: str, by: str, caption: str, age: str = "") -> Table:
    total, rows = _sum(table, by), []
    for rank, row in enumerate(top_rows(table, by, name, TOP), 1):
        shown = {"#": rank, column: row[name], "People": row[by]} | ({age: row["edad_media"]} if age else {})
        rows.append(shown | {"Share": row[by] / total})
    return Table(rows, caption, shares=["Share"], bar="Share")


def _age_plot(births: pa.Table, year: str) -> Plot:
    groups: dict[str, Counter[int]] = {}
    for sex, ages in _by_sex(people_by(births, "age", lowest=0)):
        groups[sex] = Counter()
        for age, people in ages.items():
            groups[sex][min(age, OLDEST) // AGE_STEP] += people
    everyone = [group for ages in groups.values() for group in ages]
    span = range(min(everyone, default=0), max(everyone, default=-1) + 1)
    return bar_plot(
        [_age_group(group) for group in span],
        {sex: [ages[group] for group in span] for sex, ages in groups.items()},
        x_label=f"Age {year}, years",
        y_label="People",
        caption=f"People by age {year}.{_unknown(births, 'age')}",
        alt="Bars of people in five-year groups of age. " + _peaks(groups, _age_group, "are most numerous at"),
    )


def _age_group(group: int) -> str:
    start = group * AGE_STEP
    return f"{start}+" if start >= OLDEST else f"{start}–{start + AGE_STEP - 1}"


def _birth_plot(births: pa.Table) -> Plot:
    found = dict(_by_sex(people_by(births, "birth_year")))
    series = []
    for sex, years in found.items():
        # A year without births is a zero, not a straight line between its neighbours.
        span = range(min(years), max(years) + 1)
        series.append(Series(label=sex, x=list(span), y=[years.get(year, 0) for year in span]))
    return line_plot(
        series,
        x_label="Birth year",
        y_label="People",
        years=True,
        caption=f"People by birth year.{_unknown(births, 'birth_year')}",
        alt="Lines of people by birth year. " + _peaks(found, str, "are most numerous in"),
    )


def _by_sex(found: Mapping[str | None, dict[int, int]]) -> Iterable[tuple[str, dict[int, int]]]:
    return ((title, found[sex]) for sex, title in SEXES if any(found.get(sex, {}).values()))


def _peaks(found: Mapping[str, Mapping[int, int]], write: Any, verb: str) -> str:
    """Return what a plot shows to whoever cannot see it: where each series is highest."""
    tops = ((sex, max(people.items(), key=lambda item: (item[1], -item[0]))) for sex, people in found.items())
    words = [f"{sex} {verb} {write(at)} with {people:,}" for sex, (at, people) in tops]
    return "; ".join(words) + "." if words else "No data."


def _unknown(births: pa.Table, column: str) -> str:
    hidden = _sum(births.filter(pc.is_null(births[column])), "people")
    return f" Of unknown {column.replace('_', ' ')} and not shown: {hidden:,}." if hidden else ""


def _spread(apellidos: pa.Table, hombres: pa.Table, mujeres: pa.Table) -> Section:
    text = (
        "Names ranked from the most common down, both scales logarithmic. Names follow a smooth, nearly straight "
        "line; a step or a bend early on means names that were split, merged or invented. The curve ends where the "
        "threshold cuts it."
    )
    surnames = (("First surname", apellidos, "frec_pri"), ("Second surname", apellidos, "frec_seg"))
    given = (("Men", hombres, "frec"), ("Women", mujeres, "frec"))
    return Section("Rank and frequency", text, [_rank_plot("Surnames", surnames), _rank_plot("Given names", given)])


def _rank_plot(caption: str, curves: Iterable[tuple[str, pa.Table, str]]) -> Plot:
    series = [rank_series(label, table[by].to_numpy()) for label, table, by in curves]
    ends = [f"{s.label}: {s.y[0]:,} people at rank 1, {s.y[-1]:,} at rank {s.x[-1]:,}" for s in series if s.x]
    return line_plot(
        series,
        x_label="Rank",
        y_label="People",
        log=True,
        caption=f"{caption} by rank.",
        alt=f"Falling lines of people against rank, {caption.lower()}. " + ("; ".join(ends) or "No data") + ".",
    )


def _repairs(repairs: pa.Table) -> Section:
    merged = repairs.filter(repairs["merged"])
    left = repairs.num_rows - merged.num_rows
    text = (
        "Files that passed through a wrong encoding lose the Ñ. A name was put together with its spelling with Ñ only "
        f"where the data proves that the two are one: {many(merged.num_rows, 'name')} merged, {left:,} left as "
        "written."
    )
    order = [("written_people", "descending"), *((name, "ascending") for name in ("written", "repaired", "kind"))]
    top = merged.sort_by(order).slice(0, TOP_REPAIRS).select(list(MERGED)).rename_columns(list(MERGED.values()))
    caption = "Merged" if merged.num_rows <= TOP_REPAIRS else f"Merged: the {TOP_REPAIRS} that move most people"
    groups = repairs.group_by(["merged", "evidence"]).aggregate([([], "count_all"), ("written_people", "sum")])
    decided = []
    order = [("merged", "descending"), ("count_all", "descending"), ("evidence", "ascending")]
    for row in groups.sort_by(order).to_pylist():
        outcome, evidence = "merged" if row["merged"] else "left as written", row["evidence"]
        shown = {"Outcome": outcome, "Evidence": Term(evidence, EVIDENCE.get(evidence, "")), "Names": row["count_all"]}
        decided.append(shown | {"People as written": row["written_people_sum"]})
    tables = [Table(top.to_pylist(), caption, wide=True), Table(decided, "What decided", wide=True)]
    return Section("Ñ put back", text, tables)


def _sum(table: pa.Table, column: str) -> int:
    return pc.sum(table[column]).as_py() or 0
