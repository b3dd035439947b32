"""No value of any option of any command ends in a traceback, or waits for ever."""

import json
import os
import subprocess
import sys

import pytest

from tests.faults.fault_harness import ROOT

PARTS = int(os.environ.get("MOLINO_ODD_OPTIONS", "40"))  # of the cases one in so many is tried; 1: all
# where nothing but one folder can be written
SANDBOX = 'mount --make-rprivate / && mount --bind "$1" "$1" && mount -o remount,bind,ro / && shift && exec "$@"'


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_odd_values_are_refused_in_words(tmp_path):
    folder = tmp_path / "cases"
    folder.mkdir()
    sandbox = []
    if os.getuid() == 0:
        sandbox = ["unshare", "--mount", "sh", "-c", SANDBOX, "sh", folder]
        if subprocess.run([*sandbox, "true"], capture_output=True, check=False).returncode:
            pytest.skip("root would write to /, and this machine has no mount namespaces")
    command = [*sandbox, sys.executable, "-m", "tests.faults.odd_options", folder, "0", str(PARTS)]
    env = {**os.environ, **dict.fromkeys(("HOME", "TMPDIR", "MOLINO_CACHE"), str(folder))}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["tried"] > 50
    assert told["wrong"] == []
