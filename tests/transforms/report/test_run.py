"""What every report says of its run: options as they are given, and the data by its names, sizes and dates."""

import importlib
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molino.jobs.run.inputs import find_inputs
from molino.transforms.names.sample import sample_names
from molino.transforms.report.charts import jpeg
from molino.transforms.report.run import data_lines, option_table
from molino.transforms.titles.sample import sample_titles

MAKE = {
    "names": lambda path: sample_names(path, rows=50),
    "titles": lambda path: sample_titles(path, rows=50),
    "whales": lambda path: pathlib.Path(path).write_bytes(jpeg(np.zeros((30, 30, 3), np.uint8))),
    "pca": lambda path: pq.write_table(pa.table({"v": [[1.0, 2.0], [3.0, 5.0]]}), path),
}
MORE = {"pca": ["--column", "v"]}


@pytest.mark.parametrize("job", ["names", "titles", "whales", "pca", "shapes"])
def test_options_are_shown_as_on_the_command_line(job, tmp_path):
    module = importlib.import_module(f"molino.jobs.{job}")
    path, words = str(tmp_path / "in"), ["--output", str(tmp_path / "out"), *MORE.get(job, [])]
    if job in MAKE:
        MAKE[job](path)
        words += ["--input", path]
    args, _ = module.parser().parse_strictly(words)
    files = module.list_inputs(args) if job == "whales" else find_inputs([path]) if job in MAKE else []
    terms = importlib.import_module(f"molino.transforms.{job}.report").TERMS
    rows = option_table(module.plan(args, files).options, terms.flags).rows
    names = [row["Option"].split()[0].rstrip(",") for row in rows if row["Option"].startswith("--")]
    assert len(names) >= 5
    assert set(names) <= set(module.parser().flags())
    assert not [row for row in rows if (text := row["Value"])[:1] in "{[" or text in ("True", "False", "None")]


def test_the_data_are_told_by_name_size_and_date():
    one = {"path": "/data/a.csv", "bytes": 1000, "modified": 1_700_000_000.5}
    assert data_lines([one]) == ["Data: a.csv, 1 file, 1,000 bytes, last changed 2023-11-14 (UTC)."]
    later = [{"path": f"s3://b/{n}.csv", "bytes": 5, "modified": 1_700_000_000 + 90_000 * n} for n in range(5)]
    [line] = data_lines(later)
    assert line.startswith("Data: 0.csv, 1.csv, 2.csv and 2 more, 5 files, 25 bytes, ")
    assert line.endswith(", last changed 2023-11-14 to 2023-11-19 (UTC).")
    folder = {"path": "/sea/", "files": 7, "bytes": 9, "digest": "ab" * 32}
    assert data_lines([folder]) == ["Data: sea, 7 files, 9 bytes."]
    assert data_lines([]) == []
