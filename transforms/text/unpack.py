"""Bytes of texts: unpacked, and cut at line ends."""

import contextlib
import zipfile
import zlib
from collections.abc import Iterator

import pyarrow as pa

from molino.transforms.errors import DataError
from molino.transforms.files import storage


def line_end(data: bytes, start: int = 0) -> int:
    r"""Return the index just after the first line end (\n, \r\n or \r) at or after `start`; -1 when there is none.

    >>> line_end(b"a\r\nb"), line_end(b"a\rb"), line_end(b"ab")
    (3, 2, -1)
    """
    newline, carriage = data.find(b"\n", start), data.find(b"\r", start)
    if carriage >= 0 and (newline < 0 or carriage < newline):
        return carriage + 2 if newline == carriage + 1 else carriage + 1
    return newline + 1 if newline >= 0 else -1


def unpacked_blocks(path: str, kind: str, member: str, size: int) -> Iterator[bytes]:
    """Yield the bytes of a text, unpacked, in blocks of about `size`."""
    with storage.open_input(path) as raw, storage.explained(path, "read"):
        if kind == "gzip":
            yield from _unzip(raw, path, size)
        elif kind == "zip":
            try:
                with zipfile.ZipFile(raw) as archive, archive.open(member) as file:
                    while block := file.read(size):
                        yield block
            except NotImplementedError:
                method = archive.getinfo(member).compress_type
                name = "deflate64" if method == 9 else "unknown here"
                raise DataError(
                    f"cannot read {path}: {member} is packed by method {method} ({name}); unpack it first"
                ) from None
            except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                raise DataError(f"cannot read {path}!{member}: damaged ({error}); fetch it again") from None
        else:
            while block := raw.read(size):
                yield block


def unpacked_bytes(head: bytes, size: int) -> int:
    """Return the bytes that a gzip file of so many bytes holds, if all of it is as its head.

    Where the head is all the number is exact. The file itself says it only modulo 4 GiB, and of its last member.
    """
    unpacked = 0
    with contextlib.suppress(DataError):  # the head is cut short; of a damaged file the reader tells
        for block in _unzip(pa.BufferReader(head), "", len(head)):
            unpacked += len(block)
    return unpacked * size // len(head)


def _unzip(raw: pa.NativeFile, path: str, size: int) -> Iterator[bytes]:
    unpack, inside = zlib.decompressobj(wbits=31), False
    try:
        while data := raw.read(size):
            while data := data if inside else data.lstrip(b"\0"):  # some writers pad between members
                inside = True
                if block := unpack.decompress(data, size):
                    yield block
                data = unpack.unconsumed_tail
                if unpack.eof:
                    data, unpack, inside = unpack.unused_data, zlib.decompressobj(wbits=31), False
        if block := unpack.flush():
            yield block
    except zlib.error as error:
        raise DataError(f"cannot read {path}: a damaged gzip file ({error}); fetch it again") from None
    if inside and not unpack.eof:
        raise DataError(f"cannot read {path}: the gzip file is cut short; fetch it again")
