"""Vectors rotated to their principal components, with all other columns carried: a column of lists in Parquet, or
columns of numbers in Parquet or CSV.

Without centring a rotation keeps every cosine and magnitude. The error of fewer components is measured on a sample.
Rows whose vectors cannot be used are listed in rejects/.

examples:
  molino pca --input points.csv --column x y --output out
  molino pca --input flowers.csv.gz --column width length --keep id --center --output out
  molino pca --input demo/titles --column small --output demo/pca
  molino pca --input demo/titles --column small --output few --max-cosine-error 0.01 --label-column title
  molino pca --input 'vectors-*.parquet' --column vector --output out --components 32 --vector-type float16
"""

import argparse
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from molino.jobs.job import Example, Job, Plan, SampleInput
from molino.jobs.options import (
    SAME,
    Parser,
    fitting,
    format_rejects,
    natural,
    place,
    positive,
    read_options,
    text_format,
)
from molino.transforms.errors import DataError, OptionError
from molino.transforms.warnings import DataWarning, example_of

if TYPE_CHECKING:
    import apache_beam as beam

    from molino.jobs.forecast.estimate import Size
    from molino.jobs.run.runs import Run
    from molino.transforms.files.list_files import Listing
    from molino.transforms.files.storage import FileInfo
    from molino.transforms.pca.read_vectors import VectorColumns, Vectors
    from molino.transforms.pca.rotate import Rotation

ZEROS_TOLD = 0.01  # of the vectors: if more are all zeros, that is told
TEXT_OPTIONS = (*SAME, "escape", "members")
VECTOR_TYPES = ("float16", "float32", "float64")
error_limit = fitting(float, "above 0 and at most 2", lambda number: 0 < number <= 2, "error_limit")


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(prog="molino pca", description=__doc__)
    inputs = "folder of a finished run, or files, folders or globs: Parquet or delimited text, packed too"
    made.add_run_options(inputs=f"{inputs}; also gs://, s3://", shuffles=False)
    made.add_text_options({}, encoding="utf-8", quote='"')
    vectors = made.add_argument_group("vectors")
    about = "column of vectors (lists of numbers), or columns of one number each"
    vectors.option("--column", "NAME", str, about, nargs="+", required=True)
    carried = vectors.add_mutually_exclusive_group()
    about = "carry only these columns (default: all but --column)"
    carried.add_argument("--keep", nargs="+", default=(), metavar="NAME", help=about)
    carried.add_argument("--drop", nargs="+", default=(), metavar="NAME", help="carry all columns but these")
    vectors.option(
        "--numbers", "N", positive, "length of a vector (default: the commonest in a sample); others: rejects"
    )
    kept = vectors.add_mutually_exclusive_group()
    kept.add_argument("--components", type=positive, metavar="K", help="write the first K (default: all)")
    about = "write the fewest whose mean cosine error over the sampled pairs is at most E"
    kept.add_argument("--max-cosine-error", type=error_limit, metavar="E", help=about)
    vectors.switch("--center", "subtract the mean, as is usual elsewhere; cosines are not kept")
    vectors.choice("--vector-type", VECTOR_TYPES, "of the rotated vectors (default: that of the column)", default=None)
    sample = made.add_argument_group("sample")
    about = "another column of vectors: compare cosines and neighbours with its own too"
    sample.option("--against", "COLUMN", str, about)
    sample.option("--label-column", "NAME", str, "what the report calls a row (default: its number)")
    sample.option("--seed", "N", natural, "of the sample", 1)
    return made


def list_inputs(args: argparse.Namespace) -> list["Listing"]:
    """Return the Parquet files that paths, globs, folders and runs name; of a run those that hold the column."""
    from molino.jobs.run import inputs
    from molino.transforms.files import storage
    from molino.transforms.manifest import MANIFEST

    listings: list[Listing] = []
    for path in dict.fromkeys(args.input):
        if not path.endswith(".parquet") and storage.exists(storage.join(path, MANIFEST)):
            listings.append(list_run(path, args.column[0]))
        else:
            listings += inputs.find_inputs([path], follow_links=args.follow_links)
    return listings


def list_run(folder: str, column: str) -> "Listing":
    """Return the files of the one data set of a finished run that holds a column; DataError where there is none."""
    from molino.jobs.run.output import read_finished
    from molino.transforms.files import list_files, storage
    from molino.transforms.pca import numbers, read_vectors

    root = storage.folder(folder)
    manifest = read_finished(root)
    if manifest is None:
        raise DataError(f"{folder} is no finished run: a commit is under way or was cut short; wait, or repeat it")

    def listed(file: dict[str, Any]) -> "FileInfo":
        path = storage.join(root, file["path"])
        info = storage.look(path)
        if info is None or info.bytes != file["bytes"]:
            raise DataError(f"{path} is not what the run wrote; molino verify {folder} lists every fault")
        return info

    holding, vectors = [], []
    for name, dataset in manifest["datasets"].items():
        for file in dataset["files"][:1]:
            schema = read_vectors.read_schema(listed(file).path)
            vectors += [one.name for one in schema if numbers.is_vectors(one.type)]
            if column in schema.names:
                holding.append(name)
    if len(holding) != 1:
        what = f"{' and '.join(holding) or 'no data set'} of {folder} has a column {column!r}"
        raise DataError(f"{what}; its vectors: {', '.join(vectors) or 'none'}; of several name the files of one")
    files = [listed(file) for file in manifest["datasets"][holding[0]]["files"]]
    return list_files.Listing(path=root, root=storage.join(root, ""), files=files, skipped={}, is_open=False)


def plan(args: argparse.Namespace, inputs: Sequence["Listing"]) -> Plan:
    """Look at the footers of the files, count the records of texts, and return what the run will do."""
    from molino.jobs.run import inputs as run_inputs
    from molino.jobs.run import text_input
    from molino.schemas import pca as schemas
    from molino.schemas import rejects
    from molino.transforms.pca import cosine_errors, read_vectors, rotate

    files = run_inputs.input_files(inputs)
    columns = choose_columns(args)
    text, texts = text_format(args, {}), None
    if read_vectors.is_parquet(files[0].path):
        vectors = read_vectors.list_vectors(files, columns, args.numbers)
    else:
        texts = text_input.text_input(args, inputs, text)
        text = texts.text
        vectors = read_vectors.list_text_vectors(texts.sources, text, columns, args.command)
    if not vectors.rows and not args.allow_empty:
        raise DataError(f"no input holds any rows ({files[0].path}); check --input, or add --allow-empty")
    if args.components and args.components > vectors.numbers:
        what = f"the vectors of {' '.join(args.column)} have {vectors.numbers} numbers"
        raise OptionError(f"--components {args.components}: {what}")
    if args.against is not None:
        vectors.numbers_of(args.against)
    own = str(vectors.type).replace("halffloat", "float16").replace("double", "float64")
    own = {"float": "float32"}.get(own, own)
    vector_type = args.vector_type or (own if own in VECTOR_TYPES else "float64")
    how = read_options(rotate.Rotation, args, vector_type=vector_type, label=args.label_column)
    options = {**{name: list(getattr(args, name)) for name in ("column", "keep", "drop")}, "numbers": vectors.numbers}
    options |= dataclasses.asdict(how) | ({name: getattr(text, name) for name in TEXT_OPTIONS} if texts else {})
    datasets = {name: getattr(schemas, name.upper()) for name in ("vectors", "components", "center", "errors")}
    return Plan(
        job="pca",
        options=options,
        datasets={**datasets, "rejects": rejects.REJECTS},
        balance=("rows_read", ("vectors", "rejects")),
        counted=("vectors", "rejects"),
        build=functools.partial(build, vectors=vectors, rotation=how, sample=cosine_errors.SAMPLE_ROWS),
        total_bytes=vectors.bytes,
        warnings=[*(texts.warnings if texts else ())],
        warn=[warn_of_vectors, *(texts.warn if texts else ())],
        findings=texts.findings if texts else (),
        stages={"read": "1/2 adding up", "write": "2/2 rotating"},
        size=functools.partial(pca_size, vectors, rotation=how, file_bytes=sum(file.bytes for file in files)),
    )


def choose_columns(args: argparse.Namespace) -> "VectorColumns":
    """Return what the options say of columns; OptionError where one is named twice, or dropped and used."""
    from molino.transforms.pca.read_vectors import VectorColumns

    for name in args.column:
        if args.column.count(name) > 1:
            raise OptionError(f"--column has {name!r} twice; name it once")
        if name in args.drop:
            raise OptionError(f"--drop {name}: it is a --column; leave it out of --drop")
    others = tuple(name for name in (args.label_column, args.against) if name is not None)
    return VectorColumns(vector=tuple(args.column), others=others, keep=tuple(args.keep), drop=tuple(args.drop))


def warn_of_vectors(counters: Mapping[str, int]) -> list:
    """Return what is doubtful about the components: those that no vector has, and many vectors of zeros."""
    vectors, spanned = counters.get("vectors", 0), counters.get("_spanned", 0)
    empty, zeros = counters.get("components", 0) - spanned, counters.get("_zeros", 0)
    found = []
    if vectors and empty > 0:
        told = f"components without any variance, whose axes are arbitrary: {empty:,}, from {spanned + 1} on"
        remedy = f"--components {spanned} leaves them out" if spanned else "all vectors are the same: look at the input"
        found.append(DataWarning("pca.no_variance", told, empty, remedy=remedy))
    if zeros > ZEROS_TOLD * vectors:
        told = f"vectors that are all zeros, and so have no cosine: {zeros:,} of {vectors:,}"
        found.append(DataWarning("pca.zeros", told, zeros, example_of(counters, "_zeros"), "look at what made them"))
    return found


def build(pipeline: "beam.Pipeline", run: "Run", *, vectors: "Vectors", rotation: "Rotation", sample: int) -> None:
    """Add the job to a pipeline."""
    import apache_beam as beam

    from molino.jobs.run.publish import Publish
    from molino.transforms.parquet.views import WriteViews
    from molino.transforms.pca.read_vectors import use_own_pool
    from molino.transforms.pca.report import write_findings
    from molino.transforms.pca.rotate import FindComponents, WriteVectors

    use_own_pool()
    spans = vectors.spans(sample=sample, seed=rotation.seed)
    pieces = pipeline | "Spans" >> beam.Create(spans, reshuffle=False) | "Spread" >> beam.Reshuffle()
    found = pieces | "FindComponents" >> FindComponents(vectors=vectors, rotation=rotation, spans=len(spans))
    told = found.findings | "WriteFindings" >> WriteViews(call=write_findings, run=run, counters=found.counters)
    write = WriteVectors(turn=found.turn, vectors=vectors, rotation=rotation, folder=run.staging)
    written = pieces | "WriteVectors" >> write
    files = (told.files, written) | "Files" >> beam.Flatten()
    files | "Publish" >> Publish(run=run, counters=told.counters)


def pca_size(vectors: "Vectors", *, rotation: "Rotation", file_bytes: int) -> "Size":
    """Return what the pca job has to do; where an error decides how many components, all are reckoned with."""
    from molino.jobs.forecast.estimate import Size

    numbers, rows = vectors.numbers, vectors.rows
    spans = len(vectors.spans(sample=0, seed=0))
    carried = max(0, file_bytes - vectors.type.bit_width // 8 * rows * numbers)  # as they lie there
    written = int(rotation.vector_type.removeprefix("float")) // 8 * rows * (rotation.components or numbers)
    return Size(
        rows=rows,
        files=len(vectors.files),
        read_bytes=vectors.bytes,
        datasets={"vectors": rows},
        amounts={"rows": rows, "numbers": rows * numbers, "squares": rows * numbers**2, "written": written + carried},
        parts={"read": spans, "write": spans},
    )


def summarize(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the lines of the summary: what was read, and what became of it."""
    counters = manifest["counters"]
    how = "centred" if manifest["options"]["center"] else "not centred: cosines are kept; prcomp of R is --center"
    return [
        ("rows read", f"{counters.get('rows_read', 0):,}"),
        ("vectors", f"{counters.get('vectors', 0):,}"),
        ("rejects", format_rejects(counters)),
        ("components", f"{counters.get('components', 0):,} of {counters.get('numbers', 0):,}, {how}"),
    ]


def add_sample_options(parser: Parser) -> None:
    """Add the options of `molino sample pca`."""
    parser.option("--output", "FILE", place, "Parquet file to write", required=True)
    parser.option("--rows", "N", positive, "rows", 1000)
    parser.option("--numbers", "N", positive, "of each vector", 2)
    parser.option("--seed", "N", natural, "of the random numbers (default 2016)", 2016)
    parser.switch("--hostile", "add rows that a job must reject")


def write_sample(args: argparse.Namespace) -> str:
    """Write made-up input and return a line for the user."""
    from molino.transforms.pca.sample import sample_vectors

    wrote = sample_vectors(args.output, rows=args.rows, numbers=args.numbers, seed=args.seed, hostile=args.hostile)
    hostile = f"; {sum(wrote['hostile'].values())} hostile rows besides" if args.hostile else ""
    return f"{wrote['rows']:,} vectors in {wrote['file']}{hostile}"


JOB = Job(
    name="pca",
    about="vectors rotated to their principal components",
    parser=parser,
    plan=plan,
    summarize=summarize,
    list_inputs=list_inputs,
    sample=SampleInput(
        about="vectors: points around a line, as a study of cosine similarity drew them, or longer ones",
        examples=["molino sample pca --output demo/points.parquet"],
        add_options=add_sample_options,
        write=write_sample,
    ),
    example=Example(
        inputs=["sample pca --rows 20000 --numbers 5 --output in.parquet"], options="--input in.parquet --column vector"
    ),
)
