"""Several outputs of one transform: a NamedTuple of collections, whose fields are tags and have types."""

import dataclasses
import typing
from collections.abc import Callable, Mapping
from typing import Any

import apache_beam as beam
from apache_beam.typehints.decorators import IOTypeHints, get_type_hints

import molino.transforms.rows.coder  # noqa: F401  batches travel as Arrow IPC


class NamedOutputs(beam.PTransform):
    """A transform whose `expand` returns a NamedTuple of collections.

    Beam wants the return type of `expand` to be a single collection, and warns of any other; here it does not look.
    """

    def default_type_hints(self) -> IOTypeHints:
        return get_type_hints(type(self))


@dataclasses.dataclass(kw_only=True)
class ParDoInto(NamedOutputs):
    """Call a function, or a DoFn, with each element; what it yields goes to the collections of a NamedTuple.

    A plain element goes to the first field, a `TaggedOutput` to the field of its tag. Each field is annotated as a
    `PCollection` of its elements' type, so that nobody has to guess a coder.

    >>> class Halves(typing.NamedTuple):
    ...     even: beam.PCollection[int]
    ...     odd: beam.PCollection[int]
    >>> def halve(number: int):
    ...     yield number if number % 2 == 0 else beam.pvalue.TaggedOutput("odd", number)
    >>> with beam.Pipeline() as pipeline:
    ...     halves = pipeline | beam.Create([1, 2, 4]) | ParDoInto(into=Halves, call=halve)
    ...     _ = halves.odd | beam.Map(print)
    1
    """

    into: type[tuple]  # the NamedTuple
    call: Callable[..., Any] | beam.DoFn  # what is called with each element; it yields
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # its others, by name; side inputs too

    def expand(self, elements: beam.PCollection) -> tuple:
        types = {name: typing.get_args(hint)[0] for name, hint in typing.get_type_hints(self.into).items()}
        main, *tags = types
        make = beam.ParDo if isinstance(self.call, beam.DoFn) else beam.FlatMap
        called = make(self.call, **self.arguments).with_output_types(types.pop(main), **types)
        outputs = elements | called.with_outputs(*tags, main=main)
        return self.into(*(outputs[name] for name in (main, *tags)))
