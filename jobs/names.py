"""The names job: from payroll rows to one row per person and the tables of surnames and given names."""

import argparse
import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from molino.jobs.forecast.sizes import text_size
from molino.jobs.options import (
    Parser,
    add_run_options,
    add_text_options,
    place,
    positive,
    tell_rejects,
    text_format,
    year,
)

# Beam, Arrow and the transforms are imported when a run starts: `--help` must not wait for them.
if TYPE_CHECKING:
    import apache_beam as beam

    from molino.jobs.run.runs import Plan, Run
    from molino.transforms.files.secret_key import SecretKey
    from molino.transforms.files.storage import FileInfo
    from molino.transforms.text.sources import Source, TextFormat

JOB = "names"
COLUMNS = {
    "curp": "CURP",
    "primer_apellido": "PRIMERAPELLIDO",
    "segundo_apellido": "SEGUNDOAPELLIDO",
    "nombre": "NOMBRESTRABAJADOR",
}
JUNK = ["NULL", "", "-", ".", "0", "/", "\\", "_", "\\N"]
BLOCK_BYTES = 8 << 20  # of input a block, the unit of an output's order
KEY_VARIABLE = "MOLINO_CURP_KEY"

DESCRIPTION = """
One row per person (CURP) from delimited payroll files, and how many people bear each surname and given name.

Of a CURP that stands in several rows the first counts, in the order of file names and lines; rows that disagree are
listed in conflicts/. Rows that cannot be read are listed in rejects/ with file, line and reason.
"""
EPILOG = """
examples:
  molino sample names --output demo/sep.txt
  molino names --input demo/sep.txt --output demo/names
  molino names --input 'gs://bucket/sep/*.zip' --output gs://bucket/names --runner DataflowRunner \\
      --project P --region R --temp_location gs://bucket/tmp

Every option of Beam and of its runners may be added; an option that neither knows is an error.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What the job does with the rows. All of it is part of a run's identity.

    Attributes:
      text: format of the input.
      reference_year: ages are as of this year.
      century: take a birth's century from character 17 of the CURP.
      min_count: a name borne by fewer people is in no table.
      junk: values that are no names.
      reject_invalid: send rows with a wrong CURP to the rejects.
      missing: what rows without a valid CURP are: one person for each value, a person each, or rejects.
      repair: add tables in which broken spellings of Ñ are merged.
      curp: what the output shows of CURPs: keep, hash or drop.
      shards: files of the people.
      blocks: blocks of the people.
    """

    text: "TextFormat"
    reference_year: int
    century: bool
    min_count: int
    junk: tuple[str, ...]
    reject_invalid: bool
    missing: str
    repair: bool
    curp: str
    shards: int
    blocks: int


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(prog="molino names", description=DESCRIPTION, epilog=EPILOG)
    add_run_options(made)
    add_text_options(made, COLUMNS, delimiter="|", encoding="latin-1", quote="")
    rows = made.add_argument_group("people and names")
    rows.add_argument("--reference-year", type=year, default=2012, metavar="Y", help="ages are as of it (default 2012)")
    rows.add_argument(
        "--century-from-curp",
        action="store_true",
        help="take the century of birth from the CURP's character 17; else all were born in the 1900s",
    )
    rows.add_argument(
        "--min-count",
        type=positive,
        default=5,
        metavar="N",
        help="names of fewer people are left out of the tables (default 5)",
    )
    rows.add_argument(
        "--junk",
        nargs="*",
        default=JUNK,
        metavar="VALUE",
        help="values that are no names (default: NULL, \\N, empty or blank, - . 0 / \\ _)",
    )
    rows.add_argument(
        "--missing-curp",
        choices=("one", "each", "reject"),
        default="one",
        help="rows whose CURP is empty, a placeholder or invalid: those of one value are one person (default, the "
        "lower bound), each is a person (the upper bound), or rejects",
    )
    rows.add_argument(
        "--invalid-curp",
        choices=("keep", "reject"),
        default="keep",
        help="what to do with rows whose CURP has a wrong format or check digit (default keep; counted)",
    )
    rows.add_argument(
        "--repair-names",
        action="store_true",
        help="add tables that merge broken spellings of Ñ where the data proves them one name",
    )
    rows.add_argument(
        "--curp",
        choices=("keep", "hash", "drop"),
        default="keep",
        help=f"what the output shows of CURPs; hash needs --curp-key-file or ${KEY_VARIABLE}",
    )
    rows.add_argument(
        "--curp-key-file",
        type=place,
        metavar="FILE",
        help="file with the secret key of the hashes; workers read it themselves: for a cluster gs://, s3:// or hdfs://",
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    from molino.jobs.run.command import run_command

    return run_command(parser(), plan, summarize, arguments)


def plan(given: argparse.Namespace, files: Sequence["FileInfo"]) -> "Plan":
    """Look at the inputs and return what the run will do.

    Raises:
      OptionError: an option's value cannot be used.
      DataError: an input is not delimited text with the wanted columns, or all are empty.
    """
    from molino.jobs.run.output import cut
    from molino.jobs.run.runs import Plan
    from molino.jobs.run.text_input import text_input
    from molino.schemas.names import APELLIDOS, CONFLICTS, NOMBRES, PEOPLE, REPAIRS
    from molino.schemas.rejects import REJECTS
    from molino.transforms.names.doubts import warn_of_names

    # a null CURP is a reject, unless each row without one is a person; of a name it is an empty one
    blank = tuple(name for name in COLUMNS if name != "curp" or given.missing_curp == "each")
    text = dataclasses.replace(text_format(given, COLUMNS), blank=blank)
    key = curp_key(given)
    texts = text_input(given, files, text, words=[name for name in COLUMNS if name != "curp"], loose=["curp"])
    blocks, shards, few = cut(texts.bytes, block_bytes=BLOCK_BYTES, asked=given.shards)
    options = make_options(given, text, blocks, shards)
    datasets = {"people": PEOPLE, "conflicts": CONFLICTS, "rejects": REJECTS}
    for suffix in ("", "_repaired") if options.repair else ("",):
        datasets |= {f"apellidos{suffix}": APELLIDOS, f"hombres{suffix}": NOMBRES, f"mujeres{suffix}": NOMBRES}
    if options.repair:
        datasets["repairs"] = REPAIRS
    return Plan(
        job=JOB,
        options=shown_options(options, key),
        datasets=datasets,
        balance=("rows_read", ("people", "duplicates", "rejects")),
        counted=tuple(datasets),
        build=functools.partial(build, options=options, key=key, sources=texts.sources, span_bytes=given.span_bytes),
        warnings=[*texts.warnings, *few],
        warn=[
            *texts.warn,
            functools.partial(
                warn_of_names, missing=options.missing, century=options.century, reference_year=options.reference_year
            ),
        ],
        seen=texts.seen,
        total_bytes=texts.bytes,
        size=functools.partial(
            text_size, texts.sources, texts.heads, text, dataset="people", span_bytes=given.span_bytes, shards=shards
        ),
        here_only=key_here(key),
    )


def make_options(given: argparse.Namespace, text: "TextFormat", blocks: int, shards: int) -> Options:
    """Return the options."""
    return Options(
        text=text,
        reference_year=given.reference_year,
        century=given.century_from_curp,
        min_count=given.min_count,
        junk=tuple(given.junk),
        reject_invalid=given.invalid_curp == "reject",
        missing=given.missing_curp,
        repair=given.repair_names,
        curp=given.curp,
        shards=shards,
        blocks=blocks,
    )


def shown_options(options: Options, key: "SecretKey | None") -> dict[str, Any]:
    """Return the options as the manifest holds them."""
    shown = dataclasses.asdict(options)
    shown["junk"] = list(options.junk)
    if key:
        shown["curp_key"] = key.mark
    return shown


def curp_key(given: argparse.Namespace) -> "SecretKey | None":
    """Return the secret key of the hashes, from the file or the environment; None when CURPs are not hashed."""
    from molino.transforms.errors import OptionError
    from molino.transforms.files import storage
    from molino.transforms.files.secret_key import SHORTEST, find_key

    path = given.curp_key_file or ""
    if given.curp != "hash":
        if path:
            raise OptionError("--curp-key-file is of no use without --curp hash")
        return None
    key = find_key(os.path.abspath(path) if path and storage.is_local(path) else path, KEY_VARIABLE)
    if key is None:
        raise OptionError(
            f"--curp hash needs a secret key of at least {SHORTEST} bytes, from --curp-key-file or {KEY_VARIABLE}; "
            "make one with: openssl rand -hex 32"
        )
    return key


def key_here(key: "SecretKey | None") -> list[str]:
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
    options: Options,
    key: "SecretKey | None",
    sources: Sequence["Source"],
    span_bytes: int,
) -> None:
    """Add the job to a pipeline."""
    import apache_beam as beam
    import pyarrow as pa

    from molino.jobs.run.publish import Publish
    from molino.schemas.names import CONFLICTS, PEOPLE
    from molino.schemas.rejects import REJECTS
    from molino.transforms.names import people as people_
    from molino.transforms.names.count import CountNames, GatherBirths
    from molino.transforms.names.curp import VerifyCurp, key_missing
    from molino.transforms.names.views import write_tables
    from molino.transforms.parquet.views import WriteViews
    from molino.transforms.parquet.write import WriteParquet
    from molino.transforms.rows.keep_first import KeepFirstPerKey
    from molino.transforms.rows.partition import PartitionRows
    from molino.transforms.text.position import POSITION, locate_sightings
    from molino.transforms.text.read import GatherRejects, ReadDelimited

    def write(dataset: str, schema: Any, **how: Any) -> WriteParquet:
        return WriteParquet(schema=schema, folder=run.staging, dataset=dataset, **how)

    read = pipeline | "Read" >> ReadDelimited(sources=sources, text=options.text, span_bytes=span_bytes)
    lines = beam.pvalue.AsSingleton(read.lines)
    verified = read.rows | "Verify" >> VerifyCurp(
        reject_invalid=options.reject_invalid, missing=options.missing, mask=options.curp != "keep"
    )
    rejects = (read.rejects, verified.rejects) | "AllRejects" >> beam.Flatten()
    rejected = rejects | "Rejects" >> GatherRejects(lines=read.lines)
    rows = verified.rows
    if options.missing == "each":
        keyed = verified.missing | "KeyMissing" >> beam.Map(key_missing, lines=lines).with_output_types(pa.RecordBatch)
        rows = (rows, keyed) | "AllRows" >> beam.Flatten()
    kept = (
        rows
        | "ByCurp"
        >> PartitionRows(
            key=people_.curp_of,
            schema=options.text.schema,
            blocks=options.blocks,
            shards=options.shards,
            order_by=POSITION,
            spill=run.spill,
        )
        | "KeepFirst" >> KeepFirstPerKey(key="curp", compare=people_.NAMES, kept_counter="people")
    )
    people = kept.kept | "Describe" >> people_.DescribePeople(
        reference_year=options.reference_year, century=options.century
    )
    shown = {"lines": lines, "mode": options.curp, "key": key}
    files = [
        people.people
        | "FinishPeople" >> beam.Map(people_.finish_people, **shown, each=options.missing == "each")
        | "People" >> write("people", PEOPLE, plain=["curp"], encodings={"line": "DELTA_BINARY_PACKED"}),
        kept.conflicts
        | "FinishConflicts" >> beam.Map(people_.finish_conflicts, **shown)
        | "Conflicts" >> write("conflicts", CONFLICTS, plain=["curp"]),
        rejected.shards | "Rejected" >> write("rejects", REJECTS),
    ]
    shared = kept.conflicts | "CountShared" >> beam.Map(people_.count_shared)
    counters = (
        read.counters,
        (verified.counters, shared) | "Sighted" >> beam.Flatten() | "Locate" >> beam.Map(locate_sightings, lines=lines),
        rejected.counters,
        kept.counters,
        people.counters,
    ) | "Counters" >> beam.Flatten()
    tables = people.people | "CountNames" >> CountNames(
        conflicts=kept.conflicts,
        min_count=options.min_count,
        junk=options.junk,
        repair=options.repair,
        partitions=max(1, options.blocks // 16),
        spill=run.spill,
    )
    births = people.people | "Births" >> GatherBirths()
    staged = tables | "Tables" >> WriteViews(
        call=write_tables, run=run, counters=counters, arguments={"births": beam.pvalue.AsSingleton(births)}
    )
    everything = (counters, staged.counters) | "AllCounters" >> beam.Flatten()
    [*files, staged.files] | "Files" >> beam.Flatten() | "Publish" >> Publish(run=run, counters=everything)


def summarize(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the lines of the summary: what was read, and what became of it."""
    counters, datasets = manifest["counters"], manifest["datasets"]
    lines = [
        ("rows read", f"{counters.get('rows_read', 0):,}"),
        ("people", f"{counters.get('people', 0):,}"),
        ("duplicates", f"{counters.get('duplicates', 0):,}, of which {counters.get('conflicts', 0):,} disagree"),
        ("rejects", tell_rejects(counters)),
    ]
    lines += [
        (
            "names",
            f"{datasets['apellidos']['rows']:,} surnames, {datasets['hombres']['rows']:,} men's, "
            f"{datasets['mujeres']['rows']:,} women's",
        )
    ]
    wrong = f"{counters.get('curp.format', 0):,} of a wrong form, {counters.get('curp.check_digit', 0):,} check digits"
    missing = ", ".join(f"{counters.get(f'curp.{kind}', 0):,} {kind}" for kind in ("empty", "placeholder", "invalid"))
    lines.append(("CURPs", f"{missing}; {wrong}"))
    unknown = counters.get("birth_year.unknown", 0) + counters.get("age.negative", 0)
    century = "of character 17" if manifest["options"]["century"] else "1900s for everyone"
    lines.append(
        (
            "ages",
            f"in {manifest['options']['reference_year']}; century {century}; {counters.get('age.over_100', 0):,} over "
            f"100, {unknown:,} unknown; sex X {counters.get('sex.x', 0):,}",
        )
    )
    if "repairs" in datasets:
        lines.append(("repairs", f"{datasets['repairs']['rows']:,} spellings looked at"))
    return lines
