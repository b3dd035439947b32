"""Quoted text: the fast way gives what Python's csv module gives, record for record and reject for reject."""

import csv
import dataclasses
import io
import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molino.transforms.text import quoted, sources
from molino.transforms.text.command_line import CommandLine
from molino.transforms.text.encodings import warn_of_text
from molino.transforms.text.position import LINE_BITS

TEXT = sources.TextFormat(
    columns={"b": "B", "a": "A", "none": "N"}, optional=("none",), delimiter=",", encoding="utf-8", quote='"',
    max_line_bytes=40,
)  # fmt: skip
SOURCE = sources.Source(
    path="f",
    label="f",
    kind="plain",
    member="",
    bytes=0,
    header=("A", "X", "B"),
    columns={"b": "B", "a": "A"},
    start=0,
    empty=False,
)


def parse(data, cuts=(), text=TEXT):
    """Return ([(line, values)], [(line, reason, shape)]) of a text that arrives in blocks of whole lines."""
    lines = data.splitlines(keepends=True)
    bounds = [0, *sorted(cut for cut in cuts if cut < len(lines)), len(lines)]
    blocks = (b"".join(lines[start:end]) for start, end in itertools.pairwise(bounds))
    rows, rejects, total = [], [], 0
    for chunk in quoted.parse_quoted((block for block in blocks if block), SOURCE, text, 3):
        assert chunk.records == chunk.rows.num_rows + chunk.rejects.num_rows
        assert chunk.rows.schema == text.schema
        total += chunk.bytes
        rows += [(row.pop("position") - (3 << LINE_BITS), row) for row in chunk.rows.to_pylist()]
        rejects += [
            (row["position"] - (3 << LINE_BITS), row["reason"], row["row"]) for row in chunk.rejects.to_pylist()
        ]
    assert total == len(data)
    return rows, rejects


def slowly(data, cuts=(), text=TEXT):
    """Return what the csv module alone makes of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quoted, "parse_clean_records", lambda *_, **__: None)
        return parse(data, cuts, text)


CLEAN = st.lists(st.text('ab", \nñ€', max_size=5), min_size=3, max_size=3).map(
    lambda fields: ",".join('"' + field.replace('"', '""') + '"' for field in fields)
)
PLAIN = st.lists(st.text("abñ 9'", max_size=5), min_size=3, max_size=3).map(",".join)
ODD = st.one_of(
    st.text('ab", \r\n\0ñ', max_size=12),
    st.sampled_from(
        ['a,b"c,d', '"a"b,c,d', '"open,b,c', "a,b", "a,b,c,d", "", '""', "x" * 50, '"a\r\nb",c,d', ' "a",b,c']
    ),
)
RECORDS = st.lists(st.one_of(CLEAN, PLAIN, ODD), max_size=30)


@settings(max_examples=400, deadline=None)
@given(
    RECORDS, st.sampled_from(["\n", "\r\n", "\r"]), st.booleans(), st.sets(st.integers(1, 40)),
    st.sampled_from([90, 300, 1 << 18]), st.sampled_from([1, 3, 256]), st.binary(max_size=3),
)  # fmt: skip
def test_the_fast_way_gives_what_the_csv_module_gives(records, end, last, cuts, window, run, junk):
    data = end.join(records).encode() + junk + (end.encode() if last else b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quoted, "WINDOW", window)
        patch.setattr(quoted, "ODD_RUN", run)
        patch.setattr(quoted, "CHUNK_RECORDS", 5)
        assert parse(data, cuts) == slowly(data)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200).map(lambda data: data.translate(bytes(b'",\n\ra\xc3\xb1b"'[i % 9] for i in range(256)))))
def test_any_bytes_give_what_the_csv_module_gives(data):
    assert parse(data) == slowly(data)


def test_a_clean_text_never_goes_the_slow_way(monkeypatch):
    monkeypatch.setattr(quoted, "parse_odd_records", None)
    random.seed(1)
    records = [["".join(random.choices('ab", \nñ', k=random.randint(0, 9))) for _ in range(3)] for _ in range(5000)]
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(records)
    rows, rejects = parse(out.getvalue().encode(), text=dataclasses.replace(TEXT, max_line_bytes=200))
    assert [(row["a"], row["b"], row["none"]) for _, row in rows] == [(a, b, None) for a, _, b in records]
    assert rejects == []


def test_an_odd_record_costs_no_more_than_its_neighbours(monkeypatch):
    calls = []
    real = quoted.parse_odd_records
    monkeypatch.setattr(quoted, "parse_odd_records", lambda *args, **how: calls.append(1) or real(*args, **how))
    rows, rejects = parse(b"a,b,c\n" * 30_000 + b'TV 32" LED,b,c\n' + b"a,b,c\n" * 30_000)
    assert (len(rows), len(rejects), len(calls)) == (60_001, 0, 1)
    assert rows[30_000] == (30_000, {"a": 'TV 32" LED', "b": "c", "none": None})


@pytest.mark.parametrize(
    ("record", "reason", "letter"),
    [
        (b'24" LCD,x,y', "", True),
        (b'24" x 32" LCD,"new, boxed",y', "", True),
        (b'24" LCD,"""new"", boxed",y', "", True),
        (b'"a ""b"" c",d,"e,f"', "", False),
        (b'$78"Table, 48""",x,y', "bad_quoting", False),
        (b'$78"Table, 48""",x', "bad_quoting", False),
        (b'x,$33"Shirt\', plaid"', "bad_quoting", False),
        (b"a,b,c,", "trailing_delimiter", False),
        (b"a,b,c,d", "too_many_fields", False),
    ],
)
def test_a_quote_within_an_unquoted_field_is_a_letter_or_a_reject(record, reason, letter):
    rows, rejects, counters = [], [], {}
    for chunk in quoted.parse_quoted(iter([b"a,b,c\n" * 3 + record + b"\na,b,c\n"]), SOURCE, TEXT, 3):
        rows += chunk.rows["position"].to_pylist()
        rejects += zip(chunk.rejects["position"].to_pylist(), chunk.rejects["reason"].to_pylist(), strict=True)
        counters = dict(chunk.counters)
    place = (3 << LINE_BITS) + 3
    assert rejects == ([(place, reason)] if reason else [])
    assert (place in rows) == (not reason)
    assert counters == ({quoted.STRAY: 1} if letter else {})
    if letter:
        assert counters[quoted.STRAY].place == place
        [warning] = warn_of_text(counters, encoding="utf-8", command=CommandLine())
        assert warning.count == 1
