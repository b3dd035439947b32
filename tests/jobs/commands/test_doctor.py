"""What `molino doctor` says of the packages, and of a Flink cluster on this machine."""

import importlib.metadata
import os
import re
import tempfile
from pathlib import Path

import pytest

from molino import machine
from molino.jobs.commands import doctor
from molino.jobs.runners import loopback


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MOLINO_FLINK_CACHE", str(tmp_path))
    return tmp_path


def local_cluster(capsys):
    doctor.main(["--runner", "FlinkRunner"])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "local cluster" in line)
    return line


def test_a_part_of_the_pieces_is_no_cluster(cache, capsys):
    for name in ("flink-1.19.3", "beam-2.70.0", "boot-2.77.0.part"):
        (cache / name).mkdir()
    assert local_cluster(capsys).startswith("--  local cluster")


def test_the_pieces_are_found(cache, capsys):
    for name in ("flink-1.19.3", "beam-2.70.0", "boot-2.77.0"):
        (cache / name).mkdir()
    line = local_cluster(capsys)
    assert line.startswith("ok  local cluster")
    assert f"flink-1.19.3, beam-2.70.0, boot-2.77.0 in {cache}" in line


def test_what_may_be_used_of_the_machine_is_told(monkeypatch, capsys):
    monkeypatch.setattr(machine, "cpu_share", lambda root="/": machine.Share(2, 64, "affinity"))
    monkeypatch.setattr(machine, "memory_share", lambda root="/": machine.Share(8 * 10**9, 256 * 10**9, "cgroup limit"))
    doctor.main([])
    told = capsys.readouterr().out
    assert "2 of 64 cores: affinity; 8 of 256 GB of memory: cgroup limit; " in told
    assert "in this process, 2 worker threads" in told


def test_what_no_run_can_do_without_is_told(monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "gettempdir", lambda: os.listdir("/nowhere"))
    monkeypatch.setattr(loopback, "ADDRESSES", ("192.0.2.1",))  # of no machine
    assert doctor.main([]) == 1
    told = capsys.readouterr().out
    assert re.search("!!  temporary files +cannot write temporary files: No such file", told)
    assert re.search("!!  loopback +workers call .* which is down here", told)


@pytest.mark.parametrize("runner", ["FlinkRunner", "DataflowRunner"])
def test_a_user_without_a_home_is_told_what_is_missing(runner, monkeypatch, capsys):
    for name in ("HOME", "XDG_CACHE_HOME", "MOLINO_FLINK_CACHE", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    doctor.main(["--runner", runner])
    assert re.search("no jar" if runner == "FlinkRunner" else "none found", capsys.readouterr().out)


def test_every_package_that_setup_requires_is_looked_at(capsys):
    doctor.main([])
    told = capsys.readouterr().out
    setup = (Path(__file__).parents[3] / "setup.py").read_text()
    base = re.search(r"install_requires=\[(.*?)\]", setup, re.DOTALL)[1]
    names = re.findall(r'^\s*f?"([a-z0-9-]+)', base, re.MULTILINE)
    assert len(names) > 8
    for name in names:
        assert re.search(rf"^ok  {name} ", told, re.MULTILINE), name


def test_a_package_that_is_not_there_or_too_old_is_wrong(monkeypatch, capsys):
    whole = importlib.metadata.version

    def version(name):
        if name == "xxhash":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0" if name == "pyarrow" else whole(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert doctor.main([]) == 1
    told = capsys.readouterr().out
    assert re.search(r"^!!  xxhash +not installed; run: pip install 'xxhash>=", told, re.MULTILINE)
    assert re.search(r"^!!  pyarrow +1.0; needed is pyarrow>=", told, re.MULTILINE)


def test_a_python_that_setup_py_does_not_allow_is_told(monkeypatch, capsys):
    monkeypatch.setattr(doctor.platform, "python_version", lambda: "3.10.4")
    assert doctor.main([]) == 1
    assert re.search(r"!!  python +3\.10\.4; needed is .*>=3\.11", capsys.readouterr().out)
    monkeypatch.setattr(doctor.platform, "python_version", lambda: "3.13.9")
    doctor.main([])
    assert re.search(r"ok  python +3\.13\.9\n", capsys.readouterr().out)
