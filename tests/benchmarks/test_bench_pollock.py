"""The benchmark of polluted files: its verdicts, and a run on files made up here."""

import json

import pytest

from benchmarks import pollock
from benchmarks.pollock import Polluted, Read, judge

CLEAN = [(str(n), f"text {n}", "") for n in range(20)]
DIALECT = {"encoding": "ascii", "delimiter": ",", "quotechar": '"', "escapechar": '"'}
DIALECT |= {"header_lines": 1, "preamble_lines": 0, "column_names": ["id", "text", "none"]}
SOURCE = "id,text,none\r\n" + "".join(f"{n},text {n},\r\n" for n in range(20))
FILES = {
    "source.csv": (SOURCE, {}),
    "file_preamble.csv": ("REPORT,,\r\n,,\r\n" + SOURCE, {"preamble_lines": 2}),
    "file_no_header.csv": (SOURCE.partition("\n")[2], {"header_lines": 0, "column_names": []}),
    "file_field_delimiter_0x2C_0x20.csv": (SOURCE.replace(",", ", "), {"delimiter": ", "}),
    "file_escape_char_0x5C.csv": (SOURCE.replace("text 3", r'"a\"b\c"'), {"escapechar": "\\"}),
    "row_less_sep_row4_col1.csv": (SOURCE.replace("3,text 3", "3text 3"), {}),
    "row_more_sep_row0_col1.csv": (SOURCE.replace("id,", "id,,"), {}),
    "row_extra_quote0_col1.csv": (SOURCE.replace(",text,", ',"text,'), {}),
    "row_extra_quote4_col1.csv": (SOURCE.replace("text 3", '"text 3'), {}),
    "row_less_sep_row0_col1.csv": (SOURCE.replace("id,", "id"), {}),
}


@pytest.fixture
def folder(tmp_path):
    for name in ("csv", "clean", "parameters"):
        (tmp_path / name).mkdir()
    clean = SOURCE
    for name, (text, changed) in FILES.items():
        (tmp_path / "csv" / name).write_text(text, newline="")
        clean = SOURCE.replace("text 3", '"a""b\\c"') if "escape" in name else SOURCE
        clean = clean.partition("\n")[2] if "no_header" in name else clean
        (tmp_path / "clean" / name).write_text(clean, newline="")
        (tmp_path / "parameters" / f"{name}_parameters.json").write_text(json.dumps(DIALECT | changed))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "read", "verdict"),
    [
        ("source.csv", Read(CLEAN), "right"),
        ("source.csv", Read(refused="why"), "refused"),
        ("source.csv", Read(CLEAN[1:]), "wrong"),
        ("source.csv", Read(CLEAN[1:], warnings=["why"]), "told"),
        ("source.csv", Read([*CLEAN, *CLEAN], [(22, "header_line")]), "told"),
        ("row_less_sep_row4_col1.csv", Read(CLEAN[1:], [(5, "too_few_fields")]), "rejected"),
        ("row_less_sep_row4_col1.csv", Read(CLEAN[1:], [(6, "too_few_fields")]), "wrong"),
        ("row_less_sep_row4_col1.csv", Read(CLEAN[1:], [(5, "empty_line")]), "wrong"),
        ("row_extra_quote4_col1.csv", Read([*CLEAN, ("x", "", "")], [(5, "bad_quoting")]), "wrong"),
    ],
)
def test_verdicts(tmp_path, name, read, verdict):
    assert judge(Polluted(tmp_path / name, ("id", "text", "none"), CLEAN, DIALECT), read) == verdict


def test_polluted_files_are_read_right_rejected_or_refused(folder, capsys):
    pollock.main([str(folder), "--list", "--only", "molino by dialect,molino by itself"])
    out, told = capsys.readouterr()
    assert "| molino by dialect | 8 | 2 | 0 | 0 | 0 |" in out
    assert "| molino by itself | 4 | 3 | 1 | 2 | 0 |" in out
    verdicts = {tuple(line.split(": ")[1:3]) for line in told.splitlines() if line.startswith("molino by itself")}
    assert verdicts == {
        ("refused", "file_no_header.csv"),
        ("refused", "row_less_sep_row0_col1.csv"),
        ("told", "file_field_delimiter_0x2C_0x20.csv"),
    }
