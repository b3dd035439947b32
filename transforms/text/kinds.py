"""What a file is, by its first bytes, where it is no delimited text."""

import codecs

# signatures of formats that are no text, as their specifications give them, and what to do
SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b\x08", "compressed by gzip", "unpack it first: gunzip -k"),  # within a packed file, as the next six
    (b"PK\x03\x04", "a zip file", "unpack it first: unzip"),
    (b"BZh", "compressed by bzip2", "unpack it first: bunzip2 -k"),
    (b"\xfd7zXZ\0", "compressed by xz", "unpack it first: unxz -k"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", "unpack it first: unzstd"),
    (b"\x04\x22\x4d\x18", "compressed by lz4", "unpack it first: unlz4"),
    (b"PAR1", "a Parquet file", "unpack it first"),
    (b"\x1f\x9d", "compressed by compress", "unpack it first: uncompress"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it first: 7z x"),
    (b"Rar!\x1a\x07", "a RAR archive", "unpack it first: unrar x"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Word file", "save it as CSV in UTF-8"),
    (b"{\\rtf", "a document in RTF", "save it as plain text"),
    (b"%PDF-", "a PDF", "extract its table as CSV"),
    (b"SQLite format 3\0", "an SQLite data base", "export the table as CSV or Parquet"),
    (b"ARROW1", "an Arrow IPC (Feather) file", "convert it to Parquet"),
    (b"ORC", "an ORC file", "convert it to Parquet"),
    (b"Obj\x01", "an Avro file", "convert it to Parquet"),
    (b"PARE", "an encrypted Parquet file", "decrypt it first"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "convert it to Parquet"),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture", "give delimited text, packed or plain, or Parquet"),
    (b"\xff\xd8\xff", "a JPEG picture", "give delimited text, packed or plain, or Parquet"),
    (b"GIF8", "a GIF picture", "give delimited text, packed or plain, or Parquet"),
    (b"\x7fELF", "a program", "give delimited text, packed or plain, or Parquet"),
)
# more than a few bytes of theirs may be the begin of a line: they count where a zero byte follows
SHORT = {b"BZh", b"PAR1", b"ORC", b"Obj\x01", b"PARE", b"ARROW1", b"\x1f\x9d", b"\xff\xd8\xff"}
MARKUP = (b"<!doctype html", b"<html", b"<?xml", b"<head")
TAR_MAGIC = slice(257, 262)
UTF_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def kind_of(head: bytes) -> tuple[str, str]:
    """Return what a file is by its first bytes, and what to do with it; ("", "") for what may be delimited text.

    >>> kind_of(b"SQLite format 3" + bytes(9))[0], kind_of(b"ORC|name" + bytes([10]))[0]
    ('an SQLite data base', '')
    """
    for signature, name, remedy in SIGNATURES:
        if head.startswith(signature) and (signature not in SHORT or _is_binary(head[len(signature) : 4096])):
            return name, remedy
    if head[TAR_MAGIC] == b"ustar":
        return "a tar archive", "unpack it first: tar -xf"
    if head[:64].lstrip(b"\xef\xbb\xbf \r\n\t").lower().startswith(MARKUP):
        return "a page in HTML or XML", "was an error page fetched? Fetch the data itself, or convert it to CSV"
    return "", ""


def wide_encoding(head: bytes) -> str:
    """Return the name of an encoding of two or four bytes a character that a text begins in, with a mark or without.

    >>> wide_encoding("CURP".encode("utf-16")), wide_encoding("CURP|A".encode("utf-32-be")), wide_encoding(b"CURP|")
    ('UTF-16', 'UTF-32BE', '')
    """
    for mark, name in UTF_MARKS:
        if head.startswith(mark):
            return name
    # where the zero bytes of ASCII stand
    return {"a0a0a0a0": "UTF-16LE", "0a0a0a0a": "UTF-16BE", "a000a000": "UTF-32LE", "000a000a": "UTF-32BE"}.get(
        "".join("a" if byte else "0" for byte in head[:8]), ""
    )


def _is_binary(data: bytes) -> bool:
    """Return whether bytes are of no text: control characters that no line has."""
    return any(byte < 9 or 13 < byte < 32 for byte in data)
