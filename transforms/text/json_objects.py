"""Objects of JSON: read so that nothing in them is lost, and their values as text."""

import itertools
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

DEEPEST = 200  # objects and lists within each other; Python's own limit depends on who calls
BEGIN = re.compile(rb"(?:\xef\xbb\xbf)?\s*\{\s*[\"}]")  # of a text whose lines hold objects
BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|([\[{])|[\]}]')


class _Number(str):
    """A number as it is written."""


class _Object(dict):
    """An object, and the names in it, each as often as it stands there."""

    def __init__(self, pairs: Sequence[tuple[str, Any]]):
        super().__init__(pairs)
        self.names = [name for name, _ in pairs]


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


DECODER = json.JSONDecoder(object_pairs_hook=_Object, parse_int=_Number, parse_float=_Number, parse_constant=_refuse)


def read_object(line: str) -> _Object:
    """Return the object that a line holds. Raises ValueError: it holds none."""
    if line.count("{") + line.count("[") > DEEPEST:
        steps = (1 if mark[1] else -1 for mark in BRACKETS.finditer(line) if not mark[0].startswith('"'))
        if max(itertools.accumulate(steps)) > DEEPEST:
            raise ValueError("too deep")
    found = DECODER.decode(line.removeprefix("\ufeff"))
    if not isinstance(found, _Object):
        raise ValueError("no object")
    return found


def find_keys(lines: Iterable[str]) -> list[str]:
    """Return the names in the objects of lines, in the order in which they come; other lines are passed over."""
    found: dict[str, None] = {}
    for line in lines:
        try:
            found |= dict.fromkeys(read_object(line))
        except ValueError:
            continue
    return list(found)


def as_text(value: Any) -> str | None:
    """Return a value of JSON as text: strings as they are, numbers as they are written, lists and objects as JSON.

    Raises ValueError: a name stands twice in an object.

    >>> as_text(DECODER.decode('{"a": [1.50, "b", null]}'))
    '{"a":[1.50,"b",null]}'
    """
    return value if value is None or isinstance(value, str) else _to_json(value)


def _to_json(value: Any) -> str:
    if isinstance(value, _Number):
        return value
    if isinstance(value, _Object):
        if len(value) < len(value.names):
            raise ValueError("twice")
        return "{" + ",".join(f"{_to_json(str(name))}:{_to_json(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_to_json, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
