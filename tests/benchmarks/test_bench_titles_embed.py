"""The benchmark of embedding: each way runs, in a process of its own, and what fails is told."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import titles_embed
from benchmarks.titles_embed import Rate, measure_all, table


def test_table():
    rates = {
        "molino": Rate(per_second=3000.4, error=0.0),
        "hub_32": Rate(per_second=1000),
        "hub_1024": Rate(per_second=1500),
        "ml_transform": Rate(failed="no tensorflow"),
    }
    assert table(rates) == [
        "| way | titles/s a core | of hub.load's best | distance from hub.load |",
        "| --- | ---: | ---: | --- |",
        "| the compiled path | 3,000 | 2.00 | none: the same bits |",
        "| hub.load, 32 titles a call | 1,000 | 0.67 | – |",
        "| hub.load, 1,024 titles a call | 1,500 | 1.00 | – |",
        "| Beam's MLTransform with TensorflowHubTextEmbeddings, embedded runner | no tensorflow | – | – |",
    ]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_way_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("MOLINO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(titles_embed, "TABLE_ROWS", 300)
    monkeypatch.setattr(titles_embed, "BUCKETS", 20)
    titles = [f"Celular {number % 700} ¿nuevo? {number}" for number in range(2000)]
    titles_embed.make_model(str(tmp_path / "model"), titles, dim=8)
    pq.write_table(pa.table({"title": titles}), tmp_path / "titles.parquet")
    rates = measure_all(str(tmp_path / "model"), tmp_path / "titles.parquet", list(titles_embed.WAYS))
    assert {name: rate.failed for name, rate in rates.items() if rate.failed} == {}
    assert set(rates) == set(titles_embed.WAYS)
    assert rates["molino"].error == rates["molino_exact"].error == 0


def test_a_way_that_fails_is_told(tmp_path):
    rate = measure_all(str(tmp_path), tmp_path / "nothing.parquet", ["molino"])["molino"]
    assert "nothing.parquet" in rate.failed
