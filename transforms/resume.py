"""Work units that are done once: what a killed run finished is taken up by the next attempt at the same run.

A unit's files lie in a folder that is named by what the run is, not by the attempt. A record written last, in one step,
names them with their size and sha256; a unit whose record or files are not whole is done again.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import apache_beam as beam

from transforms import progress, storage
from transforms.errors import DataError
from transforms.parquet import StagedFile

RECORD = ".json"
BEGUN = ".begun"  # a unit at work; where its process died, this is left
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
        "counters": dict(done.counters),
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
        return Done(files=tuple(files), counters=record["counters"], amounts=record["amounts"])
    except (DataError, ValueError, KeyError, TypeError):
        return None


def kept_paths(folder: str, *, begun: bool) -> set[str]:
    """Return the paths below a folder that finished units need: their records, and the files these name.

    Args:
      begun: keep the notes of units that were begun and not finished too.
    """
    kept = set()
    for file in storage.list_tree(folder):
        if begun and file.path.endswith(BEGUN):
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


@dataclasses.dataclass(kw_only=True)
class DoOnce(beam.PTransform):
    """Do every work unit that no earlier attempt at this run has done.

    Input: (name, unit). Output: `files`, a StagedFile for each file to publish; `scratch`, for each that only later
    steps read; `counters`, with `units` and `units.resumed` besides the units' own.

    Attributes:
      work: called with a unit and `folder`; returns its Done.
      careful: the same, for a unit whose process died in an earlier attempt.
      folder: where units stage their files and records; the same for every attempt at a run.
      arguments: of `work`, by name.
    """

    work: Callable[..., Done]
    folder: str
    careful: Callable[..., Done] | None = None
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def expand(self, units: beam.PCollection) -> beam.pvalue.DoOutputsTuple:
        return units | "DoOnce" >> beam.FlatMap(
            _do, work=self.work, careful=self.careful, folder=self.folder, arguments=dict(self.arguments)
        ).with_outputs("scratch", "counters", main="files")


def _do(
    unit: tuple[str, Any],
    work: Callable[..., Done],
    careful: Callable[..., Done] | None,
    folder: str,
    arguments: Mapping[str, Any],
) -> Iterator[StagedFile | beam.pvalue.TaggedOutput]:
    name, content = unit
    done, resumed = do_once(
        name, folder, lambda died: (careful if careful and died else work)(content, folder, **arguments)
    )
    if resumed:
        progress.report("read", **done.amounts)
    for file in done.files:
        yield beam.pvalue.TaggedOutput("scratch", file) if file.dataset.startswith(SCRATCH) else file
    yield beam.pvalue.TaggedOutput("counters", {**done.counters, "units": 1, "units.resumed": int(resumed)})
