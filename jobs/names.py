"""One row per person (CURP) from delimited payroll files, and how many people bear each surname and given name.

Of several rows with one CURP the first counts, in the order of files and lines; rows that disagree are listed in
conflicts/. Rows that cannot be read are listed in rejects/ with file, line and reason.

examples:
  molino sample names --output demo/sep.txt
  molino names --input demo/sep.txt --output demo/names
  molino names --input 'gs://bucket/sep/*.zip' --output gs://bucket/names --runner DataflowRunner \\
      --project P --region R --temp_location gs://bucket/tmp
"""

import argparse
import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from molino.jobs.job import Example, Job, Plan, SampleInput, TextOptions
from molino.jobs.options import Parser, format_rejects, natural, place, positive, read_options, text_format, whole, year
from molino.transforms.errors import OptionError
from molino.transforms.warnings import many

if TYPE_CHECKING:
    import apache_beam as beam

    from molino.jobs.run.runs import Run
    from molino.transforms.files.list_files import Listing
    from molino.transforms.files.secret_key import SecretKey
    from molino.transforms.text.sources import Source

COLUMNS = {
    "curp": "CURP",
    "primer_apellido": "PRIMERAPELLIDO",
    "segundo_apellido": "SEGUNDOAPELLIDO",
    "nombre": "NOMBRESTRABAJADOR",
}
JUNK = ["NULL", "", "-", ".", "0", "/", "\\", "_", "\\N"]
BLOCK_BYTES = 8 << 20  # of input a block, the unit of an output's order
KEY_VARIABLE = "MOLINO_CURP_KEY"

CURPS = {"keep": ", and their CURPs", "hash": ", and keyed hashes of their CURPs", "drop": ""}


@dataclasses.dataclass(frozen=True, kw_only=True)
class NamesOptions(TextOptions):
    """What the job does with the rows; `reject_invalid` is --invalid-curp."""

    reference_year: int
    century: bool
    min_count: int
    junk: tuple[str, ...]
    reject_invalid: bool
    missing: str
    repair: bool
    curp: str
    csv: str


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(prog="molino names", description=__doc__)
    made.add_run_options()
    made.add_text_options(COLUMNS, encoding="latin-1", quote="")
    rows = made.add_argument_group("people and names")
    rows.option("--reference-year", "Y", year, "year of the ages (default 2012)", 2012)
    rows.switch(
        "--century-from-curp",
        "take the century of birth from the CURP's character 17; else all were born in the 1900s",
        dest="century",
    )
    rows.option("--min-count", "N", positive, "names of fewer people are left out of the tables", 5)
    rows.option(
        "--junk",
        "VALUE",
        str,
        "values that are no names (default: NULL, \\N, empty or blank, - . 0 / \\ _)",
        default=JUNK,
        nargs="*",
    )
    rows.choice(
        "--missing-curp",
        ("one", "each", "reject"),
        "rows whose CURP is empty, a placeholder or invalid: those of one value are one person (default, the "
        "lower bound), each is a person (the upper bound), or rejects",
        dest="missing",
    )
    rows.choice(
        "--invalid-curp",
        ("keep", "reject"),
        "what to do with rows whose CURP has a wrong format or check digit (default keep; counted)",
    )
    rows.switch(
        "--repair-names",
        "add tables that merge broken spellings of Ñ where the data proves them one name",
        dest="repair",
    )
    rows.choice(
        "--curp",
        ("keep", "hash", "drop"),
        f"what the output shows of CURPs; hash needs --curp-key-file or ${KEY_VARIABLE}",
    )
    rows.add_csv()
    rows.option(
        "--curp-key-file",
        "FILE",
        place,
        "file with the secret key of the hashes; workers read it themselves: for a cluster gs://, s3:// or hdfs://",
    )
    return made


def plan(args: argparse.Namespace, inputs: Sequence["Listing"]) -> Plan:
    """Look at the inputs and return what the run will do."""
    from molino.jobs.run.text_input import text_input
    from molino.schemas.names import APELLIDOS, CONFLICTS, NOMBRES, PEOPLE, REPAIRS
    from molino.schemas.rejects import REJECTS
    from molino.transforms.names.doubts import warn_of_names

    # a null CURP is a reject, unless each row without one is a person; of a name it is an empty one
    blank = tuple(name for name in COLUMNS if name != "curp" or args.missing == "each")
    text = dataclasses.replace(text_format(args, COLUMNS), blank=blank)
    key = curp_key(args)
    names = [name for name in COLUMNS if name != "curp"]
    texts = text_input(args, inputs, text, words=names, loose=["curp"], block_bytes=BLOCK_BYTES)
    facts = {"text": texts.text, "shards": texts.shards, "blocks": texts.blocks, "junk": tuple(args.junk)}
    options = read_options(NamesOptions, args, reject_invalid=args.invalid_curp == "reject", **facts)
    datasets = {"people": PEOPLE, "conflicts": CONFLICTS, "rejects": REJECTS}
    for suffix in ("", "_repaired") if options.repair else ("",):
        datasets |= {f"apellidos{suffix}": APELLIDOS, f"hombres{suffix}": NOMBRES, f"mujeres{suffix}": NOMBRES}
    if options.repair:
        datasets["repairs"] = REPAIRS
    told = {name: getattr(options, name) for name in ("missing", "century", "reference_year", "min_count")}
    return texts.plan(
        amount={"dataset": "people"},
        job="names",
        options=dataclasses.asdict(options) | {"junk": args.junk} | ({"curp_key": key.mark} if key else {}),
        datasets=datasets,
        balance=("rows_read", ("people", "duplicates", "rejects")),
        counted=tuple(datasets),
        build=functools.partial(build, options=options, key=key),
        warn=[functools.partial(warn_of_names, **told)],
        personal=f"names, sex and age of people{CURPS[options.curp]}",
        here_only=describe_local_key(key),
    )


def curp_key(args: argparse.Namespace) -> "SecretKey | None":
    """Return the secret key of the hashes, from the file or the environment; None when CURPs are not hashed."""
    from molino.transforms.files import storage
    from molino.transforms.files.secret_key import SHORTEST, find_key

    path = args.curp_key_file or ""
    if args.curp != "hash":
        if path:
            raise OptionError("--curp-key-file needs --curp hash")
        return None
    key = find_key(os.path.abspath(path) if path and storage.is_local(path) else path, KEY_VARIABLE)
    if key is None:
        raise OptionError(
            f"--curp hash needs a secret key of at least {SHORTEST} bytes, from --curp-key-file or {KEY_VARIABLE}; "
            "make one with: openssl rand -hex 32"
        )
    return key


def describe_local_key(key: "SecretKey | None") -> list[str]:
    """Return what to tell a user whose workers are on other machines and whose key is on this one."""
    from molino.transforms.files import storage

    if key is None or (key.path and not storage.is_local(key.path)):
        return []
    where = f"in {key.path}" if key.path else f"in the variable {KEY_VARIABLE}"
    return [
        f"the key of --curp hash is {where}, on this machine, and never sent: workers read it themselves; put it where "
        "only they and you can read it, for example --curp-key-file gs://bucket/curp-key"
    ]


def build(
    pipeline: "beam.Pipeline",
    run: "Run",
    *,
    options: NamesOptions,
    key: "SecretKey | None",
    sources: Sequence["Source"],
    span_bytes: int,
) -> None:
    """Add the job to a pipeline."""
    import apache_beam as beam

    from molino.jobs.run.publish import Publish
    from molino.schemas.names import CONFLICTS, PEOPLE
    from molino.schemas.rejects import REJECTS
    from molino.transforms.names.count import CountNames, count_births, sum_births
    from molino.transforms.names.people import LAYOUTS, FindPeople, finish_conflicts, finish_people
    from molino.transforms.names.report import write_tables
    from molino.transforms.parquet.views import WriteViews
    from molino.transforms.parquet.write import WriteParquet
    from molino.transforms.rows.gather import Gather

    distinct = pipeline | "People" >> FindPeople(
        sources=sources,
        text=options.text,
        span_bytes=span_bytes,
        reject_invalid=options.reject_invalid,
        missing=options.missing,
        mask=options.curp != "keep",
        blocks=options.blocks,
        shards=options.shards,
        spill=run.spill,
        reference_year=options.reference_year,
        century=options.century,
    )
    tables = distinct.people | "CountNames" >> CountNames(
        conflicts=distinct.conflicts,
        min_count=options.min_count,
        junk=options.junk,
        repair=options.repair,
        partitions=max(1, options.blocks // 16),
        spill=run.spill,
    )
    births = distinct.people | "CountBirths" >> beam.Map(count_births) | "Births" >> Gather(into=sum_births)
    views = WriteViews(call=write_tables, run=run, counters=distinct.counters, singletons={"births": births})
    staged = tables | "Tables" >> views
    curps = {"lines": beam.pvalue.AsSingleton(distinct.lines), "mode": options.curp, "key": key}
    people = distinct.people | "FinishPeople" >> beam.Map(finish_people, **curps, each=options.missing == "each")
    conflicts = distinct.conflicts | "FinishConflicts" >> beam.Map(finish_conflicts, **curps)
    write = functools.partial(WriteParquet, folder=run.staging)
    files = [
        people | "WritePeople" >> write(schema=PEOPLE, dataset="people", layout=LAYOUTS["people"]),
        conflicts | "WriteConflicts" >> write(schema=CONFLICTS, dataset="conflicts", layout=LAYOUTS["conflicts"]),
        distinct.rejects | "WriteRejects" >> write(schema=REJECTS, dataset="rejects"),
    ]
    [*files, staged.files] | "Files" >> beam.Flatten() | "Publish" >> Publish(run=run, counters=staged.counters)


def summarize(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the lines of the summary: what was read, and what became of it."""
    counters, datasets = manifest["counters"], manifest["datasets"]
    lines = [
        ("rows read", f"{counters.get('rows_read', 0):,}"),
        ("people", f"{counters.get('people', 0):,}"),
        ("duplicates", f"{counters.get('duplicates', 0):,}, of which {counters.get('conflicts', 0):,} disagree"),
        ("rejects", format_rejects(counters)),
    ]
    surnames, men, women = (datasets[table]["rows"] for table in ("apellidos", "hombres", "mujeres"))
    rare = sum(counters.get(f"rare.{table}", 0) for table in ("apellidos", "hombres", "mujeres"))
    left_out = f"left out: {rare:,} of fewer than {manifest['options']['min_count']:,} people"
    lines.append(("names", f"{surnames:,} surnames, {men:,} men's, {women:,} women's; {left_out}"))
    wrong = f"{counters.get('curp.format', 0):,} of a wrong form, {counters.get('curp.check_digit', 0):,} check digits"
    missing = ", ".join(f"{counters.get(f'curp.{kind}', 0):,} {kind}" for kind in ("empty", "placeholder", "invalid"))
    lines.append(("CURPs", f"{missing}; {wrong}"))
    unknown = counters.get("birth_year.unknown", 0) + counters.get("age.negative", 0)
    old = counters.get("age.over_100", 0)
    century = "of character 17" if manifest["options"]["century"] else "1900s for everyone"
    ages = f"in {manifest['options']['reference_year']}; century {century}; {old:,} over 100, {unknown:,} unknown"
    lines.append(("ages", f"{ages}; sex X {counters.get('sex.x', 0):,}"))
    if "repairs" in datasets:
        lines.append(("repairs", f"{datasets['repairs']['rows']:,} spellings looked at"))
    return lines


def add_sample_options(parser: Parser) -> None:
    """Add the options of `molino sample names`."""
    parser.option("--output", "FILE", place, "file to write", required=True)
    parser.option("--rows", "N", whole(1, 1_000_000_000), "rows", 1_256_438)
    parser.option("--seed", "N", natural, "of the random numbers (default 2012)", 2012)
    parser.option("--files", "N", positive, "split into FILE-00000-of-0000N", default=1)
    parser.switch("--hostile", "add rows that a job must reject")


def write_sample(args: argparse.Namespace) -> str:
    """Write made-up input and return a line for the user."""
    from molino.transforms.names.sample import sample_names

    wrote = sample_names(args.output, rows=args.rows, seed=args.seed, files=args.files, hostile=args.hostile)
    hostile = f"; {sum(wrote['hostile'].values()):,} hostile rows besides" if args.hostile else ""
    files = wrote["files"]
    shown = files[0] if len(files) == 1 else f"{files[0]} to {files[-1]}"
    return f"{wrote['rows']:,} rows of {wrote['people']:,} people in {many(len(files), 'file')}: {shown}{hostile}"


def sample_paths(args: argparse.Namespace) -> list[str]:
    """Return the files that a sample would be written to. OptionError: there cannot be so many files."""
    from molino.transforms.names.sample import target_files

    if args.files > args.rows:
        raise OptionError(f"--files {args.files:,} is more than --rows {args.rows:,}")
    return [str(path) for path in target_files(args.output, args.files)]


JOB = Job(
    name="names",
    about="people, surnames and given names from payroll files",
    parser=parser,
    plan=plan,
    summarize=summarize,
    sample=SampleInput(
        about='a payroll file like the one of SEP, 2012: latin-1, "|" between fields',
        examples=[
            "molino sample names --output demo/sep.txt",
            "molino sample names --output demo/small.txt --rows 10000 --seed 7 --hostile",
        ],
        add_options=add_sample_options,
        write=write_sample,
        paths=sample_paths,
    ),
    example=Example(inputs=["sample names --rows 20000 --output in.txt"], options="--input in.txt"),
)
