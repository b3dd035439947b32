"""What is written down of a run that was stopped or failed."""

import contextlib
import os
import signal
import threading
import time

import pytest

from molino.jobs.runners import exits
from molino.jobs.runners.exits import describe_error
from molino.transforms.errors import DataError


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SystemExit(143), "stopped by SIGTERM"),
        (SystemExit(130), "stopped by SIGINT"),
        (RuntimeError("SystemExit: 129 [while running 'Read/Read/ParDo(_Predict)']"), "stopped by SIGHUP"),
        (RuntimeError("a reader's words: SystemExit: 129"), "RuntimeError: a reader's words: SystemExit: 129"),
        (DataError("the disk is full"), "the disk is full"),
        (ValueError("two\n  lines"), "ValueError: two lines"),
    ],
)
def test_what_stopped_a_run_is_one_line(error, said):
    assert describe_error(error) == said


@pytest.mark.parametrize("ends", [False, True])
def test_a_signal_that_a_pipeline_loses_is_repeated(ends, monkeypatch):
    monkeypatch.setattr(exits, "REPEAT_SECONDS", 0.1)
    seen = []

    def wait(seconds):
        try:
            time.sleep(seconds)
        except SystemExit as error:  # as in a callback, which nobody hears of
            seen.append(error.code)

    def run_pipeline():
        wait(20)
        (_ended_elsewhere if ends else time.sleep)(1 if ends else 20)

    def _ended_elsewhere(seconds):
        time.sleep(seconds)  # at the end nothing may disturb

    with exits.signals_as_exits() as received:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        with contextlib.nullcontext() if ends else pytest.raises(SystemExit):
            run_pipeline()
    assert seen == [143]
    assert received == [143] if ends else [143, 143]
