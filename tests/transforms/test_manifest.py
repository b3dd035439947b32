"""The manifest of a finished run, found while others replace it."""

import pytest

from molino.transforms.errors import DataError
from molino.transforms.manifest import MANIFEST, SUCCESS, find_published
from tests.faults import protocol


@pytest.fixture
def files(tmp_path):
    """Return the manifest and `_SUCCESS` of a finished run."""
    protocol.attempt(str(tmp_path / "out"), "one")
    return {name: (tmp_path / "out" / name).read_bytes() for name in (MANIFEST, SUCCESS)}


def test_one_that_is_replaced_while_it_is_read_is_read_again(files):
    whole = files[MANIFEST]
    reads = iter([whole[:100] + whole[150:], whole, whole])
    manifest, data = find_published("out", lambda name: next(reads) if name == MANIFEST else files[name])
    assert data == whole
    assert manifest["options"] == {"content": "one"}


def test_what_stays_no_manifest_is_an_error(files):
    with pytest.raises(DataError, match=r"out/_manifest\.json is not a manifest of this program"):
        find_published("out", {**files, MANIFEST: files[MANIFEST][:100]}.get)


def test_without_success_nothing_was_published(files):
    assert find_published("out", {MANIFEST: files[MANIFEST]}.get) == (None, None)
    assert find_published("out", {}.get) == (None, None)
