"""Tables to rows: row groups of Parquet are read in parallel, each in batches, sheets whole, and no row is lost."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molino.transforms.files.open_parquet import open_parquet
from molino.transforms.rows.carried import as_type
from molino.transforms.text.lines import Chunk, raw_rejects, with_position
from molino.transforms.text.position import LINE_BITS
from molino.transforms.text.sheets import BATCH_ROWS, SHEET, read_sheet
from molino.transforms.text.sources import KEPT, Span, TextFormat


def read_groups(span: Span, text: TextFormat) -> Iterator[Chunk]:
    """Read the row groups of a span, or its sheet, in batches of 65,536 rows.

    Rows with a null in a column that is not optional, or with bytes that are no UTF-8, become rejects, and rows of a
    sheet in which nothing stands. Raises DataError: the file is damaged.
    """
    source, row = span.source, 0
    groups = source.groups[span.start : span.end]
    bytes_a_row = sum(size for _, size in groups) / max(1, sum(rows for rows, _ in groups))
    text = source.format_of(text)
    wanted = list(dict.fromkeys(column for column in text.columns.values() if column in source.header))
    if source.kind == SHEET:
        for batch, reasons in read_sheet(source.path, source.member, source.header, wanted, source.start):
            yield check_rows(batch, text, (span.number << LINE_BITS) + row, int(batch.num_rows * bytes_a_row), reasons)
            row += batch.num_rows
        return
    numbers = list(range(span.start, span.end))
    with open_parquet(source.path) as file:
        for batch in file.iter_batches(BATCH_ROWS, row_groups=numbers, columns=wanted, use_threads=False):
            yield check_rows(batch, text, (span.number << LINE_BITS) + row, int(batch.num_rows * bytes_a_row))
            row += batch.num_rows


def check_rows(
    batch: pa.RecordBatch, text: TextFormat, position: int, size: int, known: np.ndarray | None = None
) -> Chunk:
    """Return a batch's rows under the names that are wanted, and as rejects those that cannot be used.

    `position`: of the first row. `size`: of the batch in the file, in bytes. `known`: (n,) reasons to reject rows that
    are known before, "" for the others.
    """
    n = batch.num_rows
    reasons = np.full(n, "", dtype=object)
    arrays = {}
    for name, column in text.columns.items():
        type_ = text.schema.field(name).type
        if name.startswith(KEPT) or column not in batch.schema.names:
            arrays[name] = as_type(batch[column], type_) if column in batch.schema.names else pa.nulls(n, type_)
            continue
        # a view, not a cast: bytes that are no UTF-8 must come as far as this
        array = _as_strings(batch[column])
        if array.null_count and name in text.blank:
            array = array.fill_null("")
        if array.null_count and name not in text.optional:
            reasons[array.is_null().to_numpy(zero_copy_only=False)] = "null_value"
        if not _is_utf8(array):
            reasons[[not _is_utf8(array.slice(i, 1)) for i in range(n)]] = "bad_encoding"
        arrays[name] = array
    reasons = reasons if known is None else np.where(known.astype(bool), known, reasons)
    positions = np.arange(position, position + n, dtype=np.int64)
    table = pa.table(arrays)
    bad = np.flatnonzero(reasons.astype(bool))
    rejects = raw_rejects(positions[bad], reasons[bad].tolist(), [""] * len(bad))
    if len(bad):
        good = np.flatnonzero(~reasons.astype(bool))
        table, positions = table.take(pa.array(good)), positions[good]
    return Chunk(rows=with_position(table, positions), rejects=rejects, records=n, lines=n, bytes=size)


def _as_strings(array: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array if array.type == pa.string() else pc.cast(array, pa.string())


def _is_utf8(array: pa.Array) -> bool:
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True
