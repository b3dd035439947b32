"""The report of the names job: right numbers, nobody's CURP, and no page that acts on whoever opens it."""

import collections
import re

import numpy as np
import pyarrow as pa
import pytest

from molino.schemas.names import APELLIDOS, NOMBRES, REPAIRS
from molino.transforms.names.report import TERMS, names_report, people_by, top_rows
from molino.transforms.report.run import RunFacts
from tests.transforms.report.test_page import HOSTILE, Parsed, assert_harmless

CURP = "HEGG560427MVZRRL04"
BIRTHS = pa.schema([("birth_year", pa.int16()), ("age", pa.int16()), ("sex", pa.string()), ("people", pa.int64())])
EVIDENCE = ("symbol", "curp", "same_person", "contradicted", "insufficient")


def _apellidos(names, first=None) -> pa.Table:
    counts = first or [1000 // (n + 1) for n in range(len(names))]
    return pa.table([names, counts, counts[::-1]], schema=APELLIDOS)


def _nombres(names) -> pa.Table:
    counts = np.array([1000 // (n + 1) for n in range(len(names))], np.int64)
    return pa.table([names, counts, [40.5] * len(names), counts / max(counts.sum(), 1)], schema=NOMBRES)


def _repairs(names) -> pa.Table:
    rows = [
        ("apellido", name, name, n % 5 < 3, EVIDENCE[n % 5], 100 + n, 7, 5, 0, 1)  # in the order of the schema
        for n, name in enumerate(names)
    ]
    return pa.table([list(column) for column in zip(*rows, strict=True)], schema=REPAIRS)


def _births() -> pa.Table:
    rows = [(1900 + n, 120 - n, "HM"[n % 2], 10 * n + 1) for n in range(100)]
    rows += [(None, None, "H", 3), (None, None, None, 2), (1980, 40, None, 5), (2030, -1, "H", 1)]
    return pa.table([list(column) for column in zip(*rows, strict=True)], schema=BIRTHS)


def _arguments(**changes) -> dict:
    names = [f"NAME {n}" for n in range(60)]
    arguments = {
        "apellidos": _apellidos(names),
        "hombres": _nombres(names),
        "mujeres": _nombres(names),
        "births": _births(),
        "counters": {
            "rows_read": 1000,
            "people": 900,
            "duplicates": 80,
            "conflicts": 7,
            "rejects": 20,
            "rejects.too_few_fields": 15,
            "rejects.something_new": 5,
            "curp.format": 3,
            "a.new_one": 1,
        },
        "options": {"threshold": 5, "output": "out", "inputs": ["a", "b"], "pivot": None},
        "inputs": [{"path": "a.csv", "bytes": 1234567}, {"path": "b.csv", "bytes": 1}],
        "warnings": ["look here"],
        "repairs": _repairs(names),
    }
    return {**arguments, **changes}


def report(*, counters, options, inputs, warnings, **tables) -> str:
    facts = RunFacts(
        terms=TERMS,
        balance=("rows_read", ("people", "duplicates", "rejects")),
        counters=counters,
        options=options,
        inputs=inputs,
        warnings=warnings,
    )
    return names_report(**tables, facts=facts)


def _everywhere(text: str) -> dict:
    """Return arguments with `text` wherever a stranger could have put it."""
    return _arguments(
        apellidos=_apellidos([text]),
        hombres=_nombres([text]),
        mujeres=_nombres([text]),
        counters={"rows_read": 9, "people": 9, text: 1, f"rejects.{text}": 2},
        options={text: text, "list": [text]},
        inputs=[{"path": text, "bytes": 1}],
        warnings=[text],
        repairs=_repairs([text]),
    )


def _nothing() -> dict:
    arguments = _arguments()
    return {key: value[:0] if isinstance(value, pa.Table) else type(value)() for key, value in arguments.items()}


def test_the_report_is_harmless_and_every_picture_has_words():
    found = assert_harmless(report(**_arguments()))
    pictures = found.pictures()
    assert len(pictures) == 4
    assert len({alt for _, alt in pictures}) == 4
    assert "Men are most numerous in 1998 with 981" in pictures[1][1]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_and_does_nothing(text):
    found = assert_harmless(report(**_everywhere(text)))
    assert found.text.count(text) >= 12


@pytest.mark.parametrize("curp", [CURP, CURP.lower(), f"/data/{CURP}.csv", CURP[:16]])
def test_no_curp_is_ever_shown(curp):
    html = report(**_everywhere(curp))
    assert CURP[:16].lower() not in html.lower()
    assert Parsed(html).text.count("[CURP]") >= 12


@pytest.mark.parametrize("name", ["key", "curp_key", "curp-key", "hash.secret", "TOKEN", "db_password", "salt"])
def test_an_option_named_like_a_key_is_masked(name):
    html = report(**_arguments(options={name: "hunter2", "keep_curp": "visible"}))
    assert "hunter2" not in html
    assert "(hidden)" in html
    assert "visible" in html


def test_no_rows_at_all():
    html = report(**_nothing())
    assert_harmless(html)
    assert html.count("No data</") == 12
    assert "do not add up" not in html


def test_tables_without_chunks_and_zeros_everywhere():
    empty = pa.chunked_array([], pa.int64())
    apellidos = pa.table([pa.chunked_array([], pa.string()), empty, empty], schema=APELLIDOS)
    zeros = dict.fromkeys(_arguments()["counters"], 0)
    births = pa.table([[1980], [40], ["H"], [0]], schema=BIRTHS)
    below = _apellidos(["A", "B"], [0, 0])
    assert_harmless(report(**_arguments(apellidos=apellidos, counters=zeros, births=births)))
    assert_harmless(report(**_arguments(apellidos=below, births=births)))


def test_the_bytes_do_not_depend_on_the_order_of_rows_or_keys():
    arguments = _arguments()
    random = np.random.default_rng(0)
    shuffled = {}
    for key, value in arguments.items():
        if isinstance(value, pa.Table):
            mixed = value.take(random.permutation(value.num_rows))
            value = pa.concat_tables([mixed[:7], mixed[7:]])
        elif isinstance(value, dict):
            value = dict(reversed(value.items()))
        shuffled[key] = value
    assert report(**shuffled) == report(**arguments)


def test_the_numbers_are_on_the_page():
    text = Parsed(report(**_arguments())).text
    for expected in ("1,234,567", "90.00%", "NAME 19", "75.00%", "something_new", "a.new_one", "2 files", "not set"):
        assert expected in text
    assert re.search(r"rows read\s*1,000\s+duplicate rows\s*80\s+conflicts\s*7\s+rejected rows\s*20\s", text)
    assert "36 names merged, 24 left as written" in text
    assert "Merged: the 30 that move most people" in text
    assert "Of unknown age and not shown: 5." in text


def test_without_repairs_there_is_no_section_on_them_and_the_tops_hold_twenty():
    text = Parsed(report(**_arguments(repairs=None))).text
    assert "Ñ put back" not in text
    assert "NAME 19" in text
    assert "NAME 20" not in text


@pytest.mark.parametrize(("people", "said"), [(900, None), (899, "1 fewer than"), (1900, "1,000 more than")])
def test_rows_that_do_not_add_up_are_the_first_warning(people, said):
    html = report(**_arguments(counters={**_arguments()["counters"], "people": people}))
    assert ("Every row is accounted for" in html) == (said is None)
    assert said is None or said in html.partition("look here")[0]


def test_long_lists_are_cut_and_say_so():
    inputs = [{"path": f"part-{n}", "bytes": 10} for n in range(1000)]
    text = Parsed(report(**_arguments(inputs=inputs, warnings=["w"] * 1000))).text
    assert text.count("part-") == 50 + 3  # three in the header
    assert text.count("… and 950 more") == 2
    assert "9,500" in text


def test_people_of_no_known_sex_are_a_series_of_their_own_and_the_oldest_share_a_group():
    ages, births = Parsed(report(**_arguments())).pictures()[:2]
    for svg, _ in (ages, births):
        assert all(f">{sex}</text>" in svg for sex in ("Men", "Women", "Not known"))
    assert ">100+</text>" in ages[0]
    assert ">110" not in ages[0]
    assert ">120" not in ages[0]


def test_people_by_agrees_with_counting_one_by_one():
    births = _births()
    expected = collections.Counter()
    for row in births.to_pylist():
        if row["age"] is not None and row["age"] >= 0:
            expected[row["sex"], row["age"]] += row["people"]
    found = people_by(births, "age", lowest=0)
    assert {(sex, age): people for sex, ages in found.items() for age, people in ages.items()} == expected


def test_top_rows_agrees_with_sorting_and_breaks_ties_by_name():
    random = np.random.default_rng(0)
    table = _apellidos([f"N{n}" for n in range(500)], random.integers(0, 20, 500).tolist())
    rows = [row for row in table.to_pylist() if row["frec_pri"]]
    expected = sorted(rows, key=lambda row: (-row["frec_pri"], row["apellido"]))
    assert top_rows(table, "frec_pri", "apellido", 20) == expected[:20]
    assert top_rows(table, "frec_pri", "apellido", 1000) == expected
