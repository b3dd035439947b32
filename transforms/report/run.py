"""What the report of every job says of its run: counters, rejects, inputs, options, warnings."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from molino.transforms.report.page import Cell, Column, Section, Table, Term
from molino.transforms.warnings import DataWarning

MOST_LINES = 50  # inputs, warnings: more than this nobody reads
SECRET = re.compile(r"(^|[_.-])(key|secret|password|token|salt|pepper)$", re.IGNORECASE)


def counter_table(
    counters: Mapping[str, int], known: Mapping[str, str], *, whole: str, apart: Sequence[str] = ()
) -> Table:
    """Return the counters, those with an explanation first, as shares of the counter `whole`; rejects by reason apart.

    Args:
      known: what each counts, by name, as a module of schemas/ has it.
      apart: counters that are no part of the whole.
    """
    names = [key for key in known if key in counters]
    names += sorted(key for key in counters if key not in known and not key.startswith(("rejects.", "_")))
    total = counters.get(whole, 0)
    rows: list[tuple[Cell, ...]] = [
        (Term(key, meaning_of(key, known)), counters[key], None if key in apart else share(counters[key], total))
        for key in names
    ]
    columns = (
        Column(title="Counter"),
        Column(title="Count", unit="count"),
        Column(title=f"Share of {whole.removesuffix('_read')}", unit="share"),
    )
    return Table(columns, rows, "Counters")


def meaning_of(counter: str, known: Mapping[str, str]) -> str:
    """Return what a counter counts, "" where that is not known; `not_finite.MODEL` stands for that of every model.

    >>> meaning_of("not_finite.small", {"titles": "Rows written", "not_finite.MODEL": "Of this model"})
    'Of this model'
    """
    kinds = (name for name in known if name[-1].isupper() and counter.startswith(re.sub(r"[A-Z]+$", "", name)))
    return known[counter] if counter in known else known.get(next(kinds, ""), "")


def reject_table(counters: Mapping[str, int], reasons: Mapping[str, str], *, noun: str) -> Table:
    """Return the rejects by reason, the commonest first.

    Args:
      reasons: explanations by name.
      noun: what was rejected, in the plural.
    """
    found = {key.removeprefix("rejects."): n for key, n in counters.items() if key.startswith("rejects.")}
    total = sum(found.values())
    rows: list[tuple[Cell, ...]] = [
        (Term(reason, reasons.get(reason, "")), n, share(n, total))
        for reason, n in sorted(found.items(), key=lambda item: (-item[1], item[0]))
    ]
    columns = (
        Column(title="Reason"),
        Column(title=noun.capitalize(), unit="count"),
        Column(title="Share of rejects", unit="share", bar=True),
    )
    return Table(columns, rows, f"Rejected {noun} by reason")


def run_section(
    options: Mapping[str, object],
    inputs: Sequence[Mapping[str, Any]],
    *,
    made: str,
    expected: Mapping[str, Any] | None = None,
    counters: Mapping[str, int] | None = None,
    whole: str = "rows_read",
) -> Section:
    """Return what the run read and how, and the rows that were expected; an option named like a key is masked.

    Args:
      made: what the same inputs and options give again.
      expected: `rows` that were reckoned with before the run, and `datasets`, those of each; or nothing.
      counters: totals of the run.
      whole: the counter of what was read.
    """
    files = sum(one.get("files", 1) for one in inputs)
    size = sum(one.get("bytes") or 0 for one in inputs)
    text = f"The same inputs and options give the same {made}. Read: {count(files, 'file')}, {size:,} bytes."
    plan = [plan_table(expected, counters or {}, whole)] if expected and "rows" in expected else []
    return Section("Inputs and options", text, [_input_table(inputs), _option_table(options), *plan])


def plan_table(expected: Mapping[str, Any], counters: Mapping[str, int], whole: str) -> Table:
    """Return the rows that a plan had reckoned with beside those that there were.

    Seconds, bytes and memory are not shown: a report is the same however a run was done. The manifest has them.
    """
    plans = [(f"{whole.removesuffix('_read')} read", whole, expected["rows"])]
    plans += [(name, name, rows) for name, rows in expected["datasets"].items()]
    rows = [
        (shown, planned, counters.get(name, 0), f"{counters.get(name, 0) / planned:.3f}" if planned else None)
        for shown, name, planned in plans
    ]
    columns = (
        Column(title="Rows"),
        Column(title="Plan", unit="count"),
        Column(title="Fact", unit="count"),
        Column(title="Fact by plan"),
    )
    return Table(columns, rows, "Plan and fact")


def shown_warnings(warnings: Sequence[DataWarning]) -> list[str]:
    """Return the first warnings, and how many more there are."""
    shown = [str(warning) for warning in warnings[:MOST_LINES]]
    return shown + ([f"… and {len(warnings) - MOST_LINES:,} more."] if len(warnings) > MOST_LINES else [])


def _input_table(inputs: Sequence[Mapping[str, Any]]) -> Table:
    rows: list[tuple[Cell, ...]] = [(str(one.get("path", "")), one.get("bytes")) for one in inputs[:MOST_LINES]]
    if len(inputs) > MOST_LINES:
        rest = inputs[MOST_LINES:]
        rows.append((f"… and {len(rest):,} more", sum(one.get("bytes") or 0 for one in rest)))
    return Table((Column(title="File"), Column(title="Bytes", unit="count")), rows, "Inputs")


def _option_table(options: Mapping[str, object]) -> Table:
    rows = [(name, _option_text(name, value)) for name, value in sorted(options.items())]
    return Table((Column(title="Option"), Column(title="Value")), rows, "Options")


def _option_text(name: str, value: object) -> str:
    if value is None:
        return "not set"
    if SECRET.search(name):
        return "(hidden)"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def count(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> count(1, "file"), count(1200, "file")
    ('1 file', '1,200 files')
    """
    return f"1 {noun}" if number == 1 else f"{number:,} {noun}s"


def share(part: int, whole: int) -> float | None:
    """Return a part of a whole, None where there is no whole."""
    return part / whole if whole else None
