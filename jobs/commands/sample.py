"""Write made-up input for a job, so that it can be tried with no download."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from molino.jobs.options import DONE, EXISTS, Parser, many, natural, place, positive
from molino.jobs.runners import exits, quiet

DESCRIPTION = """
Write made-up input for a job: people, CURPs and products are drawn from lists, seas and whales are painted, vectors
are random numbers; nothing of it exists. The same options and seed give the same bytes.
"""
EPILOG = """
examples:
  molino sample names --output demo/sep.txt
  molino sample names --output demo/small.txt --rows 10000 --seed 7 --hostile
  molino sample titles --output demo/titles.csv --rows 50000
  molino sample whales --output demo/sea --images 40
  molino sample pca --output demo/points.parquet
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = Parser(prog="molino sample", description=DESCRIPTION, epilog=EPILOG)
    jobs = parser.add_subparsers(dest="job", required=True, metavar="JOB")
    for name, (about, add_options, _) in SAMPLES.items():
        sample = jobs.add_parser(name, help=about, description=about)
        add_options(sample)
        sample.add_argument("--overwrite", action="store_true", help="replace what is at --output")
    given = parser.parse_args(arguments)
    quiet.silence_beam()
    from molino.transforms.files import storage

    if not storage.is_local(given.output):
        parser.error(f"--output {given.output}: a sample is written to a local path")
    from molino.jobs.run.output import run_above
    from molino.transforms.errors import OptionError

    folder = run_above(os.path.join(os.path.abspath(given.output), "file"))
    if folder:
        print(f"molino: --output {given.output}: {folder} holds a finished run; write elsewhere", file=sys.stderr)
        return EXISTS
    there = "" if given.overwrite else _present(given)
    if there:
        print(f"molino: {there} is there; add --overwrite to replace it, or write elsewhere", file=sys.stderr)
        return EXISTS
    try:
        with exits.signals_as_exits(), storage.explained(given.output, "write"):
            _check_target(given)
            wrote = SAMPLES[given.job][2](given)
    except OptionError as error:
        parser.error(str(error))
    except Exception as error:
        return exits.fail(error)
    print(wrote)
    return DONE


def _check_target(given: argparse.Namespace) -> None:
    """Raise DataError where a folder is in the way of a file, or something else than a folder in that of a folder."""
    from molino.transforms.errors import DataError

    is_folder = os.path.isdir(given.output)
    if given.job != "whales" and (is_folder or given.output.endswith("/")):
        raise DataError(f"cannot write {given.output}: it is a folder; name a file in it")
    if os.path.lexists(given.output) and not (is_folder or os.path.isfile(given.output)):
        raise DataError(f"cannot write {given.output}: it is no regular file; choose another --output")


def _present(given: argparse.Namespace) -> str:
    """Return what stands where a sample would be written, "" where nothing does."""
    if given.job == "whales":
        return given.output if os.path.isdir(given.output) and os.listdir(given.output) else ""
    files = getattr(given, "files", 1)
    parts = [f"{given.output}-{number:05d}-of-{files:05d}" for number in range(files)]
    return next((path for path in (given.output, *parts) if os.path.isfile(path)), "")


def _names_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=place, required=True, metavar="FILE", help="file to write")
    parser.add_argument("--rows", type=positive, default=1_256_438, metavar="N", help="rows (default 1,256,438)")
    parser.add_argument("--seed", type=natural, default=2012, metavar="N", help="of the random numbers (default 2012)")
    parser.add_argument("--files", type=positive, default=1, metavar="N", help="split into FILE-00000-of-0000N")
    parser.add_argument("--hostile", action="store_true", help="add rows that a job must reject")


def _sample_names(given: argparse.Namespace) -> str:
    from molino.transforms.errors import OptionError
    from molino.transforms.names.sample import sample_names

    if given.rows > 1_000_000_000:
        raise OptionError(f"--rows {given.rows:,}: at most 1,000,000,000 made-up people can be told apart")
    wrote = sample_names(given.output, rows=given.rows, seed=given.seed, files=given.files, hostile=given.hostile)
    hostile = f"; {sum(wrote['hostile'].values()):,} hostile rows besides" if given.hostile else ""
    files = wrote["files"]
    shown = files[0] if len(files) == 1 else f"{files[0]} to {files[-1]}"
    return f"{wrote['rows']:,} rows of {wrote['people']:,} people in {many(len(files), 'file')}: {shown}{hostile}"


def _titles_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=place, required=True, metavar="FILE", help="file to write")
    parser.add_argument("--rows", type=positive, default=200_000, metavar="N", help="rows (default 200,000)")
    parser.add_argument("--seed", type=natural, default=2019, metavar="N", help="of the random numbers (default 2019)")
    parser.add_argument("--hostile", action="store_true", help="add rows that a job must reject")


def _sample_titles(given: argparse.Namespace) -> str:
    from molino.transforms.titles.sample import sample_titles

    wrote = sample_titles(given.output, rows=given.rows, seed=given.seed, hostile=given.hostile)
    hostile = f"; {sum(wrote['hostile'].values()):,} hostile rows besides" if given.hostile else ""
    return f"{wrote['rows']:,} titles in {wrote['files'][0]}{hostile}"


def _whales_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output", type=place, required=True, metavar="DIR", help="folder; gets images/ and truth.parquet"
    )
    parser.add_argument("--images", type=positive, default=40, metavar="N", help="images (default 40)")
    parser.add_argument("--seed", type=natural, default=2015, metavar="N", help="of the random numbers (default 2015)")
    parser.add_argument("--width", type=positive, default=1500, metavar="PX", help="of each image (default 1500)")
    parser.add_argument("--height", type=positive, default=1000, metavar="PX", help="of each image (default 1000)")
    parser.add_argument("--hostile", action="store_true", help="add files that a job must reject, skip or survive")


def _sample_whales(given: argparse.Namespace) -> str:
    from molino.transforms.errors import OptionError
    from molino.transforms.whales.sample import sample_whales

    if given.width * given.height > 100_000_000:
        raise OptionError(f"--width {given.width} and --height {given.height}: at most 100,000,000 pixels are drawn")
    wrote = sample_whales(
        given.output,
        images=given.images,
        seed=given.seed,
        width=given.width,
        height=given.height,
        hostile=given.hostile,
    )
    hostile = f"; {sum(map(len, wrote['hostile'].values()))} hostile files besides" if given.hostile else ""
    return f"{wrote['images']:,} images, {wrote['whales']:,} with a whale, in {wrote['folder']}{hostile}"


def _vectors_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=place, required=True, metavar="FILE", help="Parquet file to write")
    parser.add_argument("--rows", type=positive, default=1000, metavar="N", help="rows (default 1,000)")
    parser.add_argument("--numbers", type=positive, default=2, metavar="N", help="of each vector (default 2)")
    parser.add_argument("--seed", type=natural, default=2016, metavar="N", help="of the random numbers (default 2016)")
    parser.add_argument("--hostile", action="store_true", help="add rows that a job must reject")


def _sample_vectors(given: argparse.Namespace) -> str:
    from molino.transforms.pca.sample import sample_vectors

    wrote = sample_vectors(given.output, rows=given.rows, numbers=given.numbers, seed=given.seed, hostile=given.hostile)
    hostile = f"; {sum(wrote['hostile'].values())} hostile rows besides" if given.hostile else ""
    return f"{wrote['rows']:,} vectors in {wrote['file']}{hostile}"


# what a job's sample is, its options, and the function that writes it and returns the line for the user
SAMPLES: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], str]]] = {
    "names": ('a payroll file like the one of SEP, 2012: latin-1, "|" between fields', _names_options, _sample_names),
    "titles": (
        "product titles like those of the MeLi Data Challenge 2019: quoted CSV in Spanish and Portuguese",
        _titles_options,
        _sample_titles,
    ),
    "whales": ("aerial photographs of a sea, most with a whale, and the true boxes", _whales_options, _sample_whales),
    "pca": (
        "vectors: points around a line, as a study of cosine similarity drew them, or longer ones",
        _vectors_options,
        _sample_vectors,
    ),
}
