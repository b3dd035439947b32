"""The importance of principal components, as the summary of R's prcomp prints it."""

from collections.abc import Sequence

import numpy as np

from molino.transforms.pca.components import Components

DIGITS, WIDTH = 4, 80  # what R has by default
NAMES = ("Standard deviation", "Proportion of Variance", "Cumulative Proportion")


def print_variance(components: Components, kept: int) -> str:
    """Return standard deviation, proportion and cumulative proportion of variance of the first components.

    As `print(summary(prcomp(x)))` of R 4: each column with as few decimals as show 4 digits of every number in it.
    """
    total = len(components.singular)
    proportions = components.proportions
    table = np.stack([components.deviations, proportions.round(5), np.cumsum(proportions).round(5)])[:, :kept]
    columns = [[f"PC{place + 1}", *format_column(values)] for place, values in enumerate(table.T.tolist())]
    first = max(map(len, NAMES))
    which = "of components" if kept == total else f"of first k={kept} (out of {total}) components"
    lines = [f"Importance {which}:"]
    while columns:
        widths = [max(map(len, column)) for column in columns]
        fitting = np.cumsum([width + 1 for width in widths]) + first <= WIDTH
        count = max(1, int(fitting.sum()))
        for place, name in enumerate(("", *NAMES)):
            cells = [column[place].rjust(width) for column, width in zip(columns[:count], widths[:count], strict=True)]
            lines.append(" ".join([name.ljust(first), *cells]))
        columns = columns[count:]
    return "\n".join(lines) + "\n"


def format_column(values: Sequence[float]) -> list[str]:
    """Return numbers as R formats a column: with common decimals, or in scientific notation where that is shorter.

    >>> format_column([83.73240025, 0.96553, 0.96553]), format_column([14.2124, 0.02782, 0.99335])
    (['83.7324', '0.9655', '0.9655'], ['14.21240', '0.02782', '0.99335'])
    """
    parts = [f"{abs(value):.{DIGITS - 1}e}".split("e") for value in values]
    powers = [int(power) for _, power in parts]
    digits = [max(1, len(mantissa.replace(".", "").rstrip("0"))) for mantissa, _ in parts]
    decimals = max(max(0, d - p - 1) for d, p in zip(digits, powers, strict=True))
    fixed = max(1, *(power + 1 for power in powers)) + (decimals + 1 if decimals else 0)
    most = max(digits)
    scientific = (most + 1 if most > 1 else 1) + (5 if max(map(abs, powers)) >= 100 else 4)
    if fixed <= scientific:
        return [f"{value:.{decimals}f}" for value in values]
    return [f"{value:.{most - 1}e}" for value in values]
