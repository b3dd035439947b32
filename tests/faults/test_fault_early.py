"""A command that is stopped before its work begins, and one whose standard output nobody can write to."""

import os
import signal
import subprocess
import sys

import pytest

from tests.faults.fault_harness import assert_gone, descendants, end, environment, is_untouched, start, wait_until

pytestmark = pytest.mark.slow
SLOW_IMPORT = """
import pathlib, sys, time
class Slow:
    def find_spec(self, name, *_):
        if name == {module!r}:
            pathlib.Path({mark!r}).touch()
            time.sleep(60)
sys.meta_path.insert(0, Slow())
"""
SLOW_WORKER = """
import sys, time
if "molino.jobs.runners.worker" in sys.orig_argv:
    time.sleep(2)
"""


@pytest.mark.parametrize(
    ("command", "number", "code"),
    [
        ("names", signal.SIGTERM, 143),
        ("names", signal.SIGINT, 130),
        ("names", signal.SIGHUP, 129),
        ("plan names", signal.SIGTERM, 143),
        ("verify", signal.SIGHUP, 129),
        ("train titles", signal.SIGINT, 130),
    ],
)
def test_stopped_while_it_is_imported(command, number, code, sample, tmp_path):
    words = command.split()
    # what a command of these loads that takes a while
    module, mark = {"train": "numpy", "verify": "pyarrow"}.get(words[0], "apache_beam"), tmp_path / "importing"
    env = environment(tmp_path, SLOW_IMPORT.format(module=module, mark=str(mark)))
    given = [tmp_path / "out"] if words == ["verify"] else ["--input", sample, "--output", tmp_path / "out"]
    process = start(*words, *given, env=env, forks=False)
    wait_until(mark.exists, process)
    os.kill(process.pid, number)
    ended = end(process, 30)
    assert ended.code == code
    assert ended.err.startswith("molino: stopped")
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_nohup_is_respected(sample, tmp_path):
    """What is started to outlive its terminal does not hear of the terminal's end."""
    env = environment(
        tmp_path, SLOW_IMPORT.format(module="apache_beam", mark=str(tmp_path / "mark")).replace("60", "2")
    )
    given = ["names", "--input", str(sample), "--output", str(tmp_path / "out"), "--quiet"]
    process = subprocess.Popen(
        ["nohup", sys.executable, "-m", "molino", *given], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait_until((tmp_path / "mark").exists, process)
    os.kill(process.pid, signal.SIGHUP)
    assert end(process, 60).code == 0


def test_a_sample_that_is_stopped_leaves_nothing(tmp_path):
    process = start("sample", "names", "--output", tmp_path / "big/sep.txt", "--rows", 50_000_000)
    wait_until(lambda: list(tmp_path.glob("big/*")), process)
    os.kill(process.pid, signal.SIGINT)
    assert end(process, 30).code == 130
    assert not list(tmp_path.glob("big/*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["TERM", "KILL"])
def test_stopped_while_its_workers_start(number, sample, tmp_path):
    """One that is told to end before it has called its runner would wait for ever, and the runner for it."""
    env = environment(tmp_path, SLOW_WORKER)
    given = ("--input", sample, "--output", tmp_path / "out", "--quiet", "--worker-mode", "processes", "--workers", 2)
    process = start("names", *given, env=env)
    wait_until(lambda: len(descendants(process.pid)) == 2, process)
    workers = descendants(process.pid)
    os.kill(process.pid, number)
    assert end(process, 30).code == (-9 if number == signal.SIGKILL else 128 + number)
    assert_gone(workers)
    assert number == signal.SIGKILL or is_untouched(tmp_path / "out")


def test_closed_standard_output(sample, tmp_path):
    command = f"{sys.executable} -m molino names --quiet --input {sample} --output out >&-"
    ended = subprocess.run(["sh", "-c", command], cwd=tmp_path, env=environment(), capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert (tmp_path / "out/_SUCCESS").exists()


@pytest.mark.parametrize("words", [["plan", "names", "--input"], ["names", "--quiet", "--output", "out", "--input"]])
@pytest.mark.parametrize("where", ["full", "closed"])
def test_nobody_reads_standard_output(where, words, sample, tmp_path):
    command = [sys.executable, "-m", "molino", *words, str(sample)]
    if where == "full":
        target = os.open("/dev/full", os.O_WRONLY)
    else:
        read, target = os.pipe()
        os.close(read)
    ended = subprocess.run(command, cwd=tmp_path, env=environment(), stdout=target, stderr=subprocess.PIPE, check=False)
    os.close(target)
    told = b"molino: cannot write to standard output: No space left on device\n"
    assert (ended.returncode, ended.stderr) == {"full": (1, told), "closed": (141, b"")}[where]
    assert (tmp_path / "out/_SUCCESS").exists() == (words[0] == "names")  # the run itself is done
