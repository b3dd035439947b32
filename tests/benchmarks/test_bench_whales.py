"""The benchmark of the whales job: it must not call different finds equal, nor hide what differs."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import whales
from benchmarks.harness import Measure, Result
from benchmarks.whales import compare, make_input, marginal_table, overlap, read_found, render

ROOT = Path(__file__).resolve().parents[2]
FOUND = {"a.jpg": ([10, 10, 20, 20], 2, 500), "b.jpg": (None, 0, 0)}


def test_equal_finds_are_equal():
    assert compare(FOUND, dict(FOUND)) == []
    assert compare(FOUND, None) == ["finds nothing"]


@pytest.mark.parametrize(
    ("key", "other", "told"),
    [
        ("a.jpg", ([10, 10, 20, 20], 3, 500), "1 of 2 images; overlap of boxes 1.000, 1.000 at least"),
        ("a.jpg", ([10, 10, 20, 20], 2, 501), "1 of 2 images; overlap of boxes 1.000, 1.000 at least"),
        ("a.jpg", ([10, 20, 20, 20], 2, 500), "1 of 2 images; overlap of boxes 0.667, 0.333 at least"),
        ("b.jpg", ([10, 10, 20, 20], 0, 0), "1 of 2 images; overlap of boxes 0.500, 0.000 at least"),
    ],
)
def test_what_differs_is_told(key, other, told):
    assert compare(FOUND, FOUND | {key: other}) == [told]


def test_a_missing_image_is_told():
    assert compare(FOUND, {"a.jpg": FOUND["a.jpg"]}) == ["other images"]


def test_overlap_of_boxes():
    assert overlap([0, 0, 4, 4], [4, 0, 4, 4]) == overlap([0, 0, 4, 4], None) == 0
    assert overlap([3, 3, 4, 4], [3, 3, 4, 4]) == overlap(None, None) == 1


def _result(*seconds):
    return Result(runs=[Measure(wall=wall, cpu=wall, peak=10**8) for wall in seconds])


def test_the_start_is_left_out_of_what_an_image_costs():
    small = {whales.RATIO_TO: _result(1.0), "job": _result(4.0, 3.0), "gone": Result(failed="failed")}
    large = {whales.RATIO_TO: _result(2.0), "job": _result(5.0), "gone": _result(9.0), "new": _result(1.0)}
    assert marginal_table({10: small, 110: large})[2:] == [
        "| simplejpeg, 1 core | 10.0 | 1.00 |",
        "| job | 20.0 | 0.50 |",
    ]
    told = render({10: small, 110: large}, ["a machine"], whales.PROGRAMS)
    assert "### 10 images" in told
    assert "| job | 20.0 | 0.50 |" in told


def test_every_image_is_there_as_often_as_asked(tmp_path):
    (tmp_path / "photographs").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "photographs" / name).write_bytes(name.encode())
    folder, images = make_input(tmp_path, tmp_path / "photographs", 3)
    assert images == 6
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.jpg"))[:3] == [
        "0/a.jpg",
        "0/b.jpg",
        "1/a.jpg",
    ]
    assert (folder / "2/b.jpg").read_bytes() == b"b.jpg"


@pytest.mark.slow
def test_the_peers_find_the_same(tmp_path):
    image = np.full((400, 600, 3), (90, 70, 40), np.uint8)
    image[100:200, 300:500] = (20, 30, 160)
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in/a.jpg"), image)
    found = []
    for script, more in (("whales_original.py", ()), ("whales_decode.py", ("find",)), ("whales_decode.py", ("half",))):
        output = tmp_path / f"out-{len(found)}"
        output.mkdir()
        command = ["benchmarks/pin.py", "1", f"benchmarks/peers/{script}", str(tmp_path / "in"), str(output), *more]
        subprocess.run([sys.executable, *command], cwd=ROOT, check=True)
        found.append(read_found(output))
    assert found[0] == found[1]
    assert found[0]["a.jpg"][1] == 1
    assert found[2] is None
