"""A process of its own: its result, its errors, its death."""

import os
import time

import pytest

from molino.transforms.errors import DataError
from molino.transforms.processes import Died, call_apart

pytestmark = pytest.mark.slow  # each starts a process


def work(what, tell):
    tell("one")
    tell("two")
    if what == "abort":
        os.abort()
    if what == "hang":
        time.sleep(1000)
    if what == "data":
        raise DataError("file.jpg changed")
    if what == "error":
        raise ZeroDivisionError
    return what.upper()


def test_a_result_is_returned():
    assert call_apart(work, {"what": "fine"}, seconds=30) == "FINE"


@pytest.mark.parametrize(("what", "seconds", "how"), [("abort", 30, "ended with -6"), ("hang", 0.5, "within 0.5")])
def test_a_death_is_an_answer(what, seconds, how):
    died = call_apart(work, {"what": what}, seconds=seconds)
    assert isinstance(died, Died)
    assert died.last == "two"
    assert how in died.how


def test_errors_are_raised_here():
    with pytest.raises(DataError, match=r"^file.jpg changed$"):
        call_apart(work, {"what": "data"}, seconds=30)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        call_apart(work, {"what": "error"}, seconds=30)
