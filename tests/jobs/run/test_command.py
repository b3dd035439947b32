"""What every job's command does with doubtful input: warnings, --strict, culprits, and what is no file."""

import json
import os
import re
import sys

import pytest

from molino.jobs import cli

HEADER = "CURP|PRIMERAPELLIDO|SEGUNDOAPELLIDO|NOMBRESTRABAJADOR\n"
ROWS = "".join(f"AAAA{i:02d}0101HDFBBB0{i % 10}|PEÑA|LÓPEZ|ANA MARÍA\n" for i in range(20))


@pytest.fixture(autouse=True)
def _stay(monkeypatch):
    """A failed run ends its process at once; here it is the tests' own."""
    monkeypatch.setattr("molino.jobs.runners.exits.leave", sys.exit)


@pytest.fixture
def payroll(tmp_path):
    path = tmp_path / "in" / "a.txt"
    path.parent.mkdir()
    path.write_text(HEADER + ROWS, encoding="latin-1")
    return path


@pytest.fixture
def doubtful(payroll):
    payroll.write_text(HEADER + ROWS, encoding="utf-8")
    return payroll


def run(*words):
    try:
        return cli.main([*map(str, words)])
    except SystemExit as stop:
        return stop.code


def names(path, out, *more):
    return run("names", "--input", path, "--output", out, "--workers", 1, "--quiet", *more)


@pytest.mark.slow
def test_a_warning_is_on_standard_error_in_the_manifest_and_first_in_the_report(doubtful, tmp_path, capsys):
    out = tmp_path / "out"
    assert names(doubtful, out) == 0
    said = capsys.readouterr()
    (line,) = [line for line in said.err.splitlines() if "valid UTF-8" in line]
    assert line.startswith("molino: warning: ")
    right = f"molino names --input {doubtful} --output {out} --workers 1 --quiet --overwrite --encoding utf-8"
    assert line.endswith(f"right would be: {right}")
    kept = json.loads((out / "_manifest.json").read_text())["warnings"]
    (warning,) = [one for one in kept if one["kind"] == "text.encoding"]
    assert (warning["count"], warning["example"]) == (1, "a.txt line 2")
    report = (out / "report.html").read_text()
    assert 0 < report.index("valid UTF-8") < report.index("<dl>")
    assert run(*right.split()[1:]) == 0
    assert "UTF-8" not in capsys.readouterr().err
    assert names(doubtful, out, "--overwrite") == 0
    capsys.readouterr()
    # done before: told again, and refused by a strict command
    assert names(doubtful, out) == 0
    said = capsys.readouterr()
    assert "nothing to do" in said.out
    assert "valid UTF-8" in said.err
    assert names(doubtful, out, "--strict") == 1
    assert "--strict" in capsys.readouterr().err


def test_strict_publishes_nothing_on_a_warning(doubtful, payroll, tmp_path, capsys):
    out = tmp_path / "out"
    assert names(doubtful, out, "--strict") == 1
    assert not out.exists()
    assert "valid UTF-8" in capsys.readouterr().err
    payroll.write_text(HEADER + ROWS, encoding="latin-1")
    assert names(payroll, out, "--min-count", 1) == 0


def test_plan_shows_what_was_seen(doubtful, capsys):
    assert run("plan", "names", "--input", doubtful) == 0
    said = capsys.readouterr()
    assert "1 file: UTF-8, delimiter '|', unquoted, 4 columns" in said.out
    assert "valid UTF-8" in said.err
    assert run("plan", "names", "--input", doubtful, "--strict") == 1
    capsys.readouterr()
    assert run("plan", "names", "--input", doubtful, "--json") == 0
    assert json.loads(capsys.readouterr().out)["warnings"][0]["kind"] == "text.encoding"


def test_a_refused_run_names_the_first_culprits_and_the_option(payroll, tmp_path, capsys):
    payroll.write_text(HEADER + ROWS + "\n" * 3 + "A|B\n" * 4, encoding="latin-1")
    assert names(payroll, tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert "first: a.txt line 22 (empty_line), a.txt line 23 (empty_line), a.txt line 24 (empty_line), a.txt" in said
    assert "a.txt line 26 (too_few_fields)" in said
    assert "a.txt line 27" not in said
    assert "raise --max-reject-ratio" in said


@pytest.mark.timeout(60)
@pytest.mark.parametrize("by", ["name", "glob"])
@pytest.mark.parametrize("kind", ["pipe", "link", "device"])
@pytest.mark.parametrize("job", ["names", "titles", "predict", "pca"])
def test_what_is_no_file_is_refused_and_never_waited_for(job, kind, by, payroll, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("molino.jobs.run.pipes.WAIT", 0.1)
    odd = payroll.with_name("b.txt")
    if kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to("nowhere" if kind == "link" else "/dev/null")
    more = {"titles": ["--model", f"m={odd}"], "predict": ["--model", odd], "pca": ["--column", "v"]}.get(job, [])
    asked = payroll.parent / "*.txt" if by == "glob" else odd
    assert run(job, "--input", asked, "--output", tmp_path / "out", *more) == 1
    said = capsys.readouterr().err
    assert re.search(rf"to the pipe {odd};|{odd} is (a pipe|a device|a link to nowhere)", said), said
    assert not (tmp_path / "out").exists()


@pytest.mark.timeout(60)
def test_other_options_never_wait_for_a_pipe(payroll, tmp_path, capsys):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for words in (
        ["names", "--input", payroll, "--output", tmp_path / "o", "--curp", "hash", "--curp-key-file", pipe],
        ["shapes", "--output", tmp_path / "o", "--sweep", pipe],
        ["titles", "--input", payroll, "--output", tmp_path / "o", "--model", f"m={pipe}"],
        ["model", "inspect", pipe],
        ["verify", pipe],
        ["sample", "names", "--output", pipe],
        ["train", "titles", "--input", pipe, "--output", tmp_path / "o", "--model", "m=x"],
    ):
        assert run(*words) in (1, 2), words
        assert "Traceback" not in capsys.readouterr().err


def test_a_run_within_a_run_is_refused(payroll, tmp_path, capsys):
    assert names(payroll, tmp_path / "out") == 0
    for inside in (tmp_path / "out/more", tmp_path / "out/people/deep/er"):
        assert names(payroll, inside) == 3
        assert f"lies inside the run in {tmp_path / 'out'}" in capsys.readouterr().err
    assert run("verify", tmp_path / "out") == 0
    (tmp_path / "above").mkdir()
    (tmp_path / "out").rename(tmp_path / "above/out")
    assert names(payroll, tmp_path / "above") == 3


def test_files_that_come_while_a_run_is_at_work_are_told(payroll, tmp_path, capsys, monkeypatch):
    from molino.jobs.run import commit

    def come(run, counters, files):
        payroll.with_name("z.txt").write_text(HEADER)
        return checked(run, counters, files)

    checked = commit.check_counters
    monkeypatch.setattr(commit, "check_counters", come)
    assert names(payroll.with_name("*.txt"), tmp_path / "out") == 0
    said = capsys.readouterr().err
    assert "not read: 1" in said
    assert "z.txt" in said


def test_a_sample_replaces_nothing_unasked(tmp_path, capsys):
    path = tmp_path / "mine.txt"
    path.write_text("precious")
    for job, more in {"names": ["--rows", 100], "titles": ["--rows", 100], "pca": ["--rows", 10]}.items():
        assert run("sample", job, "--output", path, *more) == 3, job
        assert path.read_text() == "precious"
    (tmp_path / "w").mkdir()
    (tmp_path / "w/mine.txt").write_text("precious")
    assert run("sample", "whales", "--output", tmp_path / "w", "--images", 1) == 3
    assert "add --overwrite" in capsys.readouterr().err
    assert run("sample", "names", "--output", path, "--rows", 100, "--overwrite") == 0
    assert path.read_text(encoding="latin-1") != "precious"
    (tmp_path / "part-00001-of-00002.txt").write_text("precious")
    assert run("sample", "names", "--output", tmp_path / "part.txt", "--rows", 100, "--files", 2) == 3
    assert run("sample", "names", "--output", tmp_path / "part.txt", "--rows", 5, "--files", 9) == 2
    capsys.readouterr()
    for folder in (tmp_path, ".", "/"):
        assert run("sample", "names", "--output", folder, "--rows", 100) == 1
        assert "name a file in it" in capsys.readouterr().err
