"""No row, reject or count depends on where a text is cut, in any way of reading and any encoding."""

import codecs
import encodings.aliases
import gzip
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molino.transforms.errors import OptionError
from molino.transforms.files.list_files import list_files
from molino.transforms.rows.batches import sum_counters
from molino.transforms.text import read as module
from molino.transforms.text import row_groups, sources
from molino.transforms.text.fields import FILLED

COLUMNS = {"a": "A", "b": "B"}
SIZES = (1, 2, 3, 5, 7, 16, 31, 64, 100, 200)  # of the pieces: 1 cuts at every byte
MARK = "\ufeff"
HEADER = b"A|B|C"
LINES = [
    f"{MARK}Ñ1|x|", f"{MARK}{MARK}2|{MARK}|", MARK, "", "A|B|C", f"{MARK}A|B|C", "a|b|c|", "a|b|c||", "a|b", "q\0|b|c",
    "L" * 40 + "|b|c", f"{MARK}|é|", "\x85|\u2028|\x0b", '"q"|x|y', f"{MARK}" * 4 + "|b|c", "last|b|c",
]  # fmt: skip
QUOTED = [
    f'{MARK}"A"|"B"|"C"',
    '"a\nb"|"x|y"|',
    '24" LCD|x|y',
    '$78"Table|48"|y',
    '"open|b|c',
    f'{MARK}"q"|b|c',
    "z|b|c",
]


def read(path, text, span_bytes):
    """Return everything that a run would write of a file, and its counters."""
    found = sources.list_sources(list_files(str(path)).files, text)
    spans = sources.split_sources(found, span_bytes, quoted=bool(text.quote))
    chunks = [(span, list(module.read_span(span, text, span_bytes))) for span in spans]
    table = module.line_table([(s.number, sum(c.lines for c in held)) for s, held in chunks], spans, found)
    rows, rejects, counters = [], [], []
    for chunk in (chunk for _, held in chunks for chunk in held):
        lines = table.locate(chunk.rows["position"])[1]
        rows += zip(lines.to_pylist(), *(chunk.rows[name].to_pylist() for name in text.columns), strict=True)
        lines = table.locate(chunk.rejects["position"])[1]
        rejects += zip(*(array.to_pylist() for array in (lines, *chunk.rejects.columns[1:])), strict=True)
        counters += [{"rows_read": chunk.records}, module.locate_sightings(chunk.counters, table)]
    summed = sum_counters(counters).items()
    # whether a column says anything is counted by the batch
    totals = {name: (n > 0 if name.startswith(FILLED) else n, getattr(n, "place", None)) for name, n in summed}
    return sorted(rows), sorted(rejects), totals


def body(encoding, lines, end):
    """Return a file of the lines that an encoding can write, and of some bytes that it may not know."""
    codec = "utf-8" if encoding == "utf-8-sig" else encoding
    written = [line.encode(codec, "ignore").replace(b"\r", b"") for line in lines]
    return end.join([HEADER, *written, b"\x81\xff|b|c", b"\xef\xbb\xbfA|B|C", b"end|b|c", b""])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1", "cp1252", "ascii"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_text_gives_the_same_for_every_cut(tmp_path, encoding, end):
    text = sources.TextFormat(columns=COLUMNS, encoding=encoding, max_line_bytes=30)
    data = body(encoding, LINES, end)
    (tmp_path / "f").write_bytes(data)
    whole = read(tmp_path / "f", text, 1 << 20)
    for span_bytes in SIZES:
        assert read(tmp_path / "f", text, span_bytes) == whole
    (tmp_path / "f.gz").write_bytes(gzip.compress(data[:50]) + gzip.compress(data[50:]))
    with zipfile.ZipFile(tmp_path / "f.zip", "w") as archive:
        archive.writestr("f", data)
    for path in (tmp_path / "f.gz", tmp_path / "f.zip"):
        for span_bytes in SIZES[1::3]:
            assert strip_label(read(path, text, span_bytes)) == strip_label(whole)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1"])
def test_a_quoted_text_gives_the_same_for_every_cut(tmp_path, encoding, monkeypatch):
    text = sources.TextFormat(columns=COLUMNS, encoding=encoding, max_line_bytes=30, quote='"')
    data = body(encoding, QUOTED + LINES, b"\n")
    (tmp_path / "f").write_bytes(data)
    (tmp_path / "f.gz").write_bytes(gzip.compress(data))
    whole = read(tmp_path / "f", text, 1 << 20)
    for path in (tmp_path / "f", tmp_path / "f.gz"):
        for span_bytes in SIZES:
            assert strip_label(read(path, text, span_bytes)) == strip_label(whole)


def strip_label(read_):
    rows, rejects, totals = read_
    return rows, rejects, {name: (n, place and place[:2]) for name, (n, place) in totals.items()}


def test_parquet_gives_the_same_for_every_cut(tmp_path, monkeypatch):
    values = [*LINES[:4], "A", f"{MARK}A"]
    raw = pa.array([*(v.encode() for v in values), b"\xff", None], pa.binary()).view(pa.string())
    table = pa.table({"A": raw, "B": ["B"] * len(raw)})
    text = sources.TextFormat(columns=COLUMNS)
    for group in (1, 2, 3, 100):
        pq.write_table(table, tmp_path / "f", row_group_size=group)
        for batch_rows in (1, 3, 100):
            monkeypatch.setattr(row_groups, "BATCH_ROWS", batch_rows)
            for span_bytes in (1, 40, 1 << 20):
                rows, rejects, _ = read(tmp_path / "f", text, span_bytes)
                assert rows == [(n + 1, value, "B") for n, value in enumerate(values[:4])]
                assert [reject[:2] for reject in rejects] == [
                    (5, "header_line"), (6, "header_line"), (7, "bad_encoding"), (8, "null_value")
                ]  # fmt: skip


def test_every_encoding_that_is_taken_keeps_ascii_for_itself():
    """Lines, fields and quotes are found by bytes, and a mark is no character of them."""
    taken = []
    for name in sorted(set(encodings.aliases.aliases.values())):
        try:
            text = sources.TextFormat(columns=COLUMNS, encoding=name)
        except OptionError:
            continue
        taken.append(name)
        assert bytes(range(128)).decode(text.encoding) == "".join(map(chr, range(128)))
        high = "" if text.codec == "utf-8" else bytes(range(128, 256)).decode(text.encoding, "ignore")
        assert not any(c.isascii() or c == MARK for c in high)
        assert codecs.lookup(text.encoding).name != "utf-8-sig"
    assert {"latin_1", "utf_8", "cp1252"} <= set(taken)
