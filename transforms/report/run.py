"""What the report of every job says of its run: its data, counters, rejects, inputs, options, warnings."""

import dataclasses
import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from molino.transforms.report.page import Cell, Section, Table, Term, format_number, page
from molino.transforms.warnings import DataWarning, many

MOST_LINES = 50  # inputs, warnings: more than this nobody reads
SECRET = re.compile(r"(^|[_.-])(key|secret|password|token|salt|pepper)$", re.IGNORECASE)
# what follows from other options, or from the input; in words, since no option of the command line sets it. And one
# option of all texts that has another name
DERIVED = {
    "text.names": "--header",
    "blocks": "blocks",
    "text.optional": "columns that may be missing",
    "text.blank": "columns that may be empty",
    "text.integers": "columns that may hold integers",
    "text.kept": "types of carried columns",
    "kept": "types of carried columns",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobTerms:
    """What the words of a job's runs mean."""

    counters: Mapping[str, str]  # what each counts, as the job's module of schemas/ has it
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict)  # what each means, likewise
    noun: str = "rows"  # what is read, in the plural
    outputs: str = "rows"  # what the same inputs and options give again
    apart: Sequence[str] = ()  # counters that are no part of what is read
    # how an option is written, by its name in the manifest, where that differs; "" where it is shown elsewhere
    flags: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What a report says of its run, whatever the job."""

    terms: JobTerms  # of the job
    balance: tuple[str, Sequence[str]]  # a counter, and those that add up to it
    counters: Mapping[str, int]  # totals by name; `rejects.REASON` splits `rejects`. Any may be absent
    options: Mapping[str, Any]  # as the manifest has them, like the inputs; an option named like a key is masked
    inputs: Sequence[Mapping[str, Any]] = ()
    warnings: Sequence[DataWarning] = ()  # shown on top
    expected: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # `rows`, and `datasets`, those of each

    @classmethod
    def of(cls, run: Any, counters: Mapping[str, int], terms: JobTerms) -> "RunFacts":
        """Return the facts of a run with these counters; what is of this attempt or for warnings alone is left out."""
        return cls(
            terms=terms,
            balance=run.balance,
            counters={name: n for name, n in counters.items() if not name.startswith(("units", "_"))},
            options=run.options,
            inputs=run.inputs,
            warnings=run.warnings_of(counters),
            expected=run.expected,
        )

    @property
    def missing(self) -> int:
        """How many more were accounted for than read; 0 where the counters add up."""
        whole, parts = self.balance
        return sum(self.counters.get(part, 0) for part in parts) - self.counters.get(whole, 0)

    def figures(self, titles: Mapping[str, str]) -> list[tuple[str, str]]:
        """Return counters for the summary, by the titles that they have there."""
        return [(title, format_number(self.counters.get(name, 0))) for title, name in titles.items()]


def run_page(title: str, facts: RunFacts, *, subtitle: str, sections: Sequence[Section], **others: Any) -> str:
    """Return the page of a run: its own sections, and what every report says; the arguments are those of `page`."""
    subtitles = [subtitle, *data_lines(facts.inputs)]
    every = [*sections, quality_section(facts), run_section(facts)]
    return page(title, subtitle=subtitles, sections=every, warnings=warning_lines(facts), **others)


def data_lines(inputs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what was read, in a line: names, files, bytes, and when they last changed, where that is known."""
    if not inputs:
        return []
    names = [str(one.get("path", "")).rstrip("/").rpartition("/")[2] for one in inputs]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
    files, size = sum(one.get("files", 1) for one in inputs), sum(one.get("bytes") or 0 for one in inputs)
    dates = sorted({_date(one)[:10] for one in inputs} - {""})
    changed = f", last changed {' to '.join(dict.fromkeys((dates[0], dates[-1])))} (UTC)" if dates else ""
    return [f"Data: {shown}, {many(files, 'file')}, {size:,} bytes{changed}."]


def _date(entry: Mapping[str, Any]) -> str:
    """Return when an input last changed, in UTC; "" where that is not known."""
    seconds = entry.get("modified")
    return f"{datetime.datetime.fromtimestamp(int(seconds), datetime.UTC):%Y-%m-%d %H:%M}" if seconds else ""


def quality_section(facts: RunFacts) -> Section:
    """Return what the run met on its way: counters, rejects by reason, and what had been expected."""
    terms, (whole, parts) = facts.terms, facts.balance
    text = f"What the run met on its way. Shares are of the {terms.noun}{' read' if facts.inputs else ''}."
    if not facts.missing:
        text += f" Every {terms.noun[:-1]} is accounted for: {listed(parts)} add up to the {whole.replace('_', ' ')}."
    tables = [counter_table(facts)]
    if facts.counters.get("rejects"):
        counts = {name.removeprefix("rejects."): n for name, n in facts.counters.items() if name.startswith("rejects.")}
        part, total = "Share of rejects", sum(counts.values())
        reasons: list[dict[str, Cell]] = [
            {"Reason": Term(reason, terms.reasons.get(reason, "")), terms.noun.capitalize(): n, part: share(n, total)}
            for reason, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        ]
        tables.append(Table(reasons, f"Rejected {terms.noun} by reason", shares=[part], bar=part))
    if "rows" in facts.expected:  # but no times, bytes and memory, which the manifest has: a report is always the same
        plans = [(f"{terms.noun} read", whole, facts.expected["rows"])] if facts.inputs else []
        rows: list[dict[str, Cell]] = []
        for title, name, planned in [*plans, *((name, name, n) for name, n in facts.expected["datasets"].items())]:
            fact = facts.counters.get(name, 0)
            rows.append({"Rows": title, "Plan": planned, "Fact": fact, "Fact by plan": share(fact, planned)})
        tables.append(Table(rows, "Plan and fact", shares=["Fact by plan"]))
    return Section("Data quality", text, tables)


def counter_table(facts: RunFacts) -> Table:
    """Return the counters, those with an explanation first, as shares of what was read; rejects by reason apart."""
    counters, terms, whole = facts.counters, facts.terms, facts.balance[0]
    names = [name for name in terms.counters if name in counters]
    names += sorted(name for name in counters if name not in terms.counters and not name.startswith("rejects."))
    part = f"Share of {terms.noun}"
    rows: list[dict[str, Cell]] = []
    for name in names:
        of_whole = None if name in terms.apart else share(counters[name], counters.get(whole, 0))
        rows.append({"Counter": Term(name, meaning_of(name, terms.counters)), "Count": counters[name], part: of_whole})
    return Table(rows, "Counters", shares=[part])


def meaning_of(counter: str, known: Mapping[str, str]) -> str:
    """Return what a counter counts, or ""; `not_finite.MODEL` stands for that of every model."""
    kinds = (name for name in known if name[-1].isupper() and counter.startswith(re.sub(r"[A-Z]+$", "", name)))
    return known[counter] if counter in known else known.get(next(kinds, ""), "")


def run_section(facts: RunFacts) -> Section:
    """Return what the run read, and how."""
    options = option_table(facts.options, facts.terms.flags)
    if not facts.inputs:
        return Section("Options", f"The same options give the same {facts.terms.outputs}.", [options])
    text = f"The same inputs and options give the same {facts.terms.outputs}."
    lines: list[tuple[Cell, ...]] = []
    for one in facts.inputs[:MOST_LINES]:
        digest = f"digest {one['digest'][:16]}… of the files' names, sizes and times" if "digest" in one else ""
        name = Term(str(one.get("path", "")), digest)
        lines.append((name, one.get("files", 1), one.get("bytes"), _date(one) or None))
    if rest := facts.inputs[MOST_LINES:]:
        files, size = sum(one.get("files", 1) for one in rest), sum(one.get("bytes") or 0 for one in rest)
        lines.append((f"… and {len(rest):,} more", files, size, None))
    rows = [dict(zip(("Input", "Files", "Bytes", "Changed, UTC"), line, strict=True)) for line in lines]
    return Section("Inputs and options", text, [Table(rows, "Inputs", wide=True), options])


def option_table(options: Mapping[str, Any], flags: Mapping[str, str]) -> Table:
    """Return options by the names that they have on the command line, and their values in words."""
    rows = sorted(row for row in _option_rows(options, flags, "") if row[0])
    return Table([{"Option": option, "Value": value} for option, value in rows], "Options", wide=True)


def _option_rows(options: Mapping[str, Any], flags: Mapping[str, str], above: str) -> Iterator[tuple[str, str]]:
    for name, value in options.items():
        path = f"{above}{name}"
        if path in DERIVED and name == "kept":
            yield DERIVED[path], in_words(dict(value) if isinstance(value, Mapping) else str(value))
        elif name.startswith("keep."):
            yield "--keep", f"{value}={name.removeprefix('keep.')}"
        elif isinstance(value, Mapping) and flags.get(path) != "":
            yield from _option_rows(value, flags, f"{path}.")
        elif value and isinstance(value, list) and all(isinstance(block, Mapping) for block in value):
            yield from ((f"{_flag(path, flags)}, block {n}", in_words(block)) for n, block in enumerate(value, 1))
        else:
            hidden = value is not None and SECRET.search(name)
            yield _flag(path, flags), "(hidden)" if hidden else in_words(value)


def _flag(path: str, flags: Mapping[str, str]) -> str:
    """Return how the option of this path in the manifest is written; of columns `--NAME-column`."""
    known = flags.get(path, DERIVED.get(path))
    above, _, name = path.rpartition(".")
    column = "-column" if above.endswith("columns") else ""
    return f"--{name.replace('_', '-')}{column}" if known is None else known


def in_words(value: object) -> str:
    """Return the value of an option as a person writes it.

    >>> in_words([[10], [30, 20]]), in_words(True), in_words({"rate": [0.5, 1.0]}), in_words(["NULL", ""])
    ('10, 30 · 20', 'yes', 'rate: 0.5, 1.0', 'NULL, (empty)')
    """
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {in_words(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        inner = (
            " · ".join(map(in_words, each)) if isinstance(each, list | tuple) else in_words(each) for each in value
        )
        return ", ".join(inner) or "none"
    return str(value) or "(empty)"


def warning_lines(facts: RunFacts) -> list[str]:
    """Return the first warnings, and how many more there are; led by one when rows were lost or invented."""
    lines = [str(warning) for warning in facts.warnings[:MOST_LINES]]
    if more := len(facts.warnings) - len(lines):
        lines.append(f"… and {more:,} more.")
    if facts.missing:
        whole, parts = facts.balance
        wrong = f"{abs(facts.missing):,} {'more' if facts.missing > 0 else 'fewer'} than the {whole.replace('_', ' ')}"
        lines.insert(0, f"The {facts.terms.noun} do not add up: {listed(parts)} are {wrong}.")
    return lines


def listed(words: Sequence[str]) -> str:
    """Return words as a list in a sentence.

    >>> listed(["people", "duplicates", "rejects"])
    'people, duplicates and rejects'
    """
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def share(part: int, whole: int) -> float | None:
    """Return a part of a whole, None where there is no whole."""
    return part / whole if whole else None
