"""The page on Python: what it shows runs as it stands."""

import os
import re
from pathlib import Path

import pytest

import molino
from tests.docs.test_training_page import made_run  # noqa: F401  a fixture
from tests.every_job import prepare

PAGE = (Path(__file__).resolve().parents[2] / "docs/python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
RUN = next(block for block in BLOCKS if "molino.run(" in block)


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    prepare("names", folder)
    molino.run("names", input=folder / "in.txt", output=folder / "names", quiet=True)
    return folder / "names"


@pytest.mark.parametrize("block", [block for block in BLOCKS if block != RUN], ids=lambda block: block.splitlines()[0])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of the libraries that are shown
def test_what_the_page_shows_runs(block, names, made_run, monkeypatch):  # noqa: F811
    os.symlink(names, "demo/names")
    exec(compile(block, "docs/python.md", "exec"), {"molino": molino})


def test_what_runs_on_the_page_is_a_command(monkeypatch):
    calls = []
    monkeypatch.setattr(molino, "run", lambda job, **options: calls.append((job, options)))
    exec(compile(RUN, "docs/python.md", "exec"), {"molino": molino})
    assert [job for job, _ in calls] == ["names", "titles", "train titles"]
    from molino.jobs.run.call import find_job, to_words

    for job, options in calls:
        parser = find_job(job).parser()
        parser.raises = True
        parser.parse_strictly(to_words(options, parser))
