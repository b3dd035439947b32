"""An output folder: what stands in it, read once, and whether a run may publish there."""

import contextlib
import dataclasses
import functools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from molino.jobs.run.lock import OutputExistsError, TakenError, holding
from molino.transforms.errors import DataError, OptionError
from molino.transforms.files import storage
from molino.transforms.files.list_files import common_folder
from molino.transforms.manifest import (
    LOCK,
    MANIFEST,
    SHARD,
    STAGING,
    SUCCESS,
    data_files,
    digest_of,
    find_published,
    garbage_of,
    listed_paths,
    owned_paths,
    parse_manifest,
)
from molino.transforms.warnings import DataWarning

if TYPE_CHECKING:
    from molino.jobs.run.runs import Run

LAST_ERROR = f"{STAGING}/last_error.json"  # why the last run failed; goes with the next commit
WORKING = (f"{STAGING}/", LOCK, "_tmp.")  # how the paths of files begin that are there only while a run works
DRAFTS = ("_tmp.", f"{LOCK}.")  # how small files begin that a killed process left half-written
BLOCKS_PER_SHARD = 8
MIN_BLOCKS = 8  # so that a small input can have a few shards too
SHOWN, SHORT = 3, 24  # differences of a kind that are told, and characters of a value that is shown
CUT = ("shards", "blocks")  # options that follow from the size of the input where they are not given


@dataclasses.dataclass(frozen=True, kw_only=True)
class Output:
    """What stands in an output folder."""

    path: str  # of the folder
    revision: storage.Snapshot  # the manifest's bytes and version, as a commit is conditional on them
    files: Mapping[str, int]  # relative path and bytes of every file
    success: bytes  # what `_SUCCESS` holds

    @property
    def parent(self) -> str:
        """The sha256 of the manifest, "" where there is none."""
        return digest_of(self.revision.data)

    @functools.cached_property
    def manifest(self) -> dict[str, Any] | None:
        """The manifest; None where there is none, DataError where it is none of this program's."""
        return parse_manifest(self.path, self.revision.data)

    def holds(self, run: "Run", *, overwrite: bool) -> bool:
        """Return whether it holds that very run already; OutputExistsError where it may not become that run's."""
        try:
            manifest = self.manifest
        except DataError as error:
            raise OutputExistsError(f"{error}; move it away, or choose another --output") from None
        if manifest is None:
            if foreign := self.foreign(set()):
                what = f"is not empty and was not written by this program (it holds {foreign[0]})"
                raise OutputExistsError(f"{self.path} {what}; choose another --output")
            return False
        if manifest["job"] != run.job:
            raise OutputExistsError(f"{self.path} holds a run of the job {manifest['job']}; choose another --output")
        whole = self.is_finished and not self.lacks([*data_files(manifest), *manifest["views"]])
        if manifest["run"] == run.id and whole:
            return True
        if manifest["run"] != run.id and not overwrite:
            what = f"{self.path} holds a finished run with other {_difference(run, manifest)}"
            raise OutputExistsError(f"{what}; add --overwrite to replace it, or choose another --output")
        if foreign := self.foreign(listed_paths(manifest) | set(manifest["replaced_views"])):
            what = f"{self.path} holds a file that no run lists ({foreign[0]})"
            raise OutputExistsError(f"{what}; move it away, then run again")
        return False

    @property
    def is_finished(self) -> bool:
        """Whether the last commit went through: `_SUCCESS` names the manifest that is there."""
        return bool(self.parent) and self.success.strip() == self.parent.encode()

    @property
    def staged_bytes(self) -> int:
        """The size of what runs have staged, without the note of a failed one."""
        return sum(n for path, n in self.files.items() if path.startswith(f"{STAGING}/") and path != LAST_ERROR)

    def lacks(self, files: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return which of the files that a manifest lists are not there with their size."""
        return [file["path"] for file in files if self.files.get(file["path"]) != file["bytes"]]

    def foreign(self, listed: set[str]) -> list[str]:
        """Return what is there beside the listed paths, its own working files, and data files of other attempts."""
        return [p for p in self.files if not (p in listed or p.startswith(WORKING) or SHARD.fullmatch(p))]

    def leftovers(self) -> list[str]:
        """Return what only killed runs leave: working files, and data files that may be deleted.

        In a store a data file that no run lists may be one that another run is about to publish: the next commit knows.
        """
        kept, garbage = (owned_paths(self.manifest), garbage_of(self.manifest)) if self.manifest else ((), ())
        local = storage.is_local(self.path)
        return [
            path
            for path in self.files
            if path.startswith(WORKING) or path in garbage or (local and SHARD.fullmatch(path) and path not in kept)
        ]

    def clean(self, token: str) -> None:
        """Delete what killed runs left behind; for the run that has the lock, and nothing to publish.

        A data file that nobody lists may be one that the next run publishes under the same name, so nobody may come in
        between. Where another run has the lock by now, its commit does it.
        """
        with contextlib.suppress(TakenError), holding(self.path, token):
            for path in read_output(self.path).leftovers():
                if path != LOCK and not path.startswith(f"{STAGING}/"):
                    storage.delete_file(storage.join(self.path, path))
            storage.delete_tree(storage.join(self.path, STAGING))


def read_output(path: str) -> Output:
    """Return what stands in an output folder, as of one moment: no commit came in between."""
    manifest = storage.join(path, MANIFEST)
    revision = storage.see(manifest)
    while True:
        files = {file.path[len(path.rstrip("/")) + 1 :]: file.bytes for file in storage.list_tree(path)}
        success = storage.see(storage.join(path, SUCCESS)).data if SUCCESS in files else None
        before, revision = revision, storage.see(manifest)
        if revision.data == before.data:
            return Output(path=path, revision=revision, files=files, success=success or b"")


def read_manifest(output: str) -> dict[str, Any] | None:
    """Return the manifest of an output, or None when it has none; DataError where it cannot be read."""
    return parse_manifest(output, storage.see(storage.join(output, MANIFEST)).data)


def read_finished(output: str) -> dict[str, Any] | None:
    """Return the manifest of the last run that was published: see `find_published`."""
    return find_published(output, lambda name: storage.see(storage.join(output, name)).data)[0]


def _difference(run: "Run", manifest: Mapping[str, Any]) -> str:
    """Return what tells a run from the one that stands there: inputs and options, a few of them with what changed."""
    options, were = run.options, manifest["options"]
    inputs = list(_changed_inputs(run.inputs, manifest["inputs"]))
    if not inputs and list(run.inputs) != manifest["inputs"]:
        inputs = ["in another order"]
    changed = []
    for name in (name for name in options if were.get(name) != options[name] and not (inputs and name in CUT)):
        now, was = (
            "none" if value is None else json.dumps(value, ensure_ascii=False)
            for value in (options[name], were.get(name))
        )
        changed.append(f"{name} {now}, was {was}" if max(len(now), len(was)) <= SHORT else name)
    told = []
    for what, each in (("inputs", inputs), ("options", changed)):
        more = [f"{len(each) - SHOWN:,} more"] if len(each) > SHOWN else []
        told += [f"{what} ({', '.join([*each[:SHOWN], *more])})"] if each else []
    return " and ".join(told) or "code"


def _changed_inputs(inputs: Sequence[Mapping[str, Any]], were: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what became of each file or folder that is not as it was, in the order of their paths."""
    now, before = ({each["path"]: each for each in entries} for entries in (inputs, were))
    paths = sorted(now | before)
    root = len(common_folder(paths)) if paths else 0
    for path in (path for path in paths if now.get(path) != before.get(path)):
        new, old = now.get(path, {}), before.get(path, {})
        differs = next((name for name in ("files", "bytes") if new.get(name) != old.get(name)), "")
        if not (new and old):
            yield f"{path[root:]} {'is new' if new else 'is gone'}"
        elif differs:
            yield f"{path[root:]} has {new.get(differs, 0):,} {differs}, had {old.get(differs, 0):,}"
        else:
            yield f"{path[root:]} {'has other files' if 'digest' in new else 'was written again'}"


def output_folder(output: str, inputs: Sequence) -> str:
    """Return the output folder, absolute where it is local; it may hold no input, nor lie in one or in another run."""
    storage.store_of(output)  # or there is none of that scheme
    folder = storage.folder(output)
    for item in inputs:
        for file in getattr(item, "files", [item]):
            path = os.path.abspath(file.path) if storage.is_local(file.path) else file.path
            if path.startswith(folder + "/"):
                raise OptionError(f"--input {file.path} lies inside --output {output}; choose another --output")
        if getattr(item, "root", "") == item.path.rstrip("/") + "/" and (folder + "/").startswith(item.root):
            raise OptionError(f"--output {output} lies inside --input {item.path}; choose another --output")
    if not storage.is_local(folder) and set(folder) & set("*?["):
        raise OptionError(f"--output {output} holds a character of globs (* ? [); choose another name")
    if storage.is_local(folder) and os.path.lexists(folder) and not os.path.isdir(folder):
        what = "it is a file, not a folder" if os.path.exists(folder) else "it is a link that leads nowhere"
        raise DataError(f"cannot write {folder}: {what}; choose another --output")
    if above := run_above(folder):
        raise OutputExistsError(f"{folder} lies inside the run in {above}; choose another --output")
    return folder


def run_above(output: str) -> str:
    """Return the folder above an output that holds a run, "" where none does, or none can be seen."""
    above = output
    while (above := os.path.dirname(above)).strip("/") and not above.endswith(":/"):
        with contextlib.suppress(DataError):
            if storage.exists(storage.join(above, MANIFEST)):
                return above
    return ""


def cut(total_bytes: int, *, block_bytes: int, shards: int | None) -> tuple[int, int, list]:
    """Return the blocks of an output, its shards, and a warning when it is too small for those that were asked for.

    They follow from the size of the input, never from the machine. A block is the unit of an output's order.
    """
    blocks = max(MIN_BLOCKS, -(-total_bytes // block_bytes))
    number = shards or max(min(4, -(-total_bytes // block_bytes)), blocks // BLOCKS_PER_SHARD)
    told = f"the input is too small for {shards} shards; it has {blocks}"
    few = [DataWarning("shards.few", told, remedy=f"give --shards {blocks}")] if shards and shards > blocks else []
    return blocks, min(number, blocks), few
