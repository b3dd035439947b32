"""What becomes of a job on Dataflow and of its command: models, failures, signals, and what is refused."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from tests import programs
from tests.deploy.dataflow_user import JOBS, ROOT, SECRET
from tests.deploy.test_dataflow import IN_IMAGE, staged, unpacked
from tests.faults.fault_harness import changed_copy, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

MODEL = """
import sys
import numpy as np
from molino.training.nnlm_export import export_nnlm
words = ["Smart", "Tv", "Celular", "Mesa", "De", "32", "Samsung", "Negro"]
vectors = np.random.default_rng(1).standard_normal((len(words) + 3, 4)).astype(np.float32)
export_nnlm(sys.argv[1], words, vectors, buckets=3, normalization=True)
"""


def test_a_model_reaches_the_workers_from_this_machine_and_from_a_bucket(google, tmp_path):
    """Workers have neither the model nor the cache: they find the table in the output, and take it into their own."""
    subprocess.run([sys.executable, "-c", MODEL, google.home / "small"], cwd=ROOT, check=True, capture_output=True)
    google.put(google.home / "small", "models/small")
    command = ["molino", "titles", "--input", google.home / JOBS["titles"][1], "--quiet"]
    command += ["--model", f"small={google.home}/small", "--output", tmp_path / "out"]
    programs.run(command, env={**os.environ, "PYTHONPATH": str(ROOT), **google.cache})
    here = json.loads((tmp_path / "out/_manifest.json").read_text())
    for name, location in (("local", f"{google.home}/small"), ("bucket", "gs://bucket/models/small")):
        options = ["--model", f"small={location}"]
        code, said = google.submit("titles", *IN_IMAGE, output=f"out/{name}", options=options)
        assert code == 0, said[-3000:]
        there = json.loads(google.get(f"out/{name}/_manifest.json"))
        assert there["digest"] == here["digest"]
        assert there["options"]["models"] == here["options"]["models"]
        files = staged(google, google.jobs()[-1])
        whole = b"".join(map(unpacked, files.values()))
        assert str(google.home).encode() not in whole
        assert not list((google.folder / "objects/bucket").glob(f"out%2F{name}%2F_staging*"))
    assert len(list((google.folder / "cache-of-a-worker/sent").glob("*/facts.json"))) == 1  # one table, taken once


def test_a_failed_job_is_told_in_one_line_with_the_reason(google):
    google.judge("JOB_STATE_FAILED", "Traceback\nBoomError: no such machine type")
    code, said = google.submit("shapes", *IN_IMAGE, output="out/failed")
    google.judge("", "")
    assert code == 1
    (line,) = [line for line in said.splitlines() if line.startswith("molino: ")]
    assert "ended in the state FAILED: BoomError: no such machine type" in line
    assert "Traceback" not in said


def test_a_job_that_fails_by_its_data_says_what_the_embedded_runner_says(google):
    google.put(google.home / "n.txt", "in/n.txt")
    code, said = google.submit(
        "names", "--invalid-curp", "reject", "--max-reject-ratio", "0", *IN_IMAGE, output="out/bad"
    )
    assert code == 1
    assert "records were rejected" in said
    assert "nothing was published" in said
    assert "Traceback" not in said


def test_workers_whose_image_has_other_code_end_the_job(google):
    image = changed_copy(google.folder / "image")
    code, said = google.submit("names", *IN_IMAGE, output="out/other")
    shutil.rmtree(image)
    assert code == 1
    (line,) = [line for line in said.splitlines() if line.startswith("molino: ")]
    assert re.search(
        r"worker \S+ has other code of molino \S+ than this command: \w{12} there, \w{12} here; rebuild", line
    )
    assert "Traceback" not in said
    left = [path.name for path in (google.folder / "objects/bucket").glob("out%2Fother%2F*")]
    assert left == ["out%2Fother%2F_staging%2Flast_error.json"]


def test_done_without_the_output_is_no_success(google):
    google.judge("JOB_STATE_DONE", "")
    code, said = google.submit("shapes", *IN_IMAGE, output="out/nothing")
    google.judge("", "")
    assert code == 1
    assert "does not hold its run" in said


def test_a_stopped_command_cancels_its_job(google):
    google.judge("JOB_STATE_RUNNING", "")
    before = len(google.jobs())
    process = google.start("shapes", "--output", "gs://bucket/out/stopped", *IN_IMAGE)
    wait_until(lambda: google.is_at_work("stopped", f"job-{before}"), process)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    google.judge("", "")
    assert process.returncode == 143, said
    assert (google.folder / "jobs/cancelled").read_text().split() == [f"job-{before}"]
    left = [path.name for path in (google.folder / "objects/bucket").glob("out%2Fstopped%2F*")]
    assert left == ["out%2Fstopped%2F_staging%2Flast_error.json"]


def test_the_job_of_a_killed_command_is_ended_by_the_next(google):
    google.judge("JOB_STATE_RUNNING", "")
    ended = f"job-{len(google.jobs())}"
    process = google.start("shapes", "--output", "gs://bucket/out/killed", *IN_IMAGE)
    wait_until(lambda: google.is_at_work("killed", ended), process)
    process.kill()
    process.communicate()
    google.judge("", "")
    code, said = google.submit("shapes", *IN_IMAGE, output="out/killed")
    assert code == 0, said
    assert f"ending the DataflowRunner job {ended} at " in said
    assert "cannot end it" not in said
    assert (google.folder / "jobs/cancelled").read_text().split()[-1] == ended
    assert json.loads(google.get("out/killed/_manifest.json"))["job"] == "shapes"


@pytest.mark.parametrize(
    ("job", "options", "more", "output", "why"),
    [
        ("shapes", None, [], "out/refused", "add --setup_file"),
        ("shapes", None, ["--setup_file", "./setup.py"], "here", "give a gs:// path"),
        # of the environment, which holds one
        ("names", ["--curp", "hash"], ["--setup_file", "./setup.py"], "out/refused", "--curp-key-file gs://bucket/"),
    ],
)
def test_what_workers_could_not_do_is_refused_before_anything_is_sent(job, options, more, output, why, google):
    before = len(google.jobs())
    code, said = google.submit(job, *more, output=output, options=options)
    assert code == 2
    assert why in said
    assert SECRET not in said
    assert len(google.jobs()) == before
