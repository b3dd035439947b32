"""The documentation, held to the code: schemas, options, command lines, links, examples."""

import ast
import importlib
import importlib.util
import itertools
import json
import pathlib
import re
import shlex

import pytest

from molino import quiet
from molino.code import pipelines
from molino.jobs import cli, names, whales
from molino.jobs.options import Parser
from molino.jobs.runners import exits

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMANDS = [*pipelines(), *cli.command_names()]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"\]\(([^()\s]+)\)|(?:href|src)=\"([^\"]+)\"")
# the first cell of a row of an option table
OPTION = re.compile(r"^\| `(--[a-z0-9-]+)` \|", re.MULTILINE)
# a prompt, the times of a cron line, variables or other commands may stand before the program
SHELL = re.compile(r"(\$ )?([\d*/,]+ ){0,5}([A-Z_]+=\S+ )*(.*(&&|;) )?([\w.]*/)*molino ")
FLAG = re.compile(r"(?<![\w-])--[A-Za-z][\w-]*")


def read(page):
    return page.read_text(encoding="utf-8")


def page_of(name):
    return read(ROOT / "docs" / name)


def prose(text):
    """Return a page without its blocks of code."""
    return FENCE.sub("", text)


def section(text, heading):
    """Return what stands under a heading of the second level."""
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def by_name(page):
    return str(page.relative_to(ROOT))


# --- the commands


class Parsed(Exception):  # noqa: N818
    """A command line was parsed, and nothing run."""

    def __init__(self, parser):
        self.parser = parser


@pytest.fixture
def parsing(monkeypatch):
    """Make every command stop when its command line is parsed."""

    def stop_after(method):
        def parse(self, *arguments, **named):
            method(self, *arguments, **named)
            raise Parsed(self)

        return parse

    monkeypatch.setattr(Parser, "parse_args", stop_after(Parser.parse_args))
    monkeypatch.setattr(Parser, "parse_strictly", stop_after(Parser.parse_strictly))
    monkeypatch.setattr(quiet, "silence_beam", lambda: None)


def parse(words):
    """Parse what follows `molino` as the command itself would; SystemExit where it would not."""
    try:
        return cli.main(words)
    except Parsed:
        return 0


@pytest.fixture
def parser_of(monkeypatch):
    """Return the parser of a command, as it is before it parses."""

    def stop(self, *_, **__):
        raise Parsed(self)

    monkeypatch.setattr(Parser, "parse_args", stop)
    monkeypatch.setattr(Parser, "parse_strictly", stop)
    monkeypatch.setattr(quiet, "silence_beam", lambda: None)

    def parser(command):
        with pytest.raises(Parsed) as stopped:
            cli.main([command])
        return stopped.value.parser

    return parser


def command_lines(text):
    """Yield (words after `molino`, whole) of every command line: blocks hold whole ones, code spans may hold names."""
    lines = [line for _, block in FENCE.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    spans = [span for span in SPAN.findall(prose(text).replace("\\|", "|")) if re.search(r"(^|[ /])molino ", span)]
    for whole, line in [*((True, line) for line in lines), *((False, span) for span in spans)]:
        for words in _commands(line.replace("$'\\t'", "'\t'")):
            yield words, whole


def _commands(line):
    """Yield the words after `molino` in a line of shell; what is no shell has none."""
    if not SHELL.match(line):
        return
    lexer = shlex.shlex(line.removeprefix("$ "), posix=False, punctuation_chars=True)
    lexer.whitespace_split = True
    for connected, words in itertools.groupby(lexer, lambda word: set(word) <= set("();<>|&")):
        if not connected:
            words = list(words)
            start = next((i for i, word in enumerate(words) if word.split("/")[-1] == "molino"), None)
            if start is not None:
                yield [shlex.split(word)[0] if word[0] in "'\"" else word for word in words[start + 1 :]]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("$ molino names --input 'a b' # why", [["names", "--input", "a b"]]),
        ("0 3 * * * molino verify out", [["verify", "out"]]),
        ("KEY=x .venv/bin/molino doctor && molino verify o > log", [["doctor"], ["verify", "o"]]),
        ("molino names --junk '' --delimiter '|' | tail", [["names", "--junk", "", "--delimiter", "|"]]),
        ("molino: no such command", []),
        ("make demo     # installs molino and more", []),
    ],
)
def test_command_lines_are_found(line, words):
    assert list(_commands(line)) == words


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_command_lines_parse(page, parsing, capsys):
    for words, whole in command_lines(read(page)):
        try:
            code = parse(words)
        except SystemExit as stopped:
            code = stopped.code
        said = capsys.readouterr().err
        names_a_command = not whole and (
            "arguments are required" in said or "needed:" in said
        )  # `molino names` in a sentence
        assert code == 0 or names_a_command, f"molino {shlex.join(words)}: {said}"


def test_some_command_lines_are_found():
    found = [words[0] for page in PAGES for words, _ in command_lines(read(page))]
    assert set(COMMANDS) <= set(found)
    assert len(found) > 10


# --- options, reasons, counters, fields


@pytest.mark.parametrize("job", [names, whales], ids=lambda job: job.JOB.name)
def test_a_job_s_page_lists_every_option_and_no_other(job):
    text = page_of(f"{job.JOB.name}.md")
    flags = set(job.JOB.parser().flags()) - {"-h", "--help"}
    listed = OPTION.findall(section(text, "Options"))
    assert sorted(listed) == sorted(flags)
    assert {flag for flag in FLAG.findall(prose(text)) if flag not in flags} == set()


@pytest.mark.parametrize("job", [names, whales], ids=lambda job: job.JOB.name)
def test_a_job_s_page_gives_the_defaults(job):
    rows = dict(re.findall(r"^\| `(--[a-z-]+)` \| `?([^`|]+?)`? \|", page_of(f"{job.JOB.name}.md"), re.MULTILINE))
    for action in job.JOB.parser()._actions:
        flag = action.option_strings[-1]
        if isinstance(action.default, int | float | str) and not isinstance(action.default, bool) and flag in rows:
            assert rows[flag] in (str(action.default) or "none", "none"), flag


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_documented(command, parser_of):
    text = "\n".join(map(read, PAGES))
    documented = set(FLAG.findall(text))
    assert set(parser_of(command).flags()) - {"-h"} - documented == set()
    assert f"molino {command}" in text


def test_reject_reasons_and_evidence():
    from molino.schemas.names import REASONS
    from molino.transforms.names.report import EVIDENCE

    tables = set(re.findall(r"^\| `(\w+)` \|", page_of("names.md"), re.MULTILINE))
    assert {*REASONS, *EVIDENCE} <= tables


def test_reject_reasons_are_those_of_the_code():
    """Every string that some module gives as a reason is declared, and the page is made of that."""
    from molino.schemas.names import REASONS

    given = set()
    for path in ("text/lines", "text/quoted", "text/row_groups", "text/json_lines", "names/people"):
        tree = ast.parse(read(ROOT / f"transforms/{path}.py"))
        strings = {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        given |= {
            s
            for s in strings
            if re.fullmatch(r"(too|empty|line|null?|nested|bad|unclosed|curp|header|trailing)_[a-z_]+", s)
        }
    assert given == set(REASONS)


def test_reasons_and_statuses_of_the_whales_job():
    from molino.schemas.whales import REASONS
    from molino.transforms.whales.extract import FOUND
    from molino.transforms.whales.report import NO_BOX

    tables = set(re.findall(r"^\| `(\w+)` \|", page_of("whales.md"), re.MULTILINE))
    assert {*REASONS, FOUND, *NO_BOX} <= tables


def test_exit_codes():
    from molino.jobs.options import BUSY, DATA, DONE, EXISTS, USAGE

    codes = {DONE, DATA, USAGE, EXISTS, BUSY, cli.PIPE, exits.HUNG_UP, exits.INTERRUPTED, exits.TERMINATED}
    table = section(page_of("runs.md"), "Exit codes")
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == codes


def test_schemas_page():
    spec = importlib.util.spec_from_file_location("make_schemas", ROOT / "docs/make_schemas.py")
    make_schemas = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_schemas)
    assert read(make_schemas.PAGE) == make_schemas.render(), "docs/schemas.md is not of these schemas: make docs"
    tables = [mark[1:3] for page in PAGES for mark in make_schemas.MARK.findall(read(page))]
    assert sorted(tables) == sorted(
        [("counters", job) for job in ("names", "titles", "predict", "whales", "pca", "shapes", "training")]
        + [("reasons", job) for job in ("names", "titles", "predict", "whales", "pca")]
    )
    for page in PAGES:
        assert read(page) == make_schemas.fill(read(page)), (
            f"{page} has tables that are not of these schemas: make docs"
        )


# --- links


def anchors(page):
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(read(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_links_resolve(page):
    for link in (a or b for a, b in LINK.findall(prose(read(page)))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link}: there is no {target}"
        assert not anchor or anchor in anchors(target), f"{link}: {target.name} has no such heading"


# --- examples


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A folder with demo/sep.txt and demo/names, as the pages have it; return the folder and the manifest."""
    from molino.transforms.names.sample import sample_names

    folder = tmp_path_factory.mktemp("docs")
    sample_names(str(folder / "demo/sep.txt"), rows=3000, hostile=True)
    output = folder / "demo/names"
    arguments = ["--quiet", "--workers", "1", "--repair-names", "--max-reject-ratio", "0.1"]
    assert names.JOB.main(["--input", str(folder / "demo/sep.txt"), "--output", str(output), *arguments]) == 0
    return folder, json.loads((output / "_manifest.json").read_text())


def python_blocks(page):
    return [block for language, block in FENCE.findall(page_of(page)) if language == "python"]


def test_cookbook_runs(demo, monkeypatch):
    folder, manifest = demo
    monkeypatch.chdir(folder)
    results = {}
    for block in python_blocks("names.md"):
        if "import duckdb" in block and not importlib.util.find_spec("duckdb"):
            continue
        exec(compile(block, "names.md", "exec"), results)
    assert results["people"].num_rows == manifest["counters"]["people"]
    assert len(results["hombres"]) == manifest["counters"]["hombres"]


def test_cookbook_of_the_whales_job_runs(tmp_path, monkeypatch):
    from molino.transforms.whales.sample import sample_whales

    monkeypatch.chdir(tmp_path)
    sample_whales("demo/sea", images=3, width=300, height=200)
    options = ["--kernel", "9", "--crop-size", "64", "--mask", "rle", "--quiet", "--workers", "1"]
    assert whales.JOB.main(["--input", "demo/sea/images", "--output", "demo/whales", *options]) == 0
    results = {}
    for block in python_blocks("whales.md"):
        exec(compile(block, "whales.md", "exec"), results)
    assert results["regions"].num_rows == 3
    assert results["pixels"].shape[1:] == (64, 64, 3)
    rows = {row["key"]: row for row in results["pq"].read_table(results["files"]).to_pylist()}
    assert {results["mask_of"](row).shape for row in rows.values()} == {(200, 300)}
    for pixels, key in zip(results["pixels"], results["keys"].to_pylist(), strict=True):
        assert pixels.tobytes() == rows[key]["pixels"]


def test_manifest_fields_are_documented(demo):
    text = page_of("runs.md")
    _, manifest = demo
    missing = {key for key in manifest if f"| `{key}` |" not in text}
    missing |= {key for key in next(iter(manifest["datasets"].values())) if f"| `datasets.NAME.{key}` |" not in text}
    entries = [
        manifest["datasets"]["people"]["files"][0],
        manifest["views"][0],
        manifest["inputs"][0],
        manifest["code"],
    ]
    missing |= {key for entry in entries for key in entry if f"`{key}`" not in text}
    assert missing == set()


def test_data_sets_and_counters_are_documented(demo):
    names_page = page_of("names.md")
    _, manifest = demo
    assert {
        name for name in manifest["datasets"] if f"`{name}`" not in names_page and f"{name}/" not in names_page
    } == set()
    counters = {name for name in manifest["counters"] if not name.startswith("rejects.")}
    assert {name for name in counters if f"`{name.removesuffix('_repaired')}`" not in names_page} == set()
