"""Made-up titles: the same bytes for the same arguments, plausible, and as hostile as they say."""

import csv
from collections import Counter

import pytest

from molino.transforms.titles import sample as module
from molino.transforms.titles.keys import fold
from molino.transforms.titles.sample import HEADER, HOSTILE, UNCLOSED, sample_titles


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, strict=True)
    assert tuple(header) == HEADER
    return rows


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    path = tmp_path_factory.mktemp("sample") / "t.csv"
    return path, sample_titles(str(path), rows=20_000, seed=3)


def test_same_arguments_same_bytes_and_another_seed_others(tmp_path):
    data = set()
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        sample_titles(str(tmp_path / name), rows=500, seed=seed)
        data.add((tmp_path / name).read_bytes())
    assert len(data) == 2


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 20])
def test_rows_add_up_at_every_block_border(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_ROWS", 8)
    assert sample_titles(str(tmp_path / "t.csv"), rows=rows, hostile=False)["rows"] == rows
    assert len(rows_of(tmp_path / "t.csv")) == rows


def test_titles_are_plausible(sample):
    rows = rows_of(sample[0])
    titles = [title for title, *_ in rows]
    assert len({category for *_, category in rows}) == 90
    assert Counter(language for _, _, language, _ in rows).keys() == {"spanish", "portuguese"}
    assert Counter(quality for _, quality, *_ in rows).keys() == {"reliable", "unreliable"}
    sizes = sorted(Counter(category for *_, category in rows).values(), reverse=True)
    assert sizes[0] > 5 * sizes[45] > 5 * 50
    share = {what: sum(map(test, titles)) / len(titles) for what, test in TRAITS.items()}
    assert {what: round(share[what], 3) for what in share if share[what] < 0.0005} == {}


TRAITS = {
    "double spaces": lambda title: "  " in title,
    "a space at an end": lambda title: title != title.strip(" "),
    "accents": lambda title: not title.isascii(),
    "quotes": lambda title: '"' in title,
    "commas": lambda title: "," in title,
    "line ends": lambda title: "\n" in title,
    "emoji": lambda title: "🔥" in title or "✅" in title,
    "inverted marks": lambda title: "¡" in title,
}


def test_copies_near_copies_and_conflicts_are_there(sample):
    path, wrote = sample
    rows = rows_of(path)
    distinct = {(title, category) for title, _, _, category in rows}
    titles = {title for title, _ in distinct}
    near = {" ".join(sorted(fold(title).split())) for title in titles}
    assert min(wrote["copies"], wrote["near_copies"], wrote["conflicts"]) > 50
    assert len(rows) - len(distinct) >= wrote["copies"]
    assert len(titles) - len(near) > wrote["near_copies"] / 2
    assert len(distinct) - len(titles) > wrote["conflicts"] / 2


def test_hostile_rows_are_counted_and_leave_the_others_alone(tmp_path):
    sample_titles(str(tmp_path / "clean"), rows=300)
    wrote = sample_titles(str(tmp_path / "hostile"), rows=300, hostile=True)
    assert wrote["hostile"] == {**{reason: 2 * len(lines) for reason, lines in HOSTILE.items()}, "unclosed_quote": 1}
    data = (tmp_path / "hostile").read_bytes()
    for hostile in (HOSTILE | UNCLOSED, HOSTILE):
        data = data.replace(b"".join(line for lines in hostile.values() for line in lines), b"")
    assert data == (tmp_path / "clean").read_bytes()


def test_an_interrupted_run_leaves_what_was_there(tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text("before")
    monkeypatch.setattr(module, "_block", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        sample_titles(str(tmp_path / "t.csv"), rows=5)
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
    assert (tmp_path / "t.csv").read_text() == "before"


def test_impossible_numbers_are_refused(tmp_path):
    with pytest.raises(ValueError, match="rows=-1"):
        sample_titles(str(tmp_path / "t.csv"), rows=-1)
