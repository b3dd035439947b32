"""Points and shapes, against the study's own definitions in plain Python."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molino.schemas.shapes import POINTS
from molino.transforms.shapes import points as module
from molino.transforms.shapes.points import (
    GENERATED,
    PROBLEMS,
    SPLITS,
    STUDY,
    STUDY_ROWS,
    Points,
    Problem,
    draw_block,
    draw_split,
    label_points,
    make_shard,
    parse_problem,
)

STUDY_POINTS = Points(kind=STUDY, rows=STUDY_ROWS, seed=0)
FIRST = [  # of training, validation and test
    (0.19356676274614237, 0.9274224946636476),
    (-0.16929567633877451, 0.1820988836903359),
    (-0.7906148184287953, 0.6385561833383608),
]
# percent true in training, validation and test, as the study's points have it
SHARES = {
    "positivos": (50.09, 50.58, 50.12),
    "linear": (49.96, 49.73, 50.09),
    "circle": (44.20, 43.37, 44.40),
    "ring": (33.25, 32.58, 33.20),
    "cos": (43.81, 43.48, 44.04),
    "polar": (19.64, 19.75, 19.65),
}


def plain_label(name, x, y, r):
    """Say whether a point lies in a shape, by the definition of the shape alone."""
    if name == "positivos":
        return x > 0
    if name == "linear":
        return y > x
    if name == "circle":
        return x * x + y * y < r * r
    if name == "ring":
        return (r / 2) * (r / 2) < x * x + y * y < r * r
    if name == "cos":
        return y - math.cos(r * x) > 0
    return math.sqrt(x * x + y * y) < math.sin(r * math.atan(y / x))


def test_the_study_s_points_are_its_own_bit_for_bit():
    assert [tuple(values[0] for values in draw_split(STUDY_POINTS, split)) for split in SPLITS] == FIRST
    for number, split in enumerate(SPLITS):
        generator = random.Random(19700601 + number)
        pairs = [(generator.uniform(-1, 1), generator.uniform(-1, 1)) for _ in range(10_000)]
        x, y = draw_split(STUDY_POINTS, split)
        assert list(zip(x[:10_000].tolist(), y[:10_000].tolist(), strict=True)) == pairs
    assert [len(draw_split(STUDY_POINTS, split)[0]) for split in SPLITS] == [200_000, 10_000, 10_000]


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_study_s_shares_of_each_class(name):
    problem = parse_problem(name)
    shares = [100 * label_points(problem, *draw_split(STUDY_POINTS, split)).mean() for split in SPLITS]
    assert shares == pytest.approx(SHARES[name], abs=0.005001)


@pytest.mark.parametrize("name", PROBLEMS)
def test_labels_are_those_of_the_definitions(name):
    problem = parse_problem(name)
    x, y = (values[:5000] for values in draw_split(STUDY_POINTS, "train"))
    expected = [plain_label(name, a, b, problem.r) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    assert label_points(problem, x, y).tolist() == expected


def test_another_radius_or_frequency_counts():
    x, y = draw_split(STUDY_POINTS, "test")
    for text in ("circle=0.5", "ring=0.9", "cos=3", "polar=2"):
        problem = parse_problem(text)
        expected = [plain_label(problem.name, a, b, problem.r) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
        assert label_points(problem, x, y).tolist() == expected


def test_the_angle_of_points_above_the_middle_is_a_right_one():
    y = np.array([0.5, -0.5, 0.0])
    labels = label_points(Problem("polar", 5.0), np.zeros(3), y)
    # sin(5·90°) is 1; below the middle it is -1, and in it there is no angle
    assert labels.tolist() == [True, False, False]


@settings(max_examples=25)
@given(rows=st.integers(1, 120), block=st.integers(1, 50), kind=st.sampled_from([GENERATED, STUDY]))
def test_a_split_is_its_blocks_and_rows_begin_alike(rows, block, kind):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_ROWS", block)
        draw_split.cache_clear()
        points = Points(kind=kind, rows=rows, seed=5)
        parts = [draw_block(points, "train", number) for number in points.blocks("train")]
        assert [len(part[0]) for part in parts[:-1]] == [block] * (len(parts) - 1)
        x, y = draw_split(points, "train")
        assert np.array_equal(np.concatenate([part[0] for part in parts]), x)
        assert np.array_equal(np.concatenate([part[1] for part in parts]), y)
        assert len(x) == rows
        assert ((x >= -1) & (x < 1) & (y >= -1) & (y < 1)).all()
        if kind == STUDY:
            generator = random.Random(19700601)
            assert x.tolist() == [(generator.uniform(-1, 1), generator.uniform(-1, 1))[0] for _ in range(rows)]
    draw_split.cache_clear()


def test_generated_points_depend_on_seed_and_split():
    drawn = [
        draw_split(Points(kind=GENERATED, rows=400, seed=seed), split)[0][:20].tolist()
        for seed in (1, 2)
        for split in SPLITS
    ]
    assert len({tuple(values) for values in drawn}) == 6


def test_rows_say_all_of_a_point():
    points = Points(kind=GENERATED, rows=100, seed=1)
    key, [batch] = make_shard(((0, 2, 0), parse_problem("cos=3"), "test", 0), points)
    assert key == (0, 2, 0)
    assert batch.schema.equals(POINTS, check_metadata=True)
    rows = batch.to_pylist()
    x, y = draw_split(points, "test")
    assert [(row["row"], row["x"], row["y"]) for row in rows] == list(
        zip(range(5), x.tolist(), y.tolist(), strict=True)
    )
    assert {(row["problem"], row["r"], row["split"]) for row in rows} == {("cos", 3.0, "test")}
    assert [row["label"] for row in rows] == label_points(parse_problem("cos=3"), x, y).tolist()
    assert make_shard(((0, 2, 0), parse_problem("linear"), "test", 0), points)[1][0]["r"].null_count == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("square", "'square' is no problem; there are positivos"),
        ("", "'' is no problem"),
        ("linear=2", "linear has neither"),
        ("circle=", "'' in 'circle=' is no number"),
        ("circle=wide", "'wide'"),
        ("circle=0", "above 0"),
        ("circle=-1", "above 0"),
        ("cos=nan", "above 0"),
        ("cos=inf", "at most 1000"),
    ],
)
def test_what_is_no_problem_is_told(text, said):
    with pytest.raises(ValueError, match=r"problem|number|above|neither") as error:
        parse_problem(text)
    assert said in str(error.value)


@given(st.sampled_from(["circle", "ring", "cos", "polar"]), st.floats(0.001, 1000))
def test_a_problem_s_text_reads_as_it(name, r):
    problem = Problem(name, float(f"{r:g}"))
    assert parse_problem(str(problem)) == problem
