"""The number of a record in its source, whatever its lines and however its file is cut."""

import csv
import gzip
import io

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that

from molino.transforms.files.list_files import list_files
from molino.transforms.text import sources
from molino.transforms.text.read import ReadDelimited


def check_records(paths, text, span_bytes, wanted):
    """Compare (source, record, title) of every row, as a pipeline finds them."""
    files = [file for path in paths for file in list_files(str(path)).files]
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        read = pipeline | ReadDelimited(sources=sources.list_sources(files, text), text=text, span_bytes=span_bytes)

        def place(rows, lines):
            return list(
                zip(
                    lines.locate(rows["position"])[0].to_pylist(),
                    lines.records(rows["position"]).to_pylist(),
                    rows["title"].to_pylist(),
                    strict=True,
                )
            )

        placed = read.rows | beam.Map(place, lines=beam.pvalue.AsSingleton(read.lines))

        def check(parts):
            assert sorted(row for part in parts for row in part) == sorted(wanted)

        assert_that(placed, check)


@pytest.mark.parametrize("span_bytes", [64, 1 << 20])
def test_records_are_those_of_the_csv_module(tmp_path, span_bytes):
    rng = np.random.default_rng(0)
    wanted = []
    for number in range(3):
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(["n", "title"])
        for record in range(1, 120):
            title = "\n".join(["Mesa"] * int(rng.integers(1, 4) if number else 1)) + f" {record}"
            writer.writerow([record, title])
            wanted.append((f"{number}.csv", record, title))
        (tmp_path / f"{number}.csv").write_text(out.getvalue())
    text = sources.TextFormat(columns={"title": "title"}, delimiter=",", encoding="utf-8", quote='"')
    check_records(sorted(tmp_path.glob("*.csv")), text, span_bytes, wanted)


@pytest.mark.parametrize("kind", ["plain", "gzip", "parquet"])
def test_rejects_are_records_too(tmp_path, kind):
    titles = [f"Mesa {n}" for n in range(1, 200)]
    path = tmp_path / "t"
    if kind == "parquet":
        held = [None if n % 7 == 0 else title for n, title in enumerate(titles, 1)]
        pq.write_table(pa.table({"title": held}), path, row_group_size=20)
    else:
        lines = [f"{title},{'x,' * (n % 7 == 0)}" for n, title in enumerate(titles, 1)]
        data = "\n".join(["title,x", *lines]).encode()
        path.write_bytes(gzip.compress(data) if kind == "gzip" else data)
    text = sources.TextFormat(columns={"title": "title"}, delimiter=",", encoding="utf-8")
    wanted = [("t", n, title) for n, title in enumerate(titles, 1) if n % 7]
    check_records([path], text, 100, wanted)
