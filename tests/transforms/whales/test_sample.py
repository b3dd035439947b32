"""The made-up sea: the same for a seed, with true boxes, quick to make."""

import hashlib

import numpy as np
import pyarrow.parquet as pq
import pytest

from molino.schemas.whales import TRUTH
from molino.transforms.images.decode import read_header
from molino.transforms.images.encode import encode_png
from molino.transforms.whales.sample import PLAIN, draw_sea, hostile_files, sample_whales, with_orientation, with_size


def hashes(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_the_same_seed_gives_the_same_bytes_and_more_images_leave_the_first(tmp_path):
    for name, images, seed in (("a", 3, 1), ("b", 3, 1), ("more", 5, 1), ("other", 3, 2)):
        sample_whales(str(tmp_path / name), images=images, seed=seed, width=160, height=120)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    first, more, other = (hashes(tmp_path / name / "images") for name in ("a", "more", "other"))
    assert {name: more[name] for name in first} == first
    assert not set(first.values()) & set(other.values())


def test_the_truth_is_that_of_the_images(tmp_path):
    wrote = sample_whales(str(tmp_path), images=PLAIN, width=160, height=120)
    truth = pq.read_table(tmp_path / "truth.parquet")
    assert truth.schema.equals(TRUTH, check_metadata=True)
    assert truth["key"].to_pylist() == sorted(path.name for path in (tmp_path / "images").iterdir())
    assert truth["x"].null_count == 1 == PLAIN - wrote["whales"]


@pytest.mark.parametrize("size", [(1, 1), (31, 40), (32, 32), (90, 300), (300, 90)])
@pytest.mark.parametrize("seed", range(4))
def test_boxes_lie_inside_and_hold_what_differs(size, seed):
    width, height = size
    rng = lambda: np.random.default_rng(seed)  # noqa: E731
    sea, plain = draw_sea(width, height, rng()), draw_sea(width, height, rng(), whale=False)
    assert sea.image.shape == (height, width, 3)
    assert sea.image.dtype == np.uint8
    assert plain.box is None
    if min(size) < 32:
        assert sea.box is None
        return
    for box in (sea.box, sea.head):
        x, y, w, h = box
        assert 0 <= x < x + w <= width
        assert 0 <= y < y + h <= height
    x, y, w, h = sea.box
    # the grain is drawn after the whale, so the seas differ a little everywhere, and much where the whale is
    differs = np.abs(sea.image.astype(int) - plain.image).max(axis=2) > 25
    assert differs[y : y + h, x : x + w].mean() > 2 * differs.mean() > 0


@pytest.mark.slow
def test_hostile_files_are_as_their_fates_say(tmp_path):
    wrote = sample_whales(str(tmp_path), images=1, width=64, height=64, hostile=True)["hostile"]
    folder = tmp_path / "images/hostile"
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    assert {name for names in wrote.values() for name in names} == there
    fates = {fate for fate, _, _ in hostile_files()}
    assert set(wrote) == fates | {"skipped"}
    assert (folder / "pipe.jpg").is_fifo()
    sample_whales(str(tmp_path), images=1, width=64, height=64, hostile=True)  # once more, over it


def test_orientation_and_bomb():
    assert with_orientation(b"\xff\xd8rest", 6)[2:4] == b"\xff\xe1"
    header = read_header(with_size(encode_png(np.zeros((2, 3, 3), np.uint8)), 16384, 4096))
    assert (header.width, header.height) == (16384, 4096)
