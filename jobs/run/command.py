"""What every job's command does around its pipeline: plan, lock, run, tell."""

import argparse
import contextlib
import dataclasses
import functools
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from molino import environment
from molino.jobs.options import BUSY, DONE, EMBEDDED, EXISTS, Parser, many
from molino.jobs.runners import exits, quiet, service
from molino.jobs.runners.flags import (
    are_elsewhere,
    check_reachable,
    is_embedded,
    job_file_of,
    pipeline_options,
    workers_of,
)
from molino.jobs.runners.pipeline import run_pipeline
from molino.jobs.runners.temporary import check_temporary_files
from molino.jobs.runners.watch import Watch

BLOCKS_PER_SHARD = 8
LONG = 30.0  # seconds that people do not wait for to read a warning
GARBAGE_OBJECTS = 100_000  # new ones before Python looks for garbage
MIN_BLOCKS = 8  # so that a small input can have a few shards too
DONE_BEFORE = "already holds this run (same inputs, options and code); nothing to do"


def run_command(
    parser: Parser,
    make_plan: Callable[[argparse.Namespace, Sequence], Any],
    summarize: Callable[[dict[str, Any]], list[tuple[str, str]]],
    arguments: Sequence[str] | None,
    list_inputs: Callable[[argparse.Namespace], list] | None = None,
) -> int:
    """Parse a job's command line, run the job, print the summary, and return the exit code.

    A job that reads folders gives `list_inputs`, from the options to a list of FileInfo or Listing.
    What the user did wrong, and what the input or the disk does not allow, ends in one line on standard error.
    """
    started = time.time()
    # what a run makes is held in large arrays, and imports make objects that stay: a tenth of a short run is saved
    gc.set_threshold(GARBAGE_OBJECTS)
    environment.prepare()
    quiet.silence_beam()
    given, beam_flags = parser.parse_strictly(arguments)
    from molino.jobs.run.lock import BusyError, OutputExistsError
    from molino.transforms.errors import OptionError

    with exits.signals_as_exits() as received:
        try:
            told = _run(given, beam_flags, make_plan, summarize, list_inputs or _find_files, started)
        except OptionError as error:
            parser.error(str(error))
        except OutputExistsError as error:
            print(f"molino: {error}", file=sys.stderr)
            return EXISTS
        except BusyError as error:
            print(f"molino: {error}", file=sys.stderr)
            exits.leave(BUSY)
        except SystemExit as stop:
            _leave_stopped(int(stop.code or 0))
        except Exception as error:
            if received:
                _leave_stopped(received[0])
            exits.leave(exits.fail(error))
    for line in told:
        print(line)
    gc.freeze()  # at the end Python would look for garbage among all that it is about to drop: up to a second
    return DONE


def _leave_stopped(code: int) -> None:
    print("molino: stopped; the output is as its last complete run left it", file=sys.stderr)
    exits.leave(code)


def _run(
    given: argparse.Namespace,
    beam_flags: Sequence[str],
    make_plan: Callable,
    summarize: Callable,
    list_inputs: Callable[[argparse.Namespace], list],
    started: float,
) -> list[str]:
    """Return what the user reads of a run that is done."""
    from molino.jobs.run import commit, runs
    from molino.jobs.run.buckets import bucket_folder
    from molino.jobs.run.lock import Lock
    from molino.jobs.run.manifest import read_manifest
    from molino.jobs.runners import flink
    from molino.transforms.errors import DataError, OptionError
    from molino.transforms.files import carry, storage
    from molino.transforms.warnings import print_warnings

    check_temporary_files()
    storage.use_options(beam_flags)
    inputs = list_inputs(given)
    output = output_folder(given.output, inputs)
    check_reachable(given.runner, [output, *given.input])
    elsewhere = are_elsewhere(given.runner, beam_flags)
    plan = make_plan(given, inputs)
    if elsewhere and plan.here_only:
        raise OptionError(plan.here_only[0])
    run = runs.plan_run(
        plan,
        output=output,
        inputs=inputs,
        max_reject_ratio=given.max_reject_ratio,
        elsewhere=elsewhere,
        globs=[storage.folder(path) for path in given.input if set(path) & set("*?[")],
        keep_previous=given.keep_previous,
        strict=given.strict,
    )
    refuse_warnings(run)
    options = None
    if plan.build:
        options = pipeline_options(given.runner, beam_flags, job=plan.job, workers=given.workers)
    if runs.check_output(run, overwrite=given.overwrite)[0] and not runs.leftovers(output):
        return _tell_done(output, strict=given.strict)
    forecast = expect(plan, given, beam_flags)
    run = dataclasses.replace(run, started=started, expected=forecast.plan() if forecast else {})
    if forecast and (forecast.seconds or 0) > LONG:  # a person may want to stop it now
        print_warnings(run.warnings)
    embedded = is_embedded(given.runner)
    cluster = None if embedded else flink.cluster_of(given.runner, options)
    if cluster:
        cluster.check()
    job_file = job_file_of(options) if options else ""
    spilled = bucket_folder(run.staging, embedded=embedded) if _spills(given.shuffle, embedded) else None
    end_job = functools.partial(service.end_job, flags=beam_flags)
    with Lock(output, run.token, end_job=end_job) as lock, spilled or contextlib.nullcontext() as spill:
        # once more: another run may have finished just before the lock was taken
        done, parent = runs.check_output(run, overwrite=given.overwrite)
        if done:
            runs.clean(output)
            return _tell_done(output, strict=given.strict)
        run = dataclasses.replace(run, buckets=spill or "", parent=parent)
        try:
            ask = plan.how_far
            if not embedded:
                ask = cluster.how_far if cluster else lambda: (0.0, f"at work on {given.runner}")
            if cluster:
                lock.tell(engine=given.runner, master=cluster.url, job=cluster.name)
            for name, folder in plan.sends.items() if elsewhere else ():
                carry.send(folder, storage.join(run.sent, name))
            with Watch(plan.total_bytes, quiet=given.quiet, noun=plan.noun, stages=plan.stages, ask=ask) as watch:
                lock.how_far = watch.told
                if plan.work:
                    files, counters = plan.work(run)
                    commit.publish(run, files, counters, commit.crash_point)
                else:
                    run_pipeline(
                        lambda pipeline: plan.build(pipeline, run, spill),
                        given.runner,
                        options,
                        worker_mode=given.worker_mode,
                        cluster=cluster,
                        submitted=lambda result: lock.tell(**service.place_of(given.runner, options, result)),
                        sources=runs.sources(plan),
                    )
        except BaseException as error:
            recover(run, lock, error)
        if job_file:
            lock.tell(job_file=job_file)
            return [f"{job_file} describes the job; {output} is kept for it"]
        runs.clear_staging(run, units=True)
    manifest = read_manifest(output)
    if manifest is None or manifest["run"] != run.id:
        raise DataError(f"the runner says that the job is done, but {output} does not hold its run; look at its log")
    return list(tell(output, manifest, summarize))


def recover(run: Any, lock: Any, error: BaseException) -> None:
    """Tidy up after a failure and raise it; return where the commit was through all the same.

    Raises:
      BusyError: the output was taken over by another run, of which the failure tells nothing.
    """
    from molino.jobs.run import commit, runs
    from molino.jobs.run.lock import BusyError
    from molino.transforms.files import storage
    from molino.transforms.warnings import print_warnings

    # workers outlive a failure: what is deleted now must not be written again
    exits.end_workers()
    # the answer to the commit may have been lost on the way: what is there is looked at before anything is deleted
    if commit.complete(run):
        return
    for folder in (run.staging, run.units):
        storage.close_folder(folder)
    runs.clear_staging(run)
    lost = lock.lost_to()
    if lost:
        raise BusyError(f"this run has lost {run.output}, {lost}; its own result is not there; run again") from error
    runs.note_error(run, exits.describe(error))
    print_warnings(run.warnings)  # they may be the reason
    raise error


def refuse_warnings(run: Any) -> None:
    """Raise DataError where a strict run has warnings before it begins, after printing them."""
    from molino.transforms.errors import DataError
    from molino.transforms.warnings import print_warnings

    if run.strict and run.warnings:
        print_warnings(run.warnings)
        raise DataError(f"nothing was read, for --strict is given, and there {_are(run.warnings)}")


def _are(warnings: Sequence) -> str:
    return "is a warning" if len(warnings) == 1 else f"are {len(warnings):,} warnings"


def _tell_done(output: str, *, strict: bool) -> list[str]:
    """Return what the user reads of a run that was done before; print its warnings.

    Raises:
      DataError: it has warnings, and the command is strict.
    """
    from molino.jobs.run.manifest import read_manifest
    from molino.transforms.errors import DataError
    from molino.transforms.warnings import from_json, print_warnings

    manifest = read_manifest(output)
    warnings = from_json(manifest["warnings"]) if manifest else []
    print_warnings(warnings)
    if strict and warnings:
        raise DataError(f"{output} {DONE_BEFORE}; but --strict is given, and there {_are(warnings)}")
    return [f"{output} {DONE_BEFORE}"]


def expect(plan: Any, given: argparse.Namespace, flags: Sequence[str]) -> Any:
    """Return the Forecast of a plan; None for a job that tells nothing of its size, or was never measured.

    Raises:
      DataError: what is read of the input as a sample cannot be read.
    """
    from molino.jobs.forecast.estimate import forecast, read_constants

    if plan.size is None or plan.job not in read_constants()["jobs"]:
        return None
    embedded = is_embedded(given.runner)
    return forecast(
        plan.job,
        plan.size(),
        workers=workers_of(given.runner, flags, given.workers),
        runner=EMBEDDED if embedded else given.runner,
        spills=_spills(given.shuffle, embedded),
    )


def _find_files(given: argparse.Namespace) -> list:
    return find_inputs(given.input)


def find_inputs(patterns: Sequence[str]) -> list:
    """Return the files that paths and globs name, each once, sorted by path.

    Raises:
      DataError: a pattern names no file.
    """
    from molino.jobs.run.manifest import MANIFEST
    from molino.transforms.errors import DataError
    from molino.transforms.files import storage

    found = {}
    for pattern in patterns:
        if storage.is_local(pattern) and os.path.isdir(pattern):
            if os.path.exists(os.path.join(pattern, MANIFEST)):
                raise DataError(
                    f"{pattern} is a run of a job; name the files of one data set in it, as its manifest does"
                )
            raise DataError(f"{pattern} is a folder; name its files, for example {os.path.join(pattern, '*')}")
        files = storage.match(os.path.abspath(pattern) if storage.is_local(pattern) else pattern)
        for file in files:
            if any("\ud800" <= character <= "\udfff" for character in file.path):
                raise DataError(f"the file name {file.path!a} is not UTF-8; rename the file")
        if not files:
            what = "no file matches" if any(c in pattern for c in "*?[") else "there is no file"
            raise DataError(f"{what} {pattern}; check --input")
        found.update({file.path: file for file in files})
    return [found[path] for path in sorted(found)]


def cut(total_bytes: int, *, block_bytes: int, asked: int | None) -> tuple[int, int, list]:
    """Return the blocks of an output, its shards, and a warning when it is too small for those that were asked for.

    They follow from the size of the input, never from the machine. A block is the unit of an output's order.
    """
    from molino.transforms.warnings import DataWarning

    blocks = max(MIN_BLOCKS, -(-total_bytes // block_bytes))
    shards = asked or max(min(4, -(-total_bytes // block_bytes)), blocks // BLOCKS_PER_SHARD)
    told = f"the input is too small for {asked} shards; it has {blocks}"
    few = [DataWarning("shards.few", told, remedy=f"give --shards {blocks}")] if asked and asked > blocks else []
    return blocks, min(shards, blocks), few


def tell(output: str, manifest: dict[str, Any], summarize: Callable) -> Iterator[str]:
    """Yield the summary of a finished run; its warnings go to standard error."""
    from molino.jobs.run.manifest import MANIFEST
    from molino.transforms.warnings import from_json, print_warnings

    read, seconds = manifest["balance"][0], manifest["seconds"]
    rate = manifest["counters"].get(read, 0) / max(seconds, 1e-3)
    shown = f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"
    lines = [*summarize(manifest), ("time", f"{seconds:.1f} s, {shown} {read.removesuffix('_read')}/s")]
    if manifest["plan"]:
        lines += [("of the plan", ", ".join(f"{what} {part:.2f}" for what, part in compare(manifest)))]
    print_warnings(from_json(manifest["warnings"]))
    if kept := sum(len(paths) for paths in manifest["previous"]):
        why = f"for who still reads them; open what {MANIFEST} lists, not a glob"
        lines += [("kept", f"{many(kept, 'file')} of earlier runs, {why}")]
    lines += [("digest", manifest["digest"][:16]), ("output", output)]
    views = [view["path"] for view in manifest["views"] if view["path"].endswith(".html") and "/" not in view["path"]]
    lines += [("report", f"{output.rstrip('/')}/{view}") for view in views]
    for name, text in lines:
        yield f"{name:>12}  {text}"


def compare(manifest: dict[str, Any]) -> list[tuple[str, float]]:
    """Return what a run met and took, each as a multiple of what its plan had said; what is not known is left out."""
    plan, used = manifest["plan"], manifest["used"]
    facts = {
        "rows": (manifest["counters"].get(manifest["balance"][0], 0), plan["rows"]),
        "shuffle": (used["shuffle_bytes"], plan["shuffle_bytes"]),
        "written": (used["written_bytes"], plan["written_bytes"]),
        "seconds": (manifest["seconds"], plan["seconds"]),
        # of other runners only one process is known, which need not be a worker
        "memory": (used["peak_bytes"] if plan["runner"] == EMBEDDED else None, plan["memory_bytes"]),
    }
    return [(what, fact / planned) for what, (fact, planned) in facts.items() if fact and planned]


def output_folder(output: str, inputs: Sequence) -> str:
    """Return the output folder as an absolute path where it is local, after looking that it holds no input.

    Raises:
      OutputExistsError: it lies inside another run.
    """
    from molino.jobs.run.lock import OutputExistsError
    from molino.transforms.errors import DataError, OptionError
    from molino.transforms.files import storage

    storage.store_of(output)  # or there is none of that scheme
    folder = storage.folder(output)
    for item in inputs:
        for file in getattr(item, "files", [item]):
            path = os.path.abspath(file.path) if storage.is_local(file.path) else file.path
            if path.startswith(folder + "/"):
                raise OptionError(f"--input {file.path} lies inside --output {output}; choose another --output")
        if getattr(item, "root", "") == item.path.rstrip("/") + "/" and (folder + "/").startswith(item.root):
            raise OptionError(f"--output {output} lies inside --input {item.path}; choose another --output")
    if not storage.is_local(folder) and set(folder) & set("*?["):
        raise OptionError(f"--output {output} holds a character of globs (* ? [); choose another name")
    if storage.is_local(folder) and os.path.lexists(folder) and not os.path.isdir(folder):
        what = "it is a file, not a folder" if os.path.exists(folder) else "it is a link that leads nowhere"
        raise DataError(f"cannot write {folder}: {what}; choose another --output")
    if above := run_above(folder):
        raise OutputExistsError(f"{folder} lies inside the run in {above}; choose another --output")
    return folder


def run_above(output: str) -> str:
    """Return the folder above an output that holds a run, "" where none does, or none can be seen."""
    from molino.jobs.run.manifest import MANIFEST
    from molino.transforms.errors import DataError
    from molino.transforms.files import storage

    above = output
    while (above := os.path.dirname(above)).strip("/") and not above.endswith(":/"):
        with contextlib.suppress(DataError):
            if storage.exists(storage.join(above, MANIFEST)):
                return above
    return ""


def _spills(shuffle: str, embedded: bool) -> bool:
    return shuffle == "files" or (shuffle == "auto" and embedded)
