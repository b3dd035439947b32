"""The benchmark of boxes around heads: its arithmetic, that no photograph chooses its own options, and a whole run."""

import math
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import whales_heads
from benchmarks.whales_heads import (
    NOTHING,
    Photograph,
    centred,
    covered,
    cut,
    draw,
    grow,
    grow_to_share,
    halves,
    in_parts,
    leave_one_out,
    middle_boxes,
    shares,
    sign_test,
    smallest_shares,
    tell_boxes,
    wilson,
)
from molino.transforms.whales.find_salient_region import SalientOptions

ROOT = Path(__file__).resolve().parents[2]
HEADS = np.array([[0.4, 0.4, 0.6, 0.6]] * 5)
BOXES = np.array(
    [[0.4, 0.4, 0.6, 0.6], [0.4, 0.4, 0.55, 0.6], [0.51, 0.3, 0.9, 0.9], [0, 0, 0.4, 1], [0.0, 0.0, 0.0, 0.0]]
)


def test_what_a_box_holds():
    assert covered(BOXES, HEADS).tolist() == pytest.approx([1, 0.75, 0.45, 0, 0])
    assert covered(BOXES, HEADS)[0] == 1
    assert centred(BOXES, HEADS).tolist() == [True, True, False, False, False]
    row = tell_boxes("x", BOXES, HEADS)
    assert row == ["x", "0.40", "0.40", "0.20", "0.40", "4.0 %"]


def test_boxes_grow_within_the_image_to_the_median_share():
    assert in_parts((10, 10, 20, 20), (40, 100)).tolist() == [0.1, 0.25, 0.3, 0.75]
    assert grow(np.array([[0.1, 0.4, 0.3, 0.5]]), 0.5)[0].tolist() == pytest.approx([0, 0.35, 0.4, 0.55])
    boxes = np.array([[0.4, 0.4, 0.6, 0.7], [0.0, 0.0, 0.3, 0.3], [0.7, 0.1, 1.0, 0.4]])
    for share in (0.05, 0.15, 0.4):
        assert np.median(shares(grow_to_share(boxes, share))) == pytest.approx(share)
        assert shares(middle_boxes(3, share)).tolist() == pytest.approx([share] * 3)


def test_the_figures_of_chance():
    assert wilson(8, 10) == pytest.approx((0.490, 0.943), abs=1e-3)  # Newcombe 1998's method 3
    assert wilson(0, 10)[0] == pytest.approx(0)
    assert sign_test(5, 0) == 0.0625
    assert sign_test(0, 0) == sign_test(3, 3) == 1
    assert sign_test(7, 2) == sign_test(2, 7) == pytest.approx(2 * sum(math.comb(9, k) for k in range(3)) / 512)


def test_no_photograph_chooses_its_own_options():
    rng = np.random.default_rng(0)
    smallest = rng.uniform(0.08, 0.35, (40, 12))
    chosen = leave_one_out(smallest)
    for place in range(12):
        others = np.delete(np.log(smallest), place, axis=1).mean(axis=1)
        assert chosen[place] == others.argmin()
        changed = smallest.copy()
        changed[:, place] = rng.permutation(changed[:, place])
        assert leave_one_out(changed)[place] == chosen[place]


def test_halves_are_judged_by_what_the_others_chose():
    # one combination is best for all: any half finds it
    smallest = np.full((3, 10), NOTHING)
    smallest[1] = 0.11
    assert halves(smallest, repeat=5) == [share >= 0.11 for share in whales_heads.SHARES]


def photograph(image, head):
    data = cv2.imencode(".png", image)[1].tobytes()
    parts = in_parts(head, image.shape[:2])
    return Photograph(name="x", shape=image.shape[:2], pixels=image, data=data, head=parts, original=parts)


@pytest.fixture
def scene():
    rng = np.random.default_rng(0)
    image = np.full((200, 300, 3), (110, 90, 50), np.float64) + rng.standard_normal((200, 300, 1)) * 3
    image[90:110, 120:200] = (50, 52, 56)
    return photograph(np.round(image).astype(np.uint8), (120, 90, 20, 20))


@pytest.mark.slow
def test_the_smallest_share_is_where_the_head_is_held(scene, monkeypatch):
    monkeypatch.setattr(whales_heads, "BODIES", {"threshold": (3.0,)})
    monkeypatch.setattr(whales_heads, "BOXES", {"head": (0.0, 0.6)})
    for (found,), options in zip(
        smallest_shares([scene]), (SalientOptions(head=0.0), SalientOptions(head=0.6)), strict=True
    ):
        for times, expected in ((1.1, 1), (0.9, 0)):
            assert found > 0.04
            wanted = SalientOptions(head=options.head, share=float(found * times))
            assert (covered(whales_heads.find_boxes([scene], wanted), scene.head[None])[0] == 1) == expected


@pytest.mark.slow
def test_a_cut_holds_the_whole_head(scene):
    rng = np.random.default_rng(0)
    places = []
    for _ in range(10):
        part = cut(scene, rng)
        assert part.shape == (140, 210)
        head = np.round(part.head * np.array([210, 140] * 2)).astype(int)
        assert (head[2] - head[0], head[3] - head[1]) == (20, 20)
        assert part.pixels.shape == (140, 210, 3)
        # the head is the animal's left end
        assert part.pixels[head[1] : head[3], head[0] : head[2], 0].max() < 60
        places.append(tuple(head))
    assert len(set(places)) > 5


def test_the_picture_is_drawn(tmp_path):
    rows = [np.arange(25) < count for count in range(2, 12)]
    draw(dict.fromkeys(("unseen", "saliency", "original", "middle"), rows), 25, tmp_path / "new/x.png")
    assert (tmp_path / "new/x.png").read_bytes().startswith(b"\x89PNG")


def test_without_photographs_it_says_so(tmp_path):
    with pytest.raises(SystemExit, match="there are no photographs"):
        whales_heads.main(["--photographs", str(tmp_path)])


@pytest.mark.slow
def test_the_whole_benchmark():
    if not (whales_heads.PHOTOGRAPHS / "heads.json").exists():
        pytest.skip(f"no photographs in {whales_heads.PHOTOGRAPHS}")
    done = subprocess.run(
        [sys.executable, "benchmarks/whales_heads.py"], cwd=ROOT, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    # the page has the same figures
    assert done.stdout.strip() in (ROOT / "docs/whales-saliency.md").read_text(encoding="utf-8")
