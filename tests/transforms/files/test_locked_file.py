"""A file that one process at a time has, by locks that end with their process; and where such locks do not hold."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from molino.transforms.errors import DataError
from molino.transforms.files import locked_file
from molino.transforms.files.locked_file import HeldError, locked, why_locks_fail

ROOT = Path(__file__).resolve().parents[3]
HOLD = """
import sys
from molino.transforms.files.locked_file import locked

with locked(sys.argv[1], seconds=0) as file:
    file.write(b"theirs")
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "folder/_lock")


@contextlib.contextmanager
def held_elsewhere(path):
    """Give a process that has the file."""
    words = [sys.executable, "-c", HOLD, path]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            process.kill()


def test_what_is_written_stays_and_an_empty_file_goes(path):
    with locked(path, seconds=0) as file:
        assert (file.is_new, file.read()) == (True, b"")
        file.write(b"a long text")
        file.write(b"short")
        assert Path(path).read_bytes() == b"short"
    with locked(path, seconds=0) as file:
        assert (file.is_new, file.read()) == (False, b"short")
        file.write(b"")
    assert not os.path.exists(path)


def test_a_file_that_nobody_wrote_goes(path):
    with locked(path, seconds=0):
        assert os.path.exists(path)
    assert not os.path.exists(path)


def test_another_process_has_it_until_it_lets_go(path):
    with held_elsewhere(path) as process:
        with pytest.raises(HeldError), locked(path, seconds=0.2):
            pass
        threading.Timer(0.3, process.stdin.close).start()
        with locked(path, seconds=30) as file:
            assert file.read() == b"theirs"


def test_a_paused_process_keeps_it_and_a_killed_one_does_not(path):
    with held_elsewhere(path) as process:
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(HeldError), locked(path, seconds=0.2):
            pass
        process.kill()
        with locked(path, seconds=30) as file:
            assert file.read() == b"theirs"


def test_it_is_let_go_of_when_the_block_fails(path):
    with pytest.raises(TypeError), locked(path, seconds=0) as file:
        file.write(b"mine", "and more")
    with locked(path, seconds=0) as file:
        assert file.is_new is False  # as a process leaves it that was killed before it had written
        file.write(b"mine")
    with locked(path, seconds=0) as file:
        assert file.read() == b"mine"


@pytest.mark.parametrize("what", ["replaced", "deleted"])
def test_a_file_that_is_no_longer_of_that_name_is_not_taken(what, path, monkeypatch):
    """As when the process before deletes the empty file that this one waits for."""
    os.makedirs(os.path.dirname(path))
    Path(path).write_bytes(b"old")
    whole, calls = locked_file.lock, []

    def lock(descriptor):
        calls.append(descriptor)
        if len(calls) == 1:
            os.unlink(path)
            if what == "replaced":
                Path(path).write_bytes(b"new")
        return whole(descriptor)

    monkeypatch.setattr(locked_file, "lock", lock)
    with locked(path, seconds=5) as file:
        assert file.read() == (b"new" if what == "replaced" else b"")
        assert os.path.samestat(os.fstat(file.descriptor), os.stat(path))
    assert len(calls) >= 2  # a process that is being started may hold the file for a moment


def test_of_many_threads_one_is_inside(path):
    inside, most, done = [], [], []

    def work():
        with locked(path, seconds=60) as file:
            inside.append(1)
            most.append(len(inside))
            file.write(b"%d" % (int(file.read() or b"0") + 1))
            inside.pop()
        done.append(1)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(done), max(most)) == (6, 1)
    assert Path(path).read_bytes() == b"6"


def test_where_it_cannot_be_made_one_line_says_so(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot write .*file/_lock"), locked(str(tmp_path / "file/_lock"), seconds=0):
        pass


# --- which file systems' locks reach all who see a file


def mounts(tmp_path, kind, options="rw", *, point=None, more=""):
    """Write a table of what is mounted, with a root and one more; return its path."""
    place = str(tmp_path.resolve() if point is None else point).replace(" ", "\\040")
    table = tmp_path / "mountinfo"
    table.write_text(
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        f"36 22 0:40 / {place} rw,noatime shared:7 master:2 - {kind} server:/export {options}\n{more}"
    )
    return str(table)


@pytest.mark.parametrize(
    ("kind", "options", "why"),
    [
        ("ext4", "rw", ""),
        ("xfs", "rw,nolock", ""),  # a word of another file system
        ("overlay", "rw", ""),
        ("tmpfs", "rw", ""),
        ("fuseblk", "rw", ""),
        ("nfs", "rw,vers=3,nolock,addr=10.0.0.1", "nfs with nolock keeps its file locks on one machine"),
        ("nfs", "rw,vers=3,local_lock=all", "nfs with local_lock=all keeps its file locks on one machine"),
        ("nfs", "rw,vers=3,local_lock=flock", "nfs with local_lock=flock keeps its file locks on one machine"),
        ("nfs", "rw,vers=3,local_lock=none", ""),
        ("nfs4", "rw,vers=4.2,local_lock=none", ""),
        ("cifs", "rw,nobrl", "cifs with nobrl keeps its file locks on one machine"),
        ("lustre", "rw,localflock", "lustre with localflock keeps its file locks on one machine"),
        ("fuse.sshfs", "rw,user_id=0", "fuse.sshfs keeps its file locks on one machine"),
        ("9p", "rw", "9p keeps its file locks on one machine"),
    ],
)
def test_a_table_of_mounts_tells(kind, options, why, tmp_path):
    assert why_locks_fail(str(tmp_path), mounts=mounts(tmp_path, kind, options)) == why


def test_the_innermost_mount_counts_and_of_one_place_the_last(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "ab").mkdir()
    inner = f"40 36 0:41 / {tmp_path.resolve()}/a rw - fuse.sshfs far: rw\n"
    table = mounts(tmp_path, "ext4", more=inner)
    assert why_locks_fail(str(tmp_path / "a/b"), mounts=table).startswith("fuse.sshfs")
    assert why_locks_fail(str(tmp_path / "ab"), mounts=table) == ""
    table = mounts(tmp_path, "fuse.sshfs", more=f"41 36 0:42 / {tmp_path.resolve()} rw - ext4 /dev/sdb rw\n")
    assert why_locks_fail(str(tmp_path), mounts=table) == ""


def test_a_mount_point_with_a_blank_is_found_and_a_link_is_followed(tmp_path):
    folder = tmp_path / "a blank"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    table = mounts(tmp_path, "fuse.sshfs", point=folder.resolve())
    for seen in (folder, tmp_path / "link"):
        assert why_locks_fail(str(seen), mounts=table).startswith("fuse.sshfs")
    assert why_locks_fail(str(tmp_path), mounts=table) == ""


def test_without_a_table_a_folder_is_a_local_disk_s(tmp_path):
    assert why_locks_fail(str(tmp_path), mounts=str(tmp_path / "nothing")) == ""


def test_a_server_s_locks_are_tried_and_nothing_stays(tmp_path):
    table = mounts(tmp_path, "nfs4")
    before = sorted(os.listdir(tmp_path))
    assert why_locks_fail(str(tmp_path), mounts=table) == ""
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("probe", ["raise SystemExit(1)", "import time; time.sleep(60)"], ids=["refuses", "hangs"])
@pytest.mark.alone
def test_a_server_whose_locks_do_not_work_is_told_in_time(probe, tmp_path, monkeypatch):
    monkeypatch.setattr(locked_file, "PROBE", probe)
    monkeypatch.setattr(locked_file, "PROBE_SECONDS", 0.5 if "sleep" in probe else 30)
    begin = time.monotonic()
    why = why_locks_fail(str(tmp_path), mounts=mounts(tmp_path, "nfs"))
    assert why == "the file locks of this nfs do not work"
    assert time.monotonic() - begin < 20
