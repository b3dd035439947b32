"""A run: from a plan to an output that is complete or not there. What happens before the pipeline starts."""

import contextlib
import dataclasses
import hashlib
import json
import re
import socket
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from molino import VERSION, code
from molino.jobs.forecast.sizes import Size
from molino.jobs.run.lock import OutputExistsError
from molino.jobs.run.manifest import (
    FORMAT,
    LOCK,
    MANIFEST,
    SHARD,
    STAGING,
    digest_of,
    garbage_of,
    is_finished,
    listed_paths,
    missing_paths,
    owned_paths,
    parse_manifest,
    read_manifest,
    relative_paths,
)
from molino.schemas import name_of
from molino.transforms.errors import DataError
from molino.transforms.files import storage
from molino.transforms.files.list_files import Listing, list_files
from molino.transforms.parquet.units import kept_paths
from molino.transforms.progress import STAGES
from molino.transforms.warnings import DataWarning

if TYPE_CHECKING:
    import apache_beam as beam

    from molino.transforms.parquet.shards import StagedFile

LAST_ERROR = f"{STAGING}/last_error.json"  # why the last run failed; goes with the next commit
WORKING = (f"{STAGING}/", LOCK, "_tmp.")  # how the paths of files begin that are there only while a run works
UNITS = "units-"  # how the staging folder of work units begins
CUT = ("shards", "blocks")  # options that follow from the size of the input where they are not given
UNKNOWN = DataWarning(
    "code.unknown",
    "the source of this job was not found, so no earlier run is taken for this one",
    remedy="name it: Plan(code=[...])",
)
Warn = Callable[[Mapping[str, int]], Sequence[DataWarning]]
Input = storage.FileInfo | Listing


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What a job will do, as far as it is known before it starts.

    Attributes:
      job: name of the job.
      options: everything that can change the output, as JSON values.
      datasets: schema of every data set of the output.
      balance: a counter and those that must add up to it.
      counted: data sets whose rows are counted under the same name.
      build: adds the job to a pipeline, given the run and the folder for bucket files (None: the runner's shuffle).
      work: of a job without a pipeline, such as a training: does it all in this process, and returns what it staged and
        counted.
      how_far: of such a job: returns the share that is done and what a person may read.
      warnings: what the user should know before trusting the output, as far as it is known before the run.
      warn: functions from the run's counters to what else the user should know; called by workers.
      seen: what a look at the input saw, for who plans a run.
      total_bytes: size of what will be read, for the progress.
      noun: what the progress counts.
      stages: of the progress, in their order: how workers report them, and what a person reads.
      size: how much there is to do, for a forecast; looks at the input.
      here_only: what workers on other machines could not have; for each what to tell the user.
      sends: local folders that workers need, by the names under which others get them. See `transforms.files.carry`.
      code: modules or packages, by name, that the output of a job outside this package depends on; by default the
        top-level package of `build`, or its file.
    """

    job: str
    options: Mapping[str, Any]
    datasets: Mapping[str, pa.Schema]
    balance: tuple[str, tuple[str, ...]]
    counted: tuple[str, ...]
    build: Callable[["beam.Pipeline", "Run", str | None], None] | None = None
    work: Callable[["Run"], tuple[Sequence["StagedFile"], Mapping[str, int]]] | None = None
    how_far: Callable[[], tuple[float, str]] | None = None
    warnings: Sequence[DataWarning] = ()
    warn: Sequence[Warn] = ()
    seen: Sequence[str] = ()
    total_bytes: int = 0
    noun: str = "rows"
    stages: Mapping[str, str] = dataclasses.field(default_factory=lambda: dict(STAGES))
    size: Callable[[], Size] | None = None
    here_only: Sequence[str] = ()
    sends: Mapping[str, str] = dataclasses.field(default_factory=dict)
    code: Sequence[str] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """What a run is, as its workers know it.

    Attributes:
      job: name of the job.
      output: the output folder.
      id: sha256 of job, options, inputs and code: two runs with one id write the same bytes.
      options: everything that can change the output, as JSON values.
      inputs: path, bytes and time of change of every input file; or, where the job took a folder or a glob as a whole,
        its path, number of files, bytes, and a digest over the files' paths, bytes and times of change.
      code: version and digest of this program.
      balance: a counter and those that must add up to it.
      datasets: name and version of the schema of every data set.
      counted: data sets whose rows are counted under the same name.
      max_reject_ratio: the largest share of rejects that is accepted.
      token: of this run's lock.
      warnings, warn: as the plan's.
      strict: nothing is published where there are warnings.
      work: as `id`, without the largest share of rejects: what a work unit comes to does not depend on that.
      started: when its command began, in seconds since 1970.
      expected: what the run was expected to meet and to take before it began; no part of its id.
      buckets: folder of the bucket files; empty where the runner's own shuffle carries the rows.
      elsewhere: workers may be on other machines than the one that submits.
      parent: sha256 of the manifest that was there when the run began; "" where there was none. What its commit is
        conditional on.
      globs: what was asked for as globs, so that files which they match later are noticed.
      keep_previous: how many earlier runs' data files stay for their readers.
    """

    job: str
    output: str
    id: str
    options: Mapping[str, Any]
    inputs: Sequence[Mapping[str, Any]]
    code: Mapping[str, str]
    datasets: Mapping[str, tuple[str, int]]
    balance: tuple[str, tuple[str, ...]]
    counted: tuple[str, ...]
    max_reject_ratio: float
    warnings: Sequence[DataWarning] = ()
    warn: Sequence[Warn] = ()
    strict: bool = False
    token: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)
    started: float = dataclasses.field(default_factory=time.time)
    work: str = ""
    expected: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    buckets: str = ""
    elsewhere: bool = False
    parent: str = ""
    globs: Sequence[str] = ()
    keep_previous: int = 1

    def warnings_of(self, counters: Mapping[str, int]) -> list[DataWarning]:
        """Return all warnings of a run with these counters; what was told before it is not told again."""
        before = {warning.kind for warning in self.warnings}
        counted = [warning for warn in self.warn for warning in warn(counters)]
        return [*self.warnings, *(warning for warning in counted if warning.kind not in before)]

    @property
    def staging(self) -> str:
        """Folder for this run's unfinished files; another attempt at the same run has another."""
        return storage.join(self.output, STAGING, self.token[:16])

    @property
    def sent(self) -> str:
        """Folder for what workers on other machines need of the one that submits; "" where there are none."""
        return storage.join(self.staging, "sent") if self.elsewhere else ""

    @property
    def units(self) -> str:
        """Folder for what finished work units staged; the same for every attempt at this run."""
        return storage.join(self.output, STAGING, UNITS + self.work[:16])


def plan_run(
    plan: Plan,
    *,
    output: str,
    inputs: Sequence[Input],
    max_reject_ratio: float,
    elsewhere: bool = False,
    globs: Sequence[str] = (),
    keep_previous: int = 1,
    strict: bool = False,
) -> Run:
    """Return the run of a plan, with the id that it, its inputs and the code give."""
    source = {"version": VERSION, "digest": code_digest(plan)}
    listed = [_entry(item) for item in inputs]
    options = {**plan.options, "max_reject_ratio": max_reject_ratio}
    id_, work = (
        hashlib.sha256(json.dumps([FORMAT, plan.job, those, listed, source], sort_keys=True).encode()).hexdigest()
        for those in (options, plan.options)
    )
    return Run(
        job=plan.job,
        output=output,
        id=id_,
        work=work,
        options=options,
        inputs=listed,
        code=source,
        datasets={name: name_of(schema) for name, schema in plan.datasets.items()},
        balance=plan.balance,
        counted=plan.counted,
        max_reject_ratio=max_reject_ratio,
        warnings=[*plan.warnings, *([UNKNOWN] if source["digest"].startswith("unknown") else [])],
        elsewhere=elsewhere,
        globs=globs,
        keep_previous=keep_previous,
        strict=strict,
        warn=plan.warn,
    )


def _entry(item: Input) -> dict[str, Any]:
    """Return an input as the manifest holds it: a folder of any number of files is one entry."""
    if isinstance(item, storage.FileInfo):
        return {"path": item.path, "bytes": item.bytes, "modified": round(item.modified, 6)}
    return {"path": item.path, "files": len(item.files), "bytes": item.bytes, "digest": item.digest()}


def check_inputs(run: Run) -> None:
    """Raise DataError when an input file is no longer what it was when the run was planned."""
    for listed in run.inputs:
        path = listed["path"]
        found: Sequence[Input] = [list_files(path)] if "files" in listed else storage.match(path)
        if [_entry(item) for item in found] != [dict(listed)]:
            raise DataError(f"{path} changed while it was read; run again when it is complete")


def late_inputs(run: Run) -> list[DataWarning]:
    """Return a warning where files that the globs of `--input` match have come while the run was at work."""
    listed = {entry["path"] for entry in run.inputs}
    globs = [glob for glob in run.globs if glob not in listed]  # one that was taken as a whole has a digest
    late = sorted({file.path for glob in globs for file in storage.match(glob)} - listed)
    told = f"files that match --input and came while the run was at work, not read: {len(late):,}"
    return [DataWarning("input.late", told, len(late), late[0], "run again when all is there")] if late else []


def code_digest(plan: Plan) -> str:
    """Return the digest of what a plan's output depends on; where no source is found, one that no other run has.

    A job of this package counts what all jobs share and what is its own. One from elsewhere counts all of this package,
    and its own top-level package or file, or the modules that `Plan.code` names.
    """
    job, modules = sources(plan)
    own = [code.files_of(name) for name in modules]
    if not all(own):
        return f"unknown-{uuid.uuid4().hex}"
    return code.digest({name: path for files in [code.job_files(job), *own] for name, path in files.items()})


def sources(plan: Plan) -> tuple[str | None, Sequence[str]]:
    """Return the job of this package that a plan is of, or None; and the modules from elsewhere that it depends on."""
    module = code.module_of(plan.build or plan.work or str)
    own = re.match(r"molino\.jobs\.(\w+)", module)
    return (own[1], []) if own else (None, plan.code or [module])


def check_output(run: Run, *, overwrite: bool) -> tuple[bool, str]:
    """Return whether the output already holds this very run, and the sha256 of the manifest that is there, or "".

    Raises:
      OutputExistsError: the output is something else's, or another run's and `overwrite` is not given.
    """
    path = storage.join(run.output, MANIFEST)
    while True:
        data = storage.see(path).data
        try:
            return _check_output(run, data, overwrite=overwrite), digest_of(data)
        except OutputExistsError:
            if storage.see(path).data == data:  # else a commit came in between
                raise


def _check_output(run: Run, data: bytes | None, *, overwrite: bool) -> bool:
    try:
        manifest = parse_manifest(run.output, data)
    except DataError as error:
        raise OutputExistsError(f"{error}; move it away, or choose another --output") from None
    if manifest is None:
        foreign = _foreign_files(run.output, set())
        if foreign:
            raise OutputExistsError(
                f"{run.output} is not empty and was not written by this program (it holds {foreign[0]}); "
                "choose another --output"
            )
        return False
    if manifest["job"] != run.job:
        raise OutputExistsError(f"{run.output} holds a run of the job {manifest['job']}; choose another --output")
    if manifest["run"] == run.id and is_finished(run.output) and not missing_paths(run.output, manifest):
        return True
    if manifest["run"] != run.id and not overwrite:
        raise OutputExistsError(
            f"{run.output} holds a finished run with other {_difference(run, manifest)}; "
            "add --overwrite to replace it, or choose another --output"
        )
    foreign = _foreign_files(run.output, listed_paths(manifest) | set(manifest["replaced_views"]))
    if foreign:
        raise OutputExistsError(
            f"{run.output} holds a file that no run lists ({foreign[0]}); move it away, then run again"
        )
    return False


def _foreign_files(output: str, listed: set[str]) -> list[str]:
    """Return what is in an output beside the listed paths, its own working files, and data files of other attempts."""
    return [p for p in relative_paths(output) if not (p in listed or p.startswith(WORKING) or SHARD.fullmatch(p))]


def check_ours(output: str) -> None:
    """Raise DataError where a folder holds files, but none of the kinds that runs leave, and no manifest."""
    foreign = _foreign_files(output, set()) if read_manifest(output) is None else []
    if foreign:
        raise DataError(f"{output} was not written by this program (it holds {foreign[0]}); check the path")


def leftovers(output: str) -> list[str]:
    """Return the relative paths of what only killed runs leave: working files, and data files that may be deleted.

    In a store a data file that no run lists may be one that another run is about to publish: the next commit knows.
    """
    manifest = read_manifest(output)
    kept = owned_paths(manifest) if manifest else set()
    garbage = set(garbage_of(manifest)) if manifest else set()
    local = storage.is_local(output)
    return [
        path
        for path in relative_paths(output)
        if path.startswith(WORKING) or path in garbage or (local and SHARD.fullmatch(path) and path not in kept)
    ]


def clean(output: str) -> None:
    """Delete what killed runs left behind; for who holds the lock, and has nothing to publish."""
    for path in leftovers(output):
        if path != LOCK and not path.startswith(f"{STAGING}/"):
            storage.delete_file(storage.join(output, path))
    storage.delete_tree(storage.join(output, STAGING))


def clear_staging(run: Run, *, units: bool = False) -> None:
    """Delete what this attempt staged, and of its work units what is not finished: the next attempt takes up the rest.

    Args:
      units: delete the finished ones too.
    """
    storage.delete_tree(run.staging, below=run.output)
    if units:
        storage.delete_tree(run.units, below=run.output)
        return
    kept = kept_paths(run.units, begun=False)
    for file in storage.list_tree(run.units):
        if file.path not in kept:
            storage.delete_file(file.path, below=run.output)


def note_error(run: Run, text: str) -> None:
    """Leave why a run failed in its output, for who asks later; as far as that can be written."""
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    noted = {"when": when, "host": socket.gethostname(), "run": run.id, "error": text}
    with contextlib.suppress(DataError):
        storage.write_bytes(storage.join(run.output, LAST_ERROR), json.dumps(noted).encode() + b"\n")


def _difference(run: Run, manifest: Mapping[str, Any]) -> str:
    options = json.loads(json.dumps(run.options))  # as a manifest has them
    changed = [name for name in options if manifest["options"].get(name) != options[name]]
    inputs = list(run.inputs) != manifest["inputs"]
    told = ["inputs"] * inputs
    if changed := [name for name in changed if not (inputs and name in CUT)]:
        told += ["options (" + ", ".join(changed) + ")"]
    return " and ".join(told) or "code"
