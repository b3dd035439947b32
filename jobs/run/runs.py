"""A run: from a plan to an output that is complete or not there. What happens before the pipeline starts."""

import contextlib
import dataclasses
import hashlib
import json
import re
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from molino import VERSION, code
from molino.jobs.job import Plan, Warn
from molino.jobs.run.card import DatasetCard, describe_fields
from molino.jobs.run.inputs import Input, entries_of
from molino.jobs.run.output import LAST_ERROR
from molino.schemas import name_of
from molino.transforms.errors import DataError
from molino.transforms.files import storage
from molino.transforms.manifest import FORMAT, STAGING
from molino.transforms.parquet.units import kept_paths
from molino.transforms.warnings import DataWarning

UNITS = "units-"  # how the staging folder of work units begins
_UNFOUND = "the source of this job was not found, so no earlier run is taken for this one"
UNKNOWN = DataWarning("code.unknown", _UNFOUND, remedy="name it: Plan(code=[...])")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """What a run is, as its workers know it."""

    job: str  # name of the job
    id: str  # sha256 of job, options, inputs and code: two runs with one id write the same bytes
    # as `id`, without the largest share of rejects, and without the inputs where units are named by what is in them:
    # what a work unit comes to does not depend on these
    work: str
    options: Mapping[str, Any]  # everything that can change the output, as JSON values
    # path, bytes and time of change of every input file; or, where the job took a folder or a glob as a whole, its
    # path, number of files, bytes, and a digest over the files' paths, bytes and times of change
    inputs: Sequence[Mapping[str, Any]]
    code: Mapping[str, str]  # version and digest of this program
    output: str  # the output folder; "" for a plan that has none
    datasets: Mapping[str, tuple[str, int]]  # name and version of the schema of every data set
    # balance, counted, warnings, warn: as the plan's; the warnings with what else is doubtful before the run
    balance: tuple[str, tuple[str, ...]]
    counted: tuple[str, ...]
    max_reject_ratio: float = 0.0  # the largest share of rejects that is accepted
    warnings: Sequence[DataWarning] = ()
    warn: Sequence[Warn] = ()
    strict: bool = False  # nothing is published where there are warnings
    token: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)  # of this run's lock
    started: float = dataclasses.field(default_factory=time.time)  # when its command began, in seconds since 1970
    # what the run was expected to meet and to take before it began; no part of its id
    expected: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    spill: str | None = None  # folder of the bucket files; None where the runner's own shuffle carries the rows
    elsewhere: bool = False  # workers may be on other machines than the one that submits
    # sha256 of the manifest that was there when the run began; "" where there was none. What its commit is conditional
    # on
    parent: str = ""
    # folders and globs whose new files are noticed at the end, and whether links in them are followed
    watched: Sequence[tuple[str, bool]] = ()
    keep_previous: int = 1  # how many earlier runs' data files stay for their readers
    card: DatasetCard | None = None  # of the output; None for an output without one

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


def make_run(
    plan: Plan, inputs: Sequence[Input], *, output: str, about: str = "", max_reject_ratio: float = 0.0, **facts: Any
) -> Run:
    """Return the run of a plan in an output; `about` is what the job does, `facts` are what a Run has besides."""
    source = {"version": VERSION, "digest": code_digest(plan)}
    listed = entries_of(inputs)
    # of columns among the options a manifest has the types
    own = json.loads(json.dumps(plan.options, default=lambda columns: {one.name: str(one.type) for one in columns}))
    options = {**own, "max_reject_ratio": max_reject_ratio}
    asked = ((options, listed), (own, [] if plan.units_by_content else listed))
    told = (json.dumps([FORMAT, plan.job, *each, source], sort_keys=True) for each in asked)
    id_, work = (hashlib.sha256(each.encode()).hexdigest() for each in told)
    fields = {name: describe_fields(schema) for name, schema in plan.datasets.items()}
    return Run(
        job=plan.job,
        id=id_,
        work=work,
        options=options,
        inputs=listed,
        code=source,
        output=output,
        datasets={name: name_of(schema) for name, schema in plan.datasets.items()},
        balance=plan.balance,
        counted=plan.counted,
        max_reject_ratio=max_reject_ratio,
        warnings=[*plan.warnings, *([UNKNOWN] if source["digest"].startswith("unknown") else [])],
        warn=plan.warn,
        card=DatasetCard(about=about, personal=plan.personal, fields=fields),
        **facts,
    )


def code_digest(plan: Plan) -> str:
    """Return the digest of what a plan's output depends on; where no source is found, one that no other run has.

    A job of this package counts what all jobs share and what is its own. One from elsewhere counts all of this package,
    and its own top-level package or file, or the modules that `Plan.code` names.
    """
    job, modules = sources(plan)
    own = [code.files_of(name) for name in modules]
    if not all(own):
        return f"unknown-{uuid.uuid4().hex}"
    return code.digest_files({name: path for files in [code.job_files(job), *own] for name, path in files.items()})


def sources(plan: Plan) -> tuple[str | None, Sequence[str]]:
    """Return the job of this package that a plan is of, or None; and the modules from elsewhere that it depends on."""
    module = code.module_of(plan.build or plan.work or str)
    own = re.match(r"molino\.jobs\.(\w+)", module)
    return (own[1], []) if own else (None, plan.code or [module])


def clear_staging(run: Run, *, units: bool = False) -> None:
    """Delete what this attempt staged, and its work `units`, or of them what is not finished, for the next attempt."""
    storage.delete_tree(run.staging, below=run.output)
    if units:
        storage.delete_tree(run.units, below=run.output)
        return
    for path in {file.path for file in storage.list_tree(run.units)} - {*kept_paths(run.units)}:
        storage.delete_file(path, below=run.output)


def note_error(run: Run, text: str) -> None:
    """Leave why a run failed in its output, for who asks later; as far as that can be written."""
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    noted = {"when": when, "host": socket.gethostname(), "run": run.id, "error": text}
    with contextlib.suppress(DataError):
        storage.write_bytes(storage.join(run.output, LAST_ERROR), json.dumps(noted).encode() + b"\n")
