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
from collections.abc import Callable, Mapping
from typing import Any

from molino.transforms.errors import DataError

MANIFEST, SUCCESS, LOCK, STAGING = "_manifest.json", "_SUCCESS", "_lock", "_staging"
FORMAT = 1
SHARD = re.compile(r"[a-z_]+/part-\d{5,}-of-\d{5,}(-[0-9a-f]{8,16}){1,2}\.parquet")


class RunError(DataError):
    """The run cannot be used: the message says which file, what is wrong, and what to do, in one line."""


class VersionError(RunError):
    """A schema, its version, or the manifest's format is not the one that is read here."""


class OutsideError(RunError):
    """The manifest lists a path that leads out of the run's folder."""


def parse_manifest(output: str, data: bytes | None) -> dict[str, Any] | None:
    """Return what the bytes of an output's manifest say, None where there are none.

    Raises VersionError: its format is not known here; OutsideError: a path leads out of the output; RunError: it is
    none.
    """
    if data is None:
        return None
    path = f"{output.rstrip('/')}/{MANIFEST}"
    try:
        manifest = json.loads(data)
        if manifest["format"] != FORMAT:
            raise VersionError(f"{path} has format {manifest['format']}, this program reads format {FORMAT}")
        # whatever is missing or of another kind shows here, not half-way through a commit
        _ = [manifest[key] for key in ("job", "run", "digest", "counters", "balance", "options", "inputs", "warnings")]
        _ = [(entry["bytes"], entry["sha256"]) for entry in (*manifest["views"], *data_files(manifest))]
        _ = [(each["schema"], each["version"], each["rows"]) for each in manifest["datasets"].values()]
        paths = listed_paths(manifest) | previous_paths(manifest) | set(manifest["replaced_views"])
        strange = sorted(p for p in [*paths, *garbage_of(manifest)] if "\\" in p or {"", ".", ".."} & {*p.split("/")})
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RunError(f"{path} is not a manifest of this program") from None
    if strange:
        what = f"{path} lists a path that leads out of the output: {strange[0]!r}"
        raise OutsideError(f"{what}; do not trust this output")
    return manifest


def find_published(output: str, read: Callable[[str], bytes | None]) -> tuple[dict[str, Any] | None, bytes | None]:
    """Return the manifest of the last run that was published, and its bytes; None where no commit ever came through.

    While a commit is under way `_SUCCESS` still names an earlier manifest, which the present one knows: the data files
    are in place by then. `read` returns what a small file of the output holds, None where it is not there.
    """
    data = read(MANIFEST)
    while True:
        success = (read(SUCCESS) or b"").strip().decode(errors="replace")
        if success == digest_of(data):
            return parse_manifest(output, data), data
        before, data = data, read(MANIFEST)
        if data == before:  # else it was replaced, maybe while it was read: a store gives pieces of two
            manifest = parse_manifest(output, data)
            return (manifest, data) if manifest and success in manifest.get("parents", ()) else (None, None)


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
