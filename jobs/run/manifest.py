"""The manifest of a finished run: what publishes it, and all that a reader opens.

The output folder of every job:

    _manifest.json      what the run read, with which options and code, and every file of the output; publishes the run
    _SUCCESS            written last; holds the sha256 of the manifest
    DATASET/part-00000-of-00004-SHA256[-PARENT].parquet
    NAME.csv, report.html ...   views for people: derived from the data sets, under fixed names
    _staging/           while a run works: its unfinished files
    _lock               while a run works: who it is

A data file's name has the first digits of its sha256, and of the sha256 of the manifest that its run found and was to
replace. So two attempts never write other bytes under one name, and what is deleted as garbage of earlier attempts is
never a file of a later one, however late it is deleted.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from molino.transforms.errors import DataError
from molino.transforms.files import storage

MANIFEST, SUCCESS, LOCK, STAGING = "_manifest.json", "_SUCCESS", "_lock", "_staging"
FORMAT = 1
SHARD = re.compile(r"[a-z_]+/part-\d{5,}-of-\d{5,}(-[0-9a-f]{8,16}){1,2}\.parquet")


def read_manifest(output: str) -> dict[str, Any] | None:
    """Return the manifest of an output, or None when it has none.

    Raises:
      DataError: it cannot be read, or is of a format that this program does not know.
    """
    return parse_manifest(output, storage.see(storage.join(output, MANIFEST)).data)


def parse_manifest(output: str, data: bytes | None) -> dict[str, Any] | None:
    """Return what the bytes of an output's manifest say, None where there are none; raises as `read_manifest`."""
    if data is None:
        return None
    path = storage.join(output, MANIFEST)
    try:
        manifest = json.loads(data)
        if manifest["format"] != FORMAT:
            raise DataError(f"{path} has format {manifest['format']}, this program reads format {FORMAT}")
        # whatever is missing or of another kind shows here, not half-way through a commit
        _ = [manifest[key] for key in ("job", "run", "digest", "counters", "balance", "options", "inputs", "warnings")]
        paths = listed_paths(manifest) | previous_paths(manifest) | set(manifest["replaced_views"])
        strange = sorted(path for path in [*paths, *garbage_of(manifest)] if not _is_inside(path))
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
    manifest, success = (storage.see(storage.join(output, name)).data for name in (MANIFEST, SUCCESS))
    return None not in (manifest, success) and (success or b"").strip() == digest_of(manifest).encode()


def read_finished(output: str) -> dict[str, Any] | None:
    """Return the manifest of the last run that was published; None where there is none, or no commit ever came through.

    While a commit is under way `_SUCCESS` still names an earlier manifest, which the present one knows: the data files
    are in place by then.
    """
    path = storage.join(output, MANIFEST)
    data = storage.see(path).data
    while True:
        success = (storage.see(storage.join(output, SUCCESS)).data or b"").strip().decode(errors="replace")
        manifest = parse_manifest(output, data)
        if manifest is None or success in (digest_of(data), *manifest.get("parents", ())):
            return manifest
        before, data = data, storage.see(path).data
        if data == before:
            return None


def digest_of(data: bytes | None) -> str:
    """Return the sha256 of a manifest's bytes, "" where there is none: what a commit is conditional on."""
    return "" if data is None else hashlib.sha256(data).hexdigest()


def data_files(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the entries of all Parquet files, data set after data set."""
    return [file for dataset in manifest["datasets"].values() for file in dataset["files"]]


def listed_paths(manifest: Mapping[str, Any]) -> set[str]:
    """Return the relative paths of everything that belongs to a finished run."""
    return {MANIFEST, SUCCESS, *(f["path"] for f in data_files(manifest)), *(v["path"] for v in manifest["views"])}


def previous_paths(manifest: Mapping[str, Any]) -> set[str]:
    """Return the data files of earlier runs that stay for their readers until a later commit."""
    return {path for paths in manifest.get("previous", ()) for path in paths}


def owned_paths(manifest: Mapping[str, Any]) -> set[str]:
    """Return the relative paths of all that stands in an output while no run is at work there."""
    return listed_paths(manifest) | previous_paths(manifest)


def garbage_of(manifest: Mapping[str, Any]) -> list[str]:
    """Return the files that no run needs any more, which the commit deletes, and whoever comes later if it did not."""
    return list(manifest.get("garbage", ()))


def missing_paths(output: str, manifest: Mapping[str, Any]) -> list[str]:
    """Return the data files that are listed and not there with their size."""
    there = {file.path[len(output.rstrip("/")) + 1 :]: file.bytes for file in storage.list_tree(output)}
    return [file["path"] for file in data_files(manifest) if there.get(file["path"]) != file["bytes"]]


def relative_paths(output: str) -> list[str]:
    """Return the paths of all files below an output, in it."""
    return [file.path[len(output.rstrip("/")) + 1 :] for file in storage.list_tree(output)]
