"""One process answers many requests, each in a fork of itself; what goes wrong in one does no harm to the next."""

import os
import signal
import tempfile
import time
from pathlib import Path

import pytest

from molino.transforms.errors import DataError, OptionError
from molino.transforms.models import tensorflow_process
from molino.transforms.models.tensorflow_process import ask_tensorflow, start_tensorflow, stop_tensorflow

HERE = "tests.transforms.models.test_tensorflow_process"


def process():
    """What a request asks for: who answers, and who has asked for that."""
    return [os.getpid(), os.getppid()]


def fail(kind, text):
    """Fail in one of four ways."""
    if kind == "exit":
        print(text, file=os.fdopen(2, "w"), flush=True)
        os._exit(9)
    raise {"data": DataError, "option": OptionError, "other": ValueError}[kind](text)


def keep_at_it(path):
    """Say who works, where temporary files are, and go on for ever."""
    with open(path, "w") as file:
        print(os.getpid(), tempfile.mkstemp()[1], file=file)
    while True:
        time.sleep(1)


@pytest.fixture(autouse=True)
def ended():
    yield
    stop_tensorflow()


@pytest.mark.slow
def test_each_is_answered_in_a_fork_of_one_process(monkeypatch):
    start_tensorflow()
    first = ask_tensorflow(f"{HERE}:process", [{}, {}], doing="was tried", keep=True)
    (third,) = ask_tensorflow(f"{HERE}:process", [{}], doing="was tried")
    children, parents = zip(*first, third, strict=True)
    assert len({*children, os.getpid()}) == 4
    assert len(set(parents)) == 1
    assert (
        ask_tensorflow(f"{HERE}:process", [{}], doing="was tried")[0][1] not in parents
    )  # ended, as it was not to be kept


@pytest.mark.slow
def test_what_goes_wrong_is_told_and_does_no_harm():
    told = "TensorFlow ended with the code 9 while it was tried: no such thing"
    known = {"data": (DataError, "a"), "option": (OptionError, "b"), "exit": (DataError, told)}
    known["other"] = DataError, "TensorFlow failed in fail: ValueError: c d"
    for kind, (error, message) in known.items():
        text = {
            "data": "a",
            "option": "b",
            "exit": "no such thing\nI0000 00:00:17 cuda.cc:51] no device",
            "other": "c\nd",
        }
        with pytest.raises(error) as raised:
            ask_tensorflow(f"{HERE}:fail", [{"kind": kind, "text": text[kind]}], doing="was tried", keep=True)
        assert str(raised.value) == message
    assert ask_tensorflow(f"{HERE}:process", [{}], doing="was tried")


@pytest.mark.slow
def test_who_stops_waiting_ends_what_is_at_work_and_its_files(tmp_path):
    path = tmp_path / "worker"

    def interrupt(*_):
        if path.exists() and path.read_text().endswith("\n"):
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            ask_tensorflow(f"{HERE}:keep_at_it", [{"path": str(path)}], doing="was tried", keep=True)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        stop_tensorflow()
    worker, file = path.read_text().split()
    assert not Path(file).parent.exists()
    while os.path.exists(f"/proc/{worker}/exe"):
        time.sleep(0.01)


@pytest.mark.slow
def test_where_nothing_may_be_forked_the_process_itself_answers(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.platform = 'darwin'")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    both = ask_tensorflow(f"{HERE}:process", [{}, {}], doing="was tried")
    assert both[0] == both[1]


@pytest.mark.slow
def test_one_that_has_ended_meanwhile_is_started_anew():
    (first,) = ask_tensorflow(f"{HERE}:process", [{}], doing="was tried", keep=True)
    os.kill(first[1], signal.SIGKILL)
    while os.path.exists(f"/proc/{first[1]}/fd/0"):
        time.sleep(0.01)
    assert ask_tensorflow(f"{HERE}:process", [{}], doing="was tried")[0][1] != first[1]


def test_no_process_is_started_for_nothing(monkeypatch):
    monkeypatch.setattr(tensorflow_process, "start_module", lambda *_, **__: pytest.fail("started"))
    assert ask_tensorflow(f"{HERE}:process", [], doing="was tried") == []
