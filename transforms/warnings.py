"""What is doubtful about an input or a result, and did not stop the run: told before it, or counted by workers."""

import dataclasses
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MOST_PRINTED = 20


@dataclasses.dataclass(frozen=True)
class DataWarning:
    """What a person should know before trusting an output."""

    kind: str  # a name for programs, such as `text.encoding`
    text: str  # what is doubtful, in words, with how often
    count: int = 1  # of the records, files or options that it is said of
    example: str = ""  # where one of them is: a file, and its line where it has lines; "" where there is no place
    remedy: str = ""  # what to do about it; the complete option or command where there is one

    def __str__(self) -> str:
        first = f"first: {self.example}" if self.count > 1 else self.example
        return "; ".join(part for part in (self.text, first if self.example else "", self.remedy) if part)


class Sighting(int):
    """A counter's value that knows one place of what it counts. Adding keeps the smaller place.

    A counter whose name begins with "_" is for warnings alone: neither manifest nor report show it.
    """

    # text, such as an image's key; of a row of text its `position`, until `locate_sightings` has made (source, line,
    # label) of it. Places of one counter are all of one kind
    place: Any

    def __new__(cls, count: int, place: Any) -> "Sighting":
        made = super().__new__(cls, count)
        made.place = place
        return made

    def __reduce__(self) -> tuple:
        return Sighting, (int(self), self.place)

    @property
    def example(self) -> str:
        """The place as a person reads it."""
        return f"{self.place[2]} line {self.place[1]}" if isinstance(self.place, tuple) else str(self.place)


def add_sightings(one: int, other: int) -> int:
    """Return the sum of a counter's two values, with the smaller of their places."""
    places = [value.place for value in (one, other) if value and isinstance(value, Sighting)]
    return Sighting(int(one) + int(other), min(places)) if places else int(one) + int(other)


def example_of(counters: Mapping[str, int], name: str) -> str:
    """Return the place of one of those that a counter counts, "" where none is known."""
    value = counters.get(name, 0)
    return value.example if isinstance(value, Sighting) else ""


def many(number: int, noun: str) -> str:
    """Return a number of things as a person reads it.

    >>> many(1, "file"), many(1200, "file"), many(2, "category")
    ('1 file', '1,200 files', '2 categories')
    """
    nouns = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"1 {noun}" if number == 1 else f"{number:,} {nouns}"


def warning_of_skipped(skipped: Mapping[str, int], reason: str, what: str) -> DataWarning:
    """Return the warning of what was left out of the input for a reason, and `what` that is, in words."""
    n = skipped[reason]
    return DataWarning(f"skipped.{reason}", f"skipped {what}: {n:,}", int(n), example_of(skipped, reason))


def to_json(warnings: Iterable[DataWarning]) -> list[dict[str, Any]]:
    """Return warnings as a manifest holds them."""
    return [dataclasses.asdict(warning) for warning in warnings]


def from_json(values: Iterable[Any]) -> list[DataWarning]:
    """Return the warnings of a manifest; those of version 0.1.0 are plain text."""
    return [DataWarning("", value) if isinstance(value, str) else DataWarning(**value) for value in values]


def print_warnings(warnings: Sequence[DataWarning]) -> None:
    """Print warnings on standard error."""
    for warning in warnings[:MOST_PRINTED]:
        print(f"molino: warning: {warning}", file=sys.stderr)
    if len(warnings) > MOST_PRINTED:
        print(f"molino: and {len(warnings) - MOST_PRINTED:,} more warnings", file=sys.stderr)
