"""Do every work unit that no earlier attempt at the same run has done, nor the run that it replaces."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import apache_beam as beam

from molino.transforms import progress
from molino.transforms.parquet.shards import StagedFile
from molino.transforms.parquet.units import SCRATCH, Done, do_once, keep, renumber, take_over
from molino.transforms.rows.batches import Counters
from molino.transforms.rows.outputs import NamedOutputs, ParDoInto


class UnitFiles(NamedTuple):
    """What `DoOnce` gives.

    `files` are to be published; `scratch` is what later steps read; `counters` has `units` and `units.resumed` besides
    the units' own, and where units are kept `units.taken_over`, and `units.rows_taken_over`, what these amounted to.
    """

    files: beam.PCollection[StagedFile]
    scratch: beam.PCollection[StagedFile]
    counters: beam.PCollection[Counters]


@dataclasses.dataclass(kw_only=True)
class DoOnce(NamedOutputs):
    """Do every work unit that no earlier attempt at this run has done, nor the run that it replaces.

    Input: (name, unit). Output: UnitFiles.
    """

    work: Callable[..., Done]  # called with a unit and `folder`; returns its Done
    folder: str  # where units stage their files and records; the same for every attempt at a run
    careful: Callable[..., Done] | None = None  # the same, for a unit whose process died in an earlier attempt
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # of `work`, by name
    # of the run, where units are kept for the run that replaces it: a unit is its number then, by which its files are
    # ordered, and its name tells all that its bytes depend on, but the versions of packages. "" for units not kept
    output: str = ""
    parent: str = ""  # sha256 of the manifest of the run that is replaced, whose units are taken over; "" for none

    def expand(self, units: beam.PCollection) -> UnitFiles:
        return units | "DoOnce" >> ParDoInto(into=UnitFiles, call=self._do)

    def _do(self, unit: tuple[str, Any]) -> Iterator[object]:
        name, content = unit
        earlier = functools.cache(
            lambda: take_over(name, self.folder, self.output, self.parent) if self.parent else None
        )
        careful = self.careful or self.work
        done, resumed = do_once(
            name,
            self.folder,
            lambda died: earlier() or (careful if died else self.work)(content, self.folder, **self.arguments),
        )
        taken = int(not resumed and earlier() is not None)
        if resumed or taken:
            progress.report("read", **done.amounts)
        done = renumber(done, content) if self.output else done
        scratch = [file for file in done.files if file.dataset.startswith(SCRATCH)]
        yield from (beam.pvalue.TaggedOutput("scratch", file) for file in scratch)
        yield from keep(name, done) if self.output else (file for file in done.files if file not in scratch)
        counters = {**done.counters, "units": 1, "units.resumed": int(resumed)}
        if self.output:
            counters |= {"units.taken_over": taken, "units.rows_taken_over": taken * done.amounts["rows"]}
        yield beam.pvalue.TaggedOutput("counters", counters)
