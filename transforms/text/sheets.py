"""Sheets of Excel workbooks as rows of text."""

import datetime
import functools
import io
import itertools
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from molino.transforms.errors import DataError
from molino.transforms.files import storage

SHEET = "sheet"
BATCH_ROWS = 65536
MOST_CELLS = 1 << 24  # of the rectangle that holds all of a sheet, each of which takes memory
MOST_BYTES = 1 << 31  # that a workbook comes to, unpacked
BLOCK = 1 << 20
OLD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # first bytes of .xls, and of other things
ROW, COLUMN = re.compile(rb"<(?:\w+:)?row\s[^>]*?\br=.(\d+)"), re.compile(rb"\br=.([A-Z]{1,3})\d")
BARE = re.compile(rb"<(?:\w+:)?c(?![^>]*\br=)[\s/>]")  # cells that do not say where they are


def read_rows(path: str, sheet: str) -> Iterator[list[str]]:
    """Yield all rows of a sheet, from its first, as text; those of one sheet have one length."""
    for row in open_workbook(path, sheet).iter_rows():
        yield [show_cell(cell) for cell in row]


def read_sheet(
    path: str, sheet: str, header: Sequence[str], columns: Sequence[str], start: int
) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
    """Yield columns of the rows of a sheet from `start` on, and of each row why to reject it, or ""."""
    rows = itertools.islice(read_rows(path, sheet), start, None)
    places = [header.index(column) for column in columns]
    while part := list(itertools.islice(rows, BATCH_ROWS)):
        arrays = [pa.array([row[place] for row in part], pa.string()) for place in places]
        empty = np.array(["" if any(row) else "empty_line" for row in part], dtype=object)
        yield pa.RecordBatch.from_arrays(arrays, list(columns)), empty


def show_cell(cell: Any) -> str:
    """Return a cell as text: as Excel shows it where it has no format of its own.

    >>> [show_cell(each) for each in (12.0, 0.1 + 0.2, 1e16, True, datetime.datetime(2019, 3, 1, 10, 30), "007")]
    ['12', '0.3', '1E+16', 'TRUE', '2019-03-01 10:30:00', '007']
    """
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, int | float):
        return f"{cell + 0:.15g}".upper()
    return cell.isoformat(" ") if isinstance(cell, datetime.datetime) else str(cell)


def open_workbook(path: str, sheet: str = "") -> Any:
    """Return a workbook, or a sheet of it.

    Raises DataError: it cannot be opened, is too large, or what opens it is not installed.
    """
    try:
        import python_calamine
    except ImportError:
        raise DataError(
            f"{path} is an Excel workbook, which python-calamine reads: pip install -r requirements/xlsx.txt; or save "
            "its sheet as CSV in UTF-8"
        ) from None
    with storage.open_input(path) as raw, storage.explained(path, "read"):
        data = io.BytesIO(raw.read())
    try:
        if data.getbuffer()[:8] != OLD:
            _check_size(data, path)
            data.seek(0)
        workbook = python_calamine.load_workbook(data)
        return workbook.get_sheet_by_name(sheet) if sheet else workbook
    except (python_calamine.CalamineError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        what = "an old Excel or Word file" if data.getbuffer()[:8] == OLD else "an Excel workbook"
        raise DataError(f"cannot read {path}: {what}, damaged or locked ({error}); save it as CSV in UTF-8") from None


def _check_size(data: io.BytesIO, path: str) -> None:
    """Raise DataError where a workbook holds very much; all of it is unpacked once, in pieces."""
    with zipfile.ZipFile(data) as archive:
        infos = archive.infolist()
        if (size := sum(info.file_size for info in infos)) > MOST_BYTES:
            raise DataError(f"{path}: the workbook comes to {size:,} bytes; save its sheet as CSV in UTF-8")
        for info in infos:
            rows, width, bare, held = 1, 1, 0, b""
            with archive.open(info) as file:  # gives no more than the size that was told, or an error
                while block := file.read(BLOCK):
                    if not info.filename.startswith("xl/worksheets/"):
                        continue
                    held = held[-64:] + block
                    rows = max([rows, *map(int, ROW.findall(held))])
                    width = max([width, *map(_number, set(COLUMN.findall(held)))])
                    if BARE.search(held):
                        bare = max(bare, *(len(BARE.findall(row)) for row in held.split(b"row")))
            if (cells := rows * (width + bare)) > MOST_CELLS:
                raise DataError(
                    f"{path}: {info.filename} has {cells:,} cells, more than {MOST_CELLS:,}; save it as CSV in UTF-8"
                )


def _number(letters: bytes) -> int:
    """Return the number of a column, from 1."""
    return functools.reduce(lambda number, letter: number * 26 + letter - ord("@"), letters, 0)
