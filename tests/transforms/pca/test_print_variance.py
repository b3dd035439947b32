"""The summary as R prints it: copied from a session of R 4, and compared digit for digit."""

import numpy as np
import pytest

from molino.transforms.pca.components import Components
from molino.transforms.pca.print_variance import format_column, print_components

# summary(prcomp(USArrests)) of R
DEVIATIONS = [83.732400246, 14.212401851, 6.489426068, 2.482790000]
SUMMARY = """\
Importance of components:
                           PC1      PC2    PC3     PC4
Standard deviation     83.7324 14.21240 6.4894 2.48279
Proportion of Variance  0.9655  0.02782 0.0058 0.00085
Cumulative Proportion   0.9655  0.99335 0.9991 1.00000
"""
# prcomp(USArrests, scale. = TRUE) of R
STATES = ["Murder", "Assault", "UrbanPop", "Rape"]
SCALED = """\
Standard deviations (1, .., p=4):
[1] 1.5748783 0.9948694 0.5971291 0.4164494

Rotation (n x k) = (4 x 4):
                PC1        PC2        PC3         PC4
Murder   -0.5358995 -0.4181809  0.3412327  0.64922780
Assault  -0.5831836 -0.1879856  0.2681484 -0.74340748
UrbanPop -0.2781909  0.8728062  0.3780158  0.13387773
Rape     -0.5434321  0.1673186 -0.8177779  0.08902432
"""


def components_of(deviations, rows=50, axes=None):
    numbers = len(deviations)
    singular = np.array(deviations) * np.sqrt(rows - 1)
    return Components(rows=rows, singular=singular, axes=np.eye(numbers) if axes is None else axes)


def test_it_is_what_r_prints():
    assert print_components(components_of(DEVIATIONS), 4, []).endswith(f"\n\n{SUMMARY}")
    lines = SCALED.splitlines()
    axes = np.array([line.split()[1:] for line in lines[5:]], float)
    deviations = [float(number) for number in lines[1].split()[1:]]
    assert print_components(components_of(deviations, axes=axes), 4, STATES).startswith(f"{SCALED}\nImportance")


def test_fewer_components_are_said_to_be_fewer():
    lines = print_components(components_of(DEVIATIONS), 2, []).splitlines()
    assert lines[3:9] == [
        "Rotation (n x k) = (4 x 2):",
        "     PC1 PC2",
        *(f"[{n},]   {int(n == 1)}   {int(n == 2)}" for n in range(1, 5)),
    ]
    assert lines[10] == "Importance of first k=2 (out of 4) components:"
    assert lines[11].split() == ["PC1", "PC2"]


def test_no_line_is_longer_than_80():
    text = print_components(components_of(np.linspace(9, 1, 100)), 100, [])
    assert max(map(len, text.splitlines())) <= 80
    assert sum(line.startswith("Standard deviation ") for line in text.splitlines()) > 5
    assert text.split().count("PC100") == 1
    short = print_components(components_of(np.linspace(9, 1, 10) / 7), 10, []).splitlines()
    assert max(map(len, short)) <= 80
    assert short[1].startswith(" [1] 1.285714")
    assert short[2].startswith(" [8] ")


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([1e150, 0.5, 0.5], ["1e+150", "5e-01", "5e-01"]),
        ([1.5e-150, 1.0, 1.0], ["1.5e-150", "1.0e+00", "1.0e+00"]),
        ([0.0, 0.0, 0.0], ["0", "0", "0"]),
        ([2.0, 0.125, 1.0], ["2.000", "0.125", "1.000"]),
        ([123456.7, 1.0, 1.0], ["123457", "1", "1"]),
        ([-0.5, 1.0, 0.25], ["-0.50", "1.00", "0.25"]),
        ([1.0, -1e-9, 0.5], ["1e+00", "-1e-09", "5e-01"]),
    ],
)
def test_numbers_of_any_size(values, shown):
    assert format_column(values, 4) == shown
