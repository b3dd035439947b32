import csv
import doctest
import re
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molino.transforms.names import sample as module
from molino.transforms.names.sample import HEADER, JUNK, STYLES, sample_names

NAMES = ["PRIMERAPELLIDO", "SEGUNDOAPELLIDO", "NOMBRESTRABAJADOR"]
CURP = re.compile(r"[A-Z][AEIOUX][A-Z]{2}\d{6}[HM][A-Z]{2}[B-DF-HJ-NP-TV-Z]{3}\d\d")


def read(*files):
    """The oracle: every field as text, as it stands."""
    parts = [
        pd.read_csv(
            file,
            sep="|",
            encoding="latin-1",
            dtype=str,
            keep_default_na=False,
            quoting=csv.QUOTE_NONE,
            lineterminator="\n",
        )
        for file in files
    ]
    return pd.concat(parts, ignore_index=True)


def check_digit(curp):
    total = sum("0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ".index(c) * (18 - i) for i, c in enumerate(curp[:17]))
    return str((10 - total % 10) % 10)


def reject_reason(line):
    """Why a job rejects a line, or None."""
    if b"\0" in line:
        return "nul_byte"
    if not line:
        return "empty_line"
    bars = line.count(b"|")
    if bars == 10 and line.endswith(b"|"):
        return "trailing_delimiter"
    return "too_few_fields" if bars < 9 else "too_many_fields" if bars > 9 else None


@pytest.fixture(scope="module")
def payroll(tmp_path_factory):
    """20,000 rows in seven blocks: the summary and the table."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_ROWS", 3_000)
        summary = sample_names(str(tmp_path_factory.mktemp("payroll") / "payroll.txt"), rows=20_000)
    return summary, read(*summary["files"])


@pytest.fixture
def people(payroll):
    """The first row of each person, with a readable CURP."""
    rows = payroll[1].drop_duplicates("CURP")
    return rows[rows.CURP.map(lambda curp: bool(CURP.fullmatch(curp)))]


def test_doctests():
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


def test_same_arguments_same_bytes_and_another_seed_others(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    for path, seed in zip(paths, (7, 7, 8), strict=True):
        sample_names(str(path), rows=2_000, seed=seed)
    a, b, c = (path.read_bytes() for path in paths)
    assert a == b
    assert len(set(a.splitlines()) & set(c.splitlines())) == 1  # the header


@pytest.mark.parametrize("rows", [0, 1, 17, 18, 499, 500, 501, 1_000, 2_345])
def test_rows_add_up_at_every_block_border(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(module, "BLOCK_ROWS", 500)
    path = tmp_path / "payroll.txt"
    summary = sample_names(str(path), rows=rows)
    assert path.read_bytes().count(b"\n") == rows + 1
    table = read(path)
    assert ",".join(table.columns) == HEADER.replace("|", ",")
    assert len(table) == summary["rows"] == rows == summary["people"] + summary["duplicates"]
    assert table.CURP.nunique() == summary["people"]


@settings(max_examples=8, deadline=None)
@given(rows=st.integers(0, 400), block=st.integers(1, 300), files=st.integers(1, 6), seed=st.integers(0, 9))
def test_any_blocks_and_files_hold_all_rows(rows, block, files, seed):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_ROWS", block)
        summary = sample_names(f"{folder}/p.txt", rows=rows, seed=seed, files=files)
        table = read(*summary["files"])
    assert len(table) == rows
    assert table.CURP.nunique() == summary["people"] == rows - summary["duplicates"]


def test_all_fields_are_well_formed(payroll):
    table = payroll[1]
    assert table.ENTIDAD.astype(int).between(1, 32).all()
    assert table.RFC.str.fullmatch(r"[A-Z]{4}\d{6}[A-Z1-9]{3}").all()
    assert table.CLAVEPLAZA.str.fullmatch(r"\d\d[ES]\d{10}").all()
    assert table.CLAVECT.str.fullmatch(r"\d\d[A-Z]{3}\d{4}[A-Z]").all()
    assert table.HORAS.astype(int).between(0, 48).all()
    assert table.PERCEPCIONES.str.fullmatch(r"\d{4,5}\.\d\d").all()


def test_curps_are_distinct_and_nearly_all_valid(payroll):
    summary, table = payroll
    curps = table.CURP.drop_duplicates()
    assert len(curps) == summary["people"]
    assert curps.str.upper().str[:17].nunique() == summary["people"]  # also when a job corrects the broken ones
    valid = [bool(CURP.fullmatch(curp)) and check_digit(curp) == curp[17] for curp in curps]
    assert 0.99 < np.mean(valid) < 1


def test_crowded_days_keep_people_apart():
    """4 days with 10 digits each hold 40 people who are alike in all else; the last block owns the fewest days."""
    rng = np.random.default_rng(0)
    who = np.repeat([5, 6], [40, 3])
    for block in (0, module.MAX_BLOCKS - 1):
        born, digits = module.distinct_dates(who, block, module.MAX_BLOCKS, rng)
        assert len(set(zip(who, born, digits, strict=True))) == 43
        assert set(born % module.MAX_BLOCKS) == {block}
        assert digits.max() == 9


def test_curps_follow_from_the_names(people):
    """Only an Ñ may differ, which the CURP writes X, whatever the payroll writes."""
    one_word = people[people[NAMES].apply(lambda column: column.str.fullmatch("[A-Z]{2,}")).all(axis=1)]
    one_word = one_word[~one_word[NAMES].isin(JUNK).any(axis=1)]
    assert len(one_word) > 1_000
    differing = 0
    for curp, *names in one_word[["CURP", *NAMES]].itertuples(index=False):
        consonants = "".join(next((c for c in name[1:] if c not in "AEIOU"), "X") for name in names)
        vowel = next((c for c in names[0][1:] if c in "AEIOU"), "X")
        expected = names[0][0] + vowel + names[1][0] + names[2][0] + consonants
        found = curp[:4] + curp[13:16]
        if expected[:4] in module.RUDE:
            expected = expected[0] + "X" + expected[2:]
        differing += found != expected
        assert all(a == b or (a, b) == ("X", "N") for a, b in zip(found, expected, strict=True))
    assert 0 < differing < 0.1 * len(one_word)


@pytest.mark.parametrize(
    ("name", "given", "letters"),
    [
        ("DE LA CRUZ", False, "CUR"),
        ("DEL ANGEL", False, "AEN"),
        ("MC GREGOR", False, "GER"),
        ("DE LA O", False, "OXX"),
        ("PEÑA", False, "PEX"),
        ("ÑONGO", False, "XON"),
        ("UC", False, "UXC"),
        ("MARIA GUADALUPE", True, "GUD"),
        ("MA. DEL CARMEN", True, "CAR"),
        ("JOSE MARIA", True, "MAR"),
        ("MARIA", True, "MAR"),
        ("IÑAKI", True, "IAX"),
    ],
)
def test_letters_of_known_names(name, given, letters):
    assert module.curp_letters(pa.array([name]), is_given=given).to_pylist() == [letters]


def test_rude_words_are_not_written(people):
    heads = people.CURP.str[:4]
    assert not heads.isin(module.RUDE).any()
    assert (heads.str[1] == "X").sum() > 0


def test_curp_tells_a_broken_letter_from_a_genuine_n(tmp_path):
    sample_names(str(tmp_path / "p.txt"), rows=60_000)
    table = read(tmp_path / "p.txt")
    table = table[table.CURP.map(lambda curp: bool(CURP.fullmatch(curp)))]
    munoz = table[table.PRIMERAPELLIDO.str.fullmatch(r"MU.{1,3}OZ")]
    assert set(munoz.PRIMERAPELLIDO) == {f"MU{style}OZ" for style in STYLES}
    assert set(munoz.CURP.str[13]) == {"X"}
    shares = munoz.PRIMERAPELLIDO.value_counts(normalize=True)
    assert 0.4 < shares["MUÑOZ"] < 0.6
    assert shares["MUNOZ"] > shares["MU!OZ"] > shares["MUÐOZ"]
    assert set(table.CURP[table.PRIMERAPELLIDO == "CANO"].str[13]) >= {"N"}
    assert set(table.CURP[table.PRIMERAPELLIDO == "CA!O"].str[13]) <= {"X"}


def test_people_are_plausible(people):
    born = pd.to_datetime("19" + people.CURP.str[4:10], format="%Y%m%d")  # raises when there is no such day
    age = 2012 - born.dt.year
    assert age.between(18, 75).all()
    assert 41 < age.mean() < 45
    assert 0.58 < (people.CURP.str[10] == "M").mean() < 0.62
    assert people.CURP.str[11:13].isin(module.STATES).all()
    assert 0.01 < people.SEGUNDOAPELLIDO.isin(JUNK).mean() < 0.02
    assert set(people.SEGUNDOAPELLIDO) >= set(JUNK)
    both = people.groupby("NOMBRESTRABAJADOR").CURP.agg(lambda curps: curps.str[10].nunique())
    assert both["GUADALUPE"] == both["TRINIDAD"] == 2


def test_frequencies_fall_with_rank(people):
    for name, first, last in zip(NAMES, (0.03, 0.03, 0.01), (0.05, 0.05, 0.03), strict=True):
        shares = people[name].value_counts(normalize=True)
        assert first < shares.iloc[0] < last
        assert shares.iloc[0] / shares.iloc[9] > 1.5
        assert shares.iloc[9] / shares.iloc[99] > 4
        assert (shares * len(people) < 1.5).mean() > 0.1  # names seen once


def test_listed_names_are_distinct():
    lists = [module.SURNAMES, module.MEN, module.WOMEN]
    assert [len(names) - len(set(names)) for names in lists] == [0, 0, 0]
    assert all(re.fullmatch(r"[A-ZÑ.]+( [A-ZÑ.]+)*", name) for names in lists for name in names)


def test_repeats_and_conflicts_are_as_counted(payroll):
    summary, table = payroll
    first = table.groupby("CURP")[NAMES].transform("first")
    repeat = table.duplicated("CURP")
    differs = (table[NAMES] != first).any(axis=1)
    assert repeat.sum() == summary["duplicates"] == pytest.approx(0.028 * len(table), rel=0.02)
    assert differs.sum() == summary["conflicts"] == pytest.approx(summary["duplicates"] / 3, rel=0.2)
    assert table.groupby("CURP").size().max() >= 3


def test_repeats_reach_later_blocks(payroll):
    """Within a block a repeat is at most 3,000 rows behind; those that wait go further."""
    table = payroll[1]
    repeat = table.duplicated("CURP")
    first = table.index.to_series().groupby(table.CURP).transform("min")
    assert (table.index - first)[repeat].max() > 3_000


def test_conflicts_are_of_every_kind(payroll):
    table = payroll[1]
    first = table.groupby("CURP")[NAMES].transform("first")
    missing = table.SEGUNDOAPELLIDO.isin(JUNK) & ~first.SEGUNDOAPELLIDO.isin(JUNK)
    shortened = table.NOMBRESTRABAJADOR.str.len() < first.NOMBRESTRABAJADOR.str.len()
    other = (table[NAMES] != first).any(axis=1) & ~missing & ~shortened
    respelled = table[NAMES][other].agg("".join, axis=1) + first[other].agg("".join, axis=1)
    assert missing.sum() > 50
    assert shortened.sum() > 20
    assert respelled.str.contains("[Ñ!%#?ÃÏÐ]").any()


def test_files_part_the_same_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_ROWS", 1_000)
    whole = sample_names(str(tmp_path / "p.txt"), rows=2_500)
    parted = sample_names(str(tmp_path / "p.txt"), rows=2_500, files=3)
    names = [Path(file).name for file in parted["files"]]
    assert names == [f"p-0000{i}-of-00003.txt" for i in range(3)]
    lines = [Path(file).read_bytes().splitlines(keepends=True) for file in parted["files"]]
    header, *rows = (tmp_path / "p.txt").read_bytes().splitlines(keepends=True)
    assert [part[0] for part in lines] == [header] * 3
    assert [len(part) - 1 for part in lines] == [833, 833, 834]
    assert [row for part in lines for row in part[1:]] == rows
    assert parted | {"files": 0} == whole | {"files": 0}


def test_more_files_than_rows(tmp_path):
    summary = sample_names(str(tmp_path / "p.txt"), rows=2, files=4)
    assert [len(read(file)) for file in summary["files"]] == [0, 1, 0, 1]


@pytest.mark.parametrize("files", [1, 3])
def test_hostile_rows_are_counted_and_leave_the_others_alone(tmp_path, files):
    clean = sample_names(str(tmp_path / "clean.txt"), rows=900, files=files)
    hostile = sample_names(str(tmp_path / "hostile.txt"), rows=900, files=files, hostile=True)
    assert clean["hostile"] == dict.fromkeys(hostile["hostile"], 0)
    found: Counter[str] = Counter()
    for good, bad in zip(clean["files"], hostile["files"], strict=True):
        lines = Path(bad).read_bytes().removesuffix(b"\n").split(b"\n")
        reasons = [reject_reason(line) for line in lines]
        assert reasons[-1]
        assert all(reason in reasons[5 : len(reasons) // 2 + 20] for reason in hostile["hostile"])
        kept = [line for line, reason in zip(lines, reasons, strict=True) if reason is None]
        assert kept == Path(good).read_bytes().splitlines()
        found.update(reason for reason in reasons if reason)
    assert hostile["hostile"] == found
    assert hostile["rows"] == 900


@pytest.mark.parametrize("files", [1, 2])
def test_interrupted_run_leaves_what_was_there(tmp_path, monkeypatch, files):
    monkeypatch.setattr(module, "BLOCK_ROWS", 100)
    earlier = [tmp_path / "p.txt", tmp_path / "p-00000-of-00002.txt"]
    for path in earlier:
        path.write_text("earlier")

    generator, made = np.random.default_rng, []

    def stop(seed):
        made.append(len(list(tmp_path.glob(".*.part"))))
        if len(made) == 8:  # one for the tables and one for each block
            raise KeyboardInterrupt
        return generator(seed)

    monkeypatch.setattr(np.random, "default_rng", stop)
    with pytest.raises(KeyboardInterrupt):
        sample_names(str(tmp_path / "p.txt"), rows=1_000, files=files)
    assert made[-1] == files
    assert sorted(tmp_path.iterdir()) == sorted(earlier)
    assert {path.read_text() for path in earlier} == {"earlier"}


@pytest.mark.parametrize(("rows", "files"), [(-1, 1), (1, 0)])
def test_impossible_numbers_are_refused(tmp_path, rows, files):
    with pytest.raises(ValueError, match=f"rows={rows} .* files={files}"):
        sample_names(str(tmp_path / "p.txt"), rows=rows, files=files)


def test_more_rows_than_curps_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_ROWS", 1)
    with pytest.raises(ValueError, match="distinct"):
        sample_names(str(tmp_path / "p.txt"), rows=module.MAX_BLOCKS + 1)
    assert not list(tmp_path.iterdir())
