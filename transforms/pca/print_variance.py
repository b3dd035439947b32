"""Principal components and their importance, as R prints `prcomp` and its summary."""

from collections.abc import Iterator, Sequence

import numpy as np

from molino.transforms.pca.components import Components

DIGITS, SUMMARY_DIGITS, WIDTH = 7, 4, 80  # what R has by default
MOST_NUMBERS = 10  # of a vector whose loadings are printed
NAMES = ("Standard deviation", "Proportion of Variance", "Cumulative Proportion")


def print_components(components: Components, kept: int, names: Sequence[str]) -> str:
    """Return what R 4 prints of `prcomp(x, rank. = kept)`, and of its summary; of long vectors the summary alone.

    `names` are of the numbers of a vector; there are none where they stand in lists.
    """
    lines = []
    numbers = len(components.singular)
    if numbers <= MOST_NUMBERS:
        rows = names or [f"[{place},]".rjust(len(f"[{numbers},]")) for place in range(1, numbers + 1)]
        lines = [f"Standard deviations (1, .., p={numbers}):", *_print_vector(components.deviations.tolist()), ""]
        table = components.axes[:, :kept]
        lines += [f"Rotation (n x k) = ({numbers} x {kept}):", *_print_table(rows, table, DIGITS), ""]
    proportions = components.proportions
    table = np.stack([components.deviations, proportions.round(5), np.cumsum(proportions).round(5)])[:, :kept]
    which = "of components" if kept == numbers else f"of first k={kept} (out of {numbers}) components"
    lines += [f"Importance {which}:", *_print_table(NAMES, table, SUMMARY_DIGITS)]
    return "\n".join(lines) + "\n"


def _print_vector(values: Sequence[float]) -> Iterator[str]:
    """Yield the lines of a vector: as many numbers as fit, each line with the place of its first."""
    cells, first = format_column(values, DIGITS), len(f"[{len(values)}]")
    width = max(map(len, cells))
    count = max(1, (WIDTH - first) // (width + 1))
    for start in range(0, len(cells), count):
        yield " ".join([f"[{start + 1}]".rjust(first), *(cell.rjust(width) for cell in cells[start : start + count])])


def _print_table(names: Sequence[str], table: np.ndarray, digits: int) -> Iterator[str]:
    """Yield the lines of a (names, components) table with a column a component: as many beside each other as fit."""
    columns = [[f"PC{place + 1}", *format_column(values, digits)] for place, values in enumerate(table.T.tolist())]
    first = max(map(len, names))
    while columns:
        widths = [max(map(len, column)) for column in columns]
        fitting = np.cumsum([width + 1 for width in widths]) + first <= WIDTH
        count = max(1, int(fitting.sum()))
        for place, name in enumerate(("", *names)):
            cells = [column[place].rjust(width) for column, width in zip(columns[:count], widths[:count], strict=True)]
            yield " ".join([name.ljust(first), *cells])
        columns = columns[count:]


def format_column(values: Sequence[float], digits: int) -> list[str]:
    """Return numbers as R formats a column: with common decimals, or in scientific notation where that is shorter.

    >>> format_column([83.73240025, 0.96553, 0.96553], 4), format_column([14.2124, -0.02782, 0.99335], 4)
    (['83.7324', '0.9655', '0.9655'], ['14.21240', '-0.02782', '0.99335'])
    """
    parts = [f"{abs(value):.{digits - 1}e}".split("e") for value in values]
    signs = [int(value < 0) for value in values]
    powers = [int(power) for _, power in parts]
    shown = [max(1, len(mantissa.replace(".", "").rstrip("0"))) for mantissa, _ in parts]
    decimals = max(max(0, d - p - 1) for d, p in zip(shown, powers, strict=True))
    whole = max(sign + max(1, power + 1) for sign, power in zip(signs, powers, strict=True))
    fixed = whole + (decimals + 1 if decimals else 0)
    most = max(shown)
    scientific = max(signs) + (most + 1 if most > 1 else 1) + (5 if max(map(abs, powers)) >= 100 else 4)
    if fixed <= scientific:
        return [f"{value:.{decimals}f}" for value in values]
    return [f"{value:.{most - 1}e}" for value in values]
