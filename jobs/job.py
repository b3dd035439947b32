"""What a job says of itself: all that the commands, the templates and the tests of every job know of it."""

import argparse
import dataclasses
import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from molino import code
from molino.jobs.options import Parser

if TYPE_CHECKING:
    import apache_beam as beam
    import pyarrow as pa

    from molino.jobs.forecast.estimate import Size
    from molino.jobs.run.runs import Run
    from molino.transforms.parquet.shards import StagedFile
    from molino.transforms.text.sources import TextFormat
    from molino.transforms.warnings import DataWarning

Lines = list[tuple[str, str]]  # what a person reads: names and texts
Warn = Callable[[Mapping[str, int]], Sequence["DataWarning"]]


class Staged(NamedTuple):
    """What a job without a pipeline has staged and counted, and the lines of its summary."""

    files: Sequence["StagedFile"]
    counters: Mapping[str, int]
    summary: Sequence[tuple[str, str]] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What a job will do, as far as it is known before it starts."""

    job: str  # name of the job
    options: Mapping[str, Any]  # everything that can change the output, as JSON values
    datasets: "Mapping[str, pa.Schema]"  # schema of every data set of the output
    balance: tuple[str, tuple[str, ...]]  # a counter and those that must add up to it
    counted: tuple[str, ...]  # data sets whose rows are counted under the same name
    build: "Callable[[beam.Pipeline, Run], None] | None" = None  # adds the job to a pipeline, given the run
    # of a job without a pipeline, such as a training: does it all in this process, and returns what it staged
    work: "Callable[[Run], Staged] | None" = None
    # of such a job: returns the share that is done and what a person may read
    how_far: Callable[[], tuple[float, str]] | None = None
    # what the user should know before trusting the output, as far as it is known before the run
    warnings: "Sequence[DataWarning]" = ()
    warn: Sequence[Warn] = ()  # functions from the run's counters to what else the user should know; called by workers
    findings: Sequence[str] = ()  # what a look at the input saw, for who plans a run
    total_bytes: int = 0  # size of what will be read, for the progress
    noun: str = "rows"  # what the progress counts
    # of the progress, in their order: how workers report them, and what a person reads; by default those of a job that
    # shuffles
    stages: Mapping[str, str] | None = None
    size: "Callable[[], Size] | None" = None  # how much there is to do, for a forecast; looks at the input
    personal: str = ""  # what the output tells of people, for its card; "" for nothing
    here_only: Sequence[str] = ()  # what workers on other machines could not have; for each what to tell the user
    # local folders that workers need, by the names under which others get them. See `transforms.files.carry`
    sends: Mapping[str, str] = dataclasses.field(default_factory=dict)
    # work units are named by what is in them, so that a run of other inputs may take them up
    units_by_content: bool = False
    # modules or packages, by name, that the output of a job outside this package depends on; by default the top-level
    # package of `build`, or its file
    code: Sequence[str] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextOptions:
    """What a job of texts does with its rows, all of which is part of a run's identity.

    What a job has besides these is called as its options are.
    """

    text: "TextFormat"  # format of the input
    # shards, blocks: files, and blocks, of the data set that has a row for each that is read
    shards: int
    blocks: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleInput:
    """Made-up input of a job, which `molino sample JOB` writes."""

    about: str  # what it is, in one line for `--help`
    examples: Sequence[str] = ()  # command lines for `molino sample --help`
    add_options: Callable[[Parser], None]  # adds `--output`, and all that the sample depends on
    # writes it and returns a line for the user; raises OptionError or DataError where it cannot
    write: Callable[[argparse.Namespace], str]
    is_folder: bool = False  # `--output` is a folder, not a file
    # from the options to the files that would be written; by default `--output` alone
    paths: Callable[[argparse.Namespace], Sequence[str]] = lambda args: [args.output]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """A small run of a job, on every runner and store, in a folder of its own."""

    inputs: Sequence[str] = ()  # the commands that make its input, without `molino`
    options: str  # of the job, without `--output`; `{tree}` stands for the repository


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A job, or a training: the constant `JOB` of its module, by which the program finds it."""

    name: str  # of the command: of a job that of its module, of a training two words
    about: str  # what comes out of it, in one line for `--help`
    parser: Callable[[], Parser]  # makes the parser of its command line
    # from the options and the inputs to what the run will do; raises OptionError or DataError where it cannot
    plan: Callable[[argparse.Namespace, Sequence], Plan]
    # from the manifest to the lines of the summary; None where the plan's `work` returns them
    summarize: Callable[[dict[str, Any]], Lines] | None = None
    # from the options to the inputs, a list of FileInfo or Listing; None where `--input` names files
    list_inputs: Callable[[argparse.Namespace], Sequence] | None = None
    sample: SampleInput | None = None  # its made-up input, if there is any
    example: Example | None = None  # a small run of it, for tests; None where there is none
    extra: str = ""  # of setup.py, that brings `packages`
    packages: Sequence[str] = ()  # what the job imports and the base install lacks

    def examples(self, parser: Parser) -> Sequence[str]:
        """Return commands of which the last runs the job on what the others made."""
        if self.example is None or "{tree}" in self.example.options:
            return parser.examples
        words = [*self.example.inputs, f"{self.name} {self.example.options} --output out"]
        return [f"molino {each}" for each in words]

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Run the command and return its exit code."""
        from molino.jobs.run.call import run_command

        return run_command(self, arguments)


@functools.cache
def load_job(name: str) -> Job:
    """Return a job of this program by the name of its module, without what it needs to run."""
    return importlib.import_module(f"molino.jobs.{name}").JOB


@functools.cache
def load_jobs() -> dict[str, Job]:
    """Return all jobs of this program by their commands."""
    return {name: load_job(name) for name in code.pipelines()}


def jobs_by_extra(package: str | None = None) -> dict[str, list[str]]:
    """Return which jobs need each extra of setup.py, or of those the ones that need a package too."""
    found: dict[str, list[str]] = {}
    for job in load_jobs().values():
        if job.extra and (package is None or package in job.packages):
            found.setdefault(job.extra, []).append(job.name)
    return found


@functools.cache
def load_trainings() -> dict[str, Job]:
    """Return all trainings of this program by their commands, such as "train titles"."""
    names = [module.name for module in pkgutil.iter_modules([str(code.ROOT / "jobs/train")], "molino.jobs.train.")]
    found = [getattr(importlib.import_module(name), "JOB", None) for name in names]
    return {job.name: job for job in found if job}


def load_all() -> dict[str, Job]:
    """Return all jobs and trainings of this program by their commands."""
    return load_jobs() | load_trainings()
