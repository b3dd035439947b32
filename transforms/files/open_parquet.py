"""Open a Parquet file that somebody else wrote."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from molino.transforms.errors import DataError
from molino.transforms.files import storage


@contextlib.contextmanager
def open_parquet(path: str, **options: Any) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file, with options of pq.ParquetFile; page checksums are verified where it has any.

    Raises DataError: it is no Parquet file, or damaged, or encrypted: now, or while it is read in the `with`.
    """
    with storage.open_input(path) as raw:
        try:
            yield pq.ParquetFile(raw, page_checksum_verification=True, **options)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno:  # of the disk or the store, not of what the file holds
                raise storage.file_error(error, path, "read") from error
            cause = " ".join(str(error).split())[:120]
            if "crypt" in cause:
                raise DataError(f"{path} is an encrypted Parquet file ({cause}); decrypt it first") from None
            if "magic bytes not found" in cause:
                raise DataError(f"{path} is a truncated Parquet file; fetch it again") from None
            raise DataError(f"cannot read {path}: a damaged Parquet file ({cause}); fetch it again") from None
