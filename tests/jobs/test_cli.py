"""What the command says to those who do not know it yet, and to those who mistype."""

import itertools
import shlex

import pytest

import molino
from molino.jobs import cli
from molino.jobs.job import load_all, load_jobs
from tests.every_job import molino as run_molino

BARE = [
    *([*name.split()] for name in load_all()),
    *(["sample", name] for name, job in load_jobs().items() if job.sample),
    *([name] for name in cli.command_names() if name != "doctor"),
    *(["plan", *name.split()] for name in ("names", "pca", "predict", "model train")),
    ["model", "inspect"],
]


def ended(capsys, *words):
    """Return the exit code and what is said on standard output and on standard error."""
    try:
        code = cli.main(words)
    except SystemExit as stop:
        code = stop.code
    return code, *capsys.readouterr()


def examples_of(text):
    return [line.strip() for line in text.partition("example:\n")[2].partition("\n\n")[0].splitlines()]


@pytest.mark.parametrize("words", BARE, ids=" ".join)
def test_a_bare_command_says_what_it_needs_and_shows_an_example(words, capsys):
    code, out, wrong = ended(capsys, *words)
    assert (code, out) == (2, "")
    assert wrong.startswith(f"usage: molino {' '.join(words)}")
    assert len(wrong.splitlines()) < 30
    *before, own = examples_of(wrong)
    assert own.startswith(f"molino {' '.join(words)} ")
    written: set[str] = set()
    for line in [*before, own]:  # what is read was written before, but for an output or a model that anybody may have
        pairs = list(itertools.pairwise(shlex.split(line)))
        given = {value.split("=")[-1] for option, value in pairs if option in ("--input", "--model")}
        assert {path.removesuffix("/images") for path in given} <= written
        written |= {value for option, value in pairs if option == "--output"}


def test_the_bare_program_lists_commands_and_first_steps(capsys):
    code, out, wrong = ended(capsys)
    assert (code, out) == (2, "")
    assert {f"\n  {name} " in wrong for name in (*load_jobs(), *cli.command_names())} == {True}
    assert "exit codes" not in wrong
    assert ended(capsys, "--help")[:2] == ended(capsys, "help")[:2]
    assert "exit codes" in ended(capsys, "--help")[1]


@pytest.mark.slow
def test_the_first_steps_work_as_they_stand(tmp_path, capsys):
    for line in examples_of(ended(capsys)[2]):
        run_molino(*shlex.split(line)[1:], cwd=tmp_path)
    assert molino.open(tmp_path / "out").read("people").num_rows > 1000


@pytest.mark.slow
@pytest.mark.parametrize("words", ["pca", "plan names", "sample names"])
def test_an_example_works_as_it_stands(words, tmp_path, capsys):
    for line in examples_of(ended(capsys, *words.split())[2]):
        run_molino(*shlex.split(line)[1:], cwd=tmp_path)


def test_the_version_is_a_word_too(capsys):
    assert ended(capsys, "version") == ended(capsys, "--version") == (0, f"molino {molino.VERSION}\n", "")


@pytest.mark.parametrize(
    ("words", "right"),
    [
        ("nmaes", "did you mean names? (choose from names, pca,"),
        ("sampel names", "did you mean sample? (choose from names, pca,"),
        ("sample tites", "did you mean titles? (choose from names, pca, titles, whales)"),
        ("train titels", "did you mean titles? (choose from compare, titles)"),
        ("model inspct m", "did you mean inspect? (choose from inspect, train)"),
        ("plan nmaes", "did you mean names? (choose from names, pca,"),
        ("plan train titels", "did you mean train titles? (choose from names, pca,"),
        ("whales --input x --output y --method salient", "did you mean saliency? (choose from original, fast,"),
        ("names --input x --output y --worker-mode process", "did you mean processes? (choose from threads,"),
        ("names --input x --output y --curp zzz", "invalid choice: 'zzz' (choose from keep, hash, drop)"),
    ],
)
def test_a_wrong_word_is_told_with_the_nearest_right_one(words, right, capsys):
    code, out, wrong = ended(capsys, *words.split())
    assert (code, out) == (2, "")
    assert right in wrong
    assert len(wrong.splitlines()) == 1


def test_a_wrong_job_or_value_from_python_is_told_alike():
    with pytest.raises(molino.OptionError, match=r"no job 'nmaes'; did you mean names\?; there are: names, pca"):
        molino.run("nmaes", input="x", output="y")
    with pytest.raises(molino.OptionError, match=r"--method: invalid choice: 'salient'; did you mean saliency\?"):
        molino.run("whales", input="x", output="y", method="salient")
    with pytest.raises(molino.OptionError, match="arguments are required: --input, --output"):
        molino.run("names")
