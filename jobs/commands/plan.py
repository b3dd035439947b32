"""What a job's run will take, told before it runs: the input is listed and sampled, and nothing is written."""

import argparse
import importlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from molino import machine
from molino.jobs.options import DATA, DONE, EXISTS, EXIT_CODES, Parser, many
from molino.jobs.runners import exits, quiet
from molino.jobs.runners.flags import is_embedded

if TYPE_CHECKING:
    from molino.jobs.forecast.estimate import Forecast

# the jobs, and what lists the input of those that read more than files
JOBS = {"names": "", "titles": "", "whales": "find_listings", "pca": "find_files", "shapes": "", "predict": ""}
# trainings run in one process: what is told of them is what they read and write, and a time as an order of magnitude
TRAININGS = {
    "train titles": "molino.jobs.train.titles",
    "train compare": "molino.jobs.train.compare",
    "model train": "molino.jobs.train.model",
}
DESCRIPTION = """
What a run will take, before it runs: rows, bytes through the shuffle, disk, memory, and about how long.

Give it the options that the run will have. The input is listed and a little of it is read; nothing is written. What it
tells is reckoned from constants that were measured on one machine: docs/scale.md has them, and what they leave out.
"""
EPILOG = """
examples:
  molino plan names --input demo/sep.txt --workers 16
  molino plan titles --input demo/titles.csv --model small=demo/model --json
  molino plan shapes --sweep study --points study
"""
FEWER = "give a larger --span-bytes, which takes more memory, or fewer --shards, or cut the input into several runs"
AS_JSON: Any = {"action": "store_true", "help": "print the plan as JSON"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if " ".join(words[:2]) in TRAININGS:
        return plan_training(" ".join(words[:2]), words[2:])
    if not words or words[0] not in JOBS:
        parser = Parser(prog="molino plan", description=DESCRIPTION, epilog=EPILOG)
        parser.add_argument(
            "job", choices=JOBS, metavar="JOB", help=f"{', '.join([*JOBS, *TRAININGS])}; then the job's own options"
        )
        parser.add_argument("--json", **AS_JSON)
        parser.parse_args(words)
        parser.error("the job comes first, then its options: molino plan JOB ...")
    job, parser = words[0], parser_of(words[0])
    quiet.silence_beam()
    given, flags = parser.parse_strictly(words[1:])
    from molino.jobs.run.lock import OutputExistsError
    from molino.transforms.errors import OptionError
    from molino.transforms.warnings import print_warnings, to_json

    try:
        plan, found = look(job, given, flags)
    except OptionError as error:
        parser.error(str(error))
    except OutputExistsError as error:
        print(f"molino: {error}", file=sys.stderr)
        return EXISTS
    except Exception as error:
        return exits.fail(error)
    if given.json:
        print(json.dumps(found.plan() | {"seen": plan.seen, "warnings": to_json(plan.warnings)}, indent=1))
    else:
        for name, text in [*(("seen", line) for line in plan.seen), *tell(found, given, plan.noun)]:
            print(f"{name:>12}  {text}")
    print_warnings(plan.warnings)
    return DATA if given.strict and plan.warnings else DONE


def plan_training(command: str, words: Sequence[str]) -> int:
    """Print what a training reads, writes and takes, and return the exit code."""
    module = importlib.import_module(TRAININGS[command])
    parser = module.parser()
    parser.prog = f"molino plan {command}"
    for action in parser._actions:
        action.required &= action.dest != "output"
    given, flags = parser.parse_strictly(words)
    from molino.transforms.errors import OptionError
    from molino.transforms.files import storage
    from molino.transforms.warnings import print_warnings

    try:
        storage.use_options(flags)
        plan = module.plan(given, module.list_inputs(given), [])
    except OptionError as error:
        parser.error(str(error))
    except Exception as error:
        return exits.fail(error)
    for line in plan.seen:
        name, _, text = line.partition(" ")
        print(f"{name:>17}  {text}")
    print_warnings(plan.warnings)
    return DATA if given.strict and plan.warnings else DONE


def parser_of(job: str) -> Parser:
    """Return the parser of a job's command line, with the options of a plan."""
    parser = importlib.import_module(f"molino.jobs.{job}").parser()
    parser.prog = f"molino plan {job}"
    parser.description = DESCRIPTION.strip()
    parser.epilog = f"{EPILOG.strip()}\n\n{EXIT_CODES}"
    for action in parser._actions:
        if action.dest == "output":
            action.required = False
            action.help = "folder of the run, whose disk is looked at (default: the folder where you are)"
    parser.add_argument("--json", **AS_JSON)
    return parser


def look(job: str, given: argparse.Namespace, flags: Sequence[str]) -> tuple[Any, "Forecast"]:
    """Return the plan of a run with these options, and what it will take.

    Raises:
      OptionError, DataError, OutputExistsError: as the run itself would raise them.
    """
    from molino.jobs.run.command import take_order

    module = importlib.import_module(f"molino.jobs.{job}")
    writes, given.output = given.output is not None, given.output or "."
    list_inputs = getattr(module, JOBS[job]) if JOBS[job] else None
    order = take_order(given, flags, module.plan, list_inputs, writes=writes)
    if writes:
        order.look()
    return order.plan, order.forecast()


def tell(found: "Forecast", given: argparse.Namespace, noun: str) -> Iterator[tuple[str, str]]:
    """Yield the lines of a plan: a name, and what a person reads; `noun` is what the job's rows are."""
    from molino.jobs.forecast.estimate import show_bytes, show_time

    here = is_embedded(given.runner)
    if found.files:
        yield "files", f"{found.files:,}, {show_bytes(found.read_bytes)}"
    if found.rows is not None:
        yield noun, f"{found.rows:,}" if found.exact else f"about {found.rows:,}, from a sample"
    for name, rows in found.datasets.items():
        yield name, f"at most {many(rows, 'row')}"
    if found.shuffle_bytes:
        extra = found.overhead_bytes / found.shuffle_bytes
        yield "shuffle", show_bytes(found.shuffle_bytes) + (f", {extra:.0%} of it no rows" if extra >= 0.2 else "")
        if extra >= 0.5:
            yield "note", f"batches are cut into too many pieces: {FEWER}"
    if found.written_bytes is not None:
        yield "written", show_bytes(found.written_bytes)
        yield "disk", f"{show_bytes(found.disk_bytes)} needed{_free(given.output, found.disk_bytes) if here else ''}"
        all_ = f", {show_bytes(found.memory_bytes)} for {found.workers:,}" if found.workers > 1 else ""
        short = "; too little" if here and 0 < machine.memory_share().usable < found.memory_bytes else ""
        yield "memory", f"{show_bytes(found.worker_bytes)} for one worker{all_}{short}"
    if here:
        yield "machine", machine.describe()
        if found.workers > machine.cpus():
            yield "note", f"{many(found.workers, 'worker')} would share {many(machine.cpus(), 'core')}"
    if found.parts:
        yield "parts", ", ".join(f"{parts:,} to {stage}" for stage, parts in found.parts.items())
        if (fewest := min(found.parts.values())) < found.workers:
            yield "note", f"no more than {fewest:,} of the {many(found.workers, 'worker')} can share all of it"
    if found.unknown:
        yield "time", f"not known: {found.unknown}"
        return
    about, least, most = map(show_time, (found.seconds, *found.between))
    yield "time", f"about {about} with {many(found.workers, 'worker')}, between {least} and {most}"
    yield "reserved", f"about {show_time(3600 * found.core_hours)} of a core"


def _free(output: str, needed: float) -> str:
    """Return how the free bytes of an output's disk compare, where it is local."""
    from molino.jobs.forecast.estimate import show_bytes
    from molino.transforms.files import storage

    if not storage.is_local(output):
        return ""
    folder = os.path.abspath(output)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    free = shutil.disk_usage(folder).free
    return f", {show_bytes(free)} free" + ("; too little" if free < needed else "")
