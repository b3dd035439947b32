"""The end of a run, inside the pipeline: verify what the workers staged, and publish it.

A commit is one step, whoever is at work beside it: the manifest's replacement, which is done only if the manifest is
still the one that the run found when it began. On a local disk the lock of one file is held from the look at it to the
end, by a process that may be paused meanwhile; in a store the replacement is a conditional write. Before it nothing is
changed but new files put in place, under names that no manifest lists. After it the views follow, then `_SUCCESS`, and
then garbage goes. Readers open what the manifest lists and nothing else.
"""

import hashlib
import itertools
import json
import os
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow.parquet as pq

from molino import code, machine
from molino.jobs.run.card import CARD
from molino.jobs.run.inputs import check_inputs, late_inputs
from molino.jobs.run.lock import TakenError, holding
from molino.jobs.run.output import DRAFTS, Output, read_manifest, read_output
from molino.jobs.run.runs import UNITS, Run
from molino.transforms.errors import DataError
from molino.transforms.files import storage
from molino.transforms.manifest import FORMAT, MANIFEST, SHARD, STAGING, SUCCESS, data_files, digest_of, garbage_of
from molino.transforms.parquet.shards import StagedFile
from molino.transforms.rows.digest import combine_digests
from molino.transforms.warnings import DataWarning, to_json

Crash = Callable[[str], None]


def publish(run: Run, files: Sequence[StagedFile], counters: Mapping[str, int], crash: Crash) -> dict:
    """Verify what the workers staged, and make it the output. Safe to repeat at any point.

    `crash`: called between all steps, with the step's name; tests stop there. Raises DataError: the sums do not hold,
    too much was rejected, an input changed, a staged file is not as emitted, or the output is no longer this run's to
    replace.
    """
    present = read_output(run.output)
    manifest = present.manifest
    if manifest and _holds(run, present, manifest) and present.is_finished:  # of a job that was launched again
        for file in (file for file in files if file.dataset):
            storage.delete_file(file.path, below=run.output)
        return manifest
    files = sorted(files, key=lambda file: (file.dataset, file.key, file.name))
    check_counters(run, counters, files)
    warnings = [*run.warnings_of(counters), *late_inputs(run)]
    if run.strict and warnings:
        more = f"; and {len(warnings) - 5:,} more" if len(warnings) > 5 else ""
        shown = "; ".join(map(str, warnings[:5])) + more
        raise DataError(f"nothing was published, since --strict is given and there are warnings: {shown}")
    check_inputs(run)
    staged = {file.name: file.path for file in files if not file.dataset}
    with holding(run.output, run.token):
        present = read_output(run.output)
        manifest = present.manifest
        if manifest and _holds(run, present, manifest):  # this step was done before, as far as that
            _finish(run, present.revision.data or b"", staged, present, crash)
            return manifest
        if present.parent != run.parent:
            raise TakenError(f"{run.output} was replaced by another run meanwhile; nothing was published; run again")
        names = _final_names(run, files)
        for file in files:
            _check_staged(file, storage.join(run.output, names[file.path]))
        crash("verified")
        for file in (file for file in files if file.dataset):
            storage.move(file.path, storage.join(run.output, names[file.path]), size=file.bytes)
            crash("moved")
        manifest = _manifest(run, files, names, counters, warnings, present)
        if missing := read_output(run.output).lacks(data_files(manifest)):
            raise DataError(f"{run.output} lacks {missing[0]}, which was just written there; nothing was published")
        # a path need not be text: what is half a surrogate pair in Python is written as JSON's escape for it
        data = (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode(errors="backslashreplace")
        if not storage.swap(storage.join(run.output, MANIFEST), data, present.revision):
            raise TakenError(f"{run.output} was replaced by another run meanwhile; nothing was published; run again")
        crash("manifest")
        _finish(run, data, staged, present, crash)
    return manifest


def complete(run: Run) -> bool:
    """Return whether this attempt has published its run, after doing what is left of its commit.

    For who hears that the run failed, and cannot know how far its commit came. Waits for a commit that is at work.
    """
    try:
        with holding(run.output, run.token):
            present = read_output(run.output)
            manifest = present.manifest
            if not manifest or manifest.get("attempt") != run.token:
                return False
            hashes: dict[str, list[str]] = defaultdict(list)
            for staged in (*storage.list_tree(run.staging), *storage.list_tree(run.units)):
                hashes[storage.hash_file(staged.path)[1]].append(staged.path)
            places = {view["path"]: (hashes[view["sha256"]] or [""]).pop() for view in manifest["views"]}
            _finish(run, present.revision.data or b"", places, present, crash_point)
            return True
    except TakenError:  # whoever took the output over does the rest
        manifest = read_manifest(run.output)
        return bool(manifest and manifest.get("attempt") == run.token)


def _holds(run: Run, present: Output, manifest: Mapping[str, Any]) -> bool:
    """Return whether an output's manifest is of this run, by this attempt or another, and its data files are there."""
    return manifest["run"] == run.id and not present.lacks(data_files(manifest))


def _finish(run: Run, data: bytes, staged: Mapping[str, str], before: Output, crash: Crash) -> None:
    """Put the views in place, say that the commit is through, and delete what no run needs any more.

    Where another run has replaced the manifest by now, which was written as `data`, its own steps follow, and these
    stop. `staged` has the views' places by their paths in the output, which before the commit was as `before`.
    """
    manifest = json.loads(data)

    def is_ours() -> bool:
        return storage.see(storage.join(run.output, MANIFEST)).data == data

    for view in manifest["views"]:
        target = storage.join(run.output, view["path"])
        if run.card and view["path"] == CARD:
            done = _replace(target, run.card.render(manifest), is_ours)
        else:
            done = _put(staged.get(view["path"], ""), target, view, is_ours)
        if not done:
            return
        crash("view")
    for path in manifest["replaced_views"]:
        if is_ours():
            storage.delete_file(storage.join(run.output, path), below=run.output)
    if not _replace(storage.join(run.output, SUCCESS), digest_of(data).encode() + b"\n", is_ours):
        return
    crash("success")
    for path in garbage_of(manifest):
        storage.delete_file(storage.join(run.output, path))
        crash("deleted")
    for part in sorted({path.split("/")[1] for path in before.files if path.startswith(f"{STAGING}/")}):
        folder = storage.join(run.output, STAGING, part)
        # of another run, work units are taken up by name: a run that has begun since may be at work on them
        if folder not in (run.staging, run.units) and (not part.startswith(UNITS) or is_ours()):
            storage.delete_tree(folder, below=run.output)
            storage.delete_file(folder, below=run.output)


def _put(source: str, target: str, view: Mapping[str, Any], is_ours: Callable[[], bool]) -> bool:
    """Put a staged view in place; return False where the output has been replaced meanwhile.

    Nothing is done where it was moved before. In a store the view is written on condition that nobody wrote it since
    the output was seen to be this run's.
    """
    if not source or not storage.exists(source):
        there = storage.exists(target) and storage.hash_file(target) == (view["bytes"], view["sha256"])
        if not there and is_ours():
            raise DataError(f"{target} is missing, and so is its staged file; the rows are published; run again")
        return there
    if storage.is_local(target):
        storage.move(source, target, size=view["bytes"])
        return True
    done = _replace(target, storage.read_bytes(source), is_ours)
    storage.delete_file(source)
    return done


def _replace(path: str, data: bytes, is_ours: Callable[[], bool]) -> bool:
    """Replace a small file as long as the output is this run's; return whether it was."""
    while True:
        seen = storage.see(path)
        if not is_ours():
            return False
        if seen.data == data or storage.swap(path, data, seen):
            return True


# by the commonest reason of rejects: what to try before mending the input
ASKED = {
    "bad_encoding": "is --encoding right? Else ",
    "no_category": "are titles without a category wanted? Then add --without-category; else ",
    "too_many_pixels": "--max-pixels sets the limit; ",
    "too_many_bytes": "--max-bytes sets the limit; ",
    "damaged": "--damaged keep makes rows of damaged photographs; ",
}


def check_counters(run: Run, counters: Mapping[str, int], files: Sequence[StagedFile]) -> None:
    """Raise DataError unless every record is accounted for, in the staged files too, and the rejects are few enough."""
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
            f"{run.max_reject_ratio:g} allows; nothing was published; "
            f"first: {', '.join(itertools.islice(_places_of_rejects(files), 5))}; "
            f"{ask}correct the input, or raise --max-reject-ratio"
        )
    for dataset in run.counted:
        rows, counted = sum(file.rows for file in files if file.dataset == dataset), counters.get(dataset, 0)
        if rows != counted:
            what = f"{dataset} has {rows:,} rows where {counted:,} were counted"
            raise DataError(f"{what}; nothing was published; report this")


def _places_of_rejects(files: Sequence[StagedFile]) -> Iterator[str]:
    """Yield where the first rejects among staged files stand, and their reasons."""
    for file in (file for file in files if file.dataset == "rejects"):
        with storage.open_input(file.path) as data:
            rows = pq.ParquetFile(data).read_row_group(0, columns=["source", "line", "reason"]).slice(0, 5).to_pylist()
        for row in rows:
            line = f" line {row['line']}" if row["line"] else ""
            yield f"{row['source']}{line} ({row['reason']})"


def _check_staged(file: StagedFile, final: str) -> None:
    """Raise DataError unless a file is as it was written: where it is staged, or where an earlier try has put it."""
    path = file.path if storage.exists(file.path) or not storage.exists(final) else final
    with storage.open_input(path) as data:
        size = data.size()
        rows = pq.ParquetFile(data).metadata.num_rows if file.dataset else 0
    if (size, rows) != (file.bytes, file.rows):
        what = f"{path} has {size:,} bytes and {rows:,} rows where {file.bytes:,} and {file.rows:,} were written"
        raise DataError(f"{what}; nothing was published; check the disk, then run again")


def _final_names(run: Run, files: Sequence[StagedFile]) -> dict[str, str]:
    names = {file.path: file.name for file in files}
    parent = f"-{run.parent[:8]}" if run.parent else ""
    for dataset in run.datasets:
        members = [file for file in files if file.dataset == dataset]
        for number, file in enumerate(members):
            part = f"part-{number:05d}-of-{len(members):05d}-{file.sha256[:12]}{parent}"
            names[file.path] = f"{dataset}/{part}.parquet"
    return names


def _manifest(
    run: Run,
    files: Sequence[StagedFile],
    names: Mapping[str, str],
    counters: Mapping[str, int],
    warnings: Sequence[DataWarning],
    before: Output,
) -> dict:
    """Return the manifest of a run that replaces what stood in the output before its commit."""
    datasets = _datasets(run, files, names)
    earlier = before.manifest
    views = [{"path": f.name, "bytes": f.bytes, "sha256": f.sha256, **f.entry} for f in files if not f.dataset]
    old_views = [*(view["path"] for view in earlier["views"]), *earlier["replaced_views"]] if earlier else []
    old_runs = [[file["path"] for file in data_files(earlier)], *earlier.get("previous", ())] if earlier else []
    kept_runs = [[path for path in paths if path in before.files] for paths in old_runs[: run.keep_previous]]
    previous = [paths for paths in kept_runs if paths]
    kept = {path for paths in [list(names.values()), *previous] for path in paths}
    unlisted = [path for path in before.files if SHARD.fullmatch(path) and path not in kept]
    drafts = [path for path in before.files if path.startswith(DRAFTS)]
    parents = [run.parent, *(() if before.is_finished else earlier.get("parents", ()))] if earlier else []
    manifest = {
        "format": FORMAT,
        "job": run.job,
        "run": run.id,
        "digest": combine_digests([f"{name}:{d['digest']};" for name, d in datasets.items()]),
        "counters": {name: n for name, n in sorted(counters.items()) if not name.startswith("_")},
        "balance": [run.balance[0], list(run.balance[1])],
        "warnings": to_json(warnings),
        "datasets": datasets,
        "views": views,
        # of earlier runs, deleted by the commit: a commit that is cut short and repeated must still know them
        "replaced_views": sorted(set(old_views) - {view["path"] for view in views} - ({CARD} if run.card else set())),
        "garbage": [*sorted(unlisted), *drafts],
        # what earlier runs' readers may still have open
        "previous": previous,
        # the manifest that this one replaces, and before it those whose commits were cut short
        "parents": parents,
        "attempt": run.token,
        "options": dict(run.options),
        "inputs": [dict(listed) for listed in run.inputs],
        "code": dict(run.code),
        "packages": code.packages(),
        "plan": dict(run.expected),
        "used": _used(run, files),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(run.started)),
        "seconds": round(time.time() - run.started, 3),
    }
    if run.card:  # the view that follows from the manifest
        data = run.card.render(manifest)
        views.append({"path": CARD, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    return manifest


def _datasets(run: Run, files: Sequence[StagedFile], names: Mapping[str, str]) -> dict[str, Any]:
    """Return what a manifest says of data sets."""
    return {
        dataset: {
            "schema": schema,
            "version": version,
            "rows": sum(file.rows for file in members),
            "digest": combine_digests([d for file in members for d in file.digests]),
            "files": [
                {"path": names[f.path], "rows": f.rows, "bytes": f.bytes, "sha256": f.sha256, **f.entry}
                | ({"split": f.split} if f.split else {})
                for f in members
            ],
        }
        for dataset, (schema, version) in sorted(run.datasets.items())
        for members in [[file for file in files if file.dataset == dataset]]
    }


def _used(run: Run, files: Sequence[StagedFile]) -> dict[str, int | None]:
    """Return what the run took, as far as it is known here; other workers and runners have other figures."""
    buckets = [file.bytes for file in storage.list_tree(run.spill)] if run.spill else []
    # of this process, or of the largest that it started and that has ended, such as tensorflow-transform's
    peak = max(map(machine.peak_bytes, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
    written = sum(file.bytes for file in files)
    return {"shuffle_bytes": sum(buckets) if buckets else None, "written_bytes": written, "peak_bytes": peak}


def crash_point(step: str) -> None:
    """Die as by kill -9 at the step that MOLINO_CRASH names; how the tests stop a commit half-way."""
    if os.environ.get("MOLINO_CRASH") == step:
        os.kill(os.getpid(), 9)
