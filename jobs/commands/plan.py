"""What a job's run will take, told before it runs: the input is listed and sampled, and nothing is written."""

import argparse
import dataclasses
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
from molino.jobs.runners.flags import check_flags, check_reachable, is_embedded
from molino.jobs.runners.temporary import check_temporary_files

if TYPE_CHECKING:
    from molino.jobs.forecast.estimate import Forecast
    from molino.jobs.forecast.sizes import Size

# the jobs, and what lists the input of those that read more than files
JOBS = {"names": "", "titles": "", "whales": "find_listings", "pca": "find_files", "shapes": "", "predict": ""}
# trainings run in one process: what is told of them is what they read and write, and a time as an order of magnitude
TRAININGS = {
    "train titles": "molino.jobs.train.titles",
    "train compare": "molino.jobs.train.compare",
    "model train": "molino.jobs.train.model",
}
ROWS = {"whales": "image", "shapes": "network"}  # what a job's rows are, where they are no rows
DESCRIPTION = """
What a run will take, before it runs: rows, bytes through the shuffle, disk, memory, seconds, core hours.

Give it the options that the run will have. The input is listed and a few pieces of it are read; nothing is written.
What it tells is reckoned from constants that were measured on one machine; docs/scale.md has them, and what they leave
out.
"""
EPILOG = """
examples:
  molino plan names --input demo/sep.txt
  molino plan names --input demo/sep.txt --workers 16 --price-core-hour 0.05 --price-gb-hour 0.005
  molino plan titles --input demo/titles.csv --model small=demo/model --json
  molino plan shapes --sweep study --points study
"""


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
        _add_options(parser)
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
        print(json.dumps(whole(found, given) | {"seen": plan.seen, "warnings": to_json(plan.warnings)}, indent=1))
    else:
        for name, text in [*(("seen", line) for line in plan.seen), *tell(found, given, ROWS.get(job, "row"))]:
            print(f"{name:>17}  {text}")
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


def whole(found: "Forecast", given: argparse.Namespace) -> dict[str, Any]:
    """Return all that is known of a run: bytes, seconds and rows unrounded, and the cost where there are prices."""
    costs = {"disk_bytes": found.disk_bytes, "core_hours": found.core_hours, "gb_hours": found.gb_hours}
    return dataclasses.asdict(found) | costs | {"cost": cost_of(found, given)}


def cost_of(found: "Forecast", given: argparse.Namespace) -> float | None:
    """Return what a run costs at the prices given; None without any, or without a time."""
    if found.seconds is None or (given.price_core_hour is None and given.price_gb_hour is None):
        return None
    return found.core_hours * (given.price_core_hour or 0.0) + found.gb_hours * (given.price_gb_hour or 0.0)


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
    _add_options(parser)
    return parser


def _add_options(parser: Parser) -> None:
    plan = parser.add_argument_group("the plan")
    plan.add_argument("--json", action="store_true", help="print the plan as JSON; bytes, seconds and rows unrounded")
    for what, unit in (("core", "core"), ("gb", "GB of memory")):
        plan.add_argument(
            f"--price-{what}-hour",
            type=_price,
            metavar="PRICE",
            help=f"of a {unit} for an hour, in any currency; without prices no cost is told",
        )


def _price(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number from 0, not {text}")
    return number


def look(job: str, given: argparse.Namespace, flags: Sequence[str]) -> tuple[Any, "Forecast"]:
    """Return the plan of a run with these options, and what it will take.

    Raises:
      OptionError, DataError, OutputExistsError: as the run itself would raise them.
    """
    from molino.jobs.run import command
    from molino.transforms.errors import DataError

    plan = _plan_of(job, given, flags)
    found = command.expect(plan, given, flags)
    if found is None:
        raise DataError(f"the job {job} was not measured; run: python benchmarks/constants.py --only {job}")
    return plan, found


def size_of(job: str, given: argparse.Namespace, flags: Sequence[str]) -> "Size":
    """Return how much a run with these options has to do."""
    return _plan_of(job, given, flags).size()


def _plan_of(job: str, given: argparse.Namespace, flags: Sequence[str]) -> Any:
    from molino.jobs.run import command
    from molino.transforms.files import storage

    module = importlib.import_module(f"molino.jobs.{job}")
    check_temporary_files()
    storage.use_options(flags)
    check_flags(given.runner, flags)
    here, given.output = given.output is None, given.output or "."
    inputs = getattr(module, JOBS[job])(given) if JOBS[job] else command.find_inputs(given.input)
    check_reachable(given.runner, [*([] if here else [given.output]), *given.input])
    output = "" if here else command.output_folder(given.output, inputs)
    plan = module.plan(given, inputs)
    if output:
        from molino.jobs.run import runs

        run = runs.plan_run(plan, output=output, inputs=inputs, max_reject_ratio=given.max_reject_ratio)
        runs.check_output(run, overwrite=given.overwrite)
    return plan


def tell(found: "Forecast", given: argparse.Namespace, noun: str) -> Iterator[tuple[str, str]]:
    """Yield the lines of a plan: a name, and what a person reads; `noun` is what the job's rows are."""
    here = is_embedded(given.runner)
    if found.files:
        yield "files", f"{found.files:,}, {show_bytes(found.read_bytes)}"
    yield f"{noun}s", f"{found.rows:,.0f}" if found.exact else f"about {found.rows:,.0f}, from a sample"
    for name, rows in found.datasets.items():
        yield name, ("about " if name in found.shares or not found.exact else "") + many(rows, "row")
    if found.shuffle_bytes:
        extra = found.overhead_bytes / found.shuffle_bytes
        yield "shuffle", show_bytes(found.shuffle_bytes) + (f", {extra:.0%} of it no rows" if extra >= 0.2 else "")
        if extra >= 0.5:
            span = "give a larger --span-bytes, which takes more memory, or " if found.by_span else ""
            yield "note", f"batches are cut into too many pieces: {span}cut the input into several runs"
    yield "written", show_bytes(found.written_bytes)
    yield "disk", f"{show_bytes(found.disk_bytes)} needed{_free(given.output, found.disk_bytes) if here else ''}"
    all_ = f", {show_bytes(found.memory_bytes)} for {found.workers:,}" if found.workers > 1 else ""
    short = "; too little" if here and 0 < machine.memory_share().usable < found.memory_bytes else ""
    yield "memory", f"{show_bytes(found.worker_bytes)} for one worker{all_}{short}"
    if here:
        yield "machine", machine.describe()
        if found.workers > machine.cpus():
            yield "note", f"{many(found.workers, 'worker')} would share {many(machine.cpus(), 'core')}"
    pieces = f"{found.pieces:,} pieces" if found.pieces != 1 else "one piece"
    yield "widest stage", f"{found.widest}: {show_bytes(found.width)} in {pieces}"
    if found.pieces < found.workers:
        yield "note", f"no more of the {found.workers:,} workers than that can share it"
    if found.seconds is None:
        yield "time", f"{given.runner} was not measured; CPU time {show_time(sum(found.work.values()))} and the start"
        if given.price_core_hour is not None or given.price_gb_hour is not None:
            yield "cost", "not known without a time"
        return
    yield (
        "time",
        f"{show_time(found.seconds)} with {many(found.workers, 'worker')}, {show_time(found.start)} of it start",
    )
    yield "reserved", f"{found.core_hours:,.4g} core hours, {found.gb_hours:,.4g} GB hours"
    cost = cost_of(found, given)
    if cost is not None:
        prices = ((given.price_core_hour, "core hour"), (given.price_gb_hour, "GB hour"))
        yield (
            "cost",
            f"{cost:,.4g}, at " + " and ".join(f"{price:g} a {what}" for price, what in prices if price is not None),
        )


def _free(output: str, needed: float) -> str:
    """Return how the free bytes of an output's disk compare, where it is local."""
    from molino.transforms.files import storage

    if not storage.is_local(output):
        return ""
    folder = os.path.abspath(output)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    free = shutil.disk_usage(folder).free
    return f", {show_bytes(free)} free" + ("; too little" if free < needed else "")


def show_bytes(size: float) -> str:
    """Return bytes as a person reads them.

    >>> show_bytes(950), show_bytes(1.26e6), show_bytes(6.8e11)
    ('950 B', '1.26 MB', '680 GB')
    """
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}" if size < 999.5 * unit else f"{size / unit:,.0f} {name}"
    return f"{size:.0f} B"


def show_time(seconds: float) -> str:
    """Return seconds as a person reads them.

    >>> show_time(4.21), show_time(150), show_time(9000), show_time(400000)
    ('4.2 s', '2.5 min', '2.5 h', '4.6 days')
    """
    for unit, name in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.1f} s"
