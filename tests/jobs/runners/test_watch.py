"""Progress: what workers report is heard, and a run goes on where nothing can be heard."""

import io
import os
import sys
import tempfile

import pytest

from molino.jobs.runners import watch
from molino.transforms.progress import ENVIRONMENT, report
from tests.faults.fault_harness import wait_until


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def new(**how):
    return watch.Watch(100, quiet=False, noun="rows", stages={"read": "reading"}, **how)


def test_reports_are_heard(place):
    with new() as watching:
        report("read", rows=3)
        wait_until(lambda: watching.amounts, seconds=10)
        assert watching.amounts["read.rows"] == 3
    assert list(place.iterdir()) == []
    assert ENVIRONMENT not in os.environ


@pytest.mark.parametrize("hindrance", ["too long for a socket", "not there"])
def test_a_run_goes_on_unheard(hindrance, place, monkeypatch):
    folder = place / ("x" * 120 if hindrance == "too long for a socket" else "nowhere")
    if hindrance == "too long for a socket":
        folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with new() as watching:
        assert ENVIRONMENT not in os.environ
        report("read", rows=3)
    assert not watching.amounts
    assert not folder.exists() or list(folder.iterdir()) == []


def test_a_runner_is_asked_all_the_same(place, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(place / "nowhere"))
    monkeypatch.setattr(watch, "LINE_SECONDS", 0.0)
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    with new(ask=lambda: (0.5, "at work there")):
        wait_until(lambda: "50% at work there" in screen.getvalue(), seconds=10)


def test_a_runner_is_asked_until_workers_report(monkeypatch):
    monkeypatch.setattr(watch, "LINE_SECONDS", 0.0)
    monkeypatch.setattr(watch, "ASK_SECONDS", 0.0)
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    with new(ask=lambda: (0.25, "2 of 8 tasks")):
        wait_until(lambda: screen.getvalue().startswith("molino:  25% 2 of 8 tasks, "), seconds=10)
        report("read", rows=10, bytes=50)
        wait_until(lambda: "molino:  50% reading, 10 rows" in screen.getvalue(), seconds=10)
