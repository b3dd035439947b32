"""What a CURP says, against plain Python and the regular expression of the registry."""

import hmac
import re

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that
from hypothesis import given
from hypothesis import strategies as st

from molino.transforms.names import curp
from molino.transforms.names.curp import curp_faults, curp_matrix, normalize_curp, parse_curp, protect_curp
from molino.transforms.names.people import VerifiedRows, verify_curps
from molino.transforms.rows.outputs import ParDoInto

DIGITS = "0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ"
FORM = re.compile(
    r"[A-Z][AEIOUX][A-Z]{2}\d{2}(?:(?:0[13578]|1[02])(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)(?:0[1-9]|[12]\d|30)|02(?:0[1-9]|[12]\d))"
    r"[HMX](?:" + "|".join(curp.STATES) + r")[B-DF-HJ-NP-TV-Z]{3}[A-Z\d]\d"
)


def check_digit(text):
    return str(-sum(DIGITS.index(c) * (18 - i) for i, c in enumerate(text[:17])) % 10)


@st.composite
def well_formed(draw):
    text = (
        draw(
            st.from_regex(r"[A-Z][AEIOUX][A-Z]{2}[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])[HMX]", fullmatch=True)
        )
        + draw(st.sampled_from(curp.STATES))
        + draw(st.from_regex(r"[BCDFGX]{3}[0-9A-Z]", fullmatch=True))
    )
    return text + (check_digit(text) if draw(st.booleans()) else draw(st.sampled_from("0123456789")))


ANY = st.lists(well_formed() | st.text(max_size=20) | st.from_regex(r"[A-Z]{4}[0-9]{6}[HMX][A-Z]{5}..", fullmatch=True))


@given(ANY)
def test_faults_are_those_of_the_regular_expression(texts):
    expected = [1 if not FORM.fullmatch(t) or not t.isascii() else 2 if t[17] != check_digit(t) else 0 for t in texts]
    assert curp_faults(pa.array(texts, pa.string())).tolist() == expected


@given(ANY, ANY)
def test_the_matrix_is_the_text(before, texts):
    array = pa.array(before + texts, pa.string()).slice(len(before))
    expected = [t[:18].encode("ascii", "replace").ljust(18, b"\0") for t in texts]
    assert [bytes(row) for row in curp_matrix(array)] == expected


@given(ANY, st.booleans(), st.integers(1900, 2030))
def test_sex_year_and_age_are_the_characters(texts, century, reference_year):
    columns, counts = parse_curp(pa.array(texts, pa.string()), reference_year=reference_year, century=century)
    for i, text in enumerate(texts):
        ascii_text = text.encode("ascii", "replace").decode()
        sex = ascii_text[10:11] if ascii_text[10:11] in ("H", "M") else None
        year = 1900 + int(ascii_text[4:6]) if re.fullmatch(r"[0-9]{2}", ascii_text[4:6]) else None
        if century and year is not None:
            mark = ascii_text[16:17]
            year = year + 100 if "A" <= mark <= "Z" else year if mark.isdigit() and mark else None
        age = reference_year - year if year is not None and year <= reference_year else None
        assert [columns[name][i].as_py() for name in ("sex", "birth_year", "age")] == [sex, year, age]
    assert counts["sex.unknown"] + counts["sex.x"] == columns["sex"].null_count
    assert counts["sex.x"] == sum(
        text[10:11] == "X" and re.fullmatch("[0-9]{2}", text[4:6]) is not None for text in texts
    )
    assert counts["age.over_100"] == sum(age > 100 for age in columns["age"].to_pylist() if age is not None)
    assert counts["birth_year.unknown"] == columns["birth_year"].null_count
    assert counts["age.negative"] == columns["age"].null_count - columns["birth_year"].null_count


@given(st.lists(st.text("aA1 ñ\t", max_size=6)))
def test_normalising_is_done_once(texts):
    once, changed = normalize_curp(pa.array(texts, pa.string()))
    assert changed == sum(a != b for a, b in zip(texts, once.to_pylist(), strict=True))
    assert normalize_curp(once) == (once, 0)
    assert once.to_pylist() == ["".join(c.upper() if c.isascii() else c for c in t.strip()) for t in texts]


def test_protection():
    curps = pa.array(["HEGG560427MVZRRL04", ""])
    assert protect_curp(curps, "keep", b"") is curps
    assert protect_curp(curps, "drop", b"").null_count == 2
    key = b"0123456789abcdef"
    expected = [hmac.new(key, text.encode(), "sha256").hexdigest() for text in curps.to_pylist()]
    assert protect_curp(curps, "hash", key).to_pylist() == expected


def test_verify_counts_and_rejects_by_option():
    good, lower, wrong, odd = "HEGG560427MVZRRL04", " hegg560427mvzrrl04", "HEGG560427MVZRRL05", "HEGG"
    batch = pa.record_batch({"curp": [good, lower, wrong, odd], "name": ["a", "b", "c", "d"], "position": np.arange(4)})
    for reject in (False, True):
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            batches = pipeline | beam.Create([0]) | beam.Map(lambda _: batch).with_output_types(pa.RecordBatch)
            how = {"reject_invalid": reject}
            out = batches | ParDoInto(into=VerifiedRows, call=verify_curps, arguments=how)
            assert_that(
                out.counters,
                lambda found: np.testing.assert_equal(
                    [{name: n for name, n in counters.items() if n} for counters in found],
                    [{"curp.normalized": 1, "curp.format": 1, "curp.check_digit": 1, "curp.invalid": 2}],
                ),
            )
            kept = [good, good] if reject else [good, good, wrong, odd]
            assert_that(
                out.rows | "Curps" >> beam.FlatMap(lambda rows: rows["curp"].to_pylist()),
                lambda found, kept=kept: np.testing.assert_equal(found, kept),
                label="rows",
            )
            reasons = [("curp_check_digit", 2, "AAAA999999AAAAAA99|A"), ("curp_format", 3, "AAAA|A")] if reject else []
            assert_that(
                out.rejects
                | "Rows"
                >> beam.FlatMap(lambda r: zip(*(r[c].to_pylist() for c in ("reason", "position", "row")), strict=True)),
                lambda found, reasons=reasons: np.testing.assert_equal(found, reasons),
                label="rejects",
            )
