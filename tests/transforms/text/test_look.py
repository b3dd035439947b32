"""What a look at the first block of a text says against the options, and what it leaves alone."""

import csv
import dataclasses
import gzip
import subprocess
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molino.transforms.errors import DataError, OptionError
from molino.transforms.files.list_files import list_files
from molino.transforms.rows.batches import sum_counters
from molino.transforms.text.command_line import CommandLine
from molino.transforms.text.encodings import OTHER, UTF8, better_encoding, count_doubts, warn_of_text
from molino.transforms.text.fields import FILLED
from molino.transforms.text.kinds import SIGNATURES
from molino.transforms.text.lines import cut_lines
from molino.transforms.text.look import look_at
from molino.transforms.text.position import LINE_BITS
from molino.transforms.text.read import read_span
from molino.transforms.text.sheets import OLD
from molino.transforms.text.sources import TextFormat, list_sources, settle_format, split_sources
from molino.transforms.text.unpack import packing_of

COLUMNS = {"key": "KEY", "name": "NAME"}
TEXT = TextFormat(columns=COLUMNS)
QUOTED = TextFormat(columns=COLUMNS, delimiter=",", quote='"')
COMMAND = CommandLine("molino names", ("--input", "a.txt"))
PEOPLE = ["MUÑOZ", "PEÑA", "GARCÍA", "NÚÑEZ", "LÓPEZ", "ÁVILA"]


def lines(names=PEOPLE, delimiter="|", head="KEY|NAME", end=""):
    rows = [f"{i}{delimiter}{name}{end}" for i, name in enumerate(names)]
    return "\n".join([head.replace("|", delimiter), *rows]) + "\n"


def see(tmp_path, data, text=TEXT, command=COMMAND, name="a.txt"):
    path = tmp_path / name
    path.write_bytes(data)
    return look_at(list_sources(list_files(str(path)).files, text, command), text, command)


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "cp850", "mac-roman"])
def test_text_in_another_encoding_is_told_with_the_right_command(encoding, tmp_path):
    names = [*PEOPLE, "O’NEIL"] if encoding == "cp1252" else PEOPLE
    (warning,) = see(tmp_path, lines(names).encode(encoding)).warnings
    assert warning.kind == "text.encoding"
    assert warning.example == "a.txt line 2"
    assert warning.remedy == f"right would be: molino names --input a.txt --encoding {encoding}"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (lines().encode("latin-1"), TEXT),
        (lines(["ANA", "EVA"]).encode(), TEXT),
        (lines().encode(), TextFormat(columns=COLUMNS, encoding="utf-8")),
        (lines().encode("cp1252"), TextFormat(columns=COLUMNS, encoding="cp1252")),
        (lines().encode("cp850"), TextFormat(columns=COLUMNS, encoding="cp850")),
        (lines(['"A, B"', "C"], ",").encode(), QUOTED),
        (b'KEY,NAME\n1,"two\nlines, and more"\n2,"three\n\n\nlines"\n', QUOTED),
        (b"KEY|NAME\n", TEXT),
    ],
)  # fmt: skip
def test_what_is_as_the_options_say_is_no_warning(data, text, tmp_path):
    assert see(tmp_path, data, text).warnings == ()


def test_utf8_is_asked_for_where_latin_1_is_told_to_be_utf8(tmp_path):
    text = TextFormat(columns=COLUMNS, encoding="utf-8")
    (warning,) = see(tmp_path, lines().encode("latin-1"), text).warnings
    assert warning.remedy.endswith("--encoding latin-1")


def test_a_byte_order_mark_decides_unless_an_encoding_is_named(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf" + lines().encode())
    (source,) = list_sources(list_files(str(path)).files, TEXT, COMMAND)
    assert (source.encoding, source.header) == ("utf-8", ("KEY", "NAME"))
    named = CommandLine("molino names", ("--encoding", "latin-1", "--input", "a.txt"))
    with pytest.raises(DataError, match=r"right would be: molino names --encoding utf-8 --input a\.txt"):
        list_sources(list_files(str(path)).files, TEXT, named)


@pytest.mark.parametrize("packed", ["gz", "zip"])
def test_packed_text_is_looked_at_too(packed, tmp_path):
    path = tmp_path / f"a.{packed}"
    if packed == "gz":
        path.write_bytes(gzip.compress(lines().encode()))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.txt", lines().encode())
    look = look_at(list_sources(list_files(str(path)).files, TEXT, COMMAND), TEXT, COMMAND)
    assert [warning.kind for warning in look.warnings] == ["text.encoding"]
    assert look.kinds[0].startswith("1 file: ")


def test_quotes_a_delimiter_and_a_trailing_one_are_told(tmp_path):
    (quoted,) = see(tmp_path, lines(['"ANA"', '"EVA"']).encode()).warnings
    assert (quoted.kind, quoted.remedy) == ("text.quote", "right would be: molino names --input a.txt --quote '\"'")
    (trailing,) = see(tmp_path, lines(["ANA", "EVA"], end="|").encode()).warnings
    assert (trailing.kind, trailing.example) == ("text.trailing_delimiter", "a.txt line 2")
    assert trailing.remedy.startswith("give --skip-lines 1 --header KEY NAME column_3, or ")
    text = dataclasses.replace(TEXT, skip_lines=1, names=("KEY", "NAME", "column_3"))
    assert see(tmp_path, (tmp_path / "a.txt").read_bytes(), text).warnings == ()
    (other,) = see(tmp_path, b"KEY|NAME\n1;ANA\n2;EVA\n").warnings
    assert (other.kind, other.remedy) == (
        "text.delimiter",
        "right would be: molino names --input a.txt --delimiter ';'",
    )


@pytest.mark.parametrize("end", ["\r\r\n", "\n\n", "\r\n\r\n"])
def test_lines_that_end_twice_are_told(end, tmp_path):
    (warning,) = see(tmp_path, lines().encode("latin-1").replace(b"\n", end.encode())).warnings
    assert (warning.kind, warning.example) == ("text.blank_lines", "a.txt line 2")
    command = warning.remedy.partition(": ")[2].replace("FILE", str(tmp_path / "a.txt"))
    once = subprocess.run(["sh", "-c", command], capture_output=True, check=True).stdout
    assert once == lines().encode("latin-1")
    assert see(tmp_path, lines().encode("latin-1") + b"\n\n").warnings == ()


@pytest.mark.parametrize("quote", ['"', "'"])
def test_backslashes_before_quotes_are_told_with_the_option_that_reads_them(quote, tmp_path):
    text = dataclasses.replace(QUOTED, quote=quote)
    rows = [r"1,'a \'b\', c'", r"2,'C:\\'", r"3,'\\\''", "4,plain"]
    data = "KEY,NAME\n" + "\n".join(rows).replace("'", quote) + "\n"
    (warning,) = see(tmp_path, data.encode(), text).warnings
    assert (warning.kind, warning.count, warning.example) == ("text.escape", 1, "a.txt line 2")
    assert warning.remedy.endswith(" --escape '\\'")
    text = dataclasses.replace(text, escape="\\")
    (source,) = list_sources(list_files(str(tmp_path / "a.txt")).files, text, COMMAND)
    assert look_at([source], text, COMMAND).warnings == ()
    (span,) = split_sources([source], 1 << 20, quoted=True)
    (chunk,) = read_span(span, text, 1 << 20)
    assert chunk.rows["name"].to_pylist() == [f"a {quote}b{quote}, c", "C:\\", f"\\{quote}", "plain"]
    (warning,) = see(tmp_path, b"KEY|NAME\n1|A\\|B\n2|C\\\n\\|D\n").warnings
    assert (warning.kind, warning.count) == ("text.escape", 1)


def test_the_remedy_for_one_of_two_headers_does_not_break_the_other(tmp_path):
    (tmp_path / "a.txt").write_text("KEY|NAME\n1|ANA\n")
    (tmp_path / "b.txt").write_text("KEYS|NAME\n1|ANA\n")
    right = r"b\.txt lacks .*'KEYS'.*; a\.txt has all with these options; name both: --key-column KEY KEYS"
    with pytest.raises(DataError, match=right):
        list_sources(list_files(f"{tmp_path}/*.txt").files, TEXT, COMMAND)


def test_many_files_with_one_fault_are_one_warning(tmp_path):
    for i in range(300):
        (tmp_path / f"{i:03d}.txt").write_bytes(lines().encode())
    sources = list_sources(list_files(f"{tmp_path}/*.txt").files, TEXT, COMMAND)
    look = look_at(sources, TEXT, COMMAND)
    (warning,) = look.warnings
    assert (warning.count, warning.example) == (200, "000.txt line 2")
    assert look.kinds == ("200 files: UTF-8, delimiter '|', unquoted, 2 columns",)
    assert look == look_at(sources, TEXT, COMMAND)


@pytest.mark.parametrize(
    ("head", "right"),
    [
        ("KEY;NAME", "--delimiter ';'"),
        ('"Key","NAME"', "--delimiter , --quote '\"' --key-column Key"),
        ("1|ANA", "header line"),
        ('[{"KEY": 1, "NAME": "ANA"}]', "a list of JSON"),
        ("sep=;", "delete this line"),
        ("A|B", "name with --key-column NAME, --name-column NAME"),
        ("KEY|NAMES", "did you mean: molino names --input a.txt --name-column NAMES"),
        ("KEYS|NAMED", "did you mean: molino names --input a.txt --key-column KEYS --name-column NAMED"),
        ("KEYS|HOME", "--key-column KEYS, with --name-column NAME"),
        ("KEY", "is --delimiter right?"),
        ("CLAVE ;NOMBRE", "Its fields look parted by ';': molino names --input a.txt --delimiter ';'"),
    ],
)
def test_missing_columns_are_told_with_the_options_that_would_do(head, right, tmp_path):
    with pytest.raises(DataError) as error:
        see(tmp_path, f"{head}\n1|ANA\n".encode())
    assert right in str(error.value)
    assert "ANA" not in str(error.value).replace("'NAME'", "")


def test_case_and_blanks_of_a_header_are_forgiven_and_told(tmp_path):
    look = see(tmp_path, b"key| Name \n1|ANA\n")
    assert {warning.kind for warning in look.warnings} == {"text.header"}
    assert look.warnings[0].text.endswith("'key' for 'KEY', ' Name ' for 'NAME'")
    (source,) = list_sources(list_files(str(tmp_path / "a.txt")).files, TEXT, COMMAND)
    (chunk,) = read_span(split_sources([source], 1 << 20)[0], TEXT, 1 << 20)
    assert chunk.rows.drop_columns(["position"]).to_pylist() == [{"key": "1", "name": "ANA"}]


def read_rows(tmp_path, data, text=TEXT):
    """Return the rows and their lines, the rejects, and the warnings of a file."""
    (tmp_path / "a.txt").write_bytes(data)
    sources = list_sources(list_files(str(tmp_path / "a.txt")).files, text, COMMAND)
    text = settle_format(sources, text)
    look = look_at(sources, text, COMMAND)
    (span,) = split_sources(sources, 1 << 20)
    chunks = list(read_span(span, text, 1 << 20))
    rows, low = [row for chunk in chunks for row in chunk.rows.to_pylist()], (1 << LINE_BITS) - 1
    values = [(row.pop("position") % (low + 1) + sources[0].first_line, *row.values()) for row in rows]
    rejects = [row for chunk in chunks for row in chunk.rejects["reason"].to_pylist()]
    return values, rejects, [f"{each.kind}: {each.remedy}" for each in look.warnings]


ODD = dataclasses.replace(TEXT, quote='"', delimiter="auto")


@pytest.mark.parametrize(
    ("data", "rows", "warned"),
    [
        ("A report\n\nKEY|NAME\n1|ANA\n", [(4, "1", "ANA")], ["text.preamble: --skip-lines 2 says so"]),
        ("KEY||NAME\n1|ANA\n", [(2, "1", "ANA")], ["text.header: correct the header"]),
        ("|KEY|NAME\n0|1|ANA\n", [(2, "1", "ANA")], []),
        ('KEY,"NAME\n1,ANA\n', [(2, "1", "ANA")], ["text.header: correct the header"]),
        ('""KEY","NAME"\n1,ANA\n', [(2, "1", "ANA")], ["text.header: correct the header"]),
        ("KEY NAME\n1 ANA\n", [(2, "1", "ANA")], []),
        ("\nKEY|NAME\n1|ANA\n", [(3, "1", "ANA")], ["text.preamble: --skip-lines 1 says so"]),
        ("A\vB\u2028C\r\nKEY|NAME\r\n1|ANA\r", [(3, "1", "ANA")], ["text.preamble: --skip-lines 1 says so"]),
        ('KEY, "NAME"\n1, "ANA, EVA"\n2,EVA\n', [(2, "1", "ANA, EVA"), (3, "2", "EVA")], []),
    ],
)
def test_an_odd_header_is_read_where_it_can_be_but_one_thing_and_told(data, rows, warned, tmp_path):
    assert read_rows(tmp_path, data.encode(), ODD) == (rows, [], warned)


def test_a_header_is_looked_for_below_only_where_it_has_several_columns(tmp_path):
    with pytest.raises(DataError, match="lacks the column 'KEY'"):
        see(tmp_path, b"A report|x\nKEY|x\n1|x\n", dataclasses.replace(ODD, columns={"key": "KEY"}))
    with pytest.raises(DataError, match="lacks the column"):  # another table, whose rows would be lost
        see(tmp_path, b"CLAVE|NAME\n1|ANA\nKEY|NAME\n2|EVA\n", ODD)


@pytest.mark.parametrize(("above", "skip"), [("", 0), ("NOMBRE;CLAVE\n", 1), ("\ufeff", 0)])
def test_a_text_without_a_header_is_read_by_names_that_are_given(above, skip, tmp_path):
    text = dataclasses.replace(ODD, names=("NAME", "KEY"), skip_lines=skip)
    data = f'{above}ANA;"1;2"\nNAME;KEY\nEVA\nEVA;2\n'.encode()
    assert read_rows(tmp_path, data, text) == (
        [(1 + skip, "1;2", "ANA"), (4 + skip, "2", "EVA")],
        ["too_few_fields", "header_line"],
        [],
    )


def test_two_names_alike_are_refused():
    with pytest.raises(OptionError, match="--header has one name twice"):
        dataclasses.replace(TEXT, names=("A", "A"))


def test_an_escape_is_a_letter_before_what_is_one(tmp_path):
    text = dataclasses.replace(ODD, escape="\\")
    data = rb"KEY,NAME" + b"\n" + rb'"C:\new \"x\" \\ \N",ANA\, EVA' + b"\n"
    assert read_rows(tmp_path, data, text)[:2] == ([(2, r'C:\new "x" \ \N', "ANA, EVA")], [])


def test_a_blank_after_each_delimiter_may_be_asked_for(tmp_path):
    for quote in ("", '"'):
        text = dataclasses.replace(TEXT, delimiter="; ", quote=quote)
        assert read_rows(tmp_path, b"KEY; NAME\n1;  ANA \n2;EVA\n", text)[0] == [(2, "1", "ANA "), (3, "2", "EVA")]


def test_a_column_may_have_several_names(tmp_path):
    (tmp_path / "a.txt").write_text("KEY|NAME\n1|ANA\n")
    (tmp_path / "b.txt").write_text("NOMBRE|Clave\nEVA|2\n")
    text = dataclasses.replace(TEXT, others={"key": ("CLAVE",), "name": ("NOMBRE",)})
    sources = list_sources(list_files(f"{tmp_path}/*.txt").files, text, COMMAND)
    (warning,) = look_at(sources, text, COMMAND).warnings
    assert (warning.kind, warning.remedy) == ("text.header", "--key-column Clave says so")
    chunks = [chunk for span in split_sources(sources, 1 << 20) for chunk in read_span(span, text, 1 << 20)]
    rows = [row for chunk in chunks for row in chunk.rows.drop_columns(["position"]).to_pylist()]
    assert rows == [{"key": "1", "name": "ANA"}, {"key": "2", "name": "EVA"}]


def test_two_columns_that_may_be_meant_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"has 'key' and ' KEY', all similar to 'Key'; choose one: --key-column NAME"):
        see(tmp_path, b"key| KEY|NAME\n1|1|ANA\n", dataclasses.replace(TEXT, columns={"key": "Key", "name": "NAME"}))


@pytest.mark.parametrize("signature", [signature for signature, *_ in SIGNATURES])
def test_a_known_format_is_called_by_its_name(signature, tmp_path):
    kind = next(name for known, name, _ in SIGNATURES if known == signature)
    if signature[:2] not in (b"PK", b"PA") and not packing_of(signature, ""):  # read as what they are
        kind = "an Excel workbook|an old Excel" if signature == OLD else kind.split("(")[0]
        with pytest.raises(DataError, match=kind):
            see(tmp_path, signature + bytes(300))
    with pytest.raises(DataError, match=kind.split("(")[0]):
        see(tmp_path, gzip.compress(signature + bytes(300)))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_wide_encodings_have_their_own_names(encoding, tmp_path):
    with pytest.raises(DataError, match=rf"{encoding.upper()[:6]}.*iconv -f {encoding.upper()[:6]}"):
        see(tmp_path, lines().encode(encoding))


@pytest.mark.parametrize("members", [["xl/workbook.xml", "[Content_Types].xml"], ["mimetype", "content.xml"]])
def test_a_workbook_is_no_archive_of_texts(members, tmp_path):
    path = tmp_path / "a.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        for name in members:
            archive.writestr(name, "x")
    with pytest.raises(DataError, match="workbook"):
        list_sources(list_files(str(path)).files, TEXT, COMMAND)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_that_speak_against_the_encoding_are_counted_line_by_line(end):
    data = end.join(["ANA", "MUÑOZ", "PEÑA", "EVA", "NÚÑEZ"]).encode()
    counts = count_doubts(*cut_lines(data), "iso8859-1", 100, 80)
    assert (counts[UTF8], counts[UTF8].place, counts.get(OTHER)) == (3, 101, None)
    (warning,) = warn_of_text(counts, encoding="latin-1", command=COMMAND)
    assert warning.remedy.endswith("--encoding utf-8")
    assert (
        warn_of_text(
            count_doubts(*cut_lines("PEÑA\nMUÑOZ\n".encode("latin-1")), "iso8859-1", 0, 80),
            encoding="latin-1",
            command=COMMAND,
        )
        == []
    )
    (controls,) = warn_of_text(
        count_doubts(*cut_lines(b"ANA\nO\x92NEIL\n"), "iso8859-1", 7, 80), encoding="latin-1", command=COMMAND
    )
    assert (controls.count, controls.example) == (1, "8")
    mixed = ("PEÑA\n" * 5).encode("latin-1") + "MUÑOZ\n".encode()
    assert warn_of_text(count_doubts(*cut_lines(mixed), "iso8859-1", 0, 80), encoding="latin-1", command=COMMAND) == []
    assert count_doubts(*cut_lines(mixed), "utf-8", 0, 80) == count_doubts(*cut_lines(b"ANA"), "iso8859-1", 0, 80) == {}
    assert count_doubts(*cut_lines(mixed), "iso8859-1", 0, 4)[OTHER] == 5  # a longer line is not read


ROWS = [b"ANA", b"PE\xd1A", "PEÑA".encode(), b"O\x92N", b"", b"x" * 30 + b"\xd1"]


@given(st.lists(st.sampled_from(ROWS)), st.integers(1, 40))
def test_doubts_are_the_same_for_every_cut(tmp_path_factory, rows, span_bytes):
    path = tmp_path_factory.mktemp("cut") / "a.txt"
    path.write_bytes(b"KEY|NAME\n" + b"\n".join(b"1|" + row for row in rows))
    text = dataclasses.replace(TEXT, max_line_bytes=25)
    sources = list_sources(list_files(str(path)).files, text, COMMAND)
    totals = []
    for size in (span_bytes, 1 << 20):
        chunks = (chunk for span in split_sources(sources, size) for chunk in read_span(span, text, size))
        summed = sum_counters(chunk.counters for chunk in chunks)
        totals.append({name: count for name, count in summed.items() if not name.startswith(FILLED)})
    assert totals[0] == totals[1]
    assert totals[1].get(UTF8, 0) == rows.count("PEÑA".encode())


def test_an_encoding_that_does_as_well_is_no_better():
    assert better_encoding("¿QUE?".encode("latin-1"), "iso8859-1") == ""
    assert better_encoding(b"", "utf-8") == ""
    assert better_encoding(b"JUAN\xa0JOSE", "iso8859-1") == ""
    assert better_encoding(b"P\xa0rez", "iso8859-1") == "cp850"


AUTO = dataclasses.replace(TEXT, delimiter="auto", quote='"')
CELLS = st.text('ab1 ,;|\t"', max_size=6)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from("|,;\t"), st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=8), st.booleans())
def test_the_delimiter_is_found_by_which_csv_wrote(tmp_path_factory, mark, rows, quote_all):
    path = tmp_path_factory.mktemp("auto") / "a.txt"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=mark, quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL)
        writer.writerows([("X,y;z", "KEY", "NAME"), *rows])
    sources = list_sources(list_files(str(path)).files, AUTO, COMMAND)
    text = settle_format(sources, AUTO)
    assert text.delimiter == mark
    read = [
        chunk.rows for span in split_sources(sources, 1 << 20, quoted=True) for chunk in read_span(span, text, 1 << 20)
    ]
    got = [(row["key"], row["name"]) for batch in read for row in batch.to_pylist()]
    assert got == [row[1:] for row in rows]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"a;b,c\n1;2\n3;4\n", ";"),
        (b"x;y;z\n1,5;2,5;3\n", ";"),
        (b"vector\n1,2\n", ","),
        (b"", ","),
        (b"x|y\n", "|"),
        (b"a;b,c\n1;2,3\n", ""),
        (b"a;b,c\n", ""),
    ],
)
def test_without_names_most_lines_decide_and_in_doubt_the_run_stops(tmp_path, data, found):
    (tmp_path / "a.txt").write_bytes(data)
    text, files = dataclasses.replace(AUTO, columns={}), list_files(str(tmp_path / "a.txt")).files
    if found:
        assert settle_format(list_sources(files, text, COMMAND), text).delimiter == found
        return
    with pytest.raises(DataError, match=r"a\.txt: its delimiter may be ',' or ';'; choose one: --delimiter , or "):
        list_sources(files, text, COMMAND)


def test_all_texts_of_a_run_have_the_delimiter_of_the_first(tmp_path):
    for name, data in (("a.txt", ""), ("b.txt", "KEY;NAME\n1;2\n"), ("c.txt", "KEY|NAME\n1|2\n")):
        (tmp_path / name).write_text(data)
    with pytest.raises(DataError, match=r"c\.txt lacks .*b\.txt has all with these options"):
        list_sources(list_files(f"{tmp_path}/*.txt").files, AUTO, COMMAND)
