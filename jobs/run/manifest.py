"""The manifest of an output, read where it lies."""

from typing import Any

from molino.transforms.files import storage
from molino.transforms.manifest import MANIFEST, find_published, parse_manifest


def read_manifest(output: str) -> dict[str, Any] | None:
    """Return the manifest of an output, or None when it has none; DataError where it cannot be read."""
    return parse_manifest(output, storage.see(storage.join(output, MANIFEST)).data)


def read_finished(output: str) -> dict[str, Any] | None:
    """Return the manifest of the last run that was published: see `find_published`."""
    return find_published(output, lambda name: storage.see(storage.join(output, name)).data)[0]
