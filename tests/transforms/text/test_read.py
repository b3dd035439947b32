"""Reading delimited text: nothing lost, whatever the cuts, and every odd line with its reason."""

import bz2
import csv as python_csv
import gzip
import io
import lzma
import random
import resource
import unicodedata
import zipfile

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that
from hypothesis import given, settings
from hypothesis import strategies as st

from molino.transforms.errors import DataError, OptionError
from molino.transforms.files.list_files import list_files
from molino.transforms.text import lines as lines_module
from molino.transforms.text import read as read_module
from molino.transforms.text import sources, unpack

COLUMNS = {"a": "A", "b": "B"}
TEXT = sources.TextFormat(columns=COLUMNS)


def write(path, data):
    path.write_bytes(data)
    return list_files(str(path)).files


def read(files, text=TEXT, span_bytes=1 << 20, block_bytes=None):
    """Return (rows, rejects) as lists of tuples with source and line, as a whole run would place them."""
    found = sources.list_sources(files, text)
    spans = sources.split_sources(found, span_bytes, quoted=text.framed)
    chunks = [(span, list(read_module.read_span(span, text, block_bytes or span_bytes))) for span in spans]
    table = read_module.line_table([(s.number, sum(c.lines for c in held)) for s, held in chunks], spans, found)
    rows, rejects = [], []
    for _, held in chunks:
        for chunk in held:
            assert chunk.records == chunk.rows.num_rows + chunk.rejects.num_rows
            labels, lines = table.locate(chunk.rows["position"])
            values = zip(*(chunk.rows[name].to_pylist() for name in text.columns), strict=True)
            rows += list(zip(labels.to_pylist(), lines.to_pylist(), values, strict=True))
            labels, lines = table.locate(chunk.rejects["position"])
            rejects += list(
                zip(labels.to_pylist(), lines.to_pylist(), chunk.rejects["reason"].to_pylist(), strict=True)
            )
    return rows, rejects


LINES = st.lists(
    st.one_of(
        st.tuples(st.text("xyzÑ é", max_size=5), st.text("NULL0-Ñ", max_size=4), st.just("c")).map("|".join),
        st.sampled_from(
            ["", "|", "x", "a|b|c|d", "q\0|b|c", " ", "NULL|NaN|NA", '"a|b|c', "=1|+2|@3", "L" * 50 + "|b|c"]
        ),
    ),
    max_size=40,
)


def oracle(lines, width=3, limit=40):
    """Say in plain Python what becomes of every line."""
    rows, rejects = [], []
    for number, line in enumerate(lines, 2):
        fields = line.split("|")
        if len(line.encode("latin-1")) > limit:
            rejects.append(("f", number, "line_too_long"))
        elif not line:
            rejects.append(("f", number, "empty_line"))
        elif "\0" in line:
            rejects.append(("f", number, "nul_byte"))
        elif len(fields) != width:
            rejects.append(("f", number, "too_few_fields" if len(fields) < width else "too_many_fields"))
        else:
            rows.append(("f", number, (fields[1], fields[0])))
    return rows, rejects


@settings(max_examples=150, deadline=None)
@given(LINES, st.integers(1, 60), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans(), st.booleans())
def test_any_cut_gives_what_plain_python_gives(tmp_path_factory, lines, span_bytes, end, last_end, mark):
    text = sources.TextFormat(columns=COLUMNS, max_line_bytes=40)
    body = end.join(["B|A|C", *lines]) + (end if last_end or (lines and not lines[-1]) else "")
    path = tmp_path_factory.mktemp("cut") / "f"
    files = write(path, (b"\xef\xbb\xbf" if mark else b"") + body.encode("utf-8" if mark else "latin-1"))
    rows, rejects = oracle(lines)
    got_rows, got_rejects = read(files, text, span_bytes)
    assert got_rows == rows
    assert sorted(got_rejects) == rejects


PACK = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
    "lz4": lambda data: pa.compress(data, codec="lz4", asbytes=True),
}


@settings(max_examples=120, deadline=None)
@given(
    LINES, st.integers(60, 200), st.sampled_from([*PACK, "zip"]), st.sampled_from(["\n", "\r\n"]), st.integers(0, 200)
)
def test_packed_text_gives_the_same_rows(tmp_path_factory, lines, block_bytes, kind, end, cut):
    text = sources.TextFormat(columns=COLUMNS, max_line_bytes=40)
    data = (end.join(["B|A|C", *lines]) + end).encode("latin-1")
    path = tmp_path_factory.mktemp("packed") / "f"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("m.txt", data)
    else:
        path.write_bytes(b"".join(map(PACK[kind], (data[:cut], data[cut:]))) + b"\0" * (4 * (kind in ("gz", "xz"))))
    rows, rejects = oracle(lines)
    label = "f!m.txt" if kind == "zip" else "f"
    got_rows, got_rejects = read(list_files(str(path)).files, text, 1 << 20, block_bytes)
    assert got_rows == [(label, *row[1:]) for row in rows]
    assert sorted(got_rejects) == [(label, *reject[1:]) for reject in rejects]


@pytest.mark.parametrize("kind", PACK)
def test_each_packing_is_told_by_its_bytes_and_its_members_headers_are_no_rows(tmp_path, kind):
    members = [b"A|B\n" + b"".join(b"%d|%d\n" % (n, i) for i in range(3000)) for n in range(3)]
    files = write(tmp_path / "any-name", b"".join(map(PACK[kind], members)))
    rows, rejects = read(files)
    assert [values for _, _, values in rows] == [(str(n), str(i)) for n in range(3) for i in range(3000)]
    assert rejects == [("any-name", 3002, "header_line"), ("any-name", 6003, "header_line")]
    [source] = sources.list_sources(files, TEXT)
    assert (unpack.PACKINGS[source.kind].suffix, source.bytes) == (f".{kind}", sum(map(len, members)))


@pytest.mark.parametrize("kind", PACK)
def test_a_packed_file_that_is_cut_short_or_damaged_ends_in_one_line(tmp_path, kind):
    data = PACK[kind](b"A|B\n" + random.Random(1).randbytes(1 << 18).hex().encode() + b"|x\n")
    for length in (1, 3, 9, len(data) // 2, len(data) - 1):
        files = write(tmp_path / f"f.{kind}", data[:length])
        with pytest.raises(DataError, match=rf"f\.{kind}: the \w+ file is cut short; fetch it again$"):
            read(files)
    damaged = bytearray(data)
    damaged[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    for wrong in (bytes(damaged), data + b"no member"):
        if wrong[: len(data)] == data or kind not in ("zst", "lz4"):  # Arrow writes these without check sums
            with pytest.raises(DataError, match=rf"cannot read .*f\.{kind}: .*fetch it again$"):
                read(write(tmp_path / f"f.{kind}", wrong))


@pytest.mark.alone
@pytest.mark.parametrize("kind", PACK)
def test_a_bomb_takes_no_memory(tmp_path, kind):
    bomb = PACK[kind](b"A|B\n" + bytes(1 << 27))
    files = write(tmp_path / f"f.{kind}", bomb * 4)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows, rejects = read(files, block_bytes=1 << 20)
    assert (rows, {reason for *_, reason in rejects}) == ([], {"line_too_long"})
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_members_of_a_zip_are_chosen(tmp_path):
    with zipfile.ZipFile(tmp_path / "f.zip", "w") as archive:
        for name in ("part-1.csv", "sub/part-2.csv", "sub/notes.txt"):
            archive.writestr(name, f"A|B\n{name}|x\n")
    files = list_files(str(tmp_path / "f.zip")).files

    def members(*globs):
        return [values[0] for _, _, values in read(files, sources.TextFormat(columns=COLUMNS, members=globs))[0]]

    assert members() == ["part-1.csv", "sub/notes.txt", "sub/part-2.csv"]
    assert members("part-*.csv") == ["part-1.csv", "sub/part-2.csv"]
    assert members("sub/*.csv", "part-1*") == ["part-1.csv", "sub/part-2.csv"]
    with pytest.raises(DataError, match=r"f\.zip: --members \*\.tsv matches none of its members: 'part-1\.csv', "):
        members("*.tsv")
    with zipfile.ZipFile(tmp_path / "f.zip", "a") as archive:
        archive.writestr("other.csv", "x;y\n1;2\n")
    with pytest.raises(DataError, match=r"other\.csv lacks the columns .*; if it is not .* --members GLOB; else: .*"):
        members()
    with pytest.raises(OptionError, match="--members needs a zip file among the inputs"):
        read(write(tmp_path / "f", b"A|B\n1|2\n"), sources.TextFormat(columns=COLUMNS, members=("*",)))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 50))
def test_no_bytes_make_the_reader_fail(tmp_path_factory, data, span_bytes):
    files = write(tmp_path_factory.mktemp("fuzz") / "f", b"A|B\n" + data)
    for encoding in ("utf-8", "cp1252"):
        text = sources.TextFormat(columns=COLUMNS, encoding=encoding, max_line_bytes=64)
        rows, rejects = read(files, text, span_bytes)
        lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        assert len(rows) + len(rejects) == lines.count(b"\n") + (not lines.endswith(b"\n") and lines != b"")


def test_values_that_other_readers_take_for_nothing_stay(tmp_path):
    files = write(tmp_path / "f", b"A|B\nNULL|NA\nNaN|null\n007|1e3\n|\n")
    rows, rejects = read(files)
    assert [values for _, _, values in rows] == [("NULL", "NA"), ("NaN", "null"), ("007", "1e3"), ("", "")]
    assert rejects == []


def test_latin_1_and_utf_8(tmp_path):
    name = "MUÑOZ é ¿½"
    files = write(tmp_path / "f", f"A|B\n{name}|x\n".encode("latin-1"))
    assert read(files)[0] == [("f", 2, (name, "x"))]
    files = write(tmp_path / "f", f"A|B\n{name}|x\nok|y\n".encode() + b"bad\xff|z\n")
    rows, rejects = read(files, sources.TextFormat(columns=COLUMNS, encoding="utf-8"))
    assert rows == [("f", 2, (name, "x")), ("f", 3, ("ok", "y"))]
    assert rejects == [("f", 4, "bad_encoding")]


def test_columns_are_found_by_name_in_any_order_and_per_file(tmp_path):
    write(tmp_path / "1", b"X|B|A|X\n1|b1|a1|2\n")
    write(tmp_path / "2", b"A|B\na2|b2\n")
    rows, _ = read(list_files(str(tmp_path / "*")).files)
    assert rows == [("1", 2, ("a1", "b1")), ("2", 2, ("a2", "b2"))]


def test_a_line_of_100_mb_is_one_reject_and_is_never_held(tmp_path):
    path = tmp_path / "f"
    with path.open("wb") as file:
        file.write(b"A|B\nx|b\n")
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b"\nc|d\n")
    found = sources.list_sources(list_files(str(path)).files, TEXT)
    spans = sources.split_sources(found, 1 << 20)
    assert max(len(read_module.read_span_bytes(span, TEXT.max_line_bytes)) for span in spans) < 2 << 20
    assert read(list_files(str(path)).files) == (
        [("f", 2, ("x", "b")), ("f", 4, ("c", "d"))],
        [("f", 3, "line_too_long")],
    )
    packed = tmp_path / "g.gz"
    packed.write_bytes(gzip.compress(path.read_bytes(), 1))
    rows, rejects = read(list_files(str(packed)).files, block_bytes=1 << 20)
    assert [row[1] for row in rows] == [2, 4]
    assert rejects == [("g.gz", 3, "line_too_long")]


def test_clean_chunks_and_chunks_with_rejects_parse_alike(tmp_path):
    random.seed(4)
    lines = ["|".join("".join(random.choices("abÑ ", k=random.randint(0, 6))) for _ in range(2)) for _ in range(500)]
    clean = read(write(tmp_path / "f", ("A|B\n" + "\n".join(lines) + "\n").encode("latin-1")))[0]
    dirty, rejects = read(write(tmp_path / "f", ("A|B\n" + "\n".join(lines) + "\nodd\n").encode("latin-1")))
    assert clean == dirty
    assert rejects == [("f", 502, "too_few_fields")]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"A|b_\n1|2\n", ["lacks the column 'B': its first line has 'A', 'b_';", "-column b_"]),
        (b"A|B|B\n1|2|3\n", ["more than one column 'B'"]),
        ("A|B\n1|2\n".encode("utf-16"), ["UTF-16", "iconv"]),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\0" * 100, ["a PNG picture"]),
        (b"\0\1\2\3" * 100, ["does not look like text"]),
        (b"x" * 200_000, ["does not look like text"]),
        (b"\x1f\x8bgarbage", ["damaged gzip"]),
        (b"PK\x03\x04garbage", ["damaged zip"]),
    ],
)
def test_what_is_no_table_is_refused_with_its_path(tmp_path, data, words):
    files = write(tmp_path / "input.txt", data)
    with pytest.raises(DataError) as error:
        sources.list_sources(files, TEXT)
    for word in [str(tmp_path / "input.txt"), *words]:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_a_zip_of_an_unknown_method_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "f.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m.txt", b"A|B\n1|2\n")
    data = (tmp_path / "f.zip").read_bytes()
    central = data.index(b"PK\1\2")
    data = data[:8] + b"\t" + data[9 : central + 10] + b"\t" + data[central + 11 :]
    with pytest.raises(DataError, match=r"f\.zip: m\.txt is packed by method 9 \(deflate64\); unpack it first"):
        sources.list_sources(write(tmp_path / "f.zip", data), TEXT)


def test_empty_and_header_only_files_hold_no_records(tmp_path):
    for name, data in (("1", b""), ("2", b"A|B\n"), ("3", b"A|B"), ("4", b"A|B\nx|y")):
        write(tmp_path / name, data)
    write(tmp_path / "5.gz", gzip.compress(b"A|B\n"))
    found = sources.list_sources(list_files(str(tmp_path / "*")).files, TEXT)
    assert [source.empty for source in found] == [True, True, True, False, True]
    assert read(list_files(str(tmp_path / "*")).files)[0] == [("4", 2, ("x", "y"))]


@pytest.mark.parametrize(
    "bad", [{"delimiter": "||"}, {"delimiter": "ñ"}, {"quote": "|"}, {"encoding": "utf-16"}, {"encoding": "no"}]
)
def test_formats_that_cannot_be_read_are_refused(bad):
    with pytest.raises(OptionError):
        sources.TextFormat(columns=COLUMNS, **bad)


def test_rejects_show_their_shape_and_nothing_personal():
    shown = lines_module.show_shape("9|HEGG560427MVZRRL04|MUÑOZ é|x\0\x1b[31m\n".encode("latin-1"), "latin-1")
    assert shown == "9|AAAA999999AAAAAA99|AAAAA A|A\0\x1b[99A"
    assert len(lines_module.show_shape(b"x" * 1000, "latin-1")) == lines_module.CLIP


# --- quoted text

FIELD = st.text('cd"|\n Ñ', max_size=6)  # no line is the header once more


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(FIELD, FIELD), min_size=1, max_size=20), st.integers(30, 100))
def test_quoted_text_is_what_python_wrote(tmp_path_factory, records, block_bytes):
    text = sources.TextFormat(columns=COLUMNS, quote='"')
    out = io.StringIO()
    python_csv.writer(out, delimiter="|", lineterminator="\n", quoting=python_csv.QUOTE_ALL).writerows(
        [("A", "B"), *records]
    )
    files = write(tmp_path_factory.mktemp("quoted") / "f", out.getvalue().encode("latin-1"))
    rows, rejects = read(files, text, block_bytes=block_bytes)
    assert [values for _, _, values in rows] == records
    assert rejects == []


def test_an_open_quote_costs_one_line_not_the_file(tmp_path):
    text = sources.TextFormat(columns=COLUMNS, quote='"', max_line_bytes=64)
    data = b'A|B\n"ok|1"|2\n"open|3\n' + b"x|b\n" * 40 + b'"x"y|z\nTV 32" LED|9\nq\0|1\n\n1|2|3\n"end|1\n'
    rows, rejects = read(write(tmp_path / "f", data), text)
    assert rows[0] == ("f", 2, ("ok|1", "2"))
    assert [row[2] for row in rows[1:41]] == [("x", "b")] * 40
    assert rows[41] == ("f", 45, ('TV 32" LED', "9"))
    assert [(line, reason) for _, line, reason in rejects] == [
        (3, "unclosed_quote"), (44, "bad_quoting"), (46, "nul_byte"), (47, "empty_line"), (48, "too_many_fields"),
        (49, "unclosed_quote"),
    ]  # fmt: skip


# --- the transforms


def test_a_lost_line_count_is_noticed(tmp_path):
    found = sources.list_sources(write(tmp_path / "f", b"A|B\n" + b"a|b\n" * 50), TEXT)
    spans = sources.split_sources(found, 50)
    with pytest.raises(DataError, match="lost the line counts of 1 spans"):
        read_module.line_table([(span.number, 1) for span in spans[1:]], spans, found)


def test_line_ends():
    assert unpack.line_end(b"abc") == -1
    assert unpack.line_end(b"\n\n", 1) == 2
    assert unpack.line_end(b"a\r") == 2


def test_read_delimited_and_gather_rejects_in_a_pipeline(tmp_path):
    body = b"".join(b"%d|b\n" % n if n % 10 else b"odd%d\n" % n for n in range(1, 1001))
    found = sources.list_sources(write(tmp_path / "f", b"A|B\n" + body), TEXT)

    def check_rejects(shards):
        [(key, [batch])] = shards
        assert key == (0, 0)
        assert batch["line"].to_pylist() == list(range(11, 1002, 10))
        assert set(batch["row"].to_pylist()) == {"AAA99", "AAA999", "AAA9999"}

    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        out = pipeline | read_module.ReadDelimited(sources=found, text=TEXT, span_bytes=100)
        rejected = out.rejects | read_module.GatherRejects(lines=out.lines)
        values = out.rows | beam.FlatMap(lambda batch: [int(a) for a in batch["a"].to_pylist()])
        read_counters = out.counters | "Read" >> beam.Map(lambda counter: counter["rows_read"])
        reject_counters = rejected.counters | "Rejects" >> beam.Map(lambda counter: counter["rejects.too_few_fields"])
        assert_that(values, lambda got: np.testing.assert_array_equal(sorted(got), [n for n in range(1001) if n % 10]))
        assert_that(rejected.shards, check_rejects, label="shards")
        assert_that(read_counters, lambda got: np.testing.assert_equal(sum(got), 1000), label="read")
        assert_that(reject_counters, lambda got: np.testing.assert_equal(sum(got), 100), label="rejected")


def test_batches_have_the_stated_schema(tmp_path):
    found = sources.list_sources(write(tmp_path / "f", b"A|B\na|b\n"), TEXT)
    [span] = sources.split_sources(found, 1 << 20)
    [chunk] = read_module.read_span(span, TEXT, 1 << 20)
    assert chunk.rows.schema == TEXT.schema
    assert chunk.rejects.schema == lines_module.RAW_REJECTS
    assert isinstance(chunk.rows, pa.RecordBatch)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.text("aé\u0301 \u00a0\u2009\tÑx", max_size=6), st.just("c")), max_size=20),
    st.integers(0, 4),
    st.integers(5, 60),
    st.booleans(),
    st.sampled_from(["off", "nfc", "upper"]),
    st.booleans(),
)
def test_lines_above_the_header_and_spellings_are_as_python_has_them(
    tmp_path_factory, rows, skip, span, trim, how, mark
):
    def clean(value):
        if how != "off":
            value = "".join(" " if unicodedata.category(c) == "Zs" else c for c in value)
            value = unicodedata.normalize("NFC", value)
        value = unicodedata.normalize("NFC", value.upper()) if how == "upper" else value
        return value.strip() if trim else value

    head = ["A|B|C|D", "", "A report, 2012", "A|B"][:skip]
    data = "\n".join([*head, "A|B", *map("|".join, rows)]) + "\n"
    path = tmp_path_factory.mktemp("skip") / "f"
    text = sources.TextFormat(columns=COLUMNS, encoding="utf-8", skip_lines=skip, trim=trim, normalize=how)
    files = write(path, b"\xef\xbb\xbf" * mark + data.encode())
    got, rejects = read(files, text, span)
    assert got == [("f", number, tuple(map(clean, row))) for number, row in enumerate(rows, 2 + skip)]
    assert rejects == []


def test_a_text_of_fewer_lines_than_are_skipped_has_no_records_and_changes_are_counted(tmp_path):
    text = sources.TextFormat(columns=COLUMNS, skip_lines=3, trim=True)
    for data in (b"", b"x", b"x\ny\n", b"x\ny\nz\n"):
        assert [source.empty for source in sources.list_sources(write(tmp_path / "f", data), text)] == [True]
    found = sources.list_sources(write(tmp_path / "f", b"x\r\ny\r\nz\r\nA|B\r\n a|b \r\na|b\r\n"), text)
    [chunk] = [c for span in sources.split_sources(found, 99) for c in read_module.read_span(span, text, 99)]
    assert chunk.counters["values.changed"] == 2


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.text('xy|\\"\n é', max_size=6), min_size=2, max_size=2), max_size=30),
    st.sampled_from(["", '"']),
    st.integers(20, 200),
    st.booleans(),
)
def test_escapes_are_read_as_csv_wrote_them(tmp_path_factory, rows, quote, block_bytes, every):
    path = tmp_path_factory.mktemp("escape") / "f"
    quoting = (python_csv.QUOTE_ALL if every else python_csv.QUOTE_MINIMAL) if quote else python_csv.QUOTE_NONE
    with path.open("w", newline="", encoding="utf-8") as file:
        marks = {"quotechar": quote or None, "escapechar": "\\", "doublequote": False, "lineterminator": "\n"}
        writer = python_csv.writer(file, delimiter="|", quoting=quoting, **marks)
        writer.writerows([["A", "B"], *rows])
    text = sources.TextFormat(columns=COLUMNS, encoding="utf-8", quote=quote, escape="\\")
    got, rejects = read(list_files(str(path)).files, text, 1 << 20, block_bytes)
    assert [list(values) for _, _, values in got] == rows
    assert rejects == []
