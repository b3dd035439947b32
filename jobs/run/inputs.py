"""The input of a run: its files, what a manifest says of them, and whether they are still what they were."""

import dataclasses
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from molino.jobs.job import Plan
from molino.jobs.run.pipes import is_pipe, read_pipe
from molino.transforms.errors import DataError
from molino.transforms.files import storage
from molino.transforms.files.list_files import HIDDEN, LINK, NO_DATA, SPECIAL, WILDCARDS, Listing, labels_of, list_files
from molino.transforms.manifest import MANIFEST
from molino.transforms.warnings import DataWarning, warning_of_skipped

if TYPE_CHECKING:
    from molino.jobs.run.runs import Run

Input = storage.FileInfo | Listing
SKIPPED = {
    HIDDEN: "hidden files and folders",
    LINK: "symbolic links, which --follow-links follows",
    SPECIAL: "pipes, sockets or devices",
    NO_DATA: "what is no data by its name",
}


def find_inputs(paths: Sequence[str], *, photographs: bool = False, follow_links: bool = False) -> list[Listing]:
    """Return what paths, folders and globs name, in their order, as `list_files` does; DataError for none, or a run."""
    listings = []
    for path in dict.fromkeys(paths):
        if is_pipe(path) and not photographs:
            listings.append(read_pipe(path))
            continue
        if not WILDCARDS & set(path) and storage.exists(storage.join(path, MANIFEST)):
            remedy = f"name the files of one data set in it: molino files {path} DATASET"
            raise DataError(f"{path} is a run of a job; {remedy}")
        listing = list_files(path, photographs=photographs, follow_links=follow_links)
        if not listing.files:
            is_folder = listing.skipped or (storage.is_local(path) and os.path.isdir(path))
            what = f"the folder {path} holds nothing to read" if is_folder else f"there is no file {path}"
            if WILDCARDS & set(path):
                what = f"no file matches {path}" + ("; a [ in a name is written [[]" if "[" in path else "")
            skipped = "".join(f"; skipped {SKIPPED[reason]}: {n:,}" for reason, n in sorted(listing.skipped.items()))
            raise DataError(f"{what}{skipped}; check --input")
        for file in listing.files if not photographs else ():
            if any("\ud800" <= character <= "\udfff" for character in file.path):
                raise DataError(f"the file name {file.path!a} is not UTF-8; rename the file")
        listings.append(listing)
    return listings


def input_files(inputs: Iterable[Input]) -> list[storage.FileInfo]:
    """Return the files of inputs, in their order, each once."""
    files = (file for item in inputs for file in (item.files if isinstance(item, Listing) else [item]))
    return list({file.path: file for file in files}.values())


def tell_skipped(plan: Plan, inputs: Sequence[Input]) -> Plan:
    """Return a plan that tells what was left out of its folders: as a warning what may well be data."""
    warnings, findings = [*plan.warnings], [*plan.findings]
    for listing in (item for item in inputs if isinstance(item, Listing) and not item.photographs):
        for file in (file for file in listing.files if file.sha256):
            name, folder = labels_of([file])[0], os.path.dirname(file.path)
            findings.append(f"{name} came through a pipe; {file.bytes:,} bytes of it are kept in {folder} meanwhile")
        for reason in sorted(listing.skipped):
            told = warning_of_skipped(listing.skipped, reason, SKIPPED[reason])
            if reason in (LINK, SPECIAL):
                warnings.append(told)
            else:
                findings.append(f"{told.text} ({told.example})")
    return dataclasses.replace(plan, warnings=warnings, findings=findings)


def entries_of(inputs: Sequence[Input]) -> list[dict[str, Any]]:
    """Return inputs as the manifest holds them: each file, but folders of any number of photographs as one entry."""
    entries: list[dict[str, Any]] = []
    for item in inputs:
        if isinstance(item, Listing) and item.photographs:
            entry = {"path": item.path, "files": len(item.files), "bytes": item.bytes, "digest": item.digest()}
            entries.append(entry | ({"follow_links": True} if item.follow_links else {}))
            continue
        for file in input_files([item]):
            if file.sha256:
                entries.append({"path": labels_of([file])[0], "bytes": file.bytes, "sha256": file.sha256})
            else:
                entries.append({"path": file.path, "bytes": file.bytes, "modified": round(file.modified, 6)})
    return list({entry["path"]: entry for entry in entries}.values())


def check_inputs(run: "Run") -> None:
    """Raise DataError when an input file is no longer what it was when the run was planned."""
    for listed in (each for each in run.inputs if "sha256" not in each):
        path = listed["path"]
        follow = listed.get("follow_links", False)
        now = [list_files(path, photographs=True, follow_links=follow)] if "files" in listed else [storage.look(path)]
        if entries_of([item for item in now if item]) != [dict(listed)]:
            raise DataError(f"{path} changed while it was read; run again when it is complete")


def watched(inputs: Sequence[Input]) -> list[tuple[str, bool]]:
    """Return the folders and globs of data whose new files are noticed at the end, and whether links are followed."""
    listings = (item for item in inputs if isinstance(item, Listing))
    return [(item.path, item.follow_links) for item in listings if item.is_open and not item.photographs]


def late_inputs(run: "Run") -> list[DataWarning]:
    """Return a warning where files that folders and globs of `--input` name have come while the run was at work."""
    listings = (list_files(path, follow_links=follow) for path, follow in run.watched)
    late = sorted({file.path for file in input_files(listings)} - {entry["path"] for entry in run.inputs})
    told = f"files that match --input and came while the run was at work, not read: {len(late):,}"
    return [DataWarning("input.late", told, len(late), late[0], "run again when all is there")] if late else []
