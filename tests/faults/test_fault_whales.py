"""The whales job disturbed: killed and resumed, poisoned, out of disk, misled; what is whole stays whole."""

import os
import pathlib
import resource
import shutil
import signal

import pyarrow.parquet as pq
import pytest

from molino.transforms.manifest import LOCK, STAGING, owned_paths
from molino.transforms.whales.sample import sample_whales
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

SMALL_UNITS = "import molino.transforms.images.list_images; molino.transforms.images.list_images.LEAST_UNIT = 1\n"
# Units that take long enough to be killed between two of them.
SLOW = """
import time
import molino.transforms.whales.extract

def slow(image, how):
    time.sleep(0.03)
    return quick(image, how)

quick, molino.transforms.whales.extract.extract_region = molino.transforms.whales.extract.extract_region, slow
"""
# An image whose decoder takes the process with it, or never comes back.
POISON = """
import os, time
import molino.transforms.whales.extract

def decode(data, **how):
    if data.endswith(b"abort"):
        os.abort()
    if data.endswith(b"hang"):
        time.sleep(1000)
    return whole(data, **how)

extract = molino.transforms.whales.extract
whole, extract.decode_image = extract.decode_image, decode
molino.transforms.whales.extract.IMAGE_SECONDS = 6.0
"""
OPTIONS = {"--kernel": 9, "--smallest": 6, "--max-reject-ratio": 1, "--workers": 2}


def whales(source, output, *options, patch="", folder=None, **how):
    """Run the whales job on small units; `patch` is executed in every process."""
    variables = how.pop("variables", {})
    env = environment(folder or pathlib.Path(output).parent, SMALL_UNITS + patch, **variables)
    return molino("whales", "--input", source, "--output", output, "--quiet", *usual(OPTIONS, options), env=env, **how)


def start_whales(source, output, *options, patch=SLOW):
    env = environment(pathlib.Path(output).parent, SMALL_UNITS + patch)
    return start("whales", "--input", source, "--output", output, "--quiet", *usual(OPTIONS, options), env=env)


def records(output):
    return sorted((output / STAGING).glob("units-*/*.json"))


@pytest.fixture(scope="module")
def sea(tmp_path_factory):
    """Forty small images and the hostile ones."""
    wrote = sample_whales(str(tmp_path_factory.mktemp("sea")), images=40, width=240, height=160, hostile=True)
    return pathlib.Path(wrote["folder"])


@pytest.fixture(scope="module")
def calm(sea, tmp_path_factory):
    """The output of a run that nothing disturbed; never to be changed."""
    output = tmp_path_factory.mktemp("calm") / "out"
    ended = whales(sea, output, "--write-images")
    assert ended.code == 0, ended.err
    return output


@pytest.fixture(scope="module")
def killed(sea, tmp_path_factory):
    """What a run leaves that is killed after five units; never to be changed."""
    output = tmp_path_factory.mktemp("killed") / "out"
    process = start_whales(sea, output, "--write-images")
    wait_until(lambda: len(records(output)) >= 5, process)
    process.kill()
    assert end(process).code == -9
    return output


SAME = {
    "1 worker": (["--workers", 1], {}),
    "processes of another user": (["--worker-mode", "processes"], ANOTHER_USERS),
}


def test_the_bytes_are_the_same(sea, calm, tmp_path):
    def run(case):
        options, variables = SAME[case]
        output = tmp_path / case.replace(" ", "_")
        ended = whales(sea, output, "--write-images", *options, variables=variables)
        assert ended.code == 0, ended.err
        return output

    for output in side_by_side([lambda case=case: run(case) for case in SAME]):
        assert bytes_of(output) == bytes_of(calm), output
        assert manifest_of(output)["counters"] == manifest_of(calm)["counters"]


def test_a_killed_run_is_resumed(sea, calm, killed, tmp_path):
    output = shutil.copytree(killed, tmp_path / "out", copy_function=os.link)
    done = records(output)
    assert len(done) >= 5
    inodes = {path.stat().st_ino for path in (output / STAGING).rglob("*.parquet*")}
    ended = whales(sea, output, "--write-images", patch=SLOW)
    assert ended.code == 0, ended.err
    assert manifest_of(output)["counters"]["units.resumed"] == len(done)
    assert f"{len(done)} of" in ended.out
    # shards of finished units are the very files that the killed run wrote
    kept = [path for path in (output / "regions").iterdir() if path.stat().st_ino in inodes]
    assert len(kept) >= len(done) - 1  # a unit may be of rejects alone
    assert_complete(output, calm)


def test_a_damaged_unit_is_done_again(sea, calm, killed, tmp_path):
    output = shutil.copytree(killed, tmp_path / "out")
    done = records(output)
    staged = sorted(done[0].parent.glob("regions/*.parquet"), key=lambda path: path.name)
    data = bytearray(staged[0].read_bytes())
    data[len(data) // 2] ^= 1
    staged[0].write_bytes(data)
    done[-1].write_bytes(done[-1].read_bytes()[:-9])
    assert whales(sea, output, "--write-images").code == 0
    assert manifest_of(output)["counters"]["units.resumed"] == len(done) - 2
    assert_complete(output, calm)


def test_another_run_takes_nothing_up(sea, killed, tmp_path):
    output = shutil.copytree(killed, tmp_path / "out")
    assert whales(sea, output, "--bins", 8).code == 0
    assert manifest_of(output)["counters"]["units.resumed"] == 0
    assert files_below(output) == owned_paths(manifest_of(output))


@pytest.fixture(scope="module")
def grown(sea, tmp_path_factory):
    """A finished run, whose folder has changed since, twenty photographs and one more; and what comes of that anew."""
    folder = tmp_path_factory.mktemp("grown")
    source = shutil.copytree(sea, folder / "sea", symlinks=True, ignore=shutil.ignore_patterns("hostile"))
    assert whales(source, folder / "out", "--write-images").code == 0
    for number in range(20):
        os.utime(source / f"w_{number:05d}.jpg")
    shutil.copy(source / "w_00000.jpg", source / "a_more.jpg")
    assert whales(source, folder / "anew", "--write-images").code == 0
    return source, folder / "out", folder / "anew"


def test_a_killed_run_takes_over_what_is_left_of_the_run_before(grown, tmp_path):
    source, before, anew = grown
    output = shutil.copytree(before, tmp_path / "out")
    (source / "a_more.jpg").rename(tmp_path / "a_more.jpg")
    process = start_whales(source, output, "--write-images", "--overwrite")
    wait_until(lambda: len(records(output)) >= 5, process)
    process.kill()
    assert end(process).code == -9
    done = len(records(output))
    (tmp_path / "a_more.jpg").rename(source / "a_more.jpg")  # units serve a run of other inputs too, by other numbers
    assert whales(source, output, "--write-images", "--overwrite").code == 0
    assert_complete(output, anew)
    counters = manifest_of(output)["counters"]
    assert done - 1 <= counters["units.resumed"] <= done
    assert counters["units.rows_taken_over"] > 0


@pytest.mark.parametrize("step", ["moved", "manifest", "deleted"])
def test_a_commit_of_units_that_were_taken_over_may_be_cut_short(step, grown, tmp_path):
    source, before, anew = grown
    output = shutil.copytree(before, tmp_path / "out")
    how = ("--write-images", "--overwrite", "--keep-previous", 0)
    assert whales(source, output, *how, variables={"MOLINO_CRASH": step}).code == -9
    assert whales(source, output, *how).code == 0
    assert_complete(output, anew)


def test_too_many_rejects_lose_no_work(sea, calm, tmp_path):
    output = tmp_path / "out"
    ended = whales(sea, output, "--write-images", "--max-reject-ratio", 0.1)
    assert_failed(ended, 1, "records were rejected", "truncated 10", "--max-reject-ratio")
    assert {path.split("/")[0] for path in files_below(output)} == {STAGING}
    assert whales(sea, output, "--write-images").code == 0
    counters = manifest_of(output)["counters"]
    assert counters["units.resumed"] == counters["units"] > 10
    assert_complete(output, calm)


@pytest.mark.parametrize("mode", ["threads", "processes"])
def test_a_signal_stops_the_run_and_keeps_finished_units(mode, sea, calm, tmp_path):
    output = tmp_path / "out"
    process = start_whales(sea, output, "--write-images", "--worker-mode", mode)
    wait_until(lambda: len(records(output)) >= 3, process)
    os.kill(process.pid, signal.SIGTERM)
    assert_failed(end(process, 30), 143, "stopped")
    assert not (output / LOCK).exists()
    assert not list(output.rglob("*.begun"))
    done = len(records(output))
    assert done >= 3
    assert whales(sea, output, "--write-images").code == 0
    assert manifest_of(output)["counters"]["units.resumed"] == done
    assert_complete(output, calm)


@pytest.mark.parametrize("poison", [b"abort", b"hang"])
def test_an_image_that_kills_its_process_becomes_a_reject(poison, sea, calm, tmp_path):
    source = shutil.copytree(sea, tmp_path / "sea", symlinks=True, ignore=shutil.ignore_patterns("hostile"))
    with (source / "w_00007.jpg").open("ab") as file:
        file.write(poison)
    output = tmp_path / "out"
    process = start_whales(source, output, patch=POISON)
    if poison == b"hang":
        wait_until(lambda: len(records(output)) >= 20, process)
        process.kill()
    assert end(process).code in (-6, -9)
    done = len(records(output))
    ended = whales(source, output, patch=POISON)
    assert ended.code == 0, ended.err
    counters = manifest_of(output)["counters"]
    assert (counters["images_read"], counters["regions"], counters["rejects.crashed"]) == (40, 39, 1)
    assert counters["units.resumed"] == done
    [reject] = pq.read_table(output / manifest_of(output)["datasets"]["rejects"]["files"][0]["path"]).to_pylist()
    assert (reject["source"], reject["reason"]) == ("w_00007.jpg", "crashed")


def test_a_full_disk_is_one_line(sea, calm, tmp_path):
    output = shutil.copytree(calm, tmp_path / "out")
    before = state_of(output)

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))

    ended = whales(sea, output, "--overwrite", "--bins", 8, preexec_fn=small_files)
    assert_failed(ended, 1, "cannot write", str(output), "ulimit -f")
    after = {path: state for path, state in state_of(output).items() if not path.startswith(STAGING)}
    assert after == before
    assert whales(sea, output, "--overwrite", "--write-images").code == 0
    assert_complete(output, calm)


def test_an_image_that_comes_late_is_noticed(sea, tmp_path):
    source = shutil.copytree(sea, tmp_path / "sea", symlinks=True, ignore=shutil.ignore_patterns("hostile"))
    process = start_whales(source, tmp_path / "out")
    wait_until(lambda: records(tmp_path / "out"), process)
    shutil.copy(source / "w_00000.jpg", source / "w_late.jpg")
    assert_failed(end(process), 1, "changed while it was read", str(source))
    assert not (tmp_path / "out/_manifest.json").exists()


def nothing(folder):
    return folder / "nothing", ["there is no file ", "nothing"]


def empty(folder):
    folder.mkdir()
    return folder, ["holds nothing to read", str(folder)]


def pipes_only(folder):
    folder.mkdir()
    os.mkfifo(folder / "pipe.jpg")
    (folder / ".hidden").touch()
    return folder, ["in holds nothing to read", "pipes, sockets or devices: 1", "hidden files and folders"]


def no_images(folder):
    folder.mkdir()
    (folder / "page").write_text("<html>")
    return folder, ["1 of 1 records", "not_an_image 1", "--max-reject-ratio"]


def packed(folder):
    folder.mkdir()
    (folder / "s.tar.gz").write_bytes(b"")
    return folder / "s.tar.gz", ["s.tar.gz", "unpack it"]


@pytest.mark.parametrize("case", [nothing, empty, pipes_only, no_images, packed])
def test_an_input_without_images_is_one_line(case, tmp_path):
    source, words = case(tmp_path / "in")
    assert_failed(whales(source, tmp_path / "out", "--max-reject-ratio", 0.5), 1, *words)
    assert not (tmp_path / "out/_manifest.json").exists()


def test_a_bomb_is_a_reject_in_bounded_memory(sea, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(3):
        shutil.copy(sea / "hostile/bomb.png", tmp_path / f"in/{number}.png")
    process = start_whales(tmp_path / "in", tmp_path / "out", patch="")
    peak = 0
    while process.poll() is None:
        try:
            text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            break
        peak = max([peak, *(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmHWM"))])
    assert end(process).code == 0
    assert manifest_of(tmp_path / "out")["counters"]["rejects.too_many_pixels"] == 3
    assert peak < 450_000  # kB; without any data it is about 300,000, and the bomb has 805 MB of pixels


def test_digests_do_not_depend_on_where_the_folder_is(sea, calm, tmp_path):
    moved = shutil.copytree(sea, tmp_path / "elsewhere", symlinks=True, ignore=shutil.ignore_patterns("pipe.jpg"))
    assert whales(moved, tmp_path / "out").code == 0
    assert digests_of(tmp_path / "out") == digests_of(calm)
