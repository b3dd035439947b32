"""Made-up vectors: points like those of the study, or longer ones whose variance falls as that of embeddings does."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from molino.transforms.files import storage

BATCH_ROWS = 1 << 16
HALF_WIDTH, NOISE = 100.0, 19.0  # of the study's points: x is uniform, y is x and normal noise

# what the job must reject, by the reason it must give; numbers are cut to the length, or repeated
HOSTILE: dict[str, list[float | None] | None] = {
    "null_vector": None,
    "null_number": [None, 1.0],
    "not_a_number": [1.0, float("nan")],
    "infinite": [float("-inf"), 1.0],
    "wrong_length": [],
}


def sample_vectors(path: str, *, rows: int, numbers: int, seed: int, hostile: bool = False) -> dict[str, Any]:
    """Write a Parquet file with the columns `id` and `vector`; the same arguments give the same bytes.

    A batch depends on the seed and its own number: more rows leave the first ones as they are. With `hostile` one row
    of each kind that a job must reject comes after the last. Returns `rows`, the file, and the hostile rows by kind.
    """
    of = pa.field("element", pa.float64(), nullable=hostile)
    type_ = pa.list_(of) if hostile else pa.list_(of, numbers)
    schema = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("vector", type_, nullable=hostile)])
    target = Path(os.path.abspath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with storage.published([target]) as [part], pq.ParquetWriter(part, schema) as writer:
        for vectors in draw_vectors(rows, numbers, seed):
            flat = pa.array(vectors.reshape(-1))
            if hostile:
                offsets = pa.array(np.arange(0, vectors.size + 1, numbers, dtype=np.int32))
                lists = pa.ListArray.from_arrays(offsets, flat, type=type_)
            else:
                lists = pa.FixedSizeListArray.from_arrays(flat, type=type_)
            ids = pa.array(np.arange(written, written + len(vectors)))
            writer.write_batch(pa.RecordBatch.from_arrays([ids, lists], schema=schema))
            written += len(vectors)
        if bad := ([None if row is None else (row * numbers)[:numbers] for row in HOSTILE.values()] if hostile else []):
            ids = pa.array(range(written, written + len(bad)), pa.int64())
            writer.write_batch(pa.RecordBatch.from_arrays([ids, pa.array(bad, type_)], schema=schema))
    return {"rows": rows, "file": path, "hostile": dict.fromkeys(HOSTILE, 1) if hostile else {}}


def draw_vectors(rows: int, numbers: int, seed: int) -> Iterator[np.ndarray]:
    """Yield batches of vectors, (n, numbers).

    Two numbers: points around the line y = x. More: normal, the k-th direction with a standard deviation of 1 / k,
    turned at random, and away from 0, as embeddings are.
    """
    turn, _ = np.linalg.qr(np.random.default_rng([seed, 0]).standard_normal((numbers, numbers)))
    for number, start in enumerate(range(0, rows, BATCH_ROWS), 1):
        random = np.random.default_rng([seed, number])
        count = min(BATCH_ROWS, rows - start)
        if numbers == 2:
            x, noise = random.uniform(-HALF_WIDTH, HALF_WIDTH, BATCH_ROWS), random.standard_normal(BATCH_ROWS)
            yield np.stack([x, x + NOISE * noise], axis=1)[:count]
        else:
            normal = random.standard_normal((count, numbers)) / np.arange(1, numbers + 1)
            normal[:, 0] += 0.5
            yield normal @ turn
