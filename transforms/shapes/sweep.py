"""Sweeps: lists of networks, written as blocks whose every combination is a network.

A block names the values of each parameter; one value may stand without a list. A sweep is a list of blocks, in a YAML
file or built in. The only module that imports PyYAML.
"""

import contextlib
import difflib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from molino.transforms.errors import DataError
from molino.transforms.files import storage
from molino.transforms.shapes.points import PROBLEMS, Problem, parse_problem
from molino.transforms.shapes.train_network import Network

Block = Mapping[str, Sequence[Any]]

MOST_BYTES = 1 << 20  # of a file
MOST_NETWORKS = 100_000
MOST_LAYERS = 20
MOST_NODES = 200_000
MOST_PARAMETERS = 50_000_000
HARD = ["ring", "cos", "polar"]
DECAY = 0.86

WIDE = [[a, b] for a in (100, 1000) for b in (100, 1000)]  # the first two of three layers
DEEP, DEEPEST = ([[*wide, c] for wide in WIDE for c in last] for last in ((10, 50), (10, 100, 1000)))

# the study's: 144 networks of one hidden layer, and 60 of three
STUDY: list[dict[str, Any]] = [
    {"hidden": [1, 10, 100, 1000], "batch": [100, 1000], "steps": [11, 1001, 6001]},
    {"problem": HARD, "hidden": DEEP, "batch": 1000, "steps": [1001, 6001], "decay": DECAY},
    {"problem": "polar", "hidden": DEEPEST, "batch": 1000, "steps": 1000, "decay": DECAY},
]
# sizes that a laptop bears, with three seeds
DEFAULT: list[dict[str, Any]] = [
    {"hidden": [1, 3, 10, 100, 1000], "batch": 100, "steps": 6001, "seed": [1, 2, 3]},
    {"hidden": [[100, 100], [100, 100, 100]], "batch": 1000, "steps": 1001, "decay": DECAY, "seed": [1, 2, 3]},
]
SWEEPS = {"default": DEFAULT, "study": STUDY}


def read_sweep(name: str) -> list[Block]:
    """Return the blocks of a built-in sweep, or of a YAML file; DataError says which block and value is wrong."""
    if name in SWEEPS:
        return parse_sweep(SWEEPS[name], name)
    import yaml

    storage.check_regular(name)
    try:
        with open(name, "rb") if storage.is_local(name) else storage.open_input(name) as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        known = " or ".join(SWEEPS)
        raise DataError(f"cannot read the sweep {name}: {error.strerror}; name a file, or {known}") from None
    if len(data) > MOST_BYTES:
        raise DataError(f"{name}: a sweep has at most {MOST_BYTES:,} bytes; is this another file?")
    try:
        return parse_sweep(_load(data), name)
    except (yaml.YAMLError, UnicodeError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or str(error) or type(error).__name__
        raise DataError(f"{name}{line}: not YAML ({' '.join(what.split())[:200]})") from None


def _load(data: bytes) -> Any:
    """Return what YAML says; a name that stands twice in a block is an error, where PyYAML would take the last."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, *, deep: bool = False) -> Any:
            names = [self.construct_object(name, deep=True) for name, _ in node.value]
            for place, name in enumerate(names):
                if name in names[:place]:
                    mark = node.value[place][0].start_mark
                    raise yaml.constructor.ConstructorError(None, None, f"{name!r} stands twice in a block", mark)
            return super().construct_mapping(node, deep)

    return yaml.load(data, Loader)


def parse_sweep(blocks: Any, name: str) -> list[Block]:
    """Return blocks with a list for every parameter; raise DataError as `read_sweep` does."""
    if not isinstance(blocks, list) or not blocks:
        raise DataError(f"{name}: a sweep is a list of blocks, each beginning with `- `; see docs/shapes.md")
    return [_parse_block(block, f"{name}, block {number}") for number, block in enumerate(blocks, 1)]


def _parse_block(given: Any, where: str) -> Block:
    if not isinstance(given, dict):
        raise DataError(f"{where}: a block names parameters and their values, as in `batch: [100, 1000]`")
    for name in given:
        if name not in PARAMETERS:
            near = difflib.get_close_matches(str(name), PARAMETERS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(PARAMETERS)}"
            raise DataError(f"{where}: there is no parameter {str(name)[:50]!r}; {hint}")
    block = {}
    for name, (parse, default) in PARAMETERS.items():
        if name not in given and default is None:
            raise DataError(f"{where}: {name} is missing")
        values = given.get(name, default)
        values = values if isinstance(values, list) else [values]
        if not values:
            raise DataError(f"{where}: {name} has no value")
        try:
            block[name] = [parse(value) for value in values]
        except ValueError as error:
            raise DataError(f"{where}: {name}: {error}") from None
    return block


def choose_problems(blocks: Sequence[Block], problems: Sequence[Problem]) -> list[Block]:
    """Return the blocks with these problems only; their own radius or frequency wins. DataError where none has one."""
    named = {parse_problem(text).name for block in blocks for text in block["problem"]}
    for problem in problems:
        if problem.name not in named:
            raise DataError(f"the sweep has no network for {problem.name}; it has {', '.join(sorted(named))}")
    chosen: list[Block] = []
    for block in blocks:
        kept = [
            str(problem if want.r == PROBLEMS[want.name] else want)
            for problem in map(parse_problem, block["problem"])
            for want in problems
            if want.name == problem.name
        ]
        if kept:
            chosen.append({**block, "problem": list(dict.fromkeys(kept))})
    return chosen


def expand_sweep(blocks: Sequence[Block], name: str) -> tuple[list[Network], int]:
    """Return the distinct networks of a sweep, in order, and how many stood again; DataError: too many or too large."""
    total = sum(math.prod(len(values) for values in block.values()) for block in blocks)
    if total > MOST_NETWORKS:
        raise DataError(f"{name} has {total:,} networks, more than {MOST_NETWORKS:,}; cut it in parts")
    found: dict[Network, None] = {}
    for block in blocks:
        for values in itertools.product(*block.values()):
            given = dict(zip(block, values, strict=True))
            given["problem"], given["hidden"] = parse_problem(given["problem"]), tuple(given["hidden"])
            network = Network(**given)
            if network.parameters > MOST_PARAMETERS:
                large = f"hidden: {list(network.hidden)} makes {network.parameters:,} weights"
                raise DataError(f"{name}: {large}, more than {MOST_PARAMETERS:,}")
            found[network] = None
    return list(found), total - len(found)


def _problem(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no problem; there are {', '.join(PROBLEMS)}")
    return str(parse_problem(value))


def _hidden(value: Any) -> list[int]:
    layers = value if isinstance(value, list) else [value]
    if not 1 <= len(layers) <= MOST_LAYERS:
        raise ValueError(f"a network has 1 to {MOST_LAYERS} hidden layers, not {len(layers)}")
    return [_number(1, MOST_NODES, whole=True)(nodes) for nodes in layers]


def _number(least: float, most: float, *, whole: bool = False) -> Callable[[Any], Any]:
    def parse(value: Any) -> float:
        if isinstance(value, str) and not whole:  # YAML takes 1e-3 for text: it wants 1.0e-3
            with contextlib.suppress(ValueError):
                value = float(value)
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise ValueError(f"{repr(value)[:50]} is no {'whole number' if whole else 'number'}")
        if not least <= value <= most:  # nor is what is no number at all
            raise ValueError(f"{value:,} is not from {least:,} to {most:,}")
        return value if whole else float(value)

    return parse


# how each value is read, and what stands for a parameter that a block leaves out
PARAMETERS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "problem": (_problem, list(PROBLEMS)),
    "hidden": (_hidden, None),
    "batch": (_number(1, 1_000_000, whole=True), None),
    "steps": (_number(1, 10_000_000, whole=True), None),
    "rate": (_number(1e-9, 1000), 0.5),
    "decay": (_number(1e-6, 1), 1.0),
    "decay_steps": (_number(1, 10_000_000, whole=True), 3500),
    "l2": (_number(0, 1000), 0.00125),
    "deviation": (_number(0, 1000), 0.0441),
    "seed": (_number(0, 2**63 - 1, whole=True), 1),
}
