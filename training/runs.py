"""Open a finished run by its manifest, and refuse one that is not what was written."""

import contextlib
import dataclasses
import datetime
import functools
import hashlib
import os
import posixpath
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from molino import machine
from molino.schemas import find_schema, name_of
from molino.transforms.manifest import MANIFEST, SUCCESS, digest_of, find_published
from molino.transforms.manifest import OutsideError as OutsideError
from molino.transforms.manifest import RunError as RunError
from molino.transforms.manifest import VersionError as VersionError

ATTEMPTS = 3  # a commit may replace the run between two looks
BLOCK = 1 << 20
LOGIN = "run gcloud auth application-default login, or name a key file: GOOGLE_APPLICATION_CREDENTIALS"
RETRY = datetime.timedelta(seconds=30)  # of what Cloud Storage does not answer


class UnfinishedError(RunError):
    """There is no manifest, or `_SUCCESS` is missing or of another manifest."""


class MissingFileError(RunError):
    """A file that the manifest lists is not there."""


class ChangedFileError(RunError):
    """A file is not, byte for byte, what the manifest says."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """The Parquet files of one data set, in order."""

    name: str
    files: tuple[str, ...]  # paths on `filesystem`
    rows: tuple[int, ...]  # of each file
    schema: pa.Schema  # Arrow schema of all files
    filesystem: pafs.FileSystem
    splits: tuple[str, ...] = ()  # which all rows of a file are of; "" where the manifest does not say

    def of_split(self, split: str | None) -> "Dataset":
        """Return the files of one split alone; all for None."""
        if split is None:
            return self
        places = _places_of(split, self.splits, self.name)
        files, rows = tuple(self.files[place] for place in places), tuple(self.rows[place] for place in places)
        return dataclasses.replace(self, files=files, rows=rows, splits=(split,) * len(places))

    def open(self, file: int) -> pq.ParquetFile:
        """Open one file; page checksums are verified while it is read."""
        with one_line_errors(self.files[file]):
            # not mapped: a file that is cut short while it is read must raise, not kill the process
            source = self.filesystem.open_input_file(self.files[file])
            remote = not isinstance(self.filesystem, pafs.LocalFileSystem)
            return pq.ParquetFile(source, pre_buffer=remote, page_checksum_verification=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A finished run."""

    folder: str  # as it was given
    root: str = dataclasses.field(repr=False)  # the same on `filesystem`
    manifest: Mapping[str, Any] = dataclasses.field(repr=False)  # as docs/runs.md has it
    sha256: str  # of the manifest: the run's name for those who trained on it
    datasets: Mapping[str, Dataset] = dataclasses.field(repr=False)  # those that were asked for, by name
    filesystem: pafs.FileSystem = dataclasses.field(repr=False)

    def view(self, path: str) -> bytes:
        """Return the bytes of a view, which are compared with the manifest first."""
        for entry in self.manifest["views"]:
            if entry["path"] == path:
                data = _read(self.filesystem, _inside(self, path), f"{self.folder}/{path}")
                if (len(data), hashlib.sha256(data).hexdigest()) != (entry["bytes"], entry["sha256"]):
                    raise ChangedFileError(f"{self.folder}/{path} is not what was written; {_REMEDY}")
                return data
        listed = ", ".join(entry["path"] for entry in self.manifest["views"]) or "none"
        raise MissingFileError(f"{self.folder} lists no view {path}; it has: {listed}")

    def files(self, name: str, split: str | None = None) -> list[str]:
        """Return the paths of a data set's files, or of one split's, in order; of a run in a store their URIs."""
        files = _entry(self, name)["files"]
        if split is not None:
            files = [files[place] for place in _places_of(split, [file.get("split", "") for file in files], name)]
        return [f"{self.folder}/{file['path']}" for file in files]

    def schema(self, name: str) -> pa.Schema:
        """Return the columns of a data set, with their docs; of an empty one as this program would write it."""
        return self.open_dataset(name).schema

    def dataset(self, name: str, split: str | None = None) -> pads.Dataset:
        """Return a data set, or one split, as pyarrow has one: it scans lazily, and page checksums are verified."""
        opened = self.open_dataset(name).of_split(split)
        if not opened.files:
            return pads.dataset(opened.schema.empty_table())
        scan = pads.ParquetFragmentScanOptions(page_checksum_verification=True)
        how = pads.ParquetFileFormat(default_fragment_scan_options=scan)
        return pads.dataset(list(opened.files), schema=opened.schema, format=how, filesystem=self.filesystem)

    def read(self, name: str, columns: Sequence[str] | None = None, split: str | None = None) -> pa.Table:
        """Return the rows of a data set, or of one split, in order, with these columns or all; checksums are verified.

        Raises RunError where there is no such data set, column or split, or a file is not what was written.
        """
        opened = self.open_dataset(name).of_split(split)
        wanted = list(opened.schema.names if columns is None else columns)
        for column in (column for column in wanted if column not in opened.schema.names):
            raise RunError(f"{name} of {self.folder} has no column {column}; it has: {', '.join(opened.schema.names)}")
        tables = [opened.schema.empty_table().select(wanted)]
        for file in range(len(opened.files)):
            with one_line_errors(opened.files[file]):
                tables.append(opened.open(file).read(wanted))
        return pa.concat_tables(tables)

    def verify(self) -> None:
        """Read every byte; raise ChangedFileError, or another RunError, where one is not as it was written."""
        for name in self.manifest["datasets"]:
            self.open_dataset(name)
        _verify(self, list(self.manifest["datasets"]))
        for view in self.manifest["views"]:
            self.view(view["path"])

    def open_dataset(self, name: str) -> Dataset:
        """Return the files of a data set, as a Reader takes them, compared with the manifest."""
        return self.datasets.get(name) or open_dataset(self, name, None)


SPLITS = ("train", "validation", "test")
_REMEDY = "move the run away and make it again (molino verify lists every fault)"


def open_run(
    folder: str | os.PathLike,  # local path, or a URI that pyarrow.fs knows: gs://, s3://, hdfs://
    datasets: Mapping[str, tuple | None],  # name and versions that each data set may have; None: what it has
    *,
    verify: bool = True,  # False compares sizes, footers and versions, but no sha256
) -> FinishedRun:
    """Return a finished run after comparing it with its manifest.

    Every file of the asked data sets is read for its sha256. Page checksums, verified at each reading, tell what rots
    later. Raises UnfinishedError, MissingFileError, ChangedFileError, VersionError, OutsideError, or another RunError.
    """
    shown = os.fspath(folder).rstrip("/") or "/"
    filesystem, root = _filesystem(shown)
    for attempt in range(ATTEMPTS):
        run = _read_manifest(shown, filesystem, root)
        try:
            found = {name: open_dataset(run, name, expected) for name, expected in datasets.items()}
            if verify:
                _verify(run, list(datasets))
            return dataclasses.replace(run, datasets=found)
        except MissingFileError:
            # replaced meanwhile? then its files went, and the new manifest lists others
            if attempt == ATTEMPTS - 1 or _read_manifest(shown, filesystem, root).sha256 == run.sha256:
                raise
    raise AssertionError("unreachable")


def is_run(folder: str | os.PathLike) -> bool:
    """Return whether a path is a folder with a manifest or with what a run leaves while it works."""
    filesystem, root = _filesystem(os.fspath(folder).rstrip("/") or "/")
    with one_line_errors(os.fspath(folder)):
        return filesystem.get_file_info(root).type == pafs.FileType.Directory


def _filesystem(folder: str) -> tuple[pafs.FileSystem, str]:
    if "://" not in folder:
        return pafs.LocalFileSystem(), os.path.abspath(folder)
    if folder.startswith("gs://") and not {"@", "?"} & set(folder):
        emulator = os.environ.get("STORAGE_EMULATOR_HOST")  # what Google's own client goes by; Arrow's does not know it
        scheme, _, place = (emulator or "").rstrip("/").rpartition("://")
        how = {"anonymous": True, "scheme": scheme or "http", "endpoint_override": place} if emulator else {}
        # Arrow's own limit is a quarter of an hour, also where there is no account to read with
        return pafs.GcsFileSystem(retry_time_limit=RETRY, **how), folder.removeprefix("gs://")
    with one_line_errors(folder):
        return pafs.FileSystem.from_uri(folder)


@contextlib.contextmanager
def one_line_errors(path: str) -> Iterator[None]:
    """Turn what the file system says into one line with the path."""
    try:
        yield
    except FileNotFoundError:
        raise MissingFileError(f"{path} is missing; {_REMEDY}") from None
    except (OSError, pa.ArrowException) as error:
        told = " ".join(str(error).split())[:300]
        told = f"no account of Google is known here; {LOGIN}" if "access token" in told else told
        raise RunError(f"cannot read {path}: {told}") from error


def _read(filesystem: pafs.FileSystem, path: str, shown: str) -> bytes:
    with one_line_errors(shown), filesystem.open_input_stream(path) as stream:
        return stream.read()


# --- the manifest


def _read_manifest(folder: str, filesystem: pafs.FileSystem, root: str) -> FinishedRun:
    with one_line_errors(folder):
        infos = filesystem.get_file_info([root, posixpath.join(root, MANIFEST), posixpath.join(root, SUCCESS)])
    if infos[0].type == pafs.FileType.NotFound:
        raise RunError(f"there is no folder {folder}; name the output folder of a run")
    if infos[1].type == pafs.FileType.NotFound:
        raise UnfinishedError(f"{folder} holds no finished run: there is no {MANIFEST}; give the output of a job")
    if infos[2].type == pafs.FileType.NotFound:
        raise UnfinishedError(f"{folder} is not finished: there is no {SUCCESS}; wait for the run, or repeat it")
    manifest, data = find_published(
        folder, lambda name: _read(filesystem, posixpath.join(root, name), f"{folder}/{name}")
    )
    if manifest is None:
        raise UnfinishedError(
            f"{folder} is not finished: {SUCCESS} names another manifest, so a commit was cut short, or {MANIFEST} was "
            "changed; wait for the run, or repeat it"
        )
    return FinishedRun(
        folder=folder, root=root, manifest=manifest, sha256=digest_of(data), datasets={}, filesystem=filesystem
    )


def _inside(run: FinishedRun, relative: str) -> str:
    """Return the path of a listed file; no link may lead it out of the run."""
    path = posixpath.join(run.root, relative)
    if isinstance(run.filesystem, pafs.LocalFileSystem):
        inside = os.path.join(os.path.realpath(run.root), *relative.split("/"))
        if os.path.realpath(path) != inside:
            raise OutsideError(f"{run.folder}/{relative} is a link that leads out of the run; do not trust this run")
    return path


# --- its files


def _places_of(split: str, splits: Sequence[str], name: str) -> list[int]:
    if not any(splits) or split not in (*splits, *SPLITS):
        known = ", ".join(dict.fromkeys(filter(None, splits))) or "none"
        raise RunError(f"{name} has no files of the split {split!r} alone; of these it has some: {known}")
    return [place for place, of in enumerate(splits) if of == split]


def _entry(run: FinishedRun, name: str) -> Mapping[str, Any]:
    if name not in run.manifest["datasets"]:
        raise RunError(f"{run.folder} has no data set {name}; it has: {', '.join(run.manifest['datasets'])}")
    return run.manifest["datasets"][name]


def open_dataset(run: FinishedRun, name: str, expected: tuple | None) -> Dataset:
    """Compare names, sizes, footers and rows with the manifest."""
    entry = _entry(run, name)
    said = (entry["schema"], entry["version"])
    if expected is not None and (said[0] != expected[0] or said[1] not in expected[1:]):
        read = f"{expected[0]} version {' or '.join(map(str, expected[1:]))}"
        raise VersionError(
            f"{name} of {run.folder} has schema {said[0]} version {said[1]}, this program reads {read}; make the run "
            "again with the program that reads it"
        )
    paths = [_inside(run, file["path"]) for file in entry["files"]]
    with one_line_errors(run.folder):
        infos = run.filesystem.get_file_info(paths)
    schema = None
    for file, path, info in zip(entry["files"], paths, infos, strict=True):
        shown = f"{run.folder}/{file['path']}"
        if info.type != pafs.FileType.File:
            raise MissingFileError(f"{shown} is missing; {_REMEDY}")
        if info.size != file["bytes"]:
            raise ChangedFileError(f"{shown} has {info.size:,} bytes, {file['bytes']:,} were written; {_REMEDY}")
        footer = _footer(run.filesystem, path, shown)
        found = footer.schema.to_arrow_schema()
        try:
            carried = name_of(found)
        except ValueError as error:
            raise VersionError(f"{shown}: {error}") from None
        if carried != said:
            raise VersionError(
                f"{shown} has schema {carried[0]} version {carried[1]}, the manifest says {said[0]} version {said[1]}"
            )
        if footer.num_rows != file["rows"]:
            raise ChangedFileError(f"{shown} has {footer.num_rows:,} rows, {file['rows']:,} were written; {_REMEDY}")
        if schema is not None and not found.equals(schema):
            raise VersionError(f"{shown} has other columns than {run.folder}/{entry['files'][0]['path']}")
        schema = found
    if sum(file["rows"] for file in entry["files"]) != entry["rows"]:
        raise RunError(f"{run.folder}/{MANIFEST}: the files of {name} do not have {entry['rows']:,} rows together")
    return Dataset(
        name=name,
        files=tuple(paths),
        rows=tuple(file["rows"] for file in entry["files"]),
        splits=tuple(file.get("split", "") for file in entry["files"]),
        schema=schema if schema is not None else find_schema(*said) or pa.schema([]),
        filesystem=run.filesystem,
    )


def _footer(filesystem: pafs.FileSystem, path: str, shown: str) -> pq.FileMetaData:
    try:
        with filesystem.open_input_file(path) as source:
            return pq.read_metadata(source)
    except FileNotFoundError:
        raise MissingFileError(f"{shown} is missing; {_REMEDY}") from None
    except (OSError, pa.ArrowException) as error:
        why = " ".join(str(error).split())[:120]
        raise ChangedFileError(f"{shown} is not readable as Parquet ({why}); {_REMEDY}") from None


def _verify(run: FinishedRun, names: Sequence[str]) -> None:
    """Compare the sha256 of every file, in file order for the message."""
    entries = [file for name in names for file in run.manifest["datasets"][name]["files"]]
    stop = threading.Event()
    with ThreadPoolExecutor(min(8, machine.cpus())) as pool:
        try:
            found = pool.map(functools.partial(hash_data_file, run, stop), entries)
            for file, sha256 in zip(entries, found, strict=True):
                if sha256 != file["sha256"]:
                    shown = f"{run.folder}/{file['path']}"
                    raise ChangedFileError(f"{shown} changed after it was written (sha256); {_REMEDY}")
        finally:
            stop.set()


def hash_data_file(run: FinishedRun, stop: threading.Event, file: Mapping[str, Any]) -> str:
    shown, state = f"{run.folder}/{file['path']}", hashlib.sha256()
    with one_line_errors(shown), run.filesystem.open_input_stream(posixpath.join(run.root, file["path"])) as stream:
        while not stop.is_set() and (block := stream.read(BLOCK)):
            state.update(block)
    return state.hexdigest()
