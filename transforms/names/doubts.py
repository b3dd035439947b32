"""What a person should know of people and ages before trusting a run of the names job."""

from collections.abc import Mapping

from molino.transforms.warnings import DataWarning, example_of

TABLES = ("apellidos", "hombres", "mujeres")
SHARE = 0.01  # of the rows, or of the people: less is usual
BECOMES = {
    "one": "the rows of each such value count as one person",
    "each": "each such row counts as a person, also where a payroll repeats one, and is in no table of given names "
    "where the CURP tells no sex",
}


def warn_of_names(
    counters: Mapping[str, int], *, missing: str, century: bool, reference_year: int, min_count: int
) -> list[DataWarning]:
    """Return what is doubtful about a run of the names job, from its counters and options."""
    found = _warn_of_missing(counters, missing) if missing in BECOMES else []
    if shared := counters.get("curp.shared", 0):
        text = f"{shared:,} rows share no name with the first row of their CURP, which has many such rows"
        remedy = "look at conflicts/; is it a placeholder, or --curp-column no key of people?"
        found.append(DataWarning("curp.shared", text, shared, example_of(counters, "curp.shared"), remedy))
    letters = 0 if century else counters.get("curp.letter_17", 0)
    if letters:
        text = (
            f"{letters:,} valid CURPs have a letter as character 17: people born from 2000 on, made 100 years too old"
        )
        remedy = "--century-from-curp"
        found.append(DataWarning("curp.century", text, letters, example_of(counters, "curp.letter_17"), remedy))
    unborn = counters.get("age.negative", 0)
    if unborn > SHARE * counters.get("people", 0):
        text = f"{unborn:,} of {counters['people']:,} people were not born in {reference_year}; they have no age"
        found.append(DataWarning("age.negative", text, unborn, remedy="is --reference-year right?"))
    old, people = counters.get("age.over_100", 0), counters.get("people", 0)
    if old > SHARE * people:
        text = f"{old:,} of {people:,} people were over 100 years old in {reference_year}"
        remedy = "is --reference-year right?" if century or not letters else "--century-from-curp"
        found.append(DataWarning("age.over_100", text, old, remedy=remedy))
    rare = {table: counters.get(f"rare.{table}", 0) for table in TABLES if not counters.get(table, 0)}
    if names := sum(rare.values()):
        empty = ", ".join(table for table, count in rare.items() if count)
        text = f"no names in {empty}: each of {names:,} is borne by fewer than {min_count:,} people"
        found.append(DataWarning("names.rare", text, names, remedy="--min-count 1 takes them all"))
    return found


def _warn_of_missing(counters: Mapping[str, int], missing: str) -> list[DataWarning]:
    kinds = {kind: counters.get(f"curp.{kind}", 0) for kind in ("empty", "placeholder", "invalid")}
    rows, total = counters.get("rows_read", 0), sum(kinds.values())
    if total <= SHARE * rows:
        return []
    remedy = "--missing-curp each counts every such row, reject leaves them out"
    if counters.get("curp.quoted", 0) > total / 2:
        remedy = "the fields are in quotes: --quote '\"' (or \"'\")"
    elif kinds["invalid"] > rows / 2:
        remedy = "name the column of the CURP: --curp-column"
    elif missing == "each":
        remedy = "--missing-curp one gives the lower bound"
    told = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count)
    first = example_of(counters, f"curp.{max(kinds, key=lambda kind: kinds[kind])}")
    text = f"{total:,} of {rows:,} rows have no valid CURP ({told}); {BECOMES[missing]}"
    return [DataWarning("curp.missing", text, total, first, remedy)]
