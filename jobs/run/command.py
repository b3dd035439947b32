"""What is done for a job's command line around its pipeline: plan, lock, run, summary."""

import argparse
import contextlib
import dataclasses
import functools
import time
from collections.abc import Sequence
from typing import Any

from molino.jobs.forecast.estimate import Forecast, forecast
from molino.jobs.job import Job, Plan
from molino.jobs.run import commit, runs
from molino.jobs.run.inputs import find_inputs, tell_skipped, watched
from molino.jobs.run.lock import BusyError, Lock
from molino.jobs.run.output import Output, output_folder, read_manifest, read_output
from molino.jobs.run.pipes import is_pipe
from molino.jobs.run.runs import Run
from molino.jobs.run.summary import summary_lines
from molino.jobs.runners import exits, service
from molino.jobs.runners.engine import Engine, make_engine
from molino.jobs.runners.pipeline import run_pipeline
from molino.jobs.runners.watch import Watch
from molino.transforms.errors import DataError, OptionError
from molino.transforms.files import carry, storage
from molino.transforms.files.temporary import bucket_folder, check_temporary_files
from molino.transforms.progress import STAGES
from molino.transforms.warnings import from_json, many, print_warnings

LONG = 30.0  # seconds that people do not wait for to read a warning
DONE_BEFORE = "already holds this run (same inputs, options and code); nothing to do"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """What a command line asks for, as far as it is known before anything is written."""

    job: Job  # what is run
    args: argparse.Namespace  # its options
    engine: Engine  # what will run the job
    plan: Plan  # what the job will do
    run: Run  # that the plan comes to; without an output for a plan alone

    def find_output(self) -> tuple[Output, bool]:
        """Return what stands in the output now, and whether that is this very run; raises as `Output.holds`."""
        present = read_output(self.run.output)
        return present, present.holds(self.run, overwrite=self.args.overwrite)

    def forecast(self) -> Forecast:
        """Return what the run will take; what fails while that is reckoned is told in it, and ends no run."""
        engine: dict[str, Any] = {"runner": self.engine.runner, "workers": self.engine.workers}
        if self.plan.size is None:
            return Forecast(**engine, unknown="the job tells nothing of its size")
        try:
            return forecast(self.plan.job, self.plan.size(), spills=self.engine.spills, **engine)
        except Exception as error:
            return Forecast(**engine, unknown=exits.describe_error(error))


def take_order(
    job: Job, args: argparse.Namespace, beam_flags: Sequence[str], *, started: float = 0.0, writes: bool = True
) -> Order:
    """Look at the options, the input and the machine; write nothing, and `writes`: whether the output's folder matters.

    Raises OptionError or DataError: what is asked for cannot be; OutputExistsError: the output lies inside another run.
    """
    check_temporary_files()
    storage.use_options(beam_flags)
    engine = make_engine(args, beam_flags)
    if engine.elsewhere and any(map(is_pipe, args.input)):
        remedy = f"write its content to a file that {engine.runner}'s workers can read"
        raise OptionError(f"--input: workers elsewhere cannot read a pipe; {remedy}")
    inputs = job.list_inputs(args) if job.list_inputs else find_inputs(args.input, follow_links=args.follow_links)
    output = output_folder(args.output, inputs) if writes else ""
    engine.check_reachable([*([output] if output else []), *args.input])
    plan = tell_skipped(job.plan(args, inputs), inputs)
    if engine.elsewhere and plan.here_only:
        raise OptionError(plan.here_only[0])
    return Order(
        job=job,
        args=args,
        engine=dataclasses.replace(engine, job=plan.job),
        plan=plan,
        run=runs.make_run(
            plan,
            inputs,
            output=output,
            about=job.about,
            max_reject_ratio=args.max_reject_ratio,
            strict=args.strict,
            started=started or time.time(),
            elsewhere=engine.elsewhere,
            watched=watched(inputs),
            keep_previous=args.keep_previous,
        ),
    )


def do_order(order: Order) -> list[str]:
    """Do what is asked for, unless it was done before; return what the user reads of it."""
    run, warnings = order.run, order.run.warnings
    if run.strict and warnings:
        print_warnings(warnings)
        raise DataError(f"nothing was read, since --strict is given, with {many(len(warnings), 'warning')}")
    if order.plan.build:
        _ = order.engine.options  # fails where the runner lacks an option, or a program
    present, done = order.find_output()
    if done and not present.leftovers():
        return _lines_done_before(present, strict=run.strict)
    expected = order.forecast()
    if (expected.seconds or 0) > LONG:  # a person may want to stop it now
        print_warnings(warnings)
    if order.engine.cluster:
        order.engine.cluster.check()
    end_job = functools.partial(service.end_job, flags=order.engine.flags)
    with Lock(run.output, run.token, end_job=end_job) as lock:
        # once more: another run may have finished just before the lock was taken
        present, done = order.find_output()
        if done:
            present.clean(lock.token)
            return _lines_done_before(present, strict=run.strict)
        run = dataclasses.replace(run, parent=present.parent, expected=expected.plan())
        published = _do_run(run, order, lock)
    if not published:
        return [f"{order.engine.job_file} describes the job; {run.output} is kept for it"]
    manifest, summary = published
    if summarize := order.job.summarize:
        summary = summarize(manifest)
    return list(summary_lines(run.output, manifest, summary))


def _do_run(run: Run, order: Order, lock: Lock) -> tuple[dict[str, Any], Sequence] | None:
    """Do the job under a lock, and return the manifest and the summary of its work; None where another launches it."""
    plan, engine, quiet = order.plan, order.engine, order.args.quiet
    spilled = bucket_folder(run.staging, embedded=engine.embedded) if engine.spills else contextlib.nullcontext("")
    summary: Sequence = ()
    with spilled as buckets:
        run = dataclasses.replace(run, spill=buckets or None)
        ask = plan.how_far if engine.embedded else engine.how_far
        try:
            if place := engine.place():
                lock.note(**place)
            for name, folder in plan.sends.items() if engine.elsewhere else ():
                carry.send(folder, storage.join(run.sent, name))
            with Watch(plan.total_bytes, quiet=quiet, noun=plan.noun, stages=plan.stages or STAGES, ask=ask) as watch:
                lock.how_far = watch.line
                if plan.work:
                    files, counters, summary = plan.work(run)
                    commit.publish(run, files, counters, crash=commit.crash_point)
                elif build := plan.build:
                    sources = runs.sources(plan)
                    run_pipeline(lambda each: build(each, run), engine, submitted=lock.note, sources=sources)
        except BaseException as error:
            recover(run, lock, error)
        if engine.job_file:
            lock.note(job_file=engine.job_file)
            return None
        runs.clear_staging(run, units=True)
    manifest = read_manifest(run.output)
    if manifest is None or manifest["run"] != run.id:
        _refuse_loss(run, lock)
        what = f"the runner says that the job is done, but {run.output} does not hold its run"
        raise DataError(f"{what}; look at its log")
    return manifest, summary


def recover(run: Run, lock: Lock, error: BaseException) -> None:
    """Tidy up after a failure and raise it, or BusyError where another run has the output; return if all is done."""
    # workers outlive a failure: what is deleted now must not be written again
    exits.end_workers()
    # the answer to the commit may have been lost on the way: what is there is looked at before anything is deleted
    if commit.complete(run):
        return
    for folder in (run.staging, run.units):
        storage.close_folder(folder)
    storage.delete_tree(run.staging, below=run.output)
    _refuse_loss(run, lock)  # whoever has the output may be at work on the same units
    runs.clear_staging(run)
    runs.note_error(run, exits.describe_error(error))
    print_warnings(run.warnings)  # they may be the reason
    raise error


def _refuse_loss(run: Run, lock: Lock) -> None:
    """Raise BusyError where another run has the output now."""
    if lost := lock.lost_to():
        raise BusyError(f"this run has lost {run.output}, {lost}; its result was not published; run again")


def _lines_done_before(present: Output, *, strict: bool) -> list[str]:
    """Return what the user reads of a run that was done before, and print its warnings; DataError if it is strict."""
    warnings = from_json((present.manifest or {}).get("warnings", []))
    print_warnings(warnings)
    if strict and warnings:
        raise DataError(f"{present.path} {DONE_BEFORE}; but --strict is given, with {many(len(warnings), 'warning')}")
    return [f"{present.path} {DONE_BEFORE}"]
