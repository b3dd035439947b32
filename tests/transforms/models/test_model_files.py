"""Archives of models: unpacked once, into the cache, and nowhere else."""

import gzip
import io
import os
import pathlib
import tarfile
import zipfile

import pytest

from molino.transforms.errors import DataError
from molino.transforms.models import model_files
from molino.transforms.models.model_files import digest_model, find_model, model_cache


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MOLINO_CACHE", str(tmp_path / "cache"))


def make_tar(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = content
                tar.addfile(info)
    return str(path)


def make_zip(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return str(path)


@pytest.mark.parametrize(
    ("make", "name"),
    [(make_tar, "m.tar.gz"), (make_tar, "m.TGZ"), (lambda *a: make_tar(*a, mode="w"), "m.tar"), (make_zip, "m.zip")],
)
def test_archives(tmp_path, make, name):
    members = {"m/saved_model.pb": b"pb", "m/assets/tokens.txt": b"a\n", "m/variables/variables.index": b""}
    folder = find_model(make(tmp_path / name, members))
    assert pathlib.Path(folder, "assets/tokens.txt").read_bytes() == b"a\n"
    assert folder.startswith(str(tmp_path / "cache/archives"))
    os.unlink(pathlib.Path(folder, "assets/tokens.txt"))
    assert find_model(str(tmp_path / name)) == folder  # not unpacked again
    assert not pathlib.Path(folder, "assets/tokens.txt").exists()


@pytest.mark.parametrize(
    "members",
    [
        {"../evil": b"x"},
        {"link": (tarfile.SYMTYPE, "../../outside")},
        {"link": (tarfile.LNKTYPE, "/etc/passwd")},
        {"fifo": (tarfile.FIFOTYPE, "")},
    ],
)
def test_a_tar_that_reaches_out(tmp_path, members):
    archive = make_tar(tmp_path / "m.tar.gz", {"saved_model.pb": b"pb", **members})
    with pytest.raises(DataError, match=r"cannot unpack .*m\.tar\.gz: "):
        find_model(archive)
    assert os.listdir(tmp_path / "cache/archives") == []
    assert sorted(os.listdir(tmp_path)) == ["cache", "m.tar.gz"]


def test_a_tar_with_a_path_from_the_root(tmp_path):
    folder = find_model(make_tar(tmp_path / "m.tar.gz", {"saved_model.pb": b"pb", "/evil-model": b"x"}))
    assert sorted(os.listdir(folder)) == ["evil-model", "saved_model.pb"]


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "..\\evil", "C:/evil"])
def test_a_zip_that_reaches_out(tmp_path, name):
    archive = make_zip(tmp_path / "m.zip", {"saved_model.pb": b"pb", name: b"x"})
    with pytest.raises(DataError, match="would lie outside of it"):
        find_model(archive)
    assert sorted(os.listdir(tmp_path)) == ["cache", "m.zip"]


def test_archives_that_are_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(model_files, "MAX_UNPACKED_BYTES", 999)
    members = {"saved_model.pb": b"pb", "zeros": bytes(1000)}
    for archive in (make_tar(tmp_path / "m.tgz", members), make_zip(tmp_path / "m.zip", members)):
        with pytest.raises(DataError, match="it holds more than"):
            find_model(archive)
    monkeypatch.setattr(model_files, "MAX_MEMBERS", 1)
    with pytest.raises(DataError, match="it holds more than 1 files"):
        find_model(make_tar(tmp_path / "n.tgz", {"a": b"", "b": b""}))


def test_damaged_archives(tmp_path):
    whole = pathlib.Path(make_tar(tmp_path / "m.tar.gz", {"saved_model.pb": os.urandom(5000)})).read_bytes()
    for name, content in {"cut.tar.gz": whole[:3000], "no.tgz": b"text", "no.zip": b"text", "no.tar": b"text"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match="fetch it again"):
            find_model(str(tmp_path / name))
    (tmp_path / "crc.tar.gz").write_bytes(gzip.compress(b"x" * 2000)[:-8] + bytes(8))
    with pytest.raises(DataError, match="fetch it again"):
        find_model(str(tmp_path / "crc.tar.gz"))


def test_archives_of_none_and_of_several(tmp_path):
    with pytest.raises(DataError, match=r"m\.zip is no SavedModel: it has no saved_model\.pb"):
        find_model(make_zip(tmp_path / "m.zip", {"a": b""}))
    with pytest.raises(DataError, match="holds 2 SavedModels; give one of them, for example"):
        find_model(make_zip(tmp_path / "n.zip", {"a/saved_model.pb": b"", "b/saved_model.pb": b""}))


def test_the_digest_is_of_names_and_content(tmp_path):
    digests = set()
    for name, content in [("a", b"1"), ("b", b"1"), ("a", b"2"), ("c/a", b"1")]:
        folder = tmp_path / f"{len(digests)}"
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(content)
        digests.add(digest_model(str(folder)))
    assert len(digests) == 4


def test_without_a_cache_one_line_says_so(monkeypatch):
    assert model_cache("models").endswith("/cache/models")
    monkeypatch.setattr(model_files.caches, "cache_folder", lambda *names: None)
    with pytest.raises(DataError, match=r"models need a cache, .*; set MOLINO_CACHE"):
        model_cache("models")


@pytest.mark.parametrize("place", ["", ".", "file.txt", "pipe", "pipe.zip", "#", "a#", "#b", "n\udcffame"])
def test_a_place_without_a_model_is_one_line(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").touch()
    for name in ("pipe", "pipe.zip"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match=r"^(there is no model|.* is no (model|SavedModel))[^\n]*$"):
        model_files.find_model(model_files.split_output(place)[0])
