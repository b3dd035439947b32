"""The manifest of a finished run: what publishes it, and all that a reader opens.

The output folder of every job:

    _manifest.json      what the run read, with which options and code, and every file of the output; publishes the run
    _SUCCESS            written last; holds the sha256 of the manifest
    DATASET/part-00000-of-00004-RUN.parquet
    NAME.csv, report.html ...   views for people: derived from the data sets, under fixed names
    _staging/           while a run works: its unfinished files
    _lock               while a run works: who it is
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
SHARD = re.compile(r"[a-z_]+/part-\d{5,}-of-\d{5,}-[0-9a-f]{8}\.parquet")


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


def listed_paths(manifest: Mapping[str, Any]) -> set[str]:
    """Return the relative paths of everything that belongs to a finished run."""
    return {MANIFEST, SUCCESS, *(f["path"] for f in data_files(manifest)), *(v["path"] for v in manifest["views"])}


def missing_paths(output: str, manifest: Mapping[str, Any]) -> list[str]:
    """Return the files that are listed and not there with their size."""
    there = {file.path[len(output.rstrip("/")) + 1 :]: file.bytes for file in storage.list_tree(output)}
    listed = [*data_files(manifest), *manifest["views"]]
    return [file["path"] for file in listed if there.get(file["path"]) != file["bytes"]]


def relative_paths(output: str) -> list[str]:
    return [file.path[len(output.rstrip("/")) + 1 :] for file in storage.list_tree(output)]
