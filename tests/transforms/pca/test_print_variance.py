"""The summary as R prints it: copied from a session of R 4, and compared digit for digit."""

import numpy as np
import pytest

from molino.transforms.pca.components import Components
from molino.transforms.pca.print_variance import format_column, print_variance

# summary(prcomp(USArrests)) of R
DEVIATIONS = [83.732400246, 14.212401851, 6.489426068, 2.482790000]
PRINTED = """\
Importance of components:
                           PC1      PC2    PC3     PC4
Standard deviation     83.7324 14.21240 6.4894 2.48279
Proportion of Variance  0.9655  0.02782 0.0058 0.00085
Cumulative Proportion   0.9655  0.99335 0.9991 1.00000
"""


def components_of(deviations, rows=50):
    numbers = len(deviations)
    return Components(rows=rows, singular=np.array(deviations) * np.sqrt(rows - 1), axes=np.eye(numbers))


def test_it_is_what_r_prints():
    assert print_variance(components_of(DEVIATIONS), 4) == PRINTED


def test_fewer_components_are_said_to_be_fewer():
    lines = print_variance(components_of(DEVIATIONS), 2).splitlines()
    assert lines[0] == "Importance of first k=2 (out of 4) components:"
    assert lines[1].split() == ["PC1", "PC2"]


def test_no_line_is_longer_than_80():
    text = print_variance(components_of(np.linspace(9, 1, 100)), 100)
    assert max(map(len, text.splitlines())) <= 80
    assert sum(line.startswith("Standard deviation") for line in text.splitlines()) > 5
    assert text.split().count("PC100") == 1


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([1e150, 0.5, 0.5], ["1e+150", "5e-01", "5e-01"]),
        ([1.5e-150, 1.0, 1.0], ["1.5e-150", "1.0e+00", "1.0e+00"]),
        ([0.0, 0.0, 0.0], ["0", "0", "0"]),
        ([2.0, 0.125, 1.0], ["2.000", "0.125", "1.000"]),
        ([123456.7, 1.0, 1.0], ["123457", "1", "1"]),
    ],
)
def test_numbers_of_any_size(values, shown):
    assert format_column(values) == shown
