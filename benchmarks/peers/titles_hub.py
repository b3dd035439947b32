"""hub.load alone: read the titles of a Parquet file, embed them, and write nothing or a Parquet file of them.

python benchmarks/peers/titles_hub.py INPUT OUTPUT MODEL BATCH THREADS (nothing | parquet)
"""

import os
import sys
from pathlib import Path


def main(source: str, output: str, folder: str, batch: str, threads: str, written: str) -> None:
    """Embed all titles, `batch` at a call; every vector reaches NumPy, and with `parquet` a file."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    import tensorflow as tf
    import tensorflow_hub as hub

    tf.config.threading.set_intra_op_parallelism_threads(int(threads))
    tf.config.threading.set_inter_op_parallelism_threads(int(threads))
    model, size, rows, writer = hub.load(folder), int(batch), 0, None
    columns = ["title", "category"] if written == "parquet" else ["title"]
    for part in pq.ParquetFile(source).iter_batches(1 << 17, columns=columns, use_threads=False):
        titles = part["title"].to_numpy(zero_copy_only=False)
        vectors = [model(tf.constant(titles[start : start + size])).numpy() for start in range(0, len(titles), size)]
        rows += sum(map(len, vectors))
        if written == "parquet":
            numbers = pa.FixedSizeListArray.from_arrays(np.concatenate(vectors).ravel(), vectors[0].shape[1])
            table = pa.table({**{name: part[name] for name in columns}, "vector": numbers})
            if writer is None:
                Path(output).mkdir()
                compression = {"title": "zstd", "category": "zstd", "vector.list.element": "none"}
                writer = pq.ParquetWriter(
                    Path(output, "titles.parquet"), table.schema, compression=compression, use_dictionary=["category"]
                )
            writer.write_table(table)
    if writer:
        writer.close()
    print(f"{rows:,} titles")


if __name__ == "__main__":
    main(*sys.argv[1:])
