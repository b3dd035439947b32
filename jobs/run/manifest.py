"""The manifest of an output, read where it lies, and what belongs to it there."""

from collections.abc import Mapping
from typing import Any

from molino.transforms.files import storage
from molino.transforms.manifest import FORMAT as FORMAT
from molino.transforms.manifest import LOCK as LOCK
from molino.transforms.manifest import (
    MANIFEST,
    SUCCESS,
    data_files,
    digest_of,
    listed_paths,
    parse_manifest,
    previous_paths,
)
from molino.transforms.manifest import SHARD as SHARD
from molino.transforms.manifest import STAGING as STAGING
from molino.transforms.manifest import garbage_of as garbage_of


def read_manifest(output: str) -> dict[str, Any] | None:
    """Return the manifest of an output, or None when it has none.

    Raises:
      DataError: it cannot be read, or is of a format that this program does not know.
    """
    return parse_manifest(output, storage.see(storage.join(output, MANIFEST)).data)


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


def owned_paths(manifest: Mapping[str, Any]) -> set[str]:
    """Return the relative paths of all that stands in an output while no run is at work there."""
    return listed_paths(manifest) | previous_paths(manifest)


def missing_paths(output: str, manifest: Mapping[str, Any]) -> list[str]:
    """Return the data files that are listed and not there with their size."""
    there = {file.path[len(output.rstrip("/")) + 1 :]: file.bytes for file in storage.list_tree(output)}
    return [file["path"] for file in data_files(manifest) if there.get(file["path"]) != file["bytes"]]


def relative_paths(output: str) -> list[str]:
    """Return the paths of all files below an output, in it."""
    return [file.path[len(output.rstrip("/")) + 1 :] for file in storage.list_tree(output)]
