"""The first command of a page gives what the page shows under it."""

import os
import re
import subprocess
import sys

import pytest

from tests.docs.test_docs import ROOT, page_of

FIRST = re.compile(r"^```sh\n(.*?)^```\n\n```text\n(.*?)^```", re.MULTILINE | re.DOTALL)
# in an order in which each finds what those before have made; pages whose first command trains are left out
PAGES = ["titles", "inputs", "schedules", "pca", "shapes", "whales", "whales-methods", "whales-saliency"]
PAGES += ["whales-presence", "whales-damage", "dataflow", "flink"]
# what is also printed: times, paths of this machine, progress, and what a sample says of itself
OWN = re.compile(r" *(took|output|report)  .*|molino: +\d+% .*|[\d,]+ \w+.* in demo/\S+")
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\S+")


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """Return a function that runs lines of a page in a new folder, and gives what is printed, that folder as /work."""
    folder = tmp_path_factory.mktemp("first")
    (folder / "molino").write_text(f'#!/bin/sh\nexec {sys.executable} -m molino "$@"\n')
    (folder / "molino").chmod(0o755)
    for name in ("sweeps", "setup.py"):
        (folder / name).symlink_to(ROOT / name)
    path = f"{folder}:{ROOT / 'deploy/cron'}:{os.environ['PATH']}"
    places = {"MOLINO_LOGS": str(folder / "logs"), "MOLINO_LOCKS": str(folder / "locks"), "TZ": "UTC"}

    def run(lines):
        done = subprocess.run(
            ["bash", "-c", lines],
            cwd=folder,
            env={**os.environ, **places, "PATH": path, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.stdout.replace(str(folder), "/work")

    return run


def lines_of(text):
    """Return lines that are the same in every run."""
    return [TIME.sub("TIME", line.rstrip()) for line in text.splitlines() if line and not OWN.fullmatch(line)]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", PAGES)
def test_the_first_command_gives_what_stands_under_it(page, shell):
    command, told = FIRST.search(page_of(f"{page}.md")).groups()
    assert lines_of(shell(command)) == lines_of(told)
