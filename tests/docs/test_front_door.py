"""What a newcomer meets: the README and its table, the map of the pages, the studies, the forms for issues."""

import os
import re
import subprocess
import sys

import pytest
import yaml

import molino
from molino.jobs import cli
from tests.docs.test_docs import COMMANDS, FENCE, PAGES, ROOT, by_name, command_lines, page_of, prose, read

README = read(ROOT / "README.md")
TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)
SCRIPT = re.compile(r"\bpython (benchmarks/\w+\.py|docs/\w+\.py|deploy/\w+/\w+\.py)")
HEADLINE = "1.26 million payroll rows"
STUDY = re.compile(
    r"\b[Tt]he study\b|\bpublished (study|algorithm|program|method|comparison|trials|experiments|histogram)\b"
)
# command of the table, and the cell with its first rows
ROW = re.compile(r"^\| \[.*?\| `(molino [^`]+)` \| (.+<br>.+) \|$", re.MULTILINE)


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 130


def test_the_headline_is_one_figure():
    """The README's first sentence and the table of benchmarks say the same."""
    (seconds,) = re.findall(rf"{HEADLINE}.*?([\d.]+) seconds on two cores", " ".join(README.split()))
    quiet = page_of("benchmarks.md").split("\n## Names\n")[1]
    assert re.search(r"^\| molino \| ([\d.]+) s \|", quiet, re.MULTILINE)[1] == seconds
    told = [re.findall(rf"{HEADLINE}[^.]*?([\d.]+) s(?:econds)?\b", " ".join(read(page).split())) for page in PAGES]
    assert {found for page in told for found in page} == {seconds}


def test_the_table_has_every_job():
    listed = {command.split()[1] for command, _ in ROW.findall(README)}
    assert set(COMMANDS) - set(cli.command_names()) | {"model", "train"} == listed


def test_the_map_names_every_page_once():
    links = re.findall(r"\| \[[^|]*\]\(([^)]+)\) \|$", page_of("README.md"), re.MULTILINE)
    pages = {(ROOT / "docs" / link).resolve() for link in links}
    assert len(pages) == len(links)
    assert pages == {page for page in PAGES if page != ROOT / "docs/README.md"}


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=by_name)
def test_a_page_that_names_a_study_links_to_it(page):
    if page.name != "studies.md" and STUDY.search(prose(read(page))):
        assert "studies.md" in read(page)


def test_each_study_has_what_finds_and_repeats_it():
    sections = page_of("studies.md").split("\n## ")[1:]
    assert len(sections) == 6
    for section in sections:
        assert re.search(r"^\"[^\"]+\".* by Eduardo Flores", section.partition("\n\n")[2]), section[:40]
        assert re.search(r"<https?://[^>]*eduardofv\.com", section), section[:40]
        assert re.search(r"\bprinted\b|\breported\b|\bpublished\b", section), section[:40]
        assert list(command_lines(section)), section[:40]
    for path, test in re.findall(r"`(tests/\S+\.py)`,\s+`(test_\w+)`", page_of("studies.md")):
        assert f"def {test}(" in read(ROOT / path)


def test_make_has_the_targets_that_are_named():
    targets = set(TARGET.findall(read(ROOT / "Makefile")))
    for page in PAGES:
        text = read(page)
        named = set(re.findall(r"`make ([a-z-]+)`", prose(text)))
        named |= {
            name for _, block in FENCE.findall(text) for name in re.findall(r"^make ([a-z-]+)", block, re.MULTILINE)
        }
        assert named <= targets, page


def test_scripts_and_locks_that_are_named_exist():
    for page in PAGES:
        text = read(page)
        named = set(SCRIPT.findall(text)) | set(re.findall(r"\brequirements/[\w-]+\.txt", text))
        assert {path for path in named if not (ROOT / path).exists()} == set(), page


def test_every_benchmark_is_named_with_its_command():
    scripts = {
        script for _, script in re.findall(r"^\t(\S+) (benchmarks/\w+\.py)$", read(ROOT / "Makefile"), re.MULTILINE)
    }
    text = page_of("benchmarks.md")
    assert {script for script in scripts if f"python {script}" not in text} == set()


def test_the_forms_and_the_citation():
    for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"):
        form = yaml.safe_load(read(path))
        if path.name != "config.yml":
            assert {"name", "description", "body"} <= set(form)
            fields = [field for field in form["body"] if field["type"] != "markdown"]
            assert len({field["id"] for field in fields}) == len(fields) >= 4
            assert all(field["attributes"]["label"] for field in fields)
    cited = yaml.safe_load(read(ROOT / "CITATION.cff"))
    assert cited["version"] == molino.VERSION
    assert {"cff-version", "message", "title", "authors"} <= set(cited)


# --- the rows of the README's table


def show(value):
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@pytest.mark.slow
@pytest.mark.parametrize("job", ["names", "titles", "whales"])
def test_the_first_rows_are_those_of_the_job(job, tmp_path):
    """Of the jobs that train nothing and need no other: each command of the README, on the sample of the README."""
    run = [sys.executable, "-m", "molino"]
    lines = [words for words, whole in command_lines(README) if whole and words[:2] == ["sample", job]]
    command, cell = next((c.split()[1:], cell) for c, cell in ROW.findall(README) if c.split()[1] == job)
    for words in (*lines, [*command, "--quiet"]):
        done = subprocess.run(
            [*run, *words], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    head, *rows = cell.split("<br>")
    dataset, _, columns = head.partition("`: ")
    table = molino.open(tmp_path / f"my/{job}").read(dataset.strip("`"), columns=columns.split(", ")).slice(0, 3)
    found = [[show(row[name]) for name in columns.split(", ")] for row in table.to_pylist()]
    assert [[part.removesuffix("...") for part in row.split(", ")] for row in rows] == [
        [text[: len(part.removesuffix("..."))] for text, part in zip(texts, row.split(", "), strict=True)]
        for texts, row in zip(found, rows, strict=True)
    ]


def test_the_rows_of_the_table_have_as_many_values_as_columns():
    for command, cell in ROW.findall(README):
        head, *rows = cell.split("<br>")
        columns = head.partition("`: ")[2].split(", ")
        assert len(rows) == 3, command
        for row in rows:
            assert len(re.sub(r"\[[^\]]*\]", "x", row).split(", ")) == len(columns), row
