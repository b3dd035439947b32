"""The claim in a lock: read as it was written, of one length, and nothing where it says nothing."""

import dataclasses
import json
import os
import socket
import subprocess
import sys

import pytest

from molino.jobs.run.claim import LENGTH, Claim, new_claim, read_claim

FULL = Claim(
    token="a" * 32,
    host="machine.example",
    pid=4194304,
    born="123456789",
    boot="b" * 36,
    pids="pid:[4026531836]",
    user="somebody",
    started="2026-01-02T03:04:05Z",
    beat=7,
    every=5.0,
    engine="FlinkRunner",
    master="http://flink.example:8081",
    job="molino-names-12345678",
    at="36% 28 of 78 tasks done on Flink",
    job_file="gs://bucket/templates/names",
    released=True,
)


@pytest.mark.parametrize("claim", [FULL, Claim(token="t"), Claim(token="t", beat=0), new_claim("t", every=0.5)])
def test_a_claim_is_read_as_it_was_written(claim):
    assert read_claim(claim.to_bytes()) == claim


@pytest.mark.parametrize("at", ["", "x" * 120, "Ñ" * 120, "😀" * 120, '"\\\n' * 40])
def test_every_claim_has_one_length_however_far_the_run_is(at):
    data = dataclasses.replace(FULL, at=at).to_bytes()
    assert len(data) == LENGTH
    assert data.endswith(b"\n")
    found = read_claim(data)
    assert dataclasses.replace(found, at="") == dataclasses.replace(FULL, at="")
    assert at.startswith(found.at)
    assert bool(found.at) == bool(at)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"\0" * LENGTH,
        b"\xff\xfe",
        b"{",
        b"[]",
        b"null",
        b"7",
        b'"token"',
        b"{}",
        b'{"token": ""}',
        b'{"token": 7}',
        b'{"host": "h", "pid": 1}',
        b"[" * 100_000,
        FULL.to_bytes()[:100],
    ],
    ids=lambda data: repr(data[:12]),
)
def test_what_is_no_claim_is_none(data):
    assert read_claim(data) is None


def test_fields_of_another_kind_or_unknown_are_left_out():
    data = json.dumps({"token": "t", "pid": "x", "beat": None, "every": "5", "released": 1, "later": [1]}).encode()
    assert read_claim(data) == Claim(token="t")


def test_a_claim_of_version_0_1_0_has_no_heartbeat():
    data = json.dumps({"token": "t", "host": "h", "pid": 7, "born": "9"}).encode()
    assert read_claim(data) == Claim(token="t", host="h", pid=7, born="9")
    assert read_claim(data).beat is None


def test_this_process_is_alive_and_one_that_has_ended_is_dead():
    mine = new_claim("t", every=1)
    assert not mine.is_dead
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    assert dataclasses.replace(mine, pid=int(ended.stdout)).is_dead
    assert dataclasses.replace(mine, born="0").is_dead  # the number was given away
    assert dataclasses.replace(mine, pid=10**30, born="").is_dead
    assert not dataclasses.replace(mine, pid=0).is_dead


@pytest.mark.parametrize("other", [{"boot": "another"}, {"pids": "pid:[1]"}, {"boot": ""}, {"pids": ""}])
def test_a_process_of_another_system_or_namespace_is_never_called_dead(other):
    """Its host name may be ours, as that of a container that was started again."""
    mine = new_claim("t", every=1)
    assert not dataclasses.replace(mine, born="0", **other).is_dead


def test_a_claim_without_heartbeat_goes_by_the_host():
    old = Claim(token="t", host=socket.gethostname(), pid=os.getpid(), born="0")
    assert old.is_dead
    assert not dataclasses.replace(old, host="elsewhere").is_dead
    assert not dataclasses.replace(old, born=new_claim("t", every=1).born).is_dead


def test_a_person_reads_who_and_where():
    assert FULL.who() == "process 4194304 on machine.example of somebody, since 2026-01-02T03:04:05Z"
    assert Claim(token="t").who() == "process ? on ?"
