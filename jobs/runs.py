"""A run: from a plan to an output that is complete or not there.

The output folder of every job:

    _manifest.json      what the run read, with which options and code, and every file of the output; publishes the run
    _SUCCESS            written last; holds the sha256 of the manifest
    DATASET/part-00000-of-00004-RUN.parquet
    NAME.csv, report.html ...   views for people: derived from the data sets, under fixed names
    _staging/           while a run works: its unfinished files
    _lock               while a run works: who it is

Data files carry the run's id in their names, so a new run never touches the files that the present manifest lists.
The manifest's replacement, atomic on every file system, is the moment of the commit; what the old one listed is deleted
after it. Readers open what the manifest lists and nothing else.
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import socket
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

import jobs
from schemas import name_of
from transforms import storage
from transforms.batches import Gather, combine_digests, digest, sum_counters
from transforms.errors import DataError
from transforms.list_files import Listing, list_files
from transforms.parquet import StagedFile
from transforms.progress import STAGES
from transforms.resume import kept_paths

MANIFEST, SUCCESS, LOCK, STAGING = "_manifest.json", "_SUCCESS", "_lock", "_staging"
WORKING = (f"{STAGING}/", LOCK, "_tmp.")  # how the paths of files begin that are there only while a run works
FORMAT = 1
SHARD = re.compile(r"[a-z_]+/part-\d{5,}-of-\d{5,}-[0-9a-f]{8}\.parquet")
Input = storage.FileInfo | Listing
PACKAGES = ("apache-beam", "numpy", "pyarrow", "tensorflow", "opencv-python-headless")


class OutputExistsError(Exception):
    """The output is taken: by another run's result, by something that is not ours, or by a run at work."""


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
      warnings: what the user should know before trusting the output.
      total_bytes: size of what will be read, for the progress.
      noun: what the progress counts.
      stages: of the progress, in their order: how workers report them, and what a person reads.
    """

    job: str
    options: Mapping[str, Any]
    datasets: Mapping[str, pa.Schema]
    balance: tuple[str, tuple[str, ...]]
    counted: tuple[str, ...]
    build: Callable[[beam.Pipeline, "Run", str | None], None]
    warnings: Sequence[str] = ()
    total_bytes: int = 0
    noun: str = "rows"
    stages: Mapping[str, str] = dataclasses.field(default_factory=lambda: dict(STAGES))


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
      warnings: what the user should know before trusting the output.
      work: as `id`, without the largest share of rejects: what a work unit comes to does not depend on that.
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
    warnings: Sequence[str] = ()
    token: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)
    started: float = dataclasses.field(default_factory=time.time)
    work: str = ""

    @property
    def staging(self) -> str:
        """Folder for this run's unfinished files; another attempt at the same run has another."""
        return storage.join(self.output, STAGING, self.token[:16])

    @property
    def units(self) -> str:
        """Folder for what finished work units staged; the same for every attempt at this run. See transforms.resume."""
        return storage.join(self.output, STAGING, f"units-{self.work[:16]}")


def plan_run(plan: Plan, *, output: str, inputs: Sequence[Input], max_reject_ratio: float) -> Run:
    """Return the run of a plan, with the id that it, its inputs and the code give."""
    code = {"version": jobs.VERSION, "digest": code_digest()}
    listed = [_entry(item) for item in inputs]
    options = {**plan.options, "max_reject_ratio": max_reject_ratio}
    id_, work = (
        hashlib.sha256(json.dumps([FORMAT, plan.job, those, listed, code], sort_keys=True).encode()).hexdigest()
        for those in (options, plan.options)
    )
    return Run(
        job=plan.job,
        output=output,
        id=id_,
        work=work,
        options=options,
        inputs=listed,
        code=code,
        datasets={name: name_of(schema) for name, schema in plan.datasets.items()},
        balance=plan.balance,
        counted=plan.counted,
        max_reject_ratio=max_reject_ratio,
        warnings=plan.warnings,
    )


def _entry(item: Input) -> dict[str, Any]:
    """Return an input as the manifest holds it: a folder of any number of files is one entry."""
    if isinstance(item, storage.FileInfo):
        return {"path": item.path, "bytes": item.bytes, "modified": round(item.modified, 6)}
    return {"path": item.path, "files": len(item.files), "bytes": item.bytes, "digest": item.digest()}


def code_digest() -> str:
    """Return the sha256 of the source of jobs, transforms and schemas."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    state = hashlib.sha256()
    for room in ("jobs", "schemas", "transforms"):
        for folder, folders, names in os.walk(os.path.join(root, room)):
            folders.sort()
            for name in sorted(name for name in names if name.endswith(".py")):
                path = os.path.join(folder, name)
                state.update(os.path.relpath(path, root).encode() + b"\0")
                with open(path, "rb") as file:
                    state.update(hashlib.sha256(file.read()).digest())
    return state.hexdigest()


# --- the manifest


def read_manifest(output: str) -> dict[str, Any] | None:
    """Return the manifest of an output, or None when it has none.

    Raises:
      DataError: it cannot be read, or is of a format that this program does not know.
    """
    path = storage.join(output, MANIFEST)
    if not storage.exists(path):
        return None
    try:
        manifest = json.loads(storage.read_bytes(path))
        if manifest["format"] != FORMAT:
            raise DataError(f"{path} has format {manifest['format']}, this program reads format {FORMAT}")
        # whatever is missing or of another kind shows here, not half-way through a commit
        _ = [manifest[key] for key in ("job", "run", "digest", "counters", "balance", "options", "inputs", "warnings")]
        paths = listed_paths(manifest) | set(manifest["replaced_views"])
        strange = sorted(path for path in paths if not _is_inside(path))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{path} is not a manifest of this program") from None
    if strange:
        raise DataError(f"{path} lists a path that leads out of the output: {strange[0]!r}; do not trust this output")
    return manifest


def _is_inside(relative: str) -> bool:
    parts = relative.split("/")
    return "\\" not in relative and all(part not in ("", ".", "..") for part in parts)


def is_finished(output: str) -> bool:
    """Return whether the last commit went through: `_SUCCESS` names the manifest that is there."""
    path, success = storage.join(output, MANIFEST), storage.join(output, SUCCESS)
    if not (storage.exists(path) and storage.exists(success)):
        return False
    expected = hashlib.sha256(storage.read_bytes(path)).hexdigest()
    return storage.read_bytes(success).strip() == expected.encode()


def data_files(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the entries of all Parquet files, data set after data set."""
    return [file for dataset in manifest["datasets"].values() for file in dataset["files"]]


def _missing(output: str, manifest: Mapping[str, Any]) -> list[str]:
    """Return the files that are listed and not there with their size."""
    there = {file.path[len(output.rstrip("/")) + 1 :]: file.bytes for file in storage.list_tree(output)}
    listed = [*data_files(manifest), *manifest["views"]]
    return [file["path"] for file in listed if there.get(file["path"]) != file["bytes"]]


def listed_paths(manifest: Mapping[str, Any]) -> set[str]:
    """Return the relative paths of everything that belongs to a finished run."""
    return {MANIFEST, SUCCESS, *(f["path"] for f in data_files(manifest)), *(v["path"] for v in manifest["views"])}


# --- before the run


def check_output(run: Run, *, overwrite: bool) -> bool:
    """Return True when the output already holds this very run, False when the run is to be done.

    Raises:
      OutputExistsError: the output is something else's, or another run's and `overwrite` is not given.
    """
    manifest = read_manifest(run.output)
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
    if manifest["run"] == run.id and is_finished(run.output) and not _missing(run.output, manifest):
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
    """Return what is in an output beside the listed paths, its own working files, and shards of a commit cut short."""
    return [p for p in _relative_paths(output) if not (p in listed or p.startswith(WORKING) or SHARD.fullmatch(p))]


def leftovers(output: str) -> list[str]:
    """Return the relative paths of working files and unlisted shards, which only a killed run leaves behind."""
    manifest = read_manifest(output)
    listed = listed_paths(manifest) if manifest else set()
    paths = _relative_paths(output)
    return [p for p in paths if p.startswith(WORKING) or (SHARD.fullmatch(p) and p not in listed)]


def clean(run: Run) -> None:
    """Delete what killed runs left behind, but for what this run can take up; only for the holder of the lock."""
    clear_staging(run, begun=True)
    for path in leftovers(run.output):
        if path != LOCK and not path.startswith(f"{STAGING}/"):
            storage.delete_file(storage.join(run.output, path))


def clear_staging(run: Run, *, begun: bool = False) -> None:
    """Delete the staging area, but for what finished work units of this run left for the next attempt at it.

    Args:
      begun: keep the notes of units at work too: they were left by a process that died.
    """
    kept = kept_paths(run.units, begun=begun)
    if not kept:
        storage.delete_tree(storage.join(run.output, STAGING))
    for file in storage.list_tree(storage.join(run.output, STAGING)) if kept else []:
        if file.path not in kept:
            storage.delete_file(file.path, below=run.output)


def _relative_paths(output: str) -> list[str]:
    return [file.path[len(output.rstrip("/")) + 1 :] for file in storage.list_tree(output)]


def _difference(run: Run, manifest: Mapping[str, Any]) -> str:
    changed = [name for name in run.options if manifest["options"].get(name) != run.options[name]]
    if changed:
        return "options (" + ", ".join(changed) + ")"
    return "inputs" if list(run.inputs) != manifest["inputs"] else "code"


class Lock:
    """Keeps two runs out of one output: a file that says who is at work.

    On a local disk it is created exclusively. An object store has no such thing: the claim is written, and read back
    after a pause; and whatever happens, a commit looks whether the lock is still its own. A lock whose process is gone
    is taken over when it was of this machine.
    """

    PAUSE = 2.0  # seconds in which a rival's claim becomes visible on an object store

    def __init__(self, run: Run):
        self.path, self.token = storage.join(run.output, LOCK), run.token
        self.local = storage.is_local(run.output)

    def __enter__(self) -> "Lock":
        claim = json.dumps(
            {"token": self.token, "host": socket.gethostname(), "pid": os.getpid(), "born": _born(os.getpid())}
        ).encode()
        for _ in range(3):
            if self._create(claim):
                return self
            self._clear_stale()
        raise OutputExistsError(self._message())

    def __exit__(self, *_: object) -> None:
        if holder(self.path).get("token") == self.token:
            storage.delete_file(self.path)

    def _create(self, claim: bytes) -> bool:
        if self.local:
            # written whole before it has its name: a reader never sees an empty claim
            draft = f"{self.path}.{self.token}"
            with storage.explained(self.path, "write"), storage.open_output(draft) as file:
                file.write(claim)
            try:
                os.link(draft, self.path)
            except (FileExistsError, FileNotFoundError):  # taken, and perhaps the taker cleaned the draft away
                return False
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(draft)
            return True
        if storage.exists(self.path):
            return False
        storage.write_atomic(self.path, claim)
        time.sleep(self.PAUSE)
        return holder(self.path).get("token") == self.token

    def _clear_stale(self) -> None:
        claim = holder(self.path)
        if not claim or claim.get("host") != socket.gethostname():
            return
        if _born(claim["pid"]) == claim["born"] and _alive(claim["pid"]):
            return
        if not self.local:
            storage.delete_file(self.path)
            return
        # several runs may see the same stale claim: the rename lets one of them remove it
        aside = f"{self.path}.stale.{self.token}"
        try:
            os.rename(self.path, aside)
        except FileNotFoundError:
            return
        if holder(aside).get("token") != claim["token"]:
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                os.link(aside, self.path)
        storage.delete_file(aside)

    def _message(self) -> str:
        claim = holder(self.path)
        return (
            f"another run is at work in {os.path.dirname(self.path)} (process {claim.get('pid', '?')} on "
            f"{claim.get('host', '?')}); wait for it, or delete {self.path} if you know that it is gone"
        )


def holder(path: str) -> dict[str, Any]:
    """Return the claim in a lock file; empty when there is none."""
    try:
        return json.loads(storage.read_bytes(path)) if storage.exists(path) else {}
    except (DataError, ValueError):
        return {}


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _born(pid: int) -> str:
    """Return the start time of a process where the system tells: a number can be given to another process later."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""


# --- the end of the run, in the pipeline


def publish(run: Run, files: Sequence[StagedFile], counters: Mapping[str, int], crash: Callable[[str], None]) -> dict:
    """Verify what the workers staged, and make it the output. Safe to repeat at any point.

    Args:
      crash: called between all steps, with the step's name; tests stop there.

    Raises:
      DataError: the sums do not hold, too much was rejected, an input changed, or a staged file is not as emitted.
    """
    present = read_manifest(run.output)
    if present is not None and present["run"] == run.id and not _missing(run.output, {**present, "views": []}):
        _finish(run, present, files, crash)
        return present
    if holder(storage.join(run.output, LOCK)).get("token") != run.token:
        raise DataError(f"this run no longer holds the lock of {run.output}; nothing was published")
    check_counters(run, counters)
    check_inputs(run)
    check_rows(run, files, counters)
    names = _final_names(run, files)
    for file in files:
        _check_staged(file)
    crash("verified")
    for file in files:
        if file.dataset:
            storage.move(file.path, storage.join(run.output, names[file.path]))
            crash("moved")
    earlier = [*(view["path"] for view in present["views"]), *present["replaced_views"]] if present else []
    manifest = _manifest(run, files, names, counters, earlier)
    storage.write_atomic(storage.join(run.output, MANIFEST), _json(manifest))
    crash("manifest")
    _finish(run, manifest, files, crash)
    return manifest


def _finish(run: Run, manifest: Mapping[str, Any], files: Sequence[StagedFile], crash: Callable[[str], None]) -> None:
    """Delete the shards and views of earlier runs, put the views in place, and say that the commit is through."""
    for path in manifest["replaced_views"]:
        storage.delete_file(storage.join(run.output, path), below=run.output)
    listed = listed_paths(manifest)
    for path in _relative_paths(run.output):
        if SHARD.fullmatch(path) and path not in listed:
            storage.delete_file(storage.join(run.output, path))
            crash("deleted")
    for file in files:
        if not file.dataset:
            storage.move(file.path, storage.join(run.output, file.name))
            crash("view")
    storage.write_atomic(
        storage.join(run.output, SUCCESS), hashlib.sha256(_json(manifest)).hexdigest().encode() + b"\n"
    )
    crash("success")


def check_counters(run: Run, counters: Mapping[str, int]) -> None:
    """Raise DataError unless every record is accounted for and the rejects are few enough."""
    whole, parts = run.balance
    total = counters.get(whole, 0)
    if total != sum(counters.get(part, 0) for part in parts):
        sums = " + ".join(f"{part} {counters.get(part, 0):,}" for part in parts)
        raise DataError(f"records were lost: {whole} {total:,} is not {sums}; nothing was published; report this")
    rejects = counters.get("rejects", 0)
    if rejects > run.max_reject_ratio * total:
        reasons = sorted(((n, r) for r, n in counters.items() if r.startswith("rejects.")), reverse=True)
        worst = ", ".join(f"{reason.removeprefix('rejects.')} {n:,}" for n, reason in reasons[:3])
        raise DataError(
            f"{rejects:,} of {total:,} records were rejected ({worst}), more than --max-reject-ratio "
            f"{run.max_reject_ratio:g} allows; nothing was published; mend the input or raise the limit"
        )


def check_rows(run: Run, files: Sequence[StagedFile], counters: Mapping[str, int]) -> None:
    """Raise DataError unless every counted data set has as many rows as were counted."""
    rows: Counter[str] = Counter()
    for file in files:
        rows[file.dataset] += file.rows
    for dataset in run.counted:
        if rows[dataset] != counters.get(dataset, 0):
            raise DataError(
                f"{dataset} has {rows[dataset]:,} rows where {counters.get(dataset, 0):,} were counted; "
                "nothing was published; report this"
            )


def check_inputs(run: Run) -> None:
    """Raise DataError when an input file is no longer what it was when the run was planned."""
    for listed in run.inputs:
        path = listed["path"]
        found: Sequence[Input] = [list_files(path)] if "files" in listed else storage.match(path)
        if [_entry(item) for item in found] != [dict(listed)]:
            raise DataError(f"{path} changed while it was read; run again when it is complete")


def _check_staged(file: StagedFile) -> None:
    with storage.open_input(file.path) as data:
        size = data.size()
        rows = pq.ParquetFile(data).metadata.num_rows if file.dataset else 0
    if (size, rows) != (file.bytes, file.rows):
        raise DataError(
            f"{file.path} has {size:,} bytes and {rows:,} rows where {file.bytes:,} and {file.rows:,} were written; "
            "nothing was published; check the disk, then run again"
        )


def _final_names(run: Run, files: Sequence[StagedFile]) -> dict[str, str]:
    names = {}
    shards = defaultdict(list)
    for file in files:
        shards[file.dataset].append(file)
    for dataset, members in shards.items():
        for number, file in enumerate(sorted(members, key=lambda f: (f.key, f.name))):
            part = f"{dataset}/part-{number:05d}-of-{len(members):05d}-{run.id[:8]}.parquet"
            names[file.path] = part if dataset else file.name
    return names


def _manifest(
    run: Run,
    files: Sequence[StagedFile],
    names: Mapping[str, str],
    counters: Mapping[str, int],
    earlier_views: Sequence[str],
) -> dict:
    shards = defaultdict(list)
    for file in sorted(files, key=lambda f: (f.dataset, f.key, f.name)):
        shards[file.dataset].append(file)
    datasets = {
        dataset: {
            "schema": schema,
            "version": version,
            "rows": sum(file.rows for file in members),
            "digest": combine_digests([d for file in members for d in file.digests]),
            "files": [{"path": names[f.path], "rows": f.rows, "bytes": f.bytes, "sha256": f.sha256} for f in members],
        }
        for dataset, (schema, version) in sorted(run.datasets.items())
        for members in [shards.get(dataset, [])]
    }
    views = [{"path": file.name, "bytes": file.bytes, "sha256": file.sha256} for file in shards.get("", [])]
    return {
        "format": FORMAT,
        "job": run.job,
        "run": run.id,
        "digest": combine_digests([f"{name}:{d['digest']};" for name, d in datasets.items()]),
        "counters": dict(sorted(counters.items())),
        "balance": [run.balance[0], list(run.balance[1])],
        "warnings": list(run.warnings),
        "datasets": datasets,
        "views": views,
        # of earlier runs, deleted by the commit: a commit that is cut short and repeated must still know them
        "replaced_views": sorted(set(earlier_views) - {view["path"] for view in views}),
        "options": dict(run.options),
        "inputs": [dict(listed) for listed in run.inputs],
        "code": dict(run.code),
        "packages": package_versions(),
        "started": _utc(run.started),
        "seconds": round(time.time() - run.started, 3),
    }


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that can change an output's bytes."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _json(manifest: Mapping[str, Any]) -> bytes:
    return (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode()


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def crash_point(step: str) -> None:
    """Die as by kill -9 at the step that MOLINO_CRASH names; how the tests stop a commit half-way."""
    if os.environ.get("MOLINO_CRASH") == step:
        os.kill(os.getpid(), 9)


def _publish(files: list[StagedFile], counters: list[Mapping[str, int]], run: Run) -> str:
    publish(run, sorted(files, key=lambda f: (f.dataset, f.key, f.name)), sum_counters(counters), crash_point)
    return run.id


@dataclasses.dataclass(kw_only=True)
class Publish(beam.PTransform):
    """Verify and commit a run: the last step of every pipeline.

    It stands in the pipeline, not in the program that submits it, which may be gone when a cluster finishes.
    Input: all StagedFiles of the run.

    Attributes:
      run: what is published.
      counters: mappings of counts, summed over the whole run.
    """

    run: Run
    counters: beam.PCollection

    def expand(self, files: beam.PCollection) -> beam.PCollection:
        arguments = {"counters": beam.pvalue.AsList(self.counters), "run": self.run}
        return files | "Commit" >> Gather(into=_publish, arguments=arguments)


# --- after the run


def verify(output: str) -> tuple[dict[str, Any], list[str]]:
    """Recheck a finished run from its manifest, reading every byte; return the manifest and what is wrong.

    Memory: one row group.
    """
    manifest = read_manifest(output)
    if manifest is None:
        raise DataError(f"{output} holds no finished run: there is no {MANIFEST}")
    wrong = []
    for name, dataset in manifest["datasets"].items():
        digests: list[str] = []
        for file in dataset["files"]:
            wrong += _file_faults(output, file, (dataset["schema"], dataset["version"]), digests)
        if not wrong and combine_digests(digests) != dataset["digest"]:
            wrong.append(f"{name}: the rows are not those that were written (digest)")
        if dataset["rows"] != sum(file["rows"] for file in dataset["files"]):
            wrong.append(
                f"{name}: {dataset['rows']:,} rows, but its files have {sum(f['rows'] for f in dataset['files']):,}"
            )
    for view in manifest["views"]:
        wrong += _byte_faults(output, view)
    whole, parts = manifest["balance"]
    counters = manifest["counters"]
    if counters.get(whole, 0) != sum(counters.get(part, 0) for part in parts):
        wrong.append(f"the counters do not add up: {whole} is not the sum of {', '.join(parts)}")
    if not is_finished(output):
        wrong.append(f"{SUCCESS} is missing or not of this manifest: a commit was cut short; repeat the run")
    listed = listed_paths(manifest)
    extra = [path for path in _relative_paths(output) if path not in listed and not path.startswith((STAGING, LOCK))]
    wrong += [f"{path}: not part of the run" for path in extra]
    return manifest, wrong


def _byte_faults(output: str, entry: Mapping[str, Any]) -> list[str]:
    path = storage.join(output, entry["path"])
    if not storage.exists(path):
        return [f"{entry['path']}: missing"]
    size, sha256 = storage.hash_file(path)
    if size != entry["bytes"]:
        return [f"{entry['path']}: {size:,} bytes, {entry['bytes']:,} were written"]
    return [] if sha256 == entry["sha256"] else [f"{entry['path']}: the bytes changed (sha256)"]


def _file_faults(output: str, entry: Mapping[str, Any], schema: tuple[str, int], digests: list[str]) -> list[str]:
    wrong = _byte_faults(output, entry)
    if wrong:
        return wrong
    with storage.open_input(storage.join(output, entry["path"])) as data:
        try:
            file = pq.ParquetFile(data, page_checksum_verification=True)
            found = name_of(file.schema_arrow)
            for group in range(file.num_row_groups):
                table = file.read_row_group(group).combine_chunks()
                digests += [digest(batch) for batch in table.to_batches()]
        except (pa.ArrowException, OSError, ValueError) as error:
            return [f"{entry['path']}: not readable ({' '.join(str(error).split())[:120]})"]
    if found != tuple(schema):
        wrong.append(f"{entry['path']}: schema {found[0]} {found[1]}, the manifest says {schema[0]} {schema[1]}")
    if file.metadata.num_rows != entry["rows"]:
        wrong.append(f"{entry['path']}: {file.metadata.num_rows:,} rows, {entry['rows']:,} were written")
    return wrong
