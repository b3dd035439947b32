"""Thrift's compact protocol, as far as Parquet's metadata needs it: bytes to structs and back, field for field.

A struct is a dict from a field's number to (type, value), in the order of the bytes, so that what is not understood is
kept as it is. Values: bool, int, float, bytes, a list as (type of elements, values), a struct.
"""

import struct
from typing import Any

Struct = dict[int, tuple[int, Any]]

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
INTEGERS = (I16, I32, I64)


def decode_struct(data: bytes) -> Struct:
    """Return the struct that the bytes begin with; ValueError where they hold a type that Parquet does not use."""
    return _Reader(data).struct()


def encode_struct(fields: Struct) -> bytes:
    """Return the bytes of a struct."""
    out = bytearray()
    _write_struct(out, fields)
    return bytes(out)


class _Reader:
    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def integer(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def struct(self) -> Struct:
        fields: Struct = {}
        number = 0
        while head := self.byte():
            step, kind = head >> 4, head & 0x0F
            number = number + step if step else self.integer()
            fields[number] = kind, kind == TRUE if kind in (TRUE, FALSE) else self.value(kind)
        return fields

    def value(self, kind: int) -> Any:
        if kind in INTEGERS:
            return self.integer()
        if kind in (TRUE, FALSE, BYTE):  # of a list: a field's bool is in its type
            return self.byte()
        if kind == BINARY:
            size = self.varint()
            self.at += size
            return self.data[self.at - size : self.at]
        if kind == STRUCT:
            return self.struct()
        if kind == LIST:
            head = self.byte()
            size = self.varint() if head >> 4 == 15 else head >> 4
            return head & 0x0F, [self.value(head & 0x0F) for _ in range(size)]
        if kind == DOUBLE:
            self.at += 8
            return struct.unpack("<d", self.data[self.at - 8 : self.at])[0]
        raise ValueError(f"Parquet's metadata has no values of the type {kind}")


def varint(value: int) -> bytes:
    """Return an integer, 0 or more, in groups of 7 bits, the lowest first.

    >>> varint(300).hex()
    'ac02'
    """
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _zigzag(value: int) -> bytes:
    return varint(value << 1 if value >= 0 else (-value << 1) - 1)


def _write_struct(out: bytearray, fields: Struct) -> None:
    before = 0
    for number, (kind, value) in fields.items():
        if kind in (TRUE, FALSE):
            kind = TRUE if value else FALSE
        if 0 < number - before < 16:
            out.append((number - before) << 4 | kind)
        else:
            out.append(kind)
            out += _zigzag(number)
        before = number
        if kind not in (TRUE, FALSE):
            _write(out, kind, value)
    out.append(0)


def _write(out: bytearray, kind: int, value: Any) -> None:
    if kind in INTEGERS:
        out += _zigzag(value)
    elif kind in (TRUE, FALSE, BYTE):
        out.append(value)
    elif kind == BINARY:
        out += varint(len(value))
        out += value
    elif kind == STRUCT:
        _write_struct(out, value)
    elif kind == LIST:
        of, values = value
        out.append(min(len(values), 15) << 4 | of)
        if len(values) >= 15:
            out += varint(len(values))
        for each in values:
            _write(out, of, each)
    elif kind == DOUBLE:
        out += struct.pack("<d", value)
    else:
        raise ValueError(f"Parquet's metadata has no values of the type {kind}")
