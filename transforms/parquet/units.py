"""Work units that are done once: what a killed run finished is taken up by the next attempt at the same run.

A unit's files lie in a folder that is named by what the run is, not by the attempt. A record written last, in one step,
names them with their size and sha256; a unit whose record or files are not whole is done again.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping

from molino.transforms.errors import DataError
from molino.transforms.files import storage
from molino.transforms.parquet.shards import StagedFile
from molino.transforms.warnings import Sighting

RECORD = ".json"
BEGUN = ".begun"  # a unit at work; where its process died, this is left
STATE = ".state"  # how files end that keep how far a unit is, for the next attempt at it
SCRATCH = "_"  # how the data set of files begins that later steps read, and that are not published


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
        storage.write_atomic(path, _record(done, folder))
    finally:
        storage.delete_file(begun)
    return done, False


def _record(done: Done, folder: str) -> bytes:
    start = len(storage.join(folder, ""))
    record = {
        "files": [dataclasses.asdict(file) | {"path": file.path[start:]} for file in done.files],
        "counters": {n: [int(v), v.place] if isinstance(v, Sighting) else v for n, v in done.counters.items()},
        "amounts": dict(done.amounts),
    }
    return json.dumps(record).encode()


def read_record(path: str, folder: str) -> Done | None:
    """Return what a record tells of the files below a folder; None when it is not there or not a record."""
    try:
        record = json.loads(storage.read_bytes(path)) if storage.exists(path) else None
        if record is None:
            return None
        files = [
            StagedFile(
                **{
                    **entry,
                    "path": storage.join(folder, entry["path"]),
                    **{key: tuple(entry[key]) for key in ("key", "schema", "digests")},
                }
            )
            for entry in record["files"]
        ]
        return Done(files=tuple(files), counters=_counters(record["counters"]), amounts=record["amounts"])
    except (DataError, ValueError, KeyError, TypeError):
        return None


def _counters(recorded: Mapping[str, int | list]) -> dict[str, int]:
    return {name: Sighting(*value) if isinstance(value, list) else value for name, value in recorded.items()}


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
