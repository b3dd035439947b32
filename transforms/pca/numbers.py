"""From columns to vectors: which rows can be used, and why others cannot."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molino.transforms.rows.carried import plain_type
from molino.transforms.text.lines import show_shape

# reasons to reject a row; of several faults the first of FAULTS counts
NULL_VECTOR, WRONG_LENGTH = "null_vector", "wrong_length"
NULL_NUMBER, NO_NUMBER, INEXACT = "null_number", "no_number", "inexact_integer"
NAN, INFINITE = "not_a_number", "infinite"
FAULTS = (NULL_NUMBER, NO_NUMBER, INEXACT, NAN, INFINITE)

LARGEST_EXACT = 2**53  # float64 holds every integer up to it
SPARK_VECTOR = {"type", "size", "indices", "values"}  # fields of a vector of Spark ML: type 1 is dense, 0 is sparse


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """Rows that are computed together."""

    rows: pa.RecordBatch  # those that can be used, with the columns that were read
    vectors: np.ndarray  # theirs, (n, numbers), float32 or float64, finite
    places: np.ndarray  # of each in all files, counted from 0; ascending
    lines: np.ndarray  # of each in its file: of Parquet the row, from 1
    rejects: list[tuple[int, str, str]]  # the line, the reason, and what was found, of each row that cannot be used
    records: int  # rows and rejects, as read
    counters: Mapping[str, int] = dataclasses.field(default_factory=dict)  # of what is doubtful


def is_number(type_: pa.DataType) -> bool:
    """Return whether values of a type are numbers that a vector can be made of: integers or floats."""
    return pa.types.is_floating(type_) or pa.types.is_integer(type_)


def is_spark_vector(type_: pa.DataType) -> bool:
    """Return whether a type is that of Spark's VectorUDT."""
    return pa.types.is_struct(type_) and {one.name for one in type_} == SPARK_VECTOR


def is_vectors(type_: pa.DataType) -> bool:
    """Return whether values of a type can be vectors: lists of numbers, tensors, or vectors of Spark."""
    type_ = plain_type(type_)
    lists = pa.types.is_fixed_size_list(type_) or pa.types.is_list(type_)
    return is_spark_vector(type_) or (lists and is_number(type_.value_type))


def number_type(types: Sequence[pa.DataType]) -> pa.DataType:
    """Return the type of the numbers of vectors that columns of these types make: the widest, float64 if one is none.

    >>> number_type([pa.float32(), pa.float16()]), number_type([pa.list_(pa.int8())]), number_type([pa.string()])
    (DataType(float), DataType(int8), DataType(double))
    """
    if len(types) == 1 and hasattr(types[0], "value_type"):
        return types[0].value_type
    return max(types, key=lambda type_: type_.bit_width) if all(map(pa.types.is_floating, types)) else pa.float64()


def check_block(
    batch: pa.RecordBatch, columns: Sequence[str], numbers: int, *, lines: np.ndarray, places: np.ndarray
) -> Block:
    """Return the rows whose vectors can be used, and why others cannot; their lines and places are as of `Block`.

    The columns are one of vectors, or of numbers or texts of numbers.
    """
    first = batch[columns[0]]
    if not is_vectors(first.type):
        good, vectors, found = join_numbers([batch[name] for name in columns], columns)
    elif (clean := clean_vectors(first, numbers)) is not None:
        good, vectors, found = np.arange(batch.num_rows), clean, []
    else:
        good, vectors, found = sort_out(first, numbers)
    return Block(
        rows=batch if len(good) == batch.num_rows else batch.take(pa.array(good)),
        vectors=vectors,
        places=places[good],
        lines=lines[good],
        rejects=[(int(lines[place]), reason, what) for place, reason, what in found],
        records=batch.num_rows,
    )


def clean_vectors(column: pa.Array, numbers: int) -> np.ndarray | None:
    """Return the vectors as (n, numbers) where every row can be used, else None."""
    type_ = column.type
    if column.null_count or not pa.types.is_fixed_size_list(type_) or type_.list_size != numbers:
        return None
    values = column.flatten()
    if values.null_count or (pa.types.is_integer(values.type) and values.type.bit_width > 32):
        return None
    flat = _as_floats(values)
    # not finite where a number is not, and where the sum overflows: then it is looked at closely
    with np.errstate(over="ignore", invalid="ignore"):
        return flat.reshape(-1, numbers) if np.isfinite(np.dot(flat, flat)) else None


def sort_out(column: pa.Array, numbers: int) -> tuple[np.ndarray, np.ndarray, list[tuple[int, str, str]]]:
    """Return the places of rows that can be used, their vectors, and (place, reason, what was found) of the others."""
    lengths = vector_lengths(column)
    missing, wrong = (np.flatnonzero(some).tolist() for some in (lengths < 0, (lengths >= 0) & (lengths != numbers)))
    found = [(place, NULL_VECTOR, "") for place in missing]
    found += [(place, WRONG_LENGTH, f"{lengths[place]} numbers, not {numbers}") for place in wrong]
    rows = np.flatnonzero(lengths == numbers)
    held = column.take(pa.array(rows))
    flat, faults = read_numbers(_spark_numbers(held, numbers) if is_spark_vector(held.type) else held.flatten())
    shaped = {reason: mask.reshape(-1, numbers) for reason, mask in faults.items()}
    good, bad = _divide(len(rows), shaped)
    found += [(int(rows[place]), reason, f"number {at + 1} of {numbers}") for place, reason, at in bad]
    return rows[good], np.ascontiguousarray(flat.reshape(-1, numbers)[good]), sorted(found)


def join_numbers(
    columns: Sequence[pa.Array], names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, list[tuple[int, str, str]]]:
    """Return what `sort_out` does of vectors that have a number in each of some columns."""
    read = [read_numbers(column) for column in columns]
    vectors = np.stack([flat for flat, _ in read], axis=1)
    no = np.zeros(len(vectors), bool)
    masks = {reason: np.stack([faults.get(reason, no) for _, faults in read], axis=1) for reason in FAULTS}
    good, bad = _divide(len(vectors), masks)
    found = []
    for place, reason, at in bad:
        shape = f": {show_shape(columns[at][place].as_py().encode(), 'utf-8')}" if reason == NO_NUMBER else ""
        found.append((place, reason, f"column {names[at]!r}{shape}"))
    return good, vectors if len(good) == len(vectors) else vectors[good], sorted(found)


def _divide(rows: int, masks: Mapping[str, np.ndarray]) -> tuple[np.ndarray, list[tuple[int, str, int]]]:
    """Return the places of rows without a fault, and place, reason and number, from 0, of the others' first."""
    bad, found = np.zeros(rows, bool), []
    for reason in (reason for reason in FAULTS if reason in masks):
        some = masks[reason].any(axis=1)
        found += [(place, reason, int(masks[reason][place].argmax())) for place in np.flatnonzero(some & ~bad).tolist()]
        bad |= some
    return np.flatnonzero(~bad), found


def read_numbers(values: pa.Array) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return numbers, or texts of numbers, as floats, and for each reason which of them cannot be used."""
    if pa.types.is_string(values.type):
        flat, faults = parse_numbers(values)
    else:
        holes = values.is_null().to_numpy(zero_copy_only=False)
        values = values.fill_null(0) if values.null_count else values
        flat, faults = _as_floats(values), {NULL_NUMBER: holes, INEXACT: _is_inexact(values)}
    return flat, {**faults, NAN: np.isnan(flat), INFINITE: np.isinf(flat)}


def parse_numbers(texts: pa.Array) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the numbers that texts are, each as Python's `float` reads it, and which texts are empty or none.

    >>> parse_numbers(pa.array(["1.5", "", "1,5"]))[1]["no_number"].tolist()
    [False, False, True]
    """
    try:
        flat = pc.cast(texts, pa.float64()).to_numpy(zero_copy_only=False)
        if np.isfinite(flat).all():  # of what is finite both read the same, but Arrow fewer forms
            return flat, {}
    except pa.ArrowInvalid:
        pass
    flat = np.zeros(len(texts))
    empty, odd = np.zeros(len(texts), bool), np.zeros(len(texts), bool)
    for place, text in enumerate(texts.to_pylist()):
        try:
            flat[place] = float(text)
        except ValueError:
            (odd if text.strip() else empty)[place] = True
    return flat, {NULL_NUMBER: empty, NO_NUMBER: odd}


def vector_lengths(column: pa.Array) -> np.ndarray:
    """Return how many numbers each vector of a column has; -1 where there is none."""
    if is_spark_vector(column.type):
        kind, size, values = (pc.struct_field(column, name) for name in ("type", "size", "values"))
        lengths = pc.if_else(pc.equal(kind, 1), pc.list_value_length(values), size)
    else:
        lengths = pc.list_value_length(column)
    return lengths.fill_null(-1).to_numpy(zero_copy_only=False)


def _spark_numbers(column: pa.Array, numbers: int) -> pa.Array:
    """Return the numbers of vectors of Spark of one length; a sparse one whose places are wrong begins with NaN."""
    dense = pc.equal(pc.struct_field(column, "type"), 1).to_numpy(zero_copy_only=False)
    values, indices = (pc.struct_field(column, name) for name in ("values", "indices"))
    whole = np.zeros((len(column), numbers))
    whole[dense] = values.filter(pa.array(dense)).flatten().to_numpy(zero_copy_only=False).reshape(-1, numbers)
    lengths, places = (pc.list_value_length(one).fill_null(-1).to_numpy() for one in (values, indices))
    paired = ~dense & (lengths == places)
    rows = np.repeat(np.flatnonzero(paired), lengths[paired])
    at = indices.filter(pa.array(paired)).flatten().to_numpy(zero_copy_only=False)
    inside = (at >= 0) & (at < numbers)
    given = values.filter(pa.array(paired)).flatten().to_numpy(zero_copy_only=False)
    whole[rows[inside], at[inside]] = given[inside]
    whole[np.append(np.flatnonzero(~dense & ~paired), rows[~inside]), 0] = np.nan
    return pa.array(whole.reshape(-1))


def _as_floats(values: pa.Array) -> np.ndarray:
    """Return numbers without nulls as float32 where that holds them exactly, else as float64."""
    array = values.to_numpy(zero_copy_only=False)
    if array.dtype in (np.float32, np.float64):
        return array
    return array.astype(np.float32 if array.dtype == np.float16 else np.float64)


def _is_inexact(values: pa.Array) -> np.ndarray:
    """Return which numbers are integers that float64 does not hold."""
    inexact = np.zeros(len(values), bool)
    if pa.types.is_integer(values.type) and values.type.bit_width > 32:
        array = values.to_numpy()
        large = (array > LARGEST_EXACT) | (array < -LARGEST_EXACT if pa.types.is_signed_integer(values.type) else False)
        for place in np.flatnonzero(large).tolist():
            inexact[place] = int(float(array[place])) != int(array[place])
    return inexact
