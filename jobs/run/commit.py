"""The end of a run, inside the pipeline: verify what the workers staged, and publish it.

Data files carry the run's id in their names, so a new run never touches the files that the present manifest lists.
The manifest's replacement, atomic on every file system, is the moment of the commit; what the old one listed is deleted
after it. Readers open what the manifest lists and nothing else.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import resource
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow.parquet as pq

from molino.jobs.run.lock import holder
from molino.jobs.run.manifest import (
    FORMAT,
    LOCK,
    MANIFEST,
    SHARD,
    SUCCESS,
    listed_paths,
    missing_paths,
    read_manifest,
    relative_paths,
)
from molino.jobs.run.runs import Run, check_inputs
from molino.transforms.errors import DataError
from molino.transforms.files import storage
from molino.transforms.parquet.shards import StagedFile
from molino.transforms.rows.digest import combine_digests

PACKAGES = ("apache-beam", "numpy", "pyarrow", "tensorflow", "opencv-python-headless")


def publish(run: Run, files: Sequence[StagedFile], counters: Mapping[str, int], crash: Callable[[str], None]) -> dict:
    """Verify what the workers staged, and make it the output. Safe to repeat at any point.

    Args:
      crash: called between all steps, with the step's name; tests stop there.

    Raises:
      DataError: the sums do not hold, too much was rejected, an input changed, or a staged file is not as emitted.
    """
    present = read_manifest(run.output)
    if present is not None and present["run"] == run.id and not missing_paths(run.output, {**present, "views": []}):
        for file in (file for file in files if file.dataset):  # of a job that was launched again: its run is there
            storage.delete_file(file.path, below=run.output)
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
    for path in relative_paths(run.output):
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


# by the commonest reason of rejects: what to try before mending the input
ASKED = {
    "bad_encoding": "is --encoding right? Else ",
    "no_category": "are titles without a category wanted? Then add --without-category; else ",
}


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
        ask = ASKED.get(reasons[0][1].removeprefix("rejects."), "") if reasons else ""
        raise DataError(
            f"{rejects:,} of {total:,} records were rejected ({worst}), more than --max-reject-ratio "
            f"{run.max_reject_ratio:g} allows; nothing was published; {ask}mend the input or raise the limit"
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
        "plan": dict(run.expected),
        "used": _used(run, files),
        "started": _utc(run.started),
        "seconds": round(time.time() - run.started, 3),
    }


def _used(run: Run, files: Sequence[StagedFile]) -> dict[str, int | None]:
    """Return what the run took, as far as it is known here; other workers and runners have other figures."""
    buckets = [file.bytes for file in storage.list_tree(run.buckets)] if run.buckets else []
    # of this process, or of the largest that it started and that has ended, such as tensorflow-transform's
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    peak = max(peaks) * (1 if sys.platform == "darwin" else 1024)
    return {
        "shuffle_bytes": sum(buckets) if buckets else None,
        "written_bytes": sum(file.bytes for file in files),
        "peak_bytes": peak,
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
    # a path need not be text: what is half a surrogate pair in Python is written as the escape that JSON has for it
    return (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode(errors="backslashreplace")


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def crash_point(step: str) -> None:
    """Die as by kill -9 at the step that MOLINO_CRASH names; how the tests stop a commit half-way."""
    if os.environ.get("MOLINO_CRASH") == step:
        os.kill(os.getpid(), 9)
