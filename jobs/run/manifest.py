"""The manifest of an output, read where it lies, and what belongs to it there."""

from collections.abc import Mapping
from typing import Any

from molino.transforms.files import storage
from molino.transforms.manifest import FORMAT as FORMAT
from molino.transforms.manifest import LOCK as LOCK
from molino.transforms.manifest import MANIFEST, SUCCESS, digest_of, listed_paths, parse_manifest, previous_paths
from molino.transforms.manifest import SHARD as SHARD
from molino.transforms.manifest import STAGING as STAGING
from molino.transforms.manifest import data_files as data_files
from molino.transforms.manifest import garbage_of as garbage_of


def read_manifest(output: str) -> dict[str, Any] | None:
    """Return the manifest of an output, or None when it has none.

    Raises:
      DataError: it cannot be read, or is of a format that this program does not know.
    """
    return parse_manifest(output, storage.see(storage.join(output, MANIFEST)).data)


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
