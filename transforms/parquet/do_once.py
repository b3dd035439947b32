"""Do every work unit that no earlier attempt at the same run has done."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import apache_beam as beam

from molino.transforms import progress
from molino.transforms.parquet.shards import StagedFile
from molino.transforms.parquet.units import SCRATCH, Done, do_once
from molino.transforms.rows.batches import Counters
from molino.transforms.rows.outputs import NamedOutputs, ParDoInto


class UnitFiles(NamedTuple):
    """What `DoOnce` gives.

    `files` are to be published; `scratch` is what only later steps read; `counters` has `units` and `units.resumed`
    besides the units' own.
    """

    files: beam.PCollection[StagedFile]
    scratch: beam.PCollection[StagedFile]
    counters: beam.PCollection[Counters]


@dataclasses.dataclass(kw_only=True)
class DoOnce(NamedOutputs):
    """Do every work unit that no earlier attempt at this run has done.

    Input: (name, unit). Output: UnitFiles.
    """

    work: Callable[..., Done]  # called with a unit and `folder`; returns its Done
    folder: str  # where units stage their files and records; the same for every attempt at a run
    careful: Callable[..., Done] | None = None  # the same, for a unit whose process died in an earlier attempt
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # of `work`, by name

    def expand(self, units: beam.PCollection) -> UnitFiles:
        work = {"work": self.work, "careful": self.careful, "folder": self.folder, "arguments": dict(self.arguments)}
        return units | "DoOnce" >> ParDoInto(into=UnitFiles, call=_do, arguments=work)


def _do(
    unit: tuple[str, Any],
    work: Callable[..., Done],
    careful: Callable[..., Done] | None,
    folder: str,
    arguments: Mapping[str, Any],
) -> Iterator[object]:
    name, content = unit
    done, resumed = do_once(
        name, folder, lambda died: (careful if careful and died else work)(content, folder, **arguments)
    )
    if resumed:
        progress.report("read", **done.amounts)
    for file in done.files:
        yield beam.pvalue.TaggedOutput("scratch", file) if file.dataset.startswith(SCRATCH) else file
    yield beam.pvalue.TaggedOutput("counters", {**done.counters, "units": 1, "units.resumed": int(resumed)})
