"""Made-up vectors: the same bytes for the same arguments, and points as the study drew them."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from molino.transforms.pca.sample import HOSTILE, sample_vectors


def vectors_of(path):
    column = pq.read_table(path)["vector"].combine_chunks()
    return column.flatten().to_numpy().reshape(len(column), -1)


def test_same_arguments_same_bytes_and_another_seed_others(tmp_path):
    data = set()
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        sample_vectors(str(tmp_path / name), rows=500, numbers=3, seed=seed)
        data.add((tmp_path / name).read_bytes())
    assert len(data) == 2


@pytest.mark.parametrize("numbers", [1, 2, 5])
def test_more_rows_begin_with_the_same(tmp_path, numbers, monkeypatch):
    monkeypatch.setattr("molino.transforms.pca.sample.BATCH_ROWS", 40)
    for rows in (50, 90):
        sample_vectors(str(tmp_path / f"{rows}"), rows=rows, numbers=numbers, seed=1)
    few, many = vectors_of(tmp_path / "50"), vectors_of(tmp_path / "90")
    assert few.shape == (50, numbers)
    np.testing.assert_array_equal(few, many[:50])


def test_the_points_lie_around_a_line(tmp_path):
    sample_vectors(str(tmp_path / "p"), rows=1000, numbers=2, seed=2016)
    x, y = vectors_of(tmp_path / "p").T
    assert abs(x).max() < 100
    assert np.std(y - x) == pytest.approx(19, abs=1.5)


def test_hostile_rows_come_last(tmp_path):
    wrote = sample_vectors(str(tmp_path / "p"), rows=10, numbers=4, seed=1, hostile=True)
    column = pq.read_table(tmp_path / "p")["vector"].to_pylist()
    assert len(column) == 10 + len(HOSTILE)
    assert sum(wrote["hostile"].values()) == len(HOSTILE)
    assert column[10] is None
    assert column[11] == [None, 1.0, None, 1.0]
