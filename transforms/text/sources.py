"""What there is to read: texts among the input files, their headers, and where they can be cut."""

import codecs
import dataclasses
import re
import shlex
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from molino.schemas import field
from molino.transforms.errors import DataError, OptionError
from molino.transforms.files import storage
from molino.transforms.files.list_files import glob_regex, labels_of, with_folder_columns
from molino.transforms.files.open_parquet import open_parquet
from molino.transforms.rows.carried import check_carried, difference, join_schemas, plain_field
from molino.transforms.text.columns import (
    AUTO,
    KEPT,
    LOOKED,
    MOST_SHOWN,
    find_columns,
    find_delimiter,
    find_header,
    option_of,
    split_header,
)
from molino.transforms.text.command_line import CommandLine
from molino.transforms.text.json_objects import BEGIN, find_keys
from molino.transforms.text.kinds import kind_of, wide_encoding
from molino.transforms.text.position import POSITION
from molino.transforms.text.sheets import OLD, SHEET, open_workbook, read_rows
from molino.transforms.text.unpack import MAGIC_BYTES, PACKINGS, line_end, packing_of, unpacked_blocks, unpacked_bytes
from molino.transforms.warnings import DataWarning

PARQUET = "parquet"
NO_COLUMN = "\0"  # how the name of a column begins that no header has
UNKNOWN = CommandLine()
NO_TEXT = re.compile(r"(^|/)(__MACOSX/|\._[^/]*$|\.DS_Store$|Thumbs\.db$)")  # members that systems add
# members that tell workbooks from other zip files; what those are that are not read
WORKBOOKS = {"xl/workbook.xml": "", "xl/workbook.bin": "a binary Excel workbook", "content.xml": "OpenDocument"}
SPLITTABLE_CODECS = ("utf-8", "ascii", "iso8859", "cp125", "cp437", "cp850", "mac-roman")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextFormat:
    """How the files are written, and which of their columns are wanted.

    Parquet and JSON lines are told by their first bytes; of all this only the columns matter to them, and to JSON also
    `max_line_bytes`, `skip_lines`, `trim` and `normalize`.
    """

    # names in the batch, mapped to names in the header; those that are carried as they are begin with KEPT
    columns: Mapping[str, str]
    # one ASCII character, or one and a blank, where blanks after it are no part of a field; or AUTO until the sources
    # say which, see `settle_format`
    delimiter: str = "|"
    encoding: str = "latin-1"  # UTF-8 or an encoding of one byte a character
    # the quoting character, or "" for none. Quoted fields can hold line ends, so quoted files are not split
    quote: str = ""
    max_line_bytes: int = 65536  # longer lines are rejects, and are never held in memory whole
    # names of those columns that a file may lack, and that may hold nulls; any other is a reject where it is null. Text
    # holds no nulls: an empty field is an empty string
    optional: tuple[str, ...] = ()
    blank: tuple[str, ...] = ()  # names of those columns whose nulls are empty strings
    # names in the batch, mapped to further names in the header that will do, in the order of preference
    others: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    # names of those columns that may hold integers in Parquet, which are read as their digits
    integers: tuple[str, ...] = ()
    escape: str = ""  # a character that makes a letter of the next one, a line end too; "" for none
    skip_lines: int = 0  # lines before the header, which are not read
    trim: bool = False  # whether white space around values is taken off
    normalize: str = "off"  # a key of NORMALIZED: what becomes of the characters of values
    members: tuple[str, ...] = ()  # globs of the members of a zip that are read; () for all
    names: tuple[str, ...] = ()  # of all columns of a text or sheet that has no header; () where its first line is that
    sheet: str = ""  # of a workbook that is read; "" for the first
    # the columns that are carried, with their types, as `settle_format` finds them; of text they are strings
    kept: pa.Schema = dataclasses.field(default_factory=lambda: pa.schema([]))

    def __post_init__(self) -> None:
        if self.delimiter != AUTO and not (len(self.mark) == 1 and self.mark.isascii()):
            raise OptionError(f"the delimiter must be one ASCII character or {AUTO}, not {self.delimiter!r}")
        if self.delimiter in "\r\n\0":
            raise OptionError(f"the delimiter must not be {self.delimiter!r}")
        if self.quote and (len(self.quote) != 1 or not self.quote.isascii() or self.quote in "\r\n\0"):
            raise OptionError(f"the quote must be one ASCII character or empty, not {self.quote!r}")
        if self.escape and (len(self.escape) != 1 or not self.escape.isascii() or self.escape in "\r\n\0"):
            raise OptionError(f"the escape must be one ASCII character or empty, not {self.escape!r}")
        if self.escape and self.escape in (self.quote, self.mark):
            raise OptionError(f"the escape and the quote or delimiter are the same character, {self.escape!r}")
        named = {name: column for name, column in self.columns.items() if not name.startswith(KEPT)}
        for column in named.values():
            if len(twice := [option_of(name) for name, other in named.items() if other == column]) > 1:
                raise OptionError(f"{' and '.join(twice)} name the same column, {column!r}; give each its own column")
        if len(set(self.names)) < len(self.names):
            raise OptionError("--header has one name twice")
        if self.quote == self.mark:
            raise OptionError(f"the quote and the delimiter are the same character, {self.quote!r}")
        try:
            name = codecs.lookup(self.encoding).name
        except LookupError:
            raise OptionError(f"no such encoding: {self.encoding!r}; try utf-8, latin-1 or cp1252") from None
        if not name.startswith(SPLITTABLE_CODECS):
            raise OptionError(f"cannot read {self.encoding!r}: only UTF-8 and encodings of one byte a character")
        if name == "utf-8-sig":  # would drop a mark wherever a piece of the text begins
            object.__setattr__(self, "encoding", "utf-8")

    @property
    def framed(self) -> bool:
        """Whether a record may have line ends within, so that a text is read in one run."""
        return bool(self.quote or self.escape or self.mark != self.delimiter)

    @property
    def mark(self) -> str:
        """The delimiter without the blank after it."""
        return self.delimiter[:1] if self.delimiter[1:] == " " else self.delimiter

    @property
    def codec(self) -> str:
        """Python's own name of the encoding."""
        return codecs.lookup(self.encoding).name

    @property
    def schema(self) -> pa.Schema:
        """Schema of the batches: the wanted columns as strings, then `position`."""
        types = dict(zip(self.kept.names, self.kept.types, strict=True))
        return pa.schema([*((name, types.get(name, pa.string())) for name in self.columns), (POSITION, pa.int64())])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """One text to read: a file, or a member of a zip."""

    path: str
    label: str  # what outputs call it: the path relative to the inputs' common folder, and the member after "!"
    kind: str  # plain, zip, parquet, sheet, or one of PACKINGS
    member: str = ""
    bytes: int  # size of the text, an estimate where it is packed; of Parquet the wanted columns, unpacked
    header: tuple[str, ...]  # the header's column names
    # names in the batch, mapped to the column that is read for each; without those that are not there
    columns: Mapping[str, str]
    start: int = 0  # offset of the first byte after the header; of a sheet the first row
    empty: bool  # whether no data follows the header
    skipped: int = 0  # lines before the header
    encoding: str = ""  # what its byte order mark says; "" where it has none
    delimiter: str = ""  # that which its header is split by; "" where it has none
    groups: tuple[tuple[int, int], ...] = ()  # rows and bytes of every row group of a Parquet file, or of a sheet
    # the columns that are carried, with their types
    kept: pa.Schema = dataclasses.field(default_factory=lambda: pa.schema([]))
    json: bool = False  # whether it is JSON lines
    headed: bool = True  # whether its first line is a header
    doubts: tuple[DataWarning, ...] = ()  # what is odd about its header, and is not read as it stands there

    def format_of(self, text: TextFormat) -> TextFormat:
        """Return how this text is written: in the encoding that its mark says, with the columns that it has."""
        columns = {name: self.columns.get(name, NO_COLUMN + name) for name in text.columns}
        if self.json or self.is_table:
            text = dataclasses.replace(text, quote="", escape="", delimiter=",")
        return dataclasses.replace(text, encoding=self.encoding or text.encoding, columns=columns)

    @property
    def is_table(self) -> bool:
        """Whether it has rows, and not lines."""
        return self.kind in (PARQUET, SHEET)

    @property
    def first_line(self) -> int:
        """Number of the first record's line: a header is line 1; Parquet counts rows from 1."""
        return 1 + self.skipped + self.headed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Span:
    """A piece of one source: it owns the lines that start in it.

    `start` and `end` are bytes: a range of a plain text, or the whole of a text that cannot be split. Of a Parquet file
    they are numbers of row groups.
    """

    number: int
    source: Source
    source_number: int
    start: int
    end: int


def list_sources(files: Sequence[storage.FileInfo], text: TextFormat, command: CommandLine = UNKNOWN) -> list[Source]:
    """Look at the first bytes of every file and return the texts to read, in the order of the files.

    A text that begins with the byte order mark of UTF-8 is read as UTF-8. `command`: what the user typed, for the
    remedies. Raises DataError: a file is neither text nor Parquet, is UTF-16 or UTF-32, lacks a wanted column, or has a
    byte order mark that contradicts the encoding that was asked for.
    """
    found: list[Source] = []
    for file, label in zip(files, labels_of(files), strict=True):
        for source in _sources_of(file, label, text, command):
            found.append(source)
            text = dataclasses.replace(text, delimiter=source.delimiter or text.delimiter)
            if not command.suits and source.header:
                command = dataclasses.replace(command, suits=source.label)
    if text.members and not any(source.kind == "zip" for source in found):
        raise OptionError("--members needs a zip file among the inputs")
    if text.sheet and not any(source.kind == SHEET for source in found):
        raise OptionError("--sheet needs an Excel workbook among the inputs")
    return found


def split_sources(sources: Sequence[Source], span_bytes: int, *, quoted: bool = False) -> list[Span]:
    """Cut the sources into spans of about `span_bytes`; packed and quoted text and row groups stay whole."""
    spans: list[Span] = []
    for source_number, source in enumerate(sources):
        if source.empty:
            continue
        for start, end in _ranges(source, span_bytes, quoted=quoted):
            spans.append(Span(number=len(spans), source=source, source_number=source_number, start=start, end=end))
    return spans


def _ranges(source: Source, span_bytes: int, *, quoted: bool) -> Iterator[tuple[int, int]]:
    if source.is_table:
        start, held = 0, 0
        for number, (_, size) in enumerate(source.groups, 1):
            held += size
            if held >= span_bytes or number == len(source.groups):
                yield start, number
                start, held = number, 0
        return
    step = span_bytes if source.kind == "plain" and (source.json or not quoted) else source.bytes + 1
    for start in range(source.start, max(source.bytes, source.start + 1), step):
        yield start, min(start + step, source.bytes)


def _sources_of(file: storage.FileInfo, label: str, text: TextFormat, command: CommandLine) -> Iterator[Source]:
    with storage.open_input(file.path) as raw, storage.explained(file.path, "read"):
        magic = raw.read(MAGIC_BYTES)
        packing = packing_of(magic, file.path)
        head = magic + raw.read(PACKINGS[packing].head) if packing else b""
    if packing:
        yield _source(file.path, label, packing, "", unpacked_bytes(head, packing, file.bytes), text, command)
    elif magic.startswith(OLD) or (magic.startswith(b"PK\x03\x04") and _is_workbook(file.path)):
        yield _sheet_source(file.path, label, text, command)
    elif magic.startswith(b"PK\x03\x04"):
        for member, size in _zip_members(file.path, text.members):
            yield _source(file.path, f"{label}!{member}", "zip", member, size, text, command)
    elif magic.startswith(b"PAR1"):
        yield _parquet_source(file.path, label, text, command)
    else:
        yield _source(file.path, label, "plain", "", file.bytes, text, command)


def _zip_names(path: str) -> list[zipfile.ZipInfo]:
    """Return the members of a zip but for what systems add."""
    try:
        with storage.open_input(path) as raw, zipfile.ZipFile(raw) as archive:
            return [info for info in archive.infolist() if not (info.is_dir() or NO_TEXT.search(info.filename))]
    except (zipfile.BadZipFile, pa.ArrowException) as error:
        raise DataError(f"cannot read {path}: a damaged zip file ({error}); fetch it again") from None


def _is_workbook(path: str) -> bool:
    """Return whether a zip is an Excel workbook; raise DataError where it is one of a kind that is not read."""
    for name in (info.filename for info in _zip_names(path)):
        if WORKBOOKS.get(name):
            raise DataError(f"{path} is {WORKBOOKS[name]}, which is not read; save it as .xlsx, or as CSV in UTF-8")
        if name in WORKBOOKS:
            return True
    return False


def _zip_members(path: str, chosen: Sequence[str]) -> list[tuple[str, int]]:
    """Return name and size of the texts in a zip: those that one of the globs matches, or all."""
    members = _zip_names(path)
    if not members:
        raise DataError(f"cannot read {path}: the zip file holds no text; fetch it again")
    there = ", ".join(repr(info.filename) for info in members[:MOST_SHOWN]) + (" ..." if members[MOST_SHOWN:] else "")
    members = [info for info in members if not chosen or any(_matches(glob, info.filename) for glob in chosen)]
    if not members:
        raise DataError(f"{path}: --members {' '.join(chosen)} matches none of its members: {there}")
    for info in members:
        if info.flag_bits & 1:
            raise DataError(f"cannot read {path}: {info.filename} is encrypted; unpack it first")
    names = [info.filename for info in members]
    twice = [name for name in names if names.count(name) > 1] if len(set(names)) < len(names) else []
    if twice:
        raise DataError(f"cannot read {path}: it holds two members named {twice[0]!r}; unpack them and rename one")
    return sorted((info.filename, info.file_size) for info in members)


def _matches(glob: str, member: str) -> bool:
    """Return whether a glob matches a member's name; where it names no folder, the last part of that."""
    return bool(glob_regex(glob).match(member if "/" in glob else member.rpartition("/")[2]))


def _source(path: str, label: str, kind: str, member: str, size: int, text: TextFormat, command: CommandLine) -> Source:
    head, begin = _read_head(unpacked_blocks(path, kind, member, 2 * text.max_line_bytes), text)
    name = path if not member else f"{path}!{member}"
    marked = head.startswith(codecs.BOM_UTF8)
    if marked and text.codec != "utf-8" and command.names("--encoding"):
        raise DataError(
            f"{name} begins with the byte order mark of UTF-8, but --encoding {text.encoding} is given; "
            f"right would be: {command.changed(encoding='utf-8')}"
        )
    is_json = bool(BEGIN.match(head[begin:]))
    to_utf8 = marked or (is_json and not command.names("--encoding"))
    format_ = dataclasses.replace(text, encoding="utf-8") if to_utf8 else text
    found = (_json_keys if is_json else _find_header)(head, begin, name, format_, command)
    names, plain = found.names, is_json or bool(text.names)
    line = None if plain else found.line
    columns = find_columns(with_folder_columns(names, path), name, format_, command, line=line) if names else {}
    # an object may have what the first ones lack
    later = {name: text.columns[name] for name in text.optional if is_json and name not in columns}
    return Source(
        path=path,
        label=label,
        kind=kind,
        member=member,
        bytes=size,
        header=(*names, *later.values()),
        columns=columns | later,
        kept=_as_strings(text),
        start=found.start,
        skipped=text.skip_lines + found.above,
        empty=len(head) <= found.start,
        encoding="utf-8" if to_utf8 else "",
        delimiter=found.delimiter,
        json=is_json,
        headed=not plain,
        doubts=found.doubts,
    )


def _read_head(blocks: Iterator[bytes], text: TextFormat) -> tuple[bytes, int]:
    """Return the first bytes of a text, more than its header line where there are more, and where that begins."""
    head, begin, skipped = b"", 0, 0
    # a member of a packed file may end in the header, and a final \r may be half of a \r\n
    while True:
        end = line_end(head, begin)
        if 0 <= end < len(head):
            if skipped == text.skip_lines:
                return head, begin
            begin, skipped = end, skipped + 1
            continue
        block = next(blocks, b"")
        head += block
        if not block or (end < 0 and len(head) - begin > 2 * text.max_line_bytes):
            return head, begin if skipped == text.skip_lines else len(head)


def _read_header(head: bytes, begin: int, path: str, text: TextFormat) -> tuple[str, int]:
    """Return the header line that begins there, and where it ends; "" where nothing is left."""
    if not head[begin:]:
        return "", len(head)
    wide = wide_encoding(head)
    if wide:
        to = shlex.join(["iconv", "-f", wide, "-t", "UTF-8", path])
        raise DataError(f"{path} looks like {wide}; convert it first, and read that as utf-8: {to} > FILE")
    kind, remedy = kind_of(head)
    if kind:
        raise DataError(f"{path} is {kind}, not delimited text; {remedy}")
    start = begin or _mark_bytes(head)
    end = line_end(head, start)
    line = head[start : end if end >= 0 else len(head)]
    if b"\0" in line or (end < 0 and len(line) >= text.max_line_bytes):
        raise DataError(
            f"{path} does not look like text with a header line; give delimited text, packed or plain, or Parquet"
        )
    try:
        decoded = line.decode(text.encoding).rstrip("\r\n")
    except UnicodeDecodeError:
        raise DataError(f"the header of {path} is not {text.encoding}; choose another --encoding") from None
    return decoded, end if end >= 0 else len(head)


class _Header(NamedTuple):
    """The columns of a text, where its records start, the header's line, how many stand above it, and what is odd."""

    names: tuple[str, ...]
    start: int
    line: str = ""
    above: int = 0
    delimiter: str = ""
    doubts: tuple[DataWarning, ...] = ()


def _json_keys(head: bytes, begin: int, path: str, text: TextFormat, command: CommandLine) -> _Header:
    """Return the keys of the first objects."""
    names = find_keys(head[begin:].decode(text.encoding, "replace").splitlines())
    if not names:
        raise DataError(
            f"{path} looks like JSON, but its lines hold no objects; write one a line: jq -c . {path} > FILE"
        )
    return _Header(tuple(names), begin or _mark_bytes(head))


def _find_header(head: bytes, begin: int, path: str, text: TextFormat, command: CommandLine) -> _Header:
    """Return the columns of delimited text, by its header or by the names that are given."""
    line, start = _read_header(head, begin, path, text)
    if not head[begin:]:
        return _Header((), start)
    below = head[start:].replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n")
    rows, above = below.decode(text.encoding, "replace").split("\n")[:LOOKED], 0
    if text.names:
        line, start, rows = "", begin or _mark_bytes(head), [line, *rows]
    elif above := find_header([line, *rows], text):
        line, rows = rows[above - 1], rows[above:]
        for _ in range(above):
            start = line_end(head, start)
    delimiter = text.delimiter
    if delimiter == AUTO:
        delimiter = find_delimiter([line, *rows], path, text, command)
    names = tuple(text.names or split_header(line, delimiter, text.quote))
    where, doubts = f"line {text.skip_lines + above + 1}", []
    if above:
        told, right = (
            f"lines above the header are not read: {above:,}",
            f"--skip-lines {text.skip_lines + above} says so",
        )
        doubts.append(DataWarning("text.preamble", told, 1, where, right))
    if text.quote and line.count(text.quote) % 2:
        told = f"the header has a {text.quote} that lacks its second; it is no part of a name"
        doubts.append(DataWarning("text.header", told, 1, where, "correct the header"))
    filled = tuple(name for name in names if name)
    widths = Counter(len(split_header(row, delimiter, text.quote)) for row in rows if row)
    if len(filled) < len(names) and not text.names and widths[len(filled)] > len(rows) / 2:
        told = f"the header has {len(names)} names and the rows {len(filled)} fields; names that are empty are left out"
        doubts.append(DataWarning("text.header", told, 1, where, "correct the header"))
        names = filled
    return _Header(names, start, line, above, delimiter, tuple(doubts))


def _mark_bytes(head: bytes) -> int:
    """Return how many bytes of a byte order mark a text begins with."""
    return len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0


def _sheet_source(path: str, label: str, text: TextFormat, command: CommandLine) -> Source:
    """Return a sheet of an Excel workbook: that which is asked for, or the first."""
    sheets = open_workbook(path).sheet_names
    sheet = text.sheet or sheets[0]
    if sheet not in sheets:
        raise DataError(f"{path} has no sheet {sheet!r}; it has {', '.join(map(repr, sheets[:MOST_SHOWN]))}")
    start, names, held, size = text.skip_lines + (not text.names), text.names, 0, 0
    for number, row in enumerate(read_rows(path, sheet), 1):
        if number > start:
            held, size = held + 1, size + sum(map(len, row))
        elif number == start and not text.names:
            names = tuple(row)
    # as a text whose delimiter is known: what may be no header is not shown
    columns = find_columns(with_folder_columns(names, path), path, text, command, line="") if any(names) else {}
    return Source(
        path=path,
        label=f"{label}!{sheet}",
        kind=SHEET,
        member=sheet,
        bytes=size,
        header=names,
        columns=columns,
        kept=_as_strings(text),
        start=start,
        skipped=text.skip_lines,
        empty=not held,
        headed=not text.names,
        groups=((held, size),),
    )


def _parquet_source(path: str, label: str, text: TextFormat, command: CommandLine) -> Source:
    with open_parquet(path) as file:
        schema, metadata = file.schema_arrow, file.metadata
    wanted = find_columns(with_folder_columns(schema.names, path), path, text, command)
    kept = []
    for name, column in wanted.items():
        of = schema.field(column) if column in schema.names else pa.field(column, pa.string())
        if name.startswith(KEPT):
            kept.append(plain_field(of).with_name(name))
        elif not (_is_text(of.type) or (name in text.integers and _is_integer(of.type))):
            flag, whole = option_of(name), _is_integer(of.type) and command.program == "molino titles"
            none = f", or none by {flag} ''" if name in text.optional else ""
            as_digits = ", or take its digits by --integer-categories" if whole and name == "category" else ""
            raise DataError(
                f"{path}: the column {column!r} is {of.type}, not text; write it as text (in pandas .astype(str))"
                f"{as_digits}, or name another by {flag} NAME{none}"
            )
    groups = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        columns = [group.column(i) for i in range(group.num_columns)]
        size = sum(c.total_uncompressed_size for c in columns if c.path_in_schema in wanted.values())
        groups.append((group.num_rows, size))
    return Source(
        path=path,
        label=label,
        kind=PARQUET,
        bytes=sum(size for _, size in groups),
        header=tuple(schema.names),
        columns=wanted,
        kept=pa.schema(kept),
        empty=not metadata.num_rows,
        groups=tuple(groups),
        headed=False,
    )


def _as_strings(text: TextFormat) -> pa.Schema:
    """Return the columns that are carried of what is text."""
    return pa.schema([(name, pa.string()) for name in text.columns if name.startswith(KEPT)])


def _is_text(type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        return _is_text(type_.value_type)
    plain = pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)
    return plain or pa.types.is_null(type_)


def kept_fields(text: TextFormat, doc: str) -> list[pa.Field]:
    """Return the columns that are carried as an output has them; in `doc` the column's name stands for {}."""
    return [
        field(kept.name.removeprefix(KEPT), kept.type, doc.format(text.columns[kept.name]), nullable=True)
        for kept in text.kept
    ]


def _is_integer(type_: pa.DataType) -> bool:
    return pa.types.is_integer(type_.value_type if pa.types.is_dictionary(type_) else type_)


def settle_format(sources: Sequence[Source], text: TextFormat) -> TextFormat:
    """Return a format with what the sources say: the delimiter, and the types of the columns that are carried.

    A type holds those of all sources. Raises DataError: two sources have a column of different types, or an output
    cannot have one of its type.
    """
    kept, first = text.kept, ""
    for source in (source for source in sources if source.columns and source.kept):
        joined = join_schemas(kept, source.kept) if first else source.kept
        if joined is None:
            told = difference(kept, source.kept).replace(KEPT, "")
            raise DataError(
                f"{source.path} and {first}: {told}; write one column of one type, or leave it out of --keep"
            )
        kept, first = joined, first or source.path
    check_carried(kept, first, "leave it out of --keep")
    asked = "," if text.delimiter == AUTO else text.delimiter
    delimiter = next((source.delimiter for source in sources if source.delimiter), asked)
    return dataclasses.replace(text, kept=pa.schema([one.with_nullable(True) for one in kept]), delimiter=delimiter)
