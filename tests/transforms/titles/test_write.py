"""Titles as they are written: with the vectors that the model gives, block by block."""

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that

from molino.transforms.errors import DataError
from molino.transforms.models.embed import Model
from molino.transforms.rows.outputs import ParDoInto
from molino.transforms.rows.partition import Parts
from molino.transforms.text.position import POSITION, LineTable
from molino.transforms.titles import glance
from molino.transforms.titles import write as write_module
from molino.transforms.titles.keys import SPLITS, Draw
from molino.transforms.titles.labels import number_categories
from molino.transforms.titles.merge import ROWS, count_categories, key_titles
from molino.transforms.titles.write import TitleColumns, WrittenTitles, write_titles

DRAW = Draw(seed=1, validation=0.2, test=0.2)


def model(name, dim):
    return Model(name=name, location=name, path=name, digest="0" * 64, bytes=0, dim=dim, kind="generic")


class Lengths:
    """A model whose vectors tell which title they are of."""

    def __init__(self, of):
        self.dim = of.dim

    def embed(self, titles):
        lengths = np.array([len(title.as_py()) for title in titles], np.float32)
        return np.repeat(lengths[:, None], self.dim, axis=1) * np.arange(1, self.dim + 1, dtype=np.float32)


@pytest.fixture(autouse=True)
def lengths(monkeypatch):
    for module in (write_module, glance):
        monkeypatch.setattr(module, "open_embedder", Lengths)
        monkeypatch.setattr(module, "embed_many", lambda models, titles: [model.embed(titles) for model in models])


@pytest.mark.parametrize(
    ("splits", "wanted"),
    [
        ([], []),
        ([2], [[2]]),
        ([1, 0, 2, 0, 1], [[0, 0], [1, 1], [2]]),
        ([0] * 9 + [2], [[0] * 3] * 3 + [[2]]),
        ([2, 0] * 4, [[0] * 4, [2] * 4]),
    ],
)
def test_groups_are_even_and_of_one_split_in_their_order(splits, wanted, monkeypatch):
    monkeypatch.setattr(write_module, "GROUP_ROWS", 4)
    kept = pa.record_batch({"split": pa.array(splits, pa.int8()), "at": pa.array(range(len(splits)), pa.int64())})
    numbered = list(write_module.group_titles(kept))
    groups = [group for _, group in numbered]
    assert [split for split, _ in numbered] == [group[0] for group in wanted]
    assert [group["split"].to_pylist() for group in groups] == wanted
    for split in set(splits):
        at = [
            at
            for group in groups
            for of, at in zip(group["split"].to_pylist(), group["at"].to_pylist(), strict=True)
            if of == split
        ]
        assert at == [i for i, of in enumerate(splits) if of == split]


def parts_of(rows, shards=2, blocks=4):
    batch = key_titles(
        pa.record_batch(
            {
                "title": pa.array([title for title, _ in rows]),
                "label_quality": pa.nulls(len(rows), pa.string()),
                "language": pa.array(["spanish"] * len(rows)),
                "category": pa.array([category for _, category in rows]),
                POSITION: pa.array(range(len(rows)), pa.int64()),
            }
        )
    )
    from molino.transforms.rows.partition import block_of, blocks_of_shard, cut_for_shards, hash_keys

    pieces = cut_for_shards(batch, block_of(hash_keys(DRAW.block(batch)), blocks), blocks, shards)
    return [
        Parts(shard, blocks_of_shard(shard, shards, blocks), ROWS, POSITION, batches=[piece])
        for shard, piece in enumerate(pieces)
    ]


def test_tokens_are_padded_and_counted(monkeypatch):
    class Tokens:
        def token_ids(self, titles):
            counts = [len(title.split()) for title in titles.to_pylist()]
            return np.arange(sum(counts), dtype=np.int32), np.cumsum([0, *counts])

    monkeypatch.setattr(write_module, "open_embedder", lambda model: Tokens())
    columns = TitleColumns(models=(model("m", 3),), tokens=True)
    made = write_module.list_tokens(pa.array(["a b", "c", "d " * 40]), columns)
    assert made["m_length"].to_pylist() == [2, 1, 40]
    assert made["m_tokens"].to_pylist() == [[0, 1, *[-1] * 30], [2, *[-1] * 31], list(range(3, 35))]
    assert made["m_tokens"].type == columns.schema.field("m_tokens").type


@pytest.mark.parametrize("half", [False, True])
def test_a_pipeline_writes_every_title_with_its_vectors(half, tmp_path, monkeypatch):
    monkeypatch.setattr(write_module, "GROUP_ROWS", 16)
    rows = [(f"{'x' * (n % 50)}{n}", "AB"[n % 2]) for n in range(300)] + [("x1", "B"), ("x1", "A"), ("x1", "A")]
    parts = parts_of(rows)
    labels = number_categories([count_categories(part, DRAW) for part in parts])
    columns = TitleColumns(models=(model("m", 3), model("n-2", 2)), half=half, model_text=True)
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        given = pipeline | "Labels" >> beam.Create([labels])
        lines = pipeline | "Lines" >> beam.Create([LineTable(("a.csv",), np.zeros(1, np.int32), np.full(1, 2))])
        arguments = {"labels": beam.pvalue.AsSingleton(given), "lines": beam.pvalue.AsSingleton(lines), "draw": DRAW}
        arguments |= {"columns": columns, "folder": str(tmp_path)}
        written = pipeline | beam.Create(parts) | ParDoInto(into=WrittenTitles, call=write_titles, arguments=arguments)
        counts = written.counters | beam.Map(lambda c: (c["titles"], c["duplicates"], c["conflicts"]))
        assert_that(counts, lambda got: np.testing.assert_equal(np.sum(got, axis=0).tolist(), [301, 2, 2]))
        glances = written.glances | beam.Map(lambda glance: int(glance.lengths.sum()))
        assert_that(glances, lambda got: np.testing.assert_equal(sum(got), 301), label="glances")
    files = sorted((tmp_path / "titles").iterdir())
    assert [file.name.split(".")[0] for file in files] == ["0-0", "0-1", "1-0", "1-1", "2-0", "2-1"]
    for file in files:
        opened = pq.ParquetFile(file)
        assert set(opened.read(["split"])["split"].to_pylist()) == {SPLITS[int(file.name[0])]}
        groups = [opened.read_row_group(group, columns=["split"])["split"] for group in range(opened.num_row_groups)]
        assert all(len(group) <= 16 and len(group.unique()) == 1 for group in groups)
    table = pa.concat_tables([pq.read_table(file) for file in files])
    assert table.schema.equals(columns.schema, check_metadata=True)
    wanted = Lengths(model("m", 3)).embed(table["title"])
    got = table["m"].combine_chunks().flatten().to_numpy().reshape(-1, 3)
    np.testing.assert_array_equal(got, wanted.astype(np.float16 if half else np.float32))
    assert table["model_text"].equals(table["title"])
    [conflicts] = (tmp_path / "conflicts").iterdir()
    assert [(row["title"], row["category"], row["count"]) for row in pq.read_table(conflicts).to_pylist()] == [
        ("x1", "A", 2),
        ("x1", "B", 2),
    ]


def test_what_float16_cannot_hold_is_an_error():
    columns = TitleColumns(models=(model("m", 1),), half=True)
    with pytest.raises(DataError, match="float16 cannot hold the vectors of m; use --vector-type float32"):
        write_module.embed_titles(pa.array(["x" * 70_000]), columns)
    assert write_module.embed_titles(pa.array([], pa.string()), columns)[0]["m"].type.list_size == 1


@pytest.mark.parametrize(("way", "wanted"), [("zero", [1, 0, 0]), ("keep", [1, np.nan, np.inf])])
def test_vectors_that_are_not_finite_are_zero_or_kept(way, wanted, monkeypatch):
    class Odd:
        def embed(self, titles):
            return np.array([[float(title)] for title in titles.to_pylist()], np.float32)

    monkeypatch.setattr(write_module, "open_embedder", lambda model: Odd())
    monkeypatch.setattr(write_module, "embed_many", lambda held, titles: [one.embed(titles) for one in held])
    for half in (False, True):
        columns = TitleColumns(models=(model("m", 1),), half=half, not_finite=way)
        made, odd = write_module.embed_titles(pa.array(["1", "nan", "inf"]), columns)
        np.testing.assert_array_equal(made["m"].flatten().to_numpy(), np.array(wanted, np.float16 if half else "f4"))
        assert odd["m"].tolist() == [1, 2]
    with pytest.raises(DataError, match="gives other vectors each time"):
        write_module.embed_titles(pa.array(["nan"]), TitleColumns(models=(model("m", 1),)))
