"""From bytes to rows: no image raises, every image is a row or a reject, and batches are cut by rows alone."""

import dataclasses
import logging
import time
from concurrent.futures import ThreadPoolExecutor

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from molino.schemas.rejects import REJECTS
from molino.transforms.files.list_files import list_files
from molino.transforms.images.decode import decode_image, turn
from molino.transforms.images.encode import encode_jpeg, encode_png
from molino.transforms.images.list_images import list_images, write_units
from molino.transforms.images.read_images import ImageBytes
from molino.transforms.images.shard_columns import ShardColumns
from molino.transforms.parquet.do_once import DoOnce
from molino.transforms.parquet.scratch import GatherScratch
from molino.transforms.whales import extract as module
from molino.transforms.whales.extract import (
    CARDS,
    NO_COLOUR,
    NO_REGION,
    ONE_COLOUR,
    TOO_SMALL,
    TURNS,
    Extraction,
    batches,
    counted,
    extract_region,
    extract_unit,
    why_nothing,
)
from molino.transforms.whales.find_region import OriginalOptions, find_region_original
from molino.transforms.whales.find_salient_region import SalientOptions, find_salient_region
from molino.transforms.whales.sample import draw_sea

HOW = Extraction(
    method="original",
    parameters=OriginalOptions(kernel=9, smallest=6),
    max_pixels=1_000_000,
    max_bytes=1_000_000,
    damaged="reject",
    crop_quality=80,
    crop_size=16,
    mask="rle",
    write_crops=False,
    write_images=True,
    timings=False,
    thumbnails=True,
    columns=ShardColumns(),
)
SEA = draw_sea(150, 100, np.random.default_rng(4)).image
FILES = [encode_jpeg(SEA, quality=80), encode_png(SEA)]
METHODS = [
    HOW,
    dataclasses.replace(HOW, method="fast"),
    dataclasses.replace(HOW, method="saliency", parameters=SalientOptions(), write_images=False),
]


def assert_row_or_reject(data, how):
    found = extract_region(ImageBytes("k", data), how)
    assert (found.row is None) != (found.reject is None)
    assert found.card.keys() == set(CARDS.names)
    assert found.card["failed"] == (found.row is None)
    for row, schema in ((found.row, how.schema), (found.reject, REJECTS)):
        if row is not None:
            [batch] = batches(iter([row]), schema)
            batch.validate(full=True)
            assert batch.schema == schema
    row = found.row
    if row is not None:
        assert 0 <= row["presence"] <= 1
        assert row["damaged"] is (how.damaged == "keep" and row["damaged"])
    if row is not None and row["x"] is not None:
        assert 0 <= row["x"] < row["x"] + row["box_width"] <= row["width"]
        assert 0 <= row["y"] < row["y"] + row["box_height"] <= row["height"]
        assert 0 < row["share"] <= 1
        assert 0 <= row["score"] <= 1
        assert set(found.files) == ({"extract", "mask", "mask-areas", "areas"} if how.write_images else set())
    return found


@pytest.mark.parametrize("how", METHODS, ids=lambda how: how.method)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_are_rows_or_rejects(how, data):
    damaged = bytearray(data.draw(st.sampled_from(FILES)))
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    assert_row_or_reject(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]), how)


@given(st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a"]), st.binary(max_size=60))
def test_any_bytes_are_rows_or_rejects(start, rest):
    assert assert_row_or_reject(start + rest, HOW).row is None


@pytest.mark.parametrize("how", METHODS, ids=lambda how: how.method)
def test_a_cut_at_every_tenth_is_a_reject_whatever_was_decoded_before(how):
    for data in FILES:
        whole = assert_row_or_reject(data, how)
        for tenth in range(1, 10):
            cut = assert_row_or_reject(data[: len(data) * tenth // 10], how)
            assert cut.reject["reason"] == "truncated"
        assert assert_row_or_reject(data, how).row["sha256"] == whole.row["sha256"]


@pytest.mark.slow
@pytest.mark.parametrize("how", METHODS, ids=lambda how: how.method)
def test_an_image_too_long_for_a_jpeg_is_a_row_without_a_crop(how):
    image = np.full((12, 66_000, 3), 90, np.uint8)
    image[:, ::2] = (200, 30, 30)
    image[:, 100:65_900] = np.random.default_rng(5).integers(0, 255, (12, 65_800, 3), np.uint8)
    found = assert_row_or_reject(encode_png(image), dataclasses.replace(how, write_images=False))
    assert found.row is not None
    if found.row["x"] is not None and found.row["box_width"] > 65_500:
        assert found.row["crop"] is None
        assert len(found.row["pixels"]) == 16 * 16 * 3


def test_the_effect_of_an_orientation():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    for orientation, (rotation, mirrored) in TURNS.items():
        flipped = image[:, ::-1] if mirrored else image
        assert np.array_equal(turn(image.copy(), orientation), np.rot90(flipped, -rotation // 90)), orientation


@pytest.mark.parametrize(
    ("image", "status"),
    [
        (np.zeros((200, 300, 3)), ONE_COLOUR),
        (np.zeros((5, 300, 3)), TOO_SMALL),
        (np.arange(200 * 300).reshape(200, 300, 1).repeat(3, axis=2) % 251, NO_COLOUR),
        (np.arange(200 * 300 * 3).reshape(200, 300, 3) % 251, NO_REGION),
    ],
)
def test_why_there_is_nothing(image, status):
    assert why_nothing(image.astype(np.uint8), image.shape[:2], OriginalOptions()) == status


def test_batches_are_cut_by_their_bytes(monkeypatch):
    monkeypatch.setattr(module, "GROUP_BYTES", 10)
    schema = pa.schema([("n", pa.int8()), ("data", pa.binary())])
    rows = [{"n": n, "data": bytes(size)} for n, size in enumerate([4, 4, 4, 20, 0, 9])]
    assert [batch["n"].to_pylist() for batch in batches(iter(rows), schema)] == [[0, 1, 2], [3], [4, 5]]
    assert list(batches(iter([]), schema)) == []


def test_an_image_over_the_limit_is_a_reject():
    small = dataclasses.replace(HOW, max_pixels=150 * 100 - 1)
    assert assert_row_or_reject(FILES[0], small).reject["reason"] == "too_many_pixels"
    assert assert_row_or_reject(FILES[0], dataclasses.replace(HOW, max_pixels=150 * 100)).row is not None


def test_a_damaged_photograph_is_a_reject_or_a_row_with_a_flag():
    noise = np.random.default_rng(0).integers(0, 256, (100, 150, 3)).astype(np.uint8)
    data = encode_jpeg(noise, quality=90)
    data = data[: len(data) // 2] + bytes(300) + data[len(data) // 2 + 300 :]
    for how in METHODS:
        found = assert_row_or_reject(data, how)
        assert found.reject["reason"] == "damaged"
        assert "Corrupt JPEG data" in found.reject["row"]
        kept = assert_row_or_reject(data, dataclasses.replace(how, damaged="keep"))
        assert kept.row["damaged"]
        assert kept.card["damaged"]
        assert list(counted(kept.row))[-1] == "damaged"
        assert (
            assert_row_or_reject(data[:-300], dataclasses.replace(how, damaged="keep")).reject["reason"] == "truncated"
        )


def test_threads_hold_one_image_or_so_many_pixels_at_once(monkeypatch):
    monkeypatch.setattr(module, "MAX_PIXELS", 10)
    held, most = [], []

    def work(pixels):
        with module.pixels_at_work(pixels):
            held.append(pixels)
            most.append(list(held))
            time.sleep(0.002)
            held.remove(pixels)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [3, 4, 25, 5, 6, 3, 10, 1, 2, 30, 4] * 5))
    assert all(sum(at_once) <= 10 or len(at_once) == 1 for at_once in most)
    assert max(map(len, most)) > 1
    with module.pixels_at_work(25):  # nobody is at work any more: it would wait
        pass


def test_a_pipeline_of_someone_else_prints_no_warning(tmp_path, caplog):
    (tmp_path / "images").mkdir()
    for number, data in enumerate([*FILES, b"no image"]):
        (tmp_path / f"images/{number}.jpg").write_bytes(data)
    units = list_images([list_files(str(tmp_path / "images"))], ShardColumns(), unit_images=1)
    listing = str(tmp_path / "listing.parquet")
    write_units(units, listing)
    finder = DoOnce(work=extract_unit, folder=str(tmp_path), arguments={"listing": listing, "extraction": HOW})
    gather = GatherScratch(scratch="_rejects", dataset="rejects", schema=REJECTS, folder=str(tmp_path))
    with caplog.at_level(logging.WARNING), beam.Pipeline(runner="FnApiRunner") as pipeline:
        numbered = pipeline | beam.Create([(str(number), number) for number in range(units.count)])
        done = numbered | beam.Reshuffle() | "Find" >> finder
        rejects = done.scratch | gather | "Rejects" >> beam.Reshuffle()
        files = done.files | "Files" >> beam.Reshuffle() | beam.Filter(lambda file: file.dataset == "regions")
        counters = done.counters | "Counters" >> beam.Reshuffle() | beam.Map(lambda counters: counters["rejects"])
        assert_that(files | "Rows" >> beam.Map(lambda file: file.rows), equal_to([1, 1]), label="regions")
        assert_that(rejects | beam.Map(lambda file: (file.dataset, file.rows)), equal_to([("rejects", 1)]))
        assert_that(counters, equal_to([0, 0, 1]), label="counted")
    assert [record.getMessage() for record in caplog.records] == []


@pytest.mark.parametrize("find", [find_salient_region, find_region_original])
def test_the_region_finder_in_a_pipeline_of_someone_else_prints_no_warning(find, caplog):
    def box(data: bytes) -> tuple[int, int]:
        region = find(decode_image(data)[0])
        return region.mask.pixels().shape

    with caplog.at_level(logging.WARNING), beam.Pipeline(runner="FnApiRunner") as pipeline:
        shapes = pipeline | beam.Create(FILES) | beam.Reshuffle() | beam.Map(box) | "Again" >> beam.Reshuffle()
        assert_that(shapes, equal_to([(100, 150)] * 2))
    assert [record.getMessage() for record in caplog.records] == []
