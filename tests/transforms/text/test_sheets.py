"""Sheets of Excel: cells as text, rows by their numbers, and nothing that a small file could blow up."""

import sys
import zipfile

import pytest

from molino.transforms.errors import DataError, OptionError
from molino.transforms.files.list_files import list_files
from molino.transforms.text import sheets, sources
from tests.transforms.text.test_read import read
from tests.transforms.text.workbooks import DATE, DATE_TIME, TIME, sheet, write_workbook

COLUMNS = {"title": "title", "keep.id": "id"}
TEXT = sources.TextFormat(columns=COLUMNS, quote='"', delimiter="auto", encoding="utf-8")
ROWS = [
    ["title", None, "id", "empty"],
    ["a,b\nc", 1, 7],
    [None, None, None],
    ["", "x", 1.5],
    ["007", 2, True],
    [(43525, DATE), 3, (43525.4375, DATE_TIME)],
    [(0.4375, TIME), 4, 0.1 + 0.2],
    [12345678901, 5, -2.0],
]
VALUES = [
    (2, ("a,b\nc", "7")),
    (4, ("", "1.5")),
    (5, ("007", "TRUE")),
    (6, ("2019-03-01", "2019-03-01 10:30:00")),
    (7, ("10:30:00", "0.3")),
    (8, ("12345678901", "-2")),
]


def files(path):
    return list_files(str(path)).files


@pytest.fixture
def calamine():
    return pytest.importorskip("python_calamine")


def test_cells_are_text_and_rows_have_their_numbers(tmp_path, calamine):
    path = write_workbook(tmp_path / "any-name", {"One": ROWS, "Two": [["title", "id"], ["z", 0]]})
    rows, rejects = read(files(path), TEXT)
    assert rows == [("any-name!One", line, values) for line, values in VALUES]
    assert rejects == [("any-name!One", 3, "empty_line")]
    [source] = sources.list_sources(files(path), TEXT)
    assert (source.groups[0][0], source.first_line, source.is_table) == (7, 2, True)


def test_a_sheet_is_chosen_and_its_header_may_stand_below_or_be_given(tmp_path, calamine):
    path = write_workbook(tmp_path / "f.xlsx", {"One": ROWS, "Dos años": [["A report"], [], ["title", "id"], ["z", 0]]})

    def values(**more):
        return read(files(path), sources.TextFormat(**{**TEXT.__dict__, "sheet": "Dos años", **more}))[0]

    assert values(skip_lines=2) == [("f.xlsx!Dos años", 4, ("z", "0"))]
    assert values(skip_lines=3, names=("title", "id")) == [("f.xlsx!Dos años", 4, ("z", "0"))]
    with pytest.raises(DataError, match=r"has no sheet 'Tres'; it has 'One', 'Dos años'"):
        values(sheet="Tres")
    (tmp_path / "t.csv").write_text("title,id\na,1\n")
    with pytest.raises(OptionError, match="--sheet"):
        sources.list_sources(files(tmp_path / "t.csv"), sources.TextFormat(columns=COLUMNS, sheet="x", delimiter=","))


def test_a_column_that_lacks_is_told_and_no_row_is_shown(tmp_path, calamine):
    path = write_workbook(tmp_path / "f.xlsx", {"One": [["Title", "ID"], ["a", 1]], "Two": [["ANA", 7]]})
    text = sources.TextFormat(columns={"title": "title", "key": "key"})
    with pytest.raises(
        DataError, match=r"lacks the column 'key': its first line has 'Title', 'ID'; name with --key-col"
    ):
        sources.list_sources(files(path), text)
    with pytest.raises(
        DataError, match=r"lacks .*: its first line has 2 columns; is there no header line\? .* --header"
    ):
        sources.list_sources(files(path), sources.TextFormat(**{**text.__dict__, "sheet": "Two"}))


def test_without_the_package_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    path = write_workbook(tmp_path / "f.xlsx", {"One": ROWS})
    with pytest.raises(
        DataError, match=r"Excel workbook, .* pip install -r requirements/xlsx\.txt; or save its sheet as CSV"
    ):
        sources.list_sources(files(path), TEXT)


@pytest.mark.parametrize(
    ("member", "what"), [("xl/workbook.bin", "binary Excel workbook"), ("content.xml", "OpenDocument")]
)
def test_other_workbooks_are_refused_by_their_names(tmp_path, member, what):
    with zipfile.ZipFile(tmp_path / "f", "w") as archive:
        archive.writestr(member, "")
    with pytest.raises(DataError, match=f"{what}.*, which is not read; save it as .xlsx, or as CSV in UTF-8"):
        sources.list_sources(files(tmp_path / "f"), TEXT)


@pytest.mark.parametrize(
    "cells",
    [
        '<row r="1"><c r="A1"/></row><row r="1048576"><c r="XFD1048576"/></row>',
        '<row r="1048576">' + "<c/>" * 16384 + "</row>",
        "<row r='1048576'><c r='XFD1048576' s='1'/></row>",
    ],
)
def test_a_sheet_whose_cells_stand_far_apart_is_refused_before_it_is_opened(tmp_path, calamine, cells):
    path = write_workbook(tmp_path / "f.xlsx", {"One": sheet([]).replace("<sheetData>", f"<sheetData>{cells}")})
    with pytest.raises(DataError, match=r"sheet1\.xml has 17,\d+,\d+,\d+ cells, more than 16,777,216"):
        sources.list_sources(files(path), TEXT)


def test_a_workbook_that_comes_to_gigabytes_or_is_damaged_is_refused(tmp_path, calamine, monkeypatch):
    path = write_workbook(tmp_path / "f.xlsx", {"One": ROWS})
    monkeypatch.setattr(sheets, "MOST_BYTES", 1000)
    with pytest.raises(DataError, match=r"the workbook comes to [\d,]+ bytes; save its sheet as CSV"):
        sources.list_sources(files(path), TEXT)
    monkeypatch.undo()
    data = bytearray(path.read_bytes())
    data[data.index(b"xl/worksheets/sheet1.xml") + 40] ^= 255
    (tmp_path / "g.xlsx").write_bytes(data)
    (tmp_path / "h.xls").write_bytes(sheets.OLD + bytes(600))
    for name, what in (("g.xlsx", "an Excel workbook"), ("h.xls", "an old Excel or Word file")):
        with pytest.raises(DataError, match=rf"cannot read .*{name}: {what}, damaged or locked \(.*; save it as CSV"):
            sources.list_sources(files(tmp_path / name), TEXT)
