"""Thrift's compact protocol, as far as Parquet's metadata needs it: bytes to structs and back, field for field.

A struct is a dict from a field's number to (type, value), in the order of the bytes, so that what is not understood is
kept as it is. Values: bool, int, bytes, a list as (type of elements, values), a struct.
"""

import io
from typing import Any

Struct = dict[int, tuple[int, Any]]

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
INTEGERS = (I16, I32, I64)


def decode_struct(data: bytes) -> Struct:
    """Return the struct that the bytes begin with; ValueError where they hold a type that Parquet does not use."""
    return _read(io.BytesIO(data), STRUCT)


def encode_struct(fields: Struct) -> bytes:
    """Return the bytes of a struct."""
    out = bytearray()
    _write(out, STRUCT, fields)
    return bytes(out)


def _read_varint(data: io.BytesIO) -> int:
    value = shift = 0
    while (byte := data.read(1)[0]) >= 0x80:
        value |= (byte & 0x7F) << shift
        shift += 7
    return value | byte << shift


def _read_integer(data: io.BytesIO) -> int:
    value = _read_varint(data)
    return (value >> 1) ^ -(value & 1)


def _read(data: io.BytesIO, kind: int) -> Any:
    if kind in INTEGERS:
        return _read_integer(data)
    if kind == BYTE:
        return data.read(1)[0]
    if kind == BINARY:
        return data.read(_read_varint(data))
    if kind == LIST:
        head = data.read(1)[0]
        size = _read_varint(data) if head >> 4 == 15 else head >> 4
        return head & 0x0F, [_read(data, head & 0x0F) for _ in range(size)]
    if kind != STRUCT:
        raise ValueError(f"Parquet's metadata has no values of the type {kind}")
    fields, number = Struct(), 0
    while head := data.read(1)[0]:
        step, kind = head >> 4, head & 0x0F
        number = number + step if step else _read_integer(data)
        fields[number] = kind, kind == TRUE if kind in (TRUE, FALSE) else _read(data, kind)
    return fields


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


def _write(out: bytearray, kind: int, value: Any) -> None:
    if kind in INTEGERS:
        out += _zigzag(value)
    elif kind == BYTE:
        out.append(value)
    elif kind == BINARY:
        out += varint(len(value))
        out += value
    elif kind == LIST:
        of, values = value
        out.append(min(len(values), 15) << 4 | of)
        if len(values) >= 15:
            out += varint(len(values))
        for each in values:
            _write(out, of, each)
    elif kind == STRUCT:
        _write_fields(out, value)
    else:
        raise ValueError(f"Parquet's metadata has no values of the type {kind}")


def _write_fields(out: bytearray, fields: Struct) -> None:
    before = 0
    for number, (kind, value) in fields.items():
        is_bool = kind in (TRUE, FALSE)
        kind = (TRUE if value else FALSE) if is_bool else kind
        step = number - before
        out += bytes([step << 4 | kind]) if 0 < step < 16 else bytes([kind]) + _zigzag(number)
        before = number
        if not is_bool:
            _write(out, kind, value)
    out.append(0)
