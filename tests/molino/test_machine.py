"""CPUs and memory as affinity and control groups of both versions leave them, on made-up machines."""

import os
import subprocess
import sys

import pytest

from molino import machine

HUGE = "9223372036854771712"  # what version 1 tells for no limit
VERSION_2 = "31 23 0:27 {top} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
VERSION_1 = "\n".join(
    f"{number} 23 0:{number} {{top}} /sys/fs/cgroup/{name} rw - cgroup cgroup rw,{name}"
    for number, name in enumerate(["cpu,cpuacct", "memory"], start=32)
)
OTHERS = "23 1 8:1 / / rw - ext4 /dev/vda rw\n24 23 0:9 / /proc rw shared:5 - proc proc rw\n"


@pytest.fixture(autouse=True)
def host(monkeypatch):
    """A machine with 64 cores, all of which the affinity mask holds, and 256 GB."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 1000, "SC_PHYS_PAGES": 256 * 10**6}.__getitem__)


@pytest.fixture
def make(tmp_path):
    def write(mounts, cgroup, files, top="/"):
        for name, text in {
            "proc/self/mountinfo": OTHERS + mounts.format(top=top),
            "proc/self/cgroup": cgroup,
            **{f"sys/fs/cgroup/{name}": text for name, text in files.items()},
        }.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return str(tmp_path)

    return write


def test_nothing_is_withheld(make, tmp_path):
    assert machine.cpu_share(str(tmp_path)) == (64, 64, "")
    files = {"a/cpu.max": "max 100000", "a/memory.max": "max"}
    root = make(VERSION_2, "0::/a", files)
    assert machine.cpu_share(root) == (64, 64, "")
    assert machine.memory_share(root) == (256 * 10**9, 256 * 10**9, "")
    assert machine.describe_machine(root) == "64 cores; 256 GB of memory"


@pytest.mark.parametrize(("quota", "count"), [("150000 100000", 2), ("5000 100000", 1), ("6500000 100000", 64)])
def test_a_part_of_a_cpu_counts_as_one(quota, count, make):
    assert machine.cpu_share(make(VERSION_2, "0::/a", {"a/cpu.max": quota})).usable == count


@pytest.mark.parametrize("level", ["", "a/", "a/b/"])
def test_every_level_above_holds(level, make):
    files = {"a/b/cpu.max": "800000 100000", "a/b/memory.max": "9000000000"}
    files |= {f"{level}cpu.max": "200000 100000", f"{level}memory.max": "8000000000"}
    root = make(VERSION_2, "0::/a/b", files)
    assert machine.cpu_share(root) == (2, 64, "cgroup quota")
    assert machine.memory_share(root) == (8 * 10**9, 256 * 10**9, "cgroup limit")
    assert machine.describe_machine(root) == "2 of 64 cores: cgroup quota; 8 of 256 GB of memory: cgroup limit"


def test_another_cgroup_does_not_matter(make):
    assert machine.cpu_share(make(VERSION_2, "0::/a", {"b/cpu.max": "100000 100000"})).usable == 64


def files_of_version_1(folder, quota, limit):
    return {
        f"cpu,cpuacct/{folder}cpu.cfs_quota_us": quota,
        f"cpu,cpuacct/{folder}cpu.cfs_period_us": "50000",
        f"memory/{folder}memory.limit_in_bytes": limit,
    }


def test_version_1(make):
    files = files_of_version_1("", "-1", HUGE) | files_of_version_1("pod/", "100000", "4000000000")
    root = make(VERSION_1, "5:memory:/pod/x\n4:cpu,cpuacct:/pod/x\n1:name=systemd:/y\n0::/z", files)
    assert machine.describe_machine(root) == "2 of 64 cores: cgroup quota; 4 of 256 GB of memory: cgroup limit"
    root = make(VERSION_1, "5:memory:/\n4:cpu,cpuacct:/", files)
    assert machine.describe_machine(root) == "64 cores; 256 GB of memory"


def test_version_2_beside_version_1_has_a_path_of_its_own(make):
    files = files_of_version_1("pod/", "100000", "4000000000") | {"other/cpu.max": "100000 100000"}
    root = make(f"{VERSION_1}\n{VERSION_2}", "5:memory:/pod\n4:cpu,cpuacct:/pod\n0::/here", files)
    assert machine.cpu_share(root).usable == 2


@pytest.mark.parametrize(
    ("cgroup", "top"),
    [("/docker/7f/job", "/docker/7f"), ("/docker/7f", "/docker/7f"), ("/docker/7f", "/"), ("/../7f", "/"), ("/", "/")],
)
def test_in_a_container_the_mount_is_its_cgroup(cgroup, top, make):
    """The path is the host's: below the mount, or not there, where the container has no namespace of its own."""
    files = {"cpu.max": "300000 100000", "memory.max": "5000000000"}
    assert machine.cpu_share(make(VERSION_2, f"0::{cgroup}", files, top=top)).usable == 3
    files = files_of_version_1("", "150000", "5000000000")
    root = make(VERSION_1, f"5:memory:{cgroup}\n4:cpu,cpuacct:{cgroup}", files, top=top)
    assert machine.cpu_share(root).usable == 3
    assert machine.memory_share(root).usable == 5 * 10**9


def test_what_is_least_is_told(make, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    root = make(VERSION_2, "0::/", {"cpu.max": "200000 100000"})
    assert machine.cpu_share(root) == (1, 64, "affinity")
    assert machine.describe_machine(root).startswith("1 of 64 cores: affinity; ")


@pytest.mark.parametrize("text", ["", "max", "100000", "-1 100000", "a b", "100000 0"])
def test_what_is_no_quota_is_passed_over(text, make):
    assert machine.cpu_share(make(VERSION_2, "0::/", {"cpu.max": text, "memory.max": text})).usable == 64


@pytest.mark.skipif(sys.platform != "linux", reason="affinity is Linux's")
def test_a_process_on_one_cpu():
    program = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); from molino import machine; "
    done = subprocess.run([sys.executable, "-c", program + "print(machine.cpus())"], capture_output=True, text=True)
    assert done.stdout == "1\n"
