"""The input of a run: its files, what a manifest says of them, and whether they are still what they were."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from molino.jobs.run.manifest import MANIFEST
from molino.transforms.errors import DataError
from molino.transforms.files import storage
from molino.transforms.files.list_files import Listing, list_files
from molino.transforms.warnings import DataWarning

if TYPE_CHECKING:
    from molino.jobs.run.runs import Run

Input = storage.FileInfo | Listing


def find_inputs(patterns: Sequence[str]) -> list:
    """Return the files that paths and globs name, each once, sorted by path.

    Raises:
      DataError: a pattern names no file.
    """
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


def entry_of(item: Input) -> dict[str, Any]:
    """Return an input as the manifest holds it: a folder of any number of files is one entry."""
    if isinstance(item, storage.FileInfo):
        return {"path": item.path, "bytes": item.bytes, "modified": round(item.modified, 6)}
    return {"path": item.path, "files": len(item.files), "bytes": item.bytes, "digest": item.digest()}


def check_inputs(run: "Run") -> None:
    """Raise DataError when an input file is no longer what it was when the run was planned."""
    for listed in run.inputs:
        path = listed["path"]
        found: Sequence[Input] = [list_files(path)] if "files" in listed else storage.match(path)
        if [entry_of(item) for item in found] != [dict(listed)]:
            raise DataError(f"{path} changed while it was read; run again when it is complete")


def late_inputs(run: "Run") -> list[DataWarning]:
    """Return a warning where files that the globs of `--input` match have come while the run was at work."""
    listed = {entry["path"] for entry in run.inputs}
    globs = [glob for glob in run.globs if glob not in listed]  # one that was taken as a whole has a digest
    found = {file.path for glob in globs for file in storage.match(glob)} - listed
    late = sorted(path for path in found if path.rpartition("/")[2][0] not in "._")  # not all jobs read these
    told = f"files that match --input and came while the run was at work, not read: {len(late):,}"
    return [DataWarning("input.late", told, len(late), late[0], "run again when all is there")] if late else []
