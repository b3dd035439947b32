"""Do every work unit that no earlier attempt at the same run has done."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import apache_beam as beam

import molino.transforms.rows.coder  # noqa: F401  batches travel as Arrow IPC
from molino.transforms import progress
from molino.transforms.parquet.shards import StagedFile
from molino.transforms.parquet.units import SCRATCH, Done, do_once


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
