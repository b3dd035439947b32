"""Bytes of texts: unpacked, and cut at line ends."""

import bz2
import contextlib
import dataclasses
import functools
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from molino.transforms.errors import DataError
from molino.transforms.files import storage

ESTIMATED = 1 << 29  # bytes that are unpacked at most to tell how much larger a text is
WINDOW_BYTES = 1 << 28  # of memory that a file of xz may ask for; its highest level asks for a quarter


@dataclasses.dataclass(frozen=True, kw_only=True)
class Packing:
    """How a file is packed."""

    magic: bytes  # its first bytes; what fits no line that a text begins with
    suffix: str  # of its name, by which a file is known that has not even all of these
    # makes what unpacks one member, as zlib, bz2 and lzma do; None where Arrow unpacks all of them
    unpacker: Callable[[], Any] | None = None
    head: int = 1 << 18  # bytes that tell how much larger the text is; of bzip2 more than a block


PACKINGS = {
    "gzip": Packing(magic=rb"\x1f\x8b", suffix=".gz", unpacker=lambda: zlib.decompressobj(wbits=31)),
    "bzip2": Packing(
        magic=rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", suffix=".bz2", unpacker=bz2.BZ2Decompressor, head=1 << 20
    ),
    "xz": Packing(
        magic=rb"\xfd7zXZ\0",
        suffix=".xz",
        unpacker=functools.partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, WINDOW_BYTES),
    ),
    "zstd": Packing(magic=rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18", suffix=".zst"),
    "lz4": Packing(magic=rb"\x04\x22\x4d\x18", suffix=".lz4"),
}
MAGIC_BYTES = 10  # the longest
DAMAGES = (zlib.error, lzma.LZMAError, OSError, EOFError)  # what unpackers raise


def packing_of(head: bytes, path: str) -> str:
    r"""Return the packing of a file by its first bytes; "" where it is not packed.

    >>> packing_of(b"\x1f\x8b\x08\0\0\0\0\0\0\xff", "a"), packing_of(b"BZh91|id|title", "a"), packing_of(b"BZ", "a.bz2")
    ('gzip', '', 'bzip2')
    """
    for name, packing in PACKINGS.items():
        cut = 0 < len(head) < MAGIC_BYTES and path.endswith(packing.suffix)
        if cut or re.match(packing.magic, head):
            return name
    return ""


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
        if kind in PACKINGS:
            yield from _unpack(raw, path, kind, size)
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
            except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
                raise DataError(f"cannot read {path}!{member}: damaged ({error}); fetch it again") from None
        else:
            while block := raw.read(size):
                yield block


def unpacked_bytes(head: bytes, kind: str, size: int) -> int:
    """Return the bytes that a packed file of so many bytes holds, if all of it is as its head.

    Where the head is all the number is exact. The file itself says it only modulo 4 GiB, and of its last member, or
    not at all.
    """
    unpacked = 0
    with contextlib.suppress(DataError):  # the head is cut short; of a damaged file the reader tells
        for block in _unpack(pa.BufferReader(head), "", kind, 1 << 16):
            unpacked += len(block)
            if unpacked >= ESTIMATED:
                break
    return unpacked * size // len(head)


def _unpack(raw: pa.NativeFile, path: str, kind: str, size: int) -> Iterator[bytes]:
    """Yield blocks of at most `size` bytes, however much a few bytes of the file come to."""
    make = PACKINGS[kind].unpacker
    try:
        yield from _members(raw, make, size) if make else _whole(pa.CompressedInputStream(raw, kind), size)
    except DAMAGES as error:
        if getattr(error, "errno", None) or "[errno" in str(error):  # of the disk
            raise
        if isinstance(error, EOFError) or "Truncated" in str(error):
            raise DataError(f"cannot read {path}: the {kind} file is cut short; fetch it again") from None
        raise DataError(f"cannot read {path}: a damaged {kind} file ({error}); fetch it again") from None


def _whole(file: pa.NativeFile, size: int) -> Iterator[bytes]:
    while block := file.read(size):
        yield block


def _members(raw: pa.NativeFile, make: Callable[[], Any], size: int) -> Iterator[bytes]:
    """Yield what all members of a file hold. Raises EOFError: the last one is not complete."""
    unpack, inside = make(), False
    while data := raw.read(size):
        while data := data if inside else data.lstrip(b"\0"):  # some writers pad between members
            inside, more = True, True
            while more:
                if block := unpack.decompress(data, size):
                    yield block
                data, more = b"", not (unpack.eof or getattr(unpack, "needs_input", True))
            data = unpack.unused_data if unpack.eof else getattr(unpack, "unconsumed_tail", b"")
            if unpack.eof:
                unpack, inside = make(), False
    if inside and (block := unpack.flush() if hasattr(unpack, "flush") else b""):
        yield block
    if inside and not unpack.eof:
        raise EOFError
