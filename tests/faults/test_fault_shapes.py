"""The shapes job disturbed: killed and resumed, stopped, out of disk, misled; what is whole stays whole."""

import os
import pathlib
import resource
import shutil
import signal

import pytest

from molino.transforms.manifest import LOCK, STAGING, owned_paths
from tests.faults.fault_harness import (
    ANOTHER_USERS,
    assert_complete,
    assert_failed,
    bytes_of,
    digests_of,
    end,
    environment,
    files_below,
    manifest_of,
    molino,
    side_by_side,
    start,
    state_of,
    usual,
    wait_until,
)

pytestmark = pytest.mark.slow

SWEEP = """\
- {problem: [ring, cos], hidden: [3, 20], batch: 50, steps: 200, seed: [1, 2, 3]}
- {problem: ring, hidden: [[8, 8]], batch: 100, steps: 50, decay: 0.86, seed: [1, 2]}
"""
NETWORKS = 14
# Networks that take long enough to be killed between two of them.
SLOW = """
import time
import molino.transforms.shapes.run_network

def slow(*arguments, **named):
    time.sleep(0.2)
    return quick(*arguments, **named)

quick, molino.transforms.shapes.run_network.train_network = molino.transforms.shapes.run_network.train_network, slow
"""
OPTIONS = {"--rows": 2000, "--workers": 2}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "sweep.yaml"
    path.write_text(SWEEP)
    return path


def shapes(sweep, output, *options, patch="", **how):
    variables = how.pop("variables", {})
    env = environment(pathlib.Path(output).parent, patch, **variables)
    return molino("shapes", "--sweep", sweep, "--output", output, "--quiet", *usual(OPTIONS, options), env=env, **how)


def start_shapes(sweep, output, *options):
    env = environment(pathlib.Path(output).parent, SLOW)
    return start("shapes", "--sweep", sweep, "--output", output, "--quiet", *usual(OPTIONS, options), env=env)


def records(output):
    return sorted((output / STAGING).glob("units-*/*.json"))


@pytest.fixture(scope="module")
def calm(sweep, tmp_path_factory):
    """The output of a run that nothing disturbed; never to be changed."""
    output = tmp_path_factory.mktemp("calm") / "out"
    ended = shapes(sweep, output)
    assert ended.code == 0, ended.err
    return output


@pytest.fixture(scope="module")
def killed(sweep, tmp_path_factory):
    """What a run leaves that is killed after four networks; never to be changed."""
    output = tmp_path_factory.mktemp("killed") / "out"
    process = start_shapes(sweep, output)
    wait_until(lambda: len(records(output)) >= 4, process)
    process.kill()
    assert end(process).code == -9
    return output


SAME = {
    "1 worker": (["--workers", 1], {}),
    "processes of another user": (["--worker-mode", "processes"], ANOTHER_USERS),
    "threads of BLAS": ([], {"OPENBLAS_NUM_THREADS": "2"}),
}


def test_the_bytes_are_the_same(sweep, calm, tmp_path):
    def run(case):
        options, variables = SAME[case]
        output = tmp_path / case.replace(" ", "_")
        ended = shapes(sweep, output, *options, variables=variables)
        assert ended.code == 0, ended.err
        return output

    for output in side_by_side([lambda case=case: run(case) for case in SAME]):
        assert bytes_of(output) == bytes_of(calm), output


def test_a_killed_sweep_goes_on_where_it_was(sweep, calm, killed, tmp_path):
    output = shutil.copytree(killed, tmp_path / "out", copy_function=os.link)
    done = records(output)
    assert 4 <= len(done) < NETWORKS
    inodes = {path.stat().st_ino for path in (output / STAGING).rglob("*.parquet*")}
    ended = shapes(sweep, output)
    assert ended.code == 0, ended.err
    assert manifest_of(output)["counters"]["units.resumed"] == len(done)
    assert f"resumed  {len(done)} of {NETWORKS} networks" in ended.out
    # predictions of finished networks are the very files that the killed run wrote
    assert sum(path.stat().st_ino in inodes for path in (output / "predictions").iterdir()) == len(done)
    assert_complete(output, calm)


def test_a_damaged_network_is_trained_again(sweep, calm, killed, tmp_path):
    output = shutil.copytree(killed, tmp_path / "out")
    done = records(output)
    staged = sorted(done[0].parent.glob("predictions/*.parquet"))
    data = bytearray(staged[0].read_bytes())
    data[len(data) // 2] ^= 1
    staged[0].write_bytes(data)
    assert shapes(sweep, output).code == 0
    assert manifest_of(output)["counters"]["units.resumed"] == len(done) - 1
    assert_complete(output, calm)


def test_another_sweep_takes_nothing_up(sweep, killed, tmp_path):
    output = shutil.copytree(killed, tmp_path / "out")
    assert shapes(sweep, output, "--problem", "ring").code == 0
    assert manifest_of(output)["counters"]["units.resumed"] == 0
    assert files_below(output) == owned_paths(manifest_of(output))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_signal_stops_the_sweep_and_keeps_finished_networks(workers, sweep, calm, tmp_path):
    output = tmp_path / "out"
    process = start_shapes(sweep, output, "--workers", workers)
    wait_until(lambda: len(records(output)) >= 3, process)
    os.kill(process.pid, signal.SIGTERM)
    assert_failed(end(process, 30), 143, "stopped")
    assert not (output / LOCK).exists()
    assert len(records(output)) >= 3
    assert shapes(sweep, output).code == 0
    assert_complete(output, calm)


def test_a_full_disk_is_one_line(sweep, calm, tmp_path):
    output = shutil.copytree(calm, tmp_path / "out")
    before = state_of(output)

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))

    ended = shapes(sweep, output, "--overwrite", "--seed", 2, preexec_fn=small_files)
    assert_failed(ended, 1, "cannot write", str(output), "ulimit -f")
    after = {path: state for path, state in state_of(output).items() if not path.startswith(STAGING)}
    assert after == before
    assert digests_of(output) == digests_of(calm)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- {problem: ring, hidden: 3, batch: 50, stesp: 9}", ["block 1", "'stesp'", "did you mean steps?"]),
        ("- {hidden: 3", ["line 1", "not YAML"]),
        ("hidden: 3", ["list of blocks"]),
        ("- {hidden: 3, batch: 0, steps: 5}", ["block 1: batch: 0 is not from 1"]),
    ],
)
def test_a_wrong_sweep_is_one_line_and_the_output_stays(text, words, calm, tmp_path):
    output = shutil.copytree(calm, tmp_path / "out")
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    before = state_of(output)
    assert_failed(shapes(path, output, "--overwrite"), 1, str(path), *words)
    assert state_of(output) == before
