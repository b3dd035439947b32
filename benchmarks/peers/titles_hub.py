"""Bare hub.load: read the titles of a Parquet file, embed them, and write nothing.

python benchmarks/peers/titles_hub.py INPUT OUTPUT MODEL BATCH THREADS
"""

import os
import sys


def main(source: str, _: str, folder: str, batch: str, threads: str) -> None:
    """Embed all titles, `batch` at a call; every vector reaches NumPy."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import pyarrow.parquet as pq
    import tensorflow as tf
    import tensorflow_hub as hub

    tf.config.threading.set_intra_op_parallelism_threads(int(threads))
    tf.config.threading.set_inter_op_parallelism_threads(int(threads))
    model, size, rows = hub.load(folder), int(batch), 0
    for part in pq.ParquetFile(source).iter_batches(1 << 17, columns=["title"], use_threads=False):
        titles = part["title"].to_numpy(zero_copy_only=False)
        for start in range(0, len(titles), size):
            rows += len(model(tf.constant(titles[start : start + size])).numpy())
    print(f"{rows:,} titles")


if __name__ == "__main__":
    main(*sys.argv[1:])
