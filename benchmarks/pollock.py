"""How polluted files are read: python benchmarks/pollock.py FOLDER, with and without their dialect as options.

The folder is one of the Pollock benchmark of data loading (Hasso Plattner Institute): `csv/` has the files, `clean/`
what they say, as plain CSV, and `parameters/` the dialect of each. None of them goes into the project: only the figures
do.

Molino reads as the titles job does, every column of a file. Each file is

- right: the records of its clean version, and nothing else;
- rejected: the same but for records that were rejected, each for the reason, and on the line, of what was done to it;
- told: other values, with a warning, or a reject that says where a second header stands;
- refused: nothing is read, and an error says why;
- wrong: other values, or other rejects, and no warning.

The run's own limits, --max-reject-ratio and --allow-empty, are lifted: they judge a whole run. DuckDB reads all columns
as text, and stores its rejects; it has no warnings.
"""

import argparse
import csv
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script, Python looks only in this file's folder

from benchmarks import harness  # noqa: E402
from molino.jobs.options import Parser, text_format  # noqa: E402
from molino.jobs.run.text_input import text_input  # noqa: E402
from molino.transforms.errors import DataError, OptionError  # noqa: E402
from molino.transforms.files.list_files import list_files  # noqa: E402
from molino.transforms.rows.batches import sum_counters  # noqa: E402
from molino.transforms.text.read import line_table, read_span  # noqa: E402
from molino.transforms.text.sources import split_sources  # noqa: E402

VERDICTS = ("right", "rejected", "told", "refused", "wrong")
SPAN_BYTES = 1 << 24
WIDTH, QUOTING = {"too_few_fields", "too_many_fields", "trailing_delimiter"}, {"bad_quoting", "unclosed_quote"}
# what was done to a file, by its name, and why records of it are then rejected
REASONS: Mapping[str, set[str]] = {
    "row_less_sep": {"too_few_fields", "bad_quoting"},
    "row_more_sep": {"too_many_fields", "trailing_delimiter"},
    "row_extra_quote": QUOTING,
    "row_field_delimiter": {"too_few_fields"},
    "file_double_trailing_newline": {"empty_line"},
    "file_multitable": {*WIDTH, *QUOTING, "header_line"},
    "file_header_multirow": {"header_line"},
    "file_field_delimiter_0x20": {*WIDTH, *QUOTING},  # fields hold blanks, unquoted
    "file_escape_char": {*WIDTH, *QUOTING},
    "file_quotation_char": {*WIDTH, *QUOTING},
    "file_preamble": {*WIDTH, "empty_line"},
}


class Read(NamedTuple):
    """What came out of a file: its records, the line and reason of every reject, warnings; or why it was refused."""

    rows: Sequence[tuple[str, ...]] = ()
    rejects: Sequence[tuple[int, str]] = ()
    warnings: Sequence[str] = ()
    refused: str = ""


class Polluted(NamedTuple):
    """A file, the names of its columns, its records without pollution, and its dialect."""

    path: Path
    names: Sequence[str]
    clean: Sequence[tuple[str, ...]]
    dialect: Mapping[str, Any]

    @property
    def above(self) -> int:
        """Lines before the first record."""
        return int(self.dialect["preamble_lines"]) + int(self.dialect["header_lines"])


def load(folder: Path) -> list[Polluted]:
    """Return the files of a folder."""
    found = []
    for path in sorted((folder / "csv").iterdir()):
        parameters = folder / "parameters" / f"{path.name}_parameters.json"
        clean = folder / "clean" / path.name
        if not (parameters.exists() and clean.exists()):
            continue
        dialect = json.loads(parameters.read_text())
        with clean.open(encoding="utf-8-sig", newline="") as file:
            rows = [tuple(row) for row in csv.reader(file)]
        names = list(dialect["column_names"]) or [f"column{i}" for i in range(len(rows[0]) if rows else 1)]
        names = [n if n and names.count(n) == 1 else f"{n}_{i}" for i, n in enumerate(names)]
        found.append(Polluted(path, names, rows[bool(dialect["column_names"]) :], dialect))
    return found


def options_of(file: Polluted) -> list[str]:
    """Return the dialect of a file as options of Molino."""
    delimiter, quote, escape = (file.dialect[name] for name in ("delimiter", "quotechar", "escapechar"))
    given = ["--skip-lines", str(file.above), "--header", *file.names, "--encoding", file.dialect["encoding"]]
    given += ["--delimiter", delimiter] if delimiter else []
    given += [f"--quote={quote}"]
    return [*given, *(["--escape", escape] if escape not in ("", quote) else [])]


def read_with_molino(path: Path, names: Sequence[str], options: Sequence[str]) -> Read:
    """Read all columns of a file as a job does that has them."""
    columns = {f"c{place}": name for place, name in enumerate(names)}
    parser = Parser(prog="molino titles", description="")
    parser.add_run_options()
    parser.add_text_options(columns, encoding="utf-8", quote='"')
    args, _ = parser.parse_strictly(["--input", str(path), "--output", "out", "--allow-empty", *options])
    try:
        texts = text_input(args, [list_files(str(path))], text_format(args, columns))
        spans = split_sources(texts.sources, SPAN_BYTES, quoted=texts.text.framed)
        chunks = [[*read_span(span, texts.text, SPAN_BYTES)] for span in spans]
    except (DataError, OptionError) as error:
        return Read(refused=str(error))
    ends = [(span.number, sum(chunk.lines for chunk in held)) for span, held in zip(spans, chunks, strict=True)]
    table = line_table(ends, spans, texts.sources)
    rows, rejects = [], []
    for chunk in (chunk for held in chunks for chunk in held):
        rows += zip(*(chunk.rows[name].to_pylist() for name in columns), strict=True)
        _, lines = table.locate(chunk.rejects["position"])
        rejects += zip(lines.to_pylist(), chunk.rejects["reason"].to_pylist(), strict=True)
    counters = sum_counters(chunk.counters for held in chunks for chunk in held)
    warnings = [*texts.warnings, *(each for warn in texts.warn for each in warn(counters))]
    # whether a column is empty or holds numbers says nothing of how it was read
    return Read(rows, rejects, [str(each) for each in warnings if each.kind not in ("column.empty", "input.empty")])


def read_with_duckdb(path: Path, options: Mapping[str, Any]) -> Read:
    """Read a file as text with DuckDB, which is told to go on at a bad record and to keep it."""
    import duckdb

    given = {"store_rejects": True, **({} if "columns" in options else {"all_varchar": True}), **options}
    with duckdb.connect(config={"threads": 1}) as database:
        try:
            rows = database.read_csv(str(path), **given).fetchall()
            found = database.sql("select line, error_type from reject_errors").fetchall()
        except duckdb.Error as error:
            return Read(refused=str(error).partition("\n")[0])
    rows = [tuple("" if value is None else value for value in row) for row in rows]
    return Read(rows, [(line, reason) for line, reason in found])


def judge(file: Polluted, read: Read, *, own: bool = True) -> str:
    """Return the verdict on what came out of a file; `own` says that the reasons are Molino's."""
    if read.refused:
        return "refused"
    if list(read.rows) == list(file.clean) and not read.rejects:
        return "right"
    less = Counter(read.rows) - Counter(file.clean)
    if read.rejects and not less and all(is_reason(file, line, reason, own=own) for line, reason in read.rejects):
        return "rejected"
    return "told" if read.warnings or "header_line" in {reason for _, reason in read.rejects} else "wrong"


def is_reason(file: Polluted, line: int, reason: str, *, own: bool) -> bool:
    """Return whether a record was rejected for what was done to it, where it was done."""
    name = file.path.name
    row = re.search(r"row_?(?:extra_quote|field_delimiter_|\w+_row)(\d+)_", name)
    where = not row or not int(row[1]) or line == int(row[1]) + 1
    expected = next((reasons for prefix, reasons in REASONS.items() if name.startswith(prefix)), set())
    return where and (not own or reason in expected)


PROGRAMS: Mapping[str, Callable[[Polluted], Read]] = {
    "molino by dialect": lambda file: read_with_molino(file.path, file.names, options_of(file)),
    "molino by itself": lambda file: read_with_molino(file.path, wanted(file), []),
    "duckdb by dialect": lambda file: read_with_duckdb(file.path, duckdb_options(file)),
    "duckdb by itself": lambda file: read_with_duckdb(file.path, {}),
}


def wanted(file: Polluted) -> Sequence[str]:
    """Return the columns that a job would name that knows how such files should be: those of source.csv."""
    source = file.path.with_name("source.csv")
    if not source.exists():
        return file.names
    with source.open(newline="") as opened:
        return next(csv.reader(opened))


def duckdb_options(file: Polluted) -> dict[str, Any]:
    """Return the dialect of a file as options of DuckDB."""
    dialect = file.dialect
    given = {name: dialect[name] for name in ("quotechar", "escapechar")} | {"delimiter": dialect["delimiter"] or ","}
    given |= {"skiprows": file.above, "header": False, "columns": dict.fromkeys(file.names, "VARCHAR")}
    return {**given, "auto_detect": False, "ignore_errors": True}


def main(arguments: Sequence[str]) -> None:
    """Read every file in every way, and print how often what came out."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("folder", type=Path, metavar="FOLDER", help="with csv, clean and parameters")
    made.add_argument("--only", default=",".join(PROGRAMS), metavar="A,B", help="default: %(default)s")
    made.add_argument("--list", action="store_true", help="also print every file that is neither right nor rejected")
    given = made.parse_args(arguments)
    files = load(given.folder)
    if not files:
        made.error(f"{given.folder} has no csv/, clean/ and parameters/ of the same names")
    header = ["read by", *VERDICTS]
    table = []
    for name in given.only.split(","):
        counts: Counter[str] = Counter()
        for file in files:
            read = PROGRAMS[name](file)
            verdict = judge(file, read, own=name.startswith("molino"))
            counts[verdict] += 1
            if given.list and verdict not in VERDICTS[:2]:
                told = read.refused or "; ".join(read.warnings) or f"{len(read.rows)} rows, rejects {read.rejects[:3]}"
                print(f"{name}: {verdict}: {file.path.name}: {told[:300]}", file=sys.stderr)
        table.append([name, *(f"{counts[verdict]:,}" for verdict in VERDICTS)])
    print("\n".join([f"{len(files):,} files", "", *harness.markdown_table([header, *table], text={0})]))


if __name__ == "__main__":
    main(sys.argv[1:])
