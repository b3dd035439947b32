"""Bring what a few elements hold to one place."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import apache_beam as beam

import molino.transforms.rows.coder  # noqa: F401  batches travel as Arrow IPC


@dataclasses.dataclass(kw_only=True)
class Gather(beam.PTransform):
    """Call a function once, with a list of all the elements, in no order; output what it returns.

    A side input of a single element: a tenth of the graph, and of its start-up, that combiners.ToList makes.
    """

    into: Callable[..., Any]  # the function; the list is its first argument
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # the others, by name; side inputs too

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        held = beam.pvalue.AsList(elements)
        return elements.pipeline | beam.Impulse() | beam.Map(_call, held, into=self.into, **self.arguments)


def _call(_: bytes, held: list, into: Callable[..., Any], **arguments: Any) -> Any:
    return into(held, **arguments)
