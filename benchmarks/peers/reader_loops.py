"""Ways to read vectors for training: python -m benchmarks.peers.reader_loops WAY INPUT OUTPUT_DIR EPOCHS.

Each reads all rows EPOCHS times in batches of 4096 rows: an array (n, dim) float32 and the labels. What every batch
holds is added up, so that a reader which loses or repeats a row is found out.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

BATCH = 4096
WINDOW = 16_384  # rows that are shuffled together


def molino(folder: str, epoch: int, column: str = "vector", split: str | None = None) -> Iterator[tuple]:
    """The reader of `training/`, shuffled; checksums of all files once a machine, of pages always."""
    from molino.training.reader import Reader, Reading
    from molino.training.runs import open_run

    run = open_run(folder, {"rows": ("bench.rows", 1)})
    reader = Reader(run.datasets["rows"], [column, "label"], batch=BATCH, split=split, reading=Reading(window=WINDOW))
    for batch in reader.epoch(epoch):
        yield batch[column], batch["label"]


def half(folder: str, epoch: int) -> Iterator[tuple]:
    """The same from float16."""
    return molino(folder, epoch, "half")


def arrow(folder: str, epoch: int) -> Iterator[tuple]:
    """PyArrow's own data sets, with their threads; in order, batches as they come, no list ever made."""
    import pyarrow.dataset as ds

    data = ds.dataset(sorted(map(str, Path(folder, "rows").glob("*.parquet"))))
    for batch in data.to_batches(columns=["vector", "label"], batch_size=BATCH):
        if batch.num_rows:
            flat = batch["vector"].flatten().to_numpy()
            yield flat.reshape(batch.num_rows, -1), batch["label"].to_numpy()


def pylist(folder: str, epoch: int) -> Iterator[tuple]:
    """The same by Python lists, as much code does it."""
    import pyarrow.dataset as ds

    data = ds.dataset(sorted(map(str, Path(folder, "rows").glob("*.parquet"))))
    for batch in data.to_batches(columns=["vector", "label"], batch_size=BATCH):
        if batch.num_rows:
            yield np.array(batch["vector"].to_pylist(), np.float32), np.array(batch["label"].to_pylist(), np.int32)


def tfdata(folder: str, epoch: int) -> Iterator[tuple]:
    """PyArrow's batches into tf.data, which takes them apart, shuffles rows and batches them again."""
    import tensorflow as tf

    vector, _ = next(arrow(folder, epoch))
    signature = (tf.TensorSpec([None, vector.shape[1]], tf.float32), tf.TensorSpec([None], tf.int32))
    data = tf.data.Dataset.from_generator(lambda: arrow(folder, epoch), output_signature=signature)
    data = data.unbatch().shuffle(WINDOW, seed=epoch).batch(BATCH).prefetch(tf.data.AUTOTUNE)
    yield from data.as_numpy_iterator()


def torch(folder: str, epoch: int) -> Iterator[tuple]:
    """PyTorch's DataLoader over all rows in memory, shuffled, a batch an index."""
    import torch

    parts = list(arrow(folder, epoch))
    data = torch.utils.data.TensorDataset(
        torch.from_numpy(np.concatenate([part[0] for part in parts])),
        torch.from_numpy(np.concatenate([part[1] for part in parts])),
    )
    order = torch.utils.data.BatchSampler(torch.utils.data.RandomSampler(data), BATCH, drop_last=False)
    for vector, label in torch.utils.data.DataLoader(data, sampler=order, batch_size=None):
        yield vector.numpy(), label.numpy()


WAYS = {way.__name__: way for way in (molino, half, arrow, pylist, tfdata, torch)}


def main(way: str, folder: str, output: str, epochs: str) -> None:
    """Read, add up, and write the sums."""
    rows = labels = squares = 0
    first = 0.0
    for epoch in range(int(epochs)):
        for vector, label in WAYS[way](folder, epoch):
            if vector.dtype != np.float32 or not vector.flags.c_contiguous or len(vector) != len(label):
                raise SystemExit(f"{way} gives no contiguous float32 batches")
            rows += len(vector)
            labels += int(label.sum(dtype=np.int64))
            squares += int((label.astype(np.int64) ** 2).sum())
            # values are multiples of 1/256: their sum is exact in any order
            first += float(vector[:, 0].sum(dtype=np.float64))
    Path(output, "sums.json").write_text(
        json.dumps({"rows": rows, "labels": labels, "squares": squares, "first": first})
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
