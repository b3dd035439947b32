"""What a run will take, before it runs: rows, bytes through the shuffle, disk, memory, and about how long.

Give it the options that the run will have. The input is listed and a little of it is read; nothing is written. The
estimate comes from constants that were measured on one machine: see docs/scale.md.

examples:
  molino sample names --output demo/sep.txt
  molino plan names --input demo/sep.txt --workers 16
  molino plan titles --input demo/titles.csv --model small=demo/model --json
  molino plan shapes --sweep study --points study
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from molino import machine
from molino.jobs.job import Job, Plan, load_all
from molino.jobs.options import DATA, DONE, EXIT_CODES, Parser, is_embedded, split_examples
from molino.transforms.warnings import many, print_warnings, to_json

if TYPE_CHECKING:
    from molino.jobs.forecast.estimate import Forecast

ABOUT = "what a run of a job will take, before it runs"
FEWER = "give a larger --span-bytes, which takes more memory, or fewer --shards, or cut the input into several runs"
AS_JSON: Any = {"action": "store_true", "help": "print the plan as JSON"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    from molino import quiet
    from molino.jobs.runners import exits

    words = list(sys.argv[1:] if arguments is None else arguments)
    jobs = load_all()
    if words and words[0] in {name.split()[0] for name in jobs if " " in name}:
        words[:2] = [" ".join(words[:2])]
    name = words[0] if words and words[0] in jobs else ""
    if not name:
        parser = Parser(prog="molino plan", description=__doc__)
        about = f"{', '.join(jobs)}; then the job's own options"
        parser.add_argument("job", choices=jobs, metavar="JOB", help=about)
        parser.add_argument("--json", **AS_JSON)
        parser.parse_args(words)
        parser.error("the job comes first, then its options: molino plan JOB ...")
    parser = plan_parser(jobs[name])
    quiet.silence_beam()
    args, flags = parser.parse_strictly(words[1:])
    code, planned = exits.attempt(parser, lambda: plan_run(jobs[name], args, flags))
    if planned is None:
        return code
    plan, forecast = planned
    if args.json:
        print(json.dumps(forecast.plan() | {"seen": plan.findings, "warnings": to_json(plan.warnings)}, indent=1))
    else:
        for label, text in [*_format_seen(plan), *(format_forecast(forecast, args, plan.noun) if plan.build else ())]:
            print(f"{label:>12}  {text}")
    print_warnings(plan.warnings)
    return DATA if args.strict and plan.warnings else DONE


def plan_parser(job: Job) -> Parser:
    """Return the parser of a job's command line, with the options of a plan."""
    parser = job.parser()
    prog, parser.prog = parser.prog, f"molino plan {job.name}"
    parser.examples = [line.replace(f"{prog} ", f"{parser.prog} ", 1) for line in job.examples(parser)]
    parser.description, examples = split_examples(__doc__ or "")
    parser.epilog = f"{examples}\n\n{EXIT_CODES}"
    for action in parser._actions:
        if action.dest == "output":
            action.required = False
            action.help = "folder of the run, whose disk is looked at (default: the folder where you are)"
    parser.add_argument("--json", **AS_JSON)
    return parser


def plan_run(job: Job, args: argparse.Namespace, flags: Sequence[str]) -> "tuple[Plan, Forecast]":
    """Return the plan of a run with these options, and what it will take; raises as the run itself would."""
    from molino.jobs.run.command import take_order

    writes, args.output = args.output is not None, args.output or "."
    order = take_order(job, args, flags, writes=writes)
    if writes:
        order.find_output()
    return order.plan, order.forecast()


def _format_seen(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield what a look at the input saw; of a training each line has a name of its own."""
    for line in plan.findings:
        name, _, text = line.partition(" ")
        yield ("seen", line) if plan.build else (name, text)


def format_forecast(forecast: "Forecast", args: argparse.Namespace, noun: str) -> Iterator[tuple[str, str]]:
    """Yield the lines of a plan: a name, and what a person reads; `noun` is what the job's rows are."""
    from molino.jobs.forecast.estimate import show_bytes, show_time

    here = is_embedded(args.runner)
    if forecast.files:
        yield "files", f"{forecast.files:,}, {show_bytes(forecast.read_bytes)}"
    if forecast.rows is not None:
        yield noun, f"{forecast.rows:,}" if forecast.exact else f"about {forecast.rows:,}, from a sample"
    for name, rows in forecast.datasets.items():
        yield name, f"at most {many(rows, 'row')}"
    if forecast.shuffle_bytes:
        extra = forecast.overhead_bytes / forecast.shuffle_bytes
        yield "shuffle", show_bytes(forecast.shuffle_bytes) + (f", {extra:.0%} of it no rows" if extra >= 0.2 else "")
        if extra >= 0.5:
            yield "note", f"batches are cut into too many pieces: {FEWER}"
    if forecast.written_bytes is not None:
        yield "written", show_bytes(forecast.written_bytes)
        free = _free(args.output, forecast.disk_bytes) if here else ""
        yield "disk", f"{show_bytes(forecast.disk_bytes)} needed{free}"
        all_ = f", {show_bytes(forecast.memory_bytes)} for {forecast.workers:,}" if forecast.workers > 1 else ""
        short = "; too little" if here and 0 < machine.memory_share().usable < forecast.memory_bytes else ""
        yield "memory", f"{show_bytes(forecast.worker_bytes)} for one worker{all_}{short}"
    if here:
        yield "machine", machine.describe_machine()
        if forecast.workers > machine.cpus():
            yield "note", f"{many(forecast.workers, 'worker')} would share {many(machine.cpus(), 'core')}"
    if forecast.parts:
        yield "parts", ", ".join(f"{parts:,} to {stage}" for stage, parts in forecast.parts.items())
        if (fewest := min(forecast.parts.values())) < forecast.workers:
            yield "note", f"no more than {fewest:,} of the {many(forecast.workers, 'worker')} can share all of it"
    if forecast.unknown:
        yield "time", f"not known: {forecast.unknown}"
        return
    about, least, most = map(show_time, (forecast.seconds, *forecast.between))
    yield "time", f"about {about} with {many(forecast.workers, 'worker')}, between {least} and {most}"
    yield "reserved", f"about {show_time(3600 * forecast.core_hours)} of a core"


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
