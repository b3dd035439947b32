"""What a person reads of a run, staged once its rows and counters are known."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import apache_beam as beam

from molino.transforms.parquet.shards import StagedFile
from molino.transforms.rows.batches import Counters, sum_counters
from molino.transforms.rows.gather import Gather
from molino.transforms.rows.outputs import NamedOutputs, ParDoInto


class Views(NamedTuple):
    """What `WriteViews` gives: staged files, and the counters of the whole run with its own."""

    files: beam.PCollection[StagedFile]
    counters: beam.PCollection[Counters]


@dataclasses.dataclass(kw_only=True)
class WriteViews(NamedOutputs):
    """Stage what a person reads. Input: one element, or what is gathered to one list. Output: Views."""

    # yields staged files, and counters as mappings; takes the element, the sum of `counters`, `run`, and `singletons`
    call: Callable[..., Iterator[StagedFile | Mapping[str, int]]]
    run: Any  # for its staging folder and what a report says of it
    counters: beam.PCollection  # of the whole run
    gather: bool = False  # call it once, with a list of all elements
    singletons: Mapping[str, beam.PCollection] = dataclasses.field(default_factory=dict)  # arguments of one element

    def expand(self, elements: beam.PCollection) -> Views:
        element = elements | "Gather" >> Gather(into=list) if self.gather else elements
        held = {"counters": beam.pvalue.AsList(self.counters), "call": self.call, "run": self.run}
        sides = {name: beam.pvalue.AsSingleton(one) for name, one in self.singletons.items()}
        staged = element | ParDoInto(into=Views, call=_write, arguments={**held, **sides})
        return Views(staged.files, (self.counters, staged.counters) | "AllCounters" >> beam.Flatten())


def _write(
    element: Any, counters: Sequence[Mapping[str, int]], call: Callable[..., Iterator[Any]], run: Any, **arguments: Any
) -> Iterator[object]:
    for item in call(element, sum_counters(counters), run, **arguments):
        yield item if isinstance(item, StagedFile) else beam.pvalue.TaggedOutput("counters", item)
