"""What is written down of a run that was stopped or failed."""

import pytest

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
