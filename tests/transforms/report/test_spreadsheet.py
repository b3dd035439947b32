"""CSV for programs keeps values as they are; CSV for Excel opens right, and holds no formula."""

import csv
import io

import pytest

from molino.transforms.report.spreadsheet import to_csv

ROWS = [["nombre", "mean"], ["=1+1", 1.5], ['A,"B"', None], ["MUÑOZ", -45.0], ["a;b", 7], ["-", 0.25], ["\t@x", True]]


def test_csv_for_programs_keeps_values_as_they_are():
    assert to_csv(ROWS[:4], "plain").decode() == 'nombre,mean\n=1+1,1.5\n"A,""B""",\nMUÑOZ,-45.0\n'
    assert to_csv(ROWS[:1], "plain") + to_csv(ROWS[1:], "plain", begins=False) == to_csv(ROWS, "plain")


@pytest.mark.parametrize(("form", "delimiter", "point"), [("excel", ",", "."), ("excel-es", ";", ",")])
def test_csv_for_excel_has_a_mark_its_separator_and_no_formula(form, delimiter, point):
    data = to_csv(ROWS[:1], form) + to_csv(ROWS[1:], form, begins=False)
    assert data.startswith(b"\xef\xbb\xbfnombre")
    assert (data.count(b"\xef\xbb\xbf"), data.count(b"\r\n")) == (1, len(ROWS))
    read = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=delimiter))
    assert [row[0] for row in read] == ["nombre", "'=1+1", 'A,"B"', "MUÑOZ", "a;b", "'-", "'\t@x"]
    assert [row[1] for row in read] == ["mean", f"1{point}5", "", f"-45{point}0", "7", f"0{point}25", "True"]
