"""Progress: what workers report is heard, and a run goes on where nothing can be heard."""

import io
import os
import sys
import tempfile
import time

import pytest

from molino.jobs.runners import watch
from molino.transforms.progress import ENVIRONMENT, report


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def new(**how):
    return watch.Watch(100, quiet=False, noun="rows", stages={"read": "reading"}, **how)


def test_reports_are_heard(place):
    with new() as watching:
        report("read", rows=3)
        limit = time.monotonic() + 10
        while not watching.amounts and time.monotonic() < limit:
            time.sleep(0.01)
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
        limit = time.monotonic() + 10
        while not screen.getvalue() and time.monotonic() < limit:
            time.sleep(0.01)
    assert "50% at work there" in screen.getvalue()
