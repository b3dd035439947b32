"""Work units that are done once: what a killed run finished is taken up by the next attempt at the same run.

A unit's files lie in a folder that is named by what the run is, not by the attempt. A record written last, in one step,
names them with their size and sha256; a unit whose record or files are not whole is done again.

Units that are named by all that they depend on can be kept as well: the manifest of their run has the records, and the
run that replaces it takes over those of the same names, as they are.
"""

import dataclasses
import functools
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from molino import code
from molino.transforms.errors import DataError
from molino.transforms.files import storage
from molino.transforms.manifest import MANIFEST, data_files, digest_of, parse_manifest
from molino.transforms.parquet.shards import StagedFile
from molino.transforms.warnings import Sighting

RECORD = ".json"
BEGUN = ".begun"  # a unit at work; where its process died, this is left
STATE = ".state"  # how files end that keep how far a unit is, for the next attempt at it
SCRATCH = "_"  # how the data set of files begins that later steps read, and that are no data of the output
KEPT = "_units"  # folder of the output where those of units are that are kept
STORED = ("path", "bytes", "sha256")  # what a manifest says of any file


@dataclasses.dataclass(frozen=True, kw_only=True)
class Done:
    """What a work unit came to: the files it staged, what it counted, and what it tells the progress."""

    files: tuple[StagedFile, ...]
    counters: Mapping[str, int]
    amounts: Mapping[str, int]


def do_once(name: str, folder: str, work: Callable[[bool], Done]) -> tuple[Done, bool]:
    """Return what a unit came to, and whether an earlier attempt had done it.

    `work` must stage its files below `folder`; `name` is the unit's own in it. It is told whether an earlier attempt
    began this unit and its process died, perhaps of what is in it.
    """
    path, begun = storage.join(folder, name + RECORD), storage.join(folder, name + BEGUN)
    done = read_record(path, folder)
    if done is not None and all(_is_whole(file) for file in done.files):
        return done, True
    died = storage.exists(begun)
    storage.write_atomic(begun, b"begun\n")
    try:
        done = work(died)
        start = len(storage.join(folder, ""))
        files = [dataclasses.asdict(file) | {"path": file.path[start:]} for file in done.files]
        storage.write_atomic(path, json.dumps({"files": files, **_counts(done)}).encode())
    finally:
        storage.delete_file(begun)
    return done, False


def _counts(done: Done) -> dict[str, Any]:
    counters = {n: [int(v), v.place] if isinstance(v, Sighting) else v for n, v in done.counters.items()}
    return {"counters": counters, "amounts": dict(done.amounts)}


def renumber(done: Done, number: int) -> Done:
    """Return what a unit came to under another number: there may be more units before it than when it was done."""
    files = [dataclasses.replace(file, key=(number,)) if file.key else file for file in done.files]
    return dataclasses.replace(done, files=tuple(files))


def keep(name: str, done: Done) -> Iterator[StagedFile]:
    """Yield the files of a unit as they are published, scratch files too, with what it takes to take them over.

    The manifest has that beside each file: the name of the unit and what the file is, and beside the unit's first what
    it came to.
    """
    whole = {"files": len(done.files), **_counts(done)}
    for file in done.files:
        facts = {key: fact for key, fact in dataclasses.asdict(file).items() if key not in (*STORED, "entry")}
        kept = dataclasses.replace(file, entry={"unit": {"name": name, "file": facts, **whole}})
        if file.dataset.startswith(SCRATCH):
            kept = dataclasses.replace(kept, dataset="", key=(), rows=0, name=f"{KEPT}/{name}{file.dataset}.parquet")
        yield kept
        whole = {}


def take_over(name: str, folder: str, output: str, parent: str) -> Done | None:
    """Return what a unit came to in the run that is replaced; None where it was not done, or not all of it is whole.

    Its files get other names, below `folder`. `output` is where that run is, `parent` the sha256 of its manifest.
    """
    try:
        entries = _kept_units(output, parent)[name]
        files = [entry["unit"]["file"] | {key: entry[key] for key in STORED} for entry in entries]
        [whole] = [entry["unit"] for entry in entries if "files" in entry["unit"]]
        done = _done({**whole, "files": files}, output)
        if len(files) != whole["files"] or not all(_is_whole(file) for file in done.files):
            return None
        taken = []
        for file in done.files:
            path = storage.join(folder, "taken", uuid.uuid4().hex)
            storage.copy(file.path, path)
            taken.append(dataclasses.replace(file, path=path))
        return dataclasses.replace(done, files=tuple(taken))
    except (DataError, ValueError, KeyError, TypeError):
        return None


@functools.lru_cache(1)
def _kept_units(output: str, parent: str) -> dict[str, list[Mapping[str, Any]]]:
    """Return what a manifest says of the files of units, by the unit's name; nothing of a run by other packages."""
    data = storage.see(storage.join(output, MANIFEST)).data
    manifest = parse_manifest(output, data) if digest_of(data) == parent else None
    units: dict[str, list[Mapping[str, Any]]] = {}
    if manifest and manifest.get("packages") == code.packages():
        for entry in (*data_files(manifest), *manifest["views"]):
            if "unit" in entry:
                units.setdefault(entry["unit"]["name"], []).append(entry)
    return units


def read_record(path: str, folder: str) -> Done | None:
    """Return what a record tells of the files below a folder; None when it is not there or not a record."""
    try:
        return _done(json.loads(storage.read_bytes(path)), folder) if storage.exists(path) else None
    except (DataError, ValueError, KeyError, TypeError):
        return None


def _done(record: Mapping[str, Any], folder: str) -> Done:
    """Return what a record tells, whose paths are relative to a folder."""
    files = []
    for entry in record["files"]:
        lists = {key: tuple(entry[key]) for key in ("key", "schema", "digests")}
        files.append(StagedFile(**{**entry, **lists, "path": storage.join(folder, entry["path"])}))
    counters = {n: Sighting(*v) if isinstance(v, list) else v for n, v in record["counters"].items()}
    return Done(files=tuple(files), counters=counters, amounts=record["amounts"])


def kept_paths(folder: str) -> set[str]:
    """Return the paths below a folder that finished units need: records, and the files they name; and all states."""
    kept = set()
    for file in storage.list_tree(folder):
        if file.path.endswith(STATE):
            kept.add(file.path)
        done = read_record(file.path, folder) if file.path.endswith(RECORD) else None
        if done is not None:
            kept |= {file.path, *(staged.path for staged in done.files)}
    return kept


def _is_whole(file: StagedFile) -> bool:
    try:
        return storage.exists(file.path) and storage.hash_file(file.path) == (file.bytes, file.sha256)
    except DataError:
        return False
