"""Programs that tests start in a moment behave as those that are started by a new interpreter."""

import os
import signal
import subprocess
import sys

import pytest

from tests import programs

SHOW = """
import json, os, sys, tempfile, time
if "stop" in sys.argv:
    time.sleep(60)
print(json.dumps([sys.argv[1:], os.getcwd(), os.environ["MARK"], tempfile.gettempdir(), time.strftime("%Z"), __name__]))
print(sys.stdin.read(), file=sys.stderr)
sys.exit(7)
"""


@pytest.fixture
def show(tmp_path):
    (tmp_path / "show.py").write_text(SHOW)

    def start(*words, forks=True):
        env = {**os.environ, "PYTHONPATH": str(tmp_path), "MARK": "ñ", "TMPDIR": str(tmp_path), "TZ": "Asia/Tokyo"}
        return programs.popen(["show", *words], env=env, cwd=tmp_path, stdin=subprocess.PIPE, forks=forks)

    return start


def test_a_fork_is_as_a_new_interpreter(show):
    ended = []
    for forks in (True, False):
        process = show("a", "b c", forks=forks)
        ended.append((process.communicate(b"typed"), process.returncode))
    assert ended[0] == ended[1]
    assert b"JST" in ended[0][0][0]


def test_a_fork_that_is_killed_says_so(show):
    process = show("stop")
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(timeout=0.1)
    process.kill()
    assert process.communicate(timeout=10) == (b"", b"")
    assert process.returncode == -signal.SIGKILL


def test_it_finds_libraries_imported_and_none_of_this_project(tmp_path):
    (tmp_path / "look.py").write_text("import sys; print('apache_beam' in sys.modules, 'molino' in sys.modules)")
    process = programs.popen(["look"], env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert process.communicate()[0] == b"True False\n"


def test_what_an_interpreter_reads_at_its_start_needs_a_new_one(tmp_path):
    (tmp_path / "look.py").write_text("import sys; print(sys.flags.hash_randomization, 'numba' in sys.modules)")
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONHASHSEED": "0"}
    process = programs.popen(["look"], env=env)
    assert isinstance(process, subprocess.Popen)
    assert process.communicate()[0] == b"0 False\n"
    assert sys.executable == process.args[0]
