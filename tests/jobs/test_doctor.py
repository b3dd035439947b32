"""What `molino doctor` says of a Flink cluster on this machine."""

import pytest

from jobs import doctor


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
