"""A model's files: where they are, unpacked when they come in an archive, and the digest that pins them."""

import dataclasses
import glob
import hashlib
import json
import os
import shutil
import tarfile
import threading
import uuid
import zipfile
import zlib
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from molino import caches
from molino.transforms.errors import DataError, OptionError
from molino.transforms.files import carry, storage
from molino.transforms.manifest import LOCK, MANIFEST, STAGING, SUCCESS, digest_of, parse_manifest

SAVED_MODEL = "saved_model.pb"
ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")
MAX_UNPACKED_BYTES = 16 << 30
MAX_MEMBERS = 10_000
OF_RUNS = {MANIFEST, SUCCESS, LOCK, STAGING}
MAX_DEPTH = 3  # of folders that a model is looked for in: / is a folder too


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedFiles:
    """The files of a model as planned: small, and the same for every worker."""

    location: str  # where the user said that they are
    path: str  # their local folder
    digest: str  # sha256 of the SavedModel; see `digest_model`
    sent: str = ""  # where workers on other machines find the files of `path`

    def sent_name(self) -> str:
        """Return the name under which the files are sent."""
        return self.digest

    def as_sent(self: "Planned", folder: str) -> "Planned":
        """Return what workers on other machines get, who find the files in `folder`: no path of this one is in it."""
        location, sent = carry.public_location(self.location), storage.join(folder, self.sent_name())
        return dataclasses.replace(self, path="", location=location, sent=sent)

    def receive(self) -> str:
        """Return the folder of the files on this machine; they are copied where it has none."""
        if self.path:
            return self.path
        folder = model_cache("sent", self.digest)
        return carry.receive(self.sent, folder, lambda folder: digest_model(folder) == self.digest)

    def checked(self) -> str:
        """Return what `receive` does; DataError where the files are no longer what was planned."""
        folder = self.receive()
        if digest_model(folder) != self.digest:
            raise DataError(f"the model {self.location} has changed since the run began; run again")
        return folder


Planned = TypeVar("Planned", bound=PlannedFiles)
_open: dict[Hashable, Any] = {}
_opening = threading.Lock()


def open_once(model: Planned, load: Callable[[Planned], Any]) -> Any:
    """Return what `load` makes of a model, which this process calls once."""
    with _opening:
        if model not in _open:
            _open[model] = load(model)
        return _open[model]


def model_cache(*names: str) -> str:
    """Return a folder of the cache, which is not made here. Raises DataError where there is no place for a cache."""
    folder = caches.cache_folder(*names)
    if folder is None:
        raise DataError(
            "models need a cache, and neither a home nor a temporary folder can be written; set MOLINO_CACHE"
        )
    return folder


def split_output(location: str) -> tuple[str, str]:
    """Return where a model is, and which of its outputs is named after a #; "" for none."""
    place, _, output = location.rpartition("#")
    return (place, output) if place and output and not os.path.exists(location) else (location, "")


def find_model(location: str) -> str:
    """Return the local folder that holds a model's saved_model.pb; an archive is unpacked into the cache, once.

    A folder or an archive on another file system, such as gs://, is copied into the cache, once for each state of it.
    Raises DataError where there is nothing, it is no SavedModel, or the archive is damaged, too large, or reaches out
    of itself.
    """
    is_local = storage.is_local(location)
    location = location if is_local else location.rstrip("/")
    lacking = f"there is no model {location}; give the folder of a SavedModel, an archive, or a TF Hub URL"
    if not is_local:
        single = location.lower().endswith(ARCHIVES)
        listed = [storage.look(location)] if single else storage.list_tree(location)
        files = [file for file in listed if file and not file.path.endswith("/")]  # as stores hold for folders
        if not files:
            raise DataError(lacking)
        folder = model_cache("brought", carry.fingerprint(files))
        if not os.path.isdir(folder):
            carry.copy_tree(location, folder, files)
        return find_model(os.path.join(folder, os.path.basename(location)) if single else folder)
    if os.path.isdir(location):
        folder = _root(os.path.abspath(location), location)
        check_run(folder)
        return folder
    if not os.path.exists(location):
        raise DataError(lacking)
    if not (os.path.isfile(location) and location.lower().endswith(ARCHIVES)):
        raise DataError(f"{location} is no model: neither a folder nor an archive ({', '.join(ARCHIVES)})")
    with storage.explained(location, "read"):
        folder = model_cache("archives", sha256_of(location))
    if not os.path.isdir(folder):
        with storage.explained(folder, "write"):
            _unpack(location, folder)
    return _root(folder, location)


def check_run(output: str, below: str = "") -> None:
    """Raise DataError where an output's files, of paths that begin with `below`, are not what its manifest lists."""
    data = storage.see(storage.join(output, MANIFEST)).data
    manifest = parse_manifest(output, data)
    if manifest is None:
        return
    if (storage.see(storage.join(output, SUCCESS)).data or b"").strip() != digest_of(data).encode():
        raise DataError(
            f"a commit in {output} is at work, or was cut short; see molino status {output}, then run again"
        )
    for view in manifest["views"]:
        path = storage.join(output, view["path"])
        if view["path"].startswith(below) and storage.hash_file(path) != (view["bytes"], view["sha256"]):
            raise DataError(f"{path} is not what was written (sha256); train again, or copy it again")


def digest_model(folder: str) -> str:
    r"""Return the sha256 of a model: of the lines `sha256  path` of all its files, sorted by path.

    In a shell: find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum; but for what the run protocol keeps beside
    a model that was grown here.
    """
    state = hashlib.sha256()
    with storage.explained(folder, "read"):
        paths = [os.path.join(top, name) for top, _, names in os.walk(folder) for name in names]
        names = {os.path.relpath(path, folder).replace(os.sep, "/"): path for path in paths}
        for name in sorted((name for name in names if name.split("/")[0] not in OF_RUNS), key=os.fsencode):
            state.update(f"{sha256_of(names[name])}  ".encode() + os.fsencode(name) + b"\n")
    return state.hexdigest()


def grown_on(folder: str) -> str:
    """Return what `molino model train` says of the titles that a model was grown on, as JSON; "" where it did not."""
    try:
        with open(os.path.join(folder, "metrics.json"), encoding="utf-8") as file:
            return json.dumps(json.load(file)["grown_on"], sort_keys=True)
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def check_digest(name: str, digest: str, pinned: str | None) -> None:
    """Raise DataError where a model's digest is not the one that was pinned, OptionError where that is no sha256."""
    if pinned is None:
        return
    pinned = pinned.strip().lower()
    if len(pinned) != 64 or set(pinned) - set("0123456789abcdef"):
        raise OptionError(f"--model-sha256 of {name} must be 64 hexadecimal digits, not {pinned!r}")
    if digest != pinned:
        raise DataError(f"the model {name} has the sha256 {digest}, not {pinned}; it is another model, or was changed")


def sha256_of(path: str) -> str:
    """Return the sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _root(folder: str, location: str) -> str:
    """Return the one folder at or below `folder` that holds a SavedModel."""
    if os.path.isfile(os.path.join(folder, SAVED_MODEL)):
        return folder
    nested = [os.path.join(glob.escape(folder), "*/" * depth, SAVED_MODEL) for depth in range(1, MAX_DEPTH + 1)]
    found = sorted(os.path.dirname(path) for pattern in nested for path in glob.iglob(pattern))
    if len(found) > 1:
        raise DataError(f"{location} holds {len(found)} SavedModels; give one of them, for example {found[0]}")
    if not found:
        raise DataError(f"{location} is no SavedModel: it has no {SAVED_MODEL}")
    return found[0]


def _unpack(archive: str, folder: str) -> None:
    work = f"{folder}.{uuid.uuid4().hex}"
    os.makedirs(work, 0o700, exist_ok=True)
    try:
        (_unzip if archive.lower().endswith(".zip") else _untar)(archive, work)
        if not os.path.isdir(folder):
            os.rename(work, folder)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"cannot unpack {archive}: {' '.join(str(error).split())[:200]}; fetch it again") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _untar(archive: str, folder: str) -> None:
    total = 0
    with tarfile.open(archive) as tar:
        for count, member in enumerate(tar, 1):
            total += member.size
            _check_sizes(archive, count, total)
            tar.extract(member, folder, filter="data")  # refuses links and paths that leave the folder


def _unzip(archive: str, folder: str) -> None:
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        _check_sizes(archive, len(members), sum(member.file_size for member in members))
        for member in members:
            parts = member.filename.replace("\\", "/").split("/")
            if member.filename.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
                raise DataError(f"cannot unpack {archive}: {member.filename!r} would lie outside of it")
            file.extract(member, folder)


def _check_sizes(archive: str, members: int, total: int) -> None:
    if members > MAX_MEMBERS or total > MAX_UNPACKED_BYTES:
        raise DataError(
            f"cannot unpack {archive}: it holds more than {MAX_MEMBERS:,} files or {MAX_UNPACKED_BYTES >> 30} GiB"
        )
