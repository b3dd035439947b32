"""The titles job, disturbed: kills, and every way to run that must not matter."""

import os
import shutil
from collections import Counter

import pytest

from molino.jobs.run import recheck
from molino.transforms.manifest import STAGING
from tests.faults.fault_harness import (
    ANOTHER_USERS,
    assert_complete,
    bytes_of,
    descendants,
    digests_of,
    end,
    environment,
    manifest_of,
    side_by_side,
    start,
    titles,
    wait_until,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SMALL_BLOCKS = (
    "from molino.jobs import titles; titles.BLOCK_BYTES = 20_000"  # so that a small file has many blocks and shards
)
# --- kills

# workers that take their time at the titles, so that the run can be stopped among them
SLOW = """
import time
import molino.transforms.titles.write

def slowly(*arguments, **options):
    time.sleep(60)
    return whole(*arguments, **options)

whole, molino.transforms.titles.write.finish_titles = molino.transforms.titles.write.finish_titles, slowly
"""


def test_a_kill_in_mid_run_leaves_the_earlier_output(titles_file, model, finished_titles, tmp_path):
    """In worker processes; of threads see test_pca_faults.py."""
    output, other = finished_titles, tmp_path / "other"
    shutil.copytree(output, other)
    process = start(
        *("titles", "--input", titles_file, "--output", output, "--model", f"m={model}", "--overwrite", "--seed", 2),
        *("--worker-mode", "processes", "--workers", 2, "--quiet"),
        env=environment(tmp_path, SLOW),
    )
    # the labels are written before the first title
    wait_until(lambda: list((output / STAGING).rglob("labels/*.parquet")), process, 120)
    workers = descendants(process.pid)
    process.kill()
    assert end(process).code == -9
    for pid in workers:
        wait_until(lambda pid=pid: not os.path.exists(f"/proc/{pid}/exe"), seconds=60)
    manifest, _ = recheck.verify(str(output))
    assert manifest["digest"] == manifest_of(other)["digest"]
    assert titles(titles_file, output, model).code == 0  # the same run as before: only what was left is cleared
    assert_complete(output, other)


@pytest.mark.parametrize("step", ["verified", "view"])
def test_a_kill_in_the_commit_is_mended_by_the_same_run(step, titles_file, model, undisturbed_titles, tmp_path):
    """One before the manifest and one after it; test_fault_commit.py has all steps, the same for every job."""
    output = tmp_path / "out"
    assert titles(titles_file, output, model, env=environment(MOLINO_CRASH=step)).code == -9
    assert titles(titles_file, output, model).code == 0
    assert_complete(output, undisturbed_titles)


# --- what must not matter

SAME = {
    "4 workers": (["--workers", 4], {}),
    "processes of another user": (["--workers", 2, "--worker-mode", "processes"], ANOTHER_USERS),
    "runner's shuffle": (["--shuffle", "runner"], {}),
    "small pieces, 1 worker": (["--span-bytes", 5000, "--workers", 1], {}),
}
SHARDS = {"1 shard": 1, "7 shards": 7}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory, titles_file, model):
    """Run the job in every way; {case: output}."""
    folder = tmp_path_factory.mktemp("same")
    plain = environment(folder, SMALL_BLOCKS)

    def run(case, options, variables):
        output = folder / case.replace(" ", "_")
        ended = titles(titles_file, output, model, *options, env={**plain, **variables})
        assert ended.code == 0, ended.err
        return case, output

    calls = [lambda: run("plain", [], {})]
    calls += [lambda c=case: run(c, *SAME[c]) for case in SAME]
    calls += [lambda c=case: run(c, ["--shards", SHARDS[c]], {}) for case in SHARDS]
    return dict(side_by_side(calls))


@pytest.mark.parametrize("case", SAME)
def test_the_bytes_are_the_same(case, outputs):
    assert bytes_of(outputs[case]) == bytes_of(outputs["plain"])
    assert manifest_of(outputs[case])["digest"] == manifest_of(outputs["plain"])["digest"]
    assert manifest_of(outputs[case])["counters"] == manifest_of(outputs["plain"])["counters"]


@pytest.mark.parametrize("case", SHARDS)
def test_the_digests_do_not_depend_on_the_shards(case, outputs):
    assert digests_of(outputs[case]) == digests_of(outputs["plain"])
    splits = Counter(file["split"] for file in manifest_of(outputs[case])["datasets"]["titles"]["files"])
    assert splits == dict.fromkeys(("train", "validation", "test"), SHARDS[case])


def test_nothing_is_said_beside_the_summary(titles_file, model, tmp_path):
    ended = titles(titles_file, tmp_path / "out", model)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[0].split() == ["rows", "read", "3,019"]
