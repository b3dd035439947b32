"""The benchmark of the titles job: what is wrong must be told, and titles must be distinct."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import titles
from benchmarks.harness import Measure, Result
from benchmarks.titles_embed import Rate


def test_inputs_are_distinct_titles_and_the_large_one_has_them_turned_too(tmp_path):
    texts = [f"título {n % 300} rojo fino" for n in range(400)]
    categories = pa.array([f"C{n % 7}" for n in range(300)] + [f"C{n % 7}" for n in range(100)]).dictionary_encode()
    pq.write_table(pa.table({"title": texts, "category": categories, "x": range(400)}), tmp_path / "p.parquet")
    files = titles.make_titles(tmp_path, tmp_path / "p.parquet", 200)
    assert list(files) == [200, 800]
    small, large = (pq.read_table(path).to_pydict() for path in files.values())
    category_of = dict(zip(large["title"], large["category"], strict=True))
    assert len(set(small["title"])) == 200
    assert small["title"] != sorted(small["title"])
    for title, category in zip(small["title"], small["category"], strict=True):
        words = title.split(" ")
        turned = [" ".join(words[turn:] + words[:turn]) for turn in range(titles.TIMES)]
        assert [category_of.pop(each) for each in turned] == [category] * titles.TIMES
    assert not category_of


def test_titles_that_are_each_other_turned_stay_distinct(tmp_path):
    table = pa.table({"title": ["a b", "b a", "c", "d e f"], "category": ["A", "B", "A", "B"]})
    pq.write_table(table, tmp_path / "p.parquet")
    files = titles.make_titles(tmp_path, tmp_path / "p.parquet", 4)
    large = pq.read_table(list(files.values())[-1]).to_pydict()
    assert sorted(large["title"]) == sorted(["a b", "b a", "c", "d e f", "e f d", "f d e"])
    assert dict(zip(large["title"], large["category"], strict=True))["b a"] == "B"


def test_inputs_are_made_up_where_there_are_no_published_ones(tmp_path):
    files = titles.make_titles(tmp_path, None, 500)
    assert set(pq.read_table(files[500]).column_names) == {"title", "category"}


@pytest.mark.parametrize(("found", "told"), [(7, []), (6, ["6 titles, not 7"])])
def test_a_program_that_embeds_another_number_is_told_of(found, told, tmp_path):
    (tmp_path / "log").write_text(f"noise\n{found} titles\n")
    assert titles.check(tmp_path / "nothing", tmp_path / "log", 7) == told
    (tmp_path / "_manifest.json").write_text(json.dumps({"datasets": {"titles": {"rows": found}}}))
    assert titles.check(tmp_path, tmp_path / "log", 7) == told


def test_the_section_has_sizes_slopes_and_rates():
    def result(seconds):
        return Result(runs=[Measure(wall=seconds, cpu=seconds, peak=10**9)])

    results = {rows: {program.name: result(3 + rows / 1e6) for program in titles.PROGRAMS} for rows in (100, 1_000_100)}
    text = titles.render(results, {"hub_1024": Rate(per_second=1000.0)}, ["a machine"], real=False)
    assert "### 1,000,100 titles" in text
    assert f"| {titles.REFERENCE} | 100 and 1,000,100 rows | 1.00 | 1.00 | 1.0 | 1.0 |" in text
    assert "Made-up titles" in text
    assert "hub.load, 1,024 titles a call" in text


def test_every_model_has_a_column_that_the_job_takes():
    from molino.jobs.titles import named_model

    for program in titles.PROGRAMS:
        given = [
            word for before, word in zip(program.arguments, program.arguments[1:], strict=False) if before == "--model"
        ]
        assert [named_model(word)[1].rpartition("/")[2] for word in given] in ([], titles.ONE, titles.ALL)
