"""Outputs as runs leave them, without Beam; and claims of runs that are dead, far away or of an earlier version."""

import dataclasses
import json
import os
import socket

import pytest

from molino.jobs import cli
from molino.jobs.run.claim import Claim, new_claim, read_claim
from molino.transforms.errors import DataError
from molino.transforms.manifest import LOCK
from tests.faults.protocol import attempt


def told(capsys, *words):
    """Run a command of `molino`; return its exit code, standard output, and standard error."""
    capsys.readouterr()
    code = cli.main([*map(str, words)])
    return (code, *capsys.readouterr())


def finish(output, content="a"):
    """Leave a finished run in an output."""
    attempt(str(output), content)


def fail(output, content="b"):
    """Leave what a run leaves that fails in its commit."""

    def crash(step):
        raise DataError(f"the disk broke at {step}")

    with pytest.raises(DataError):
        attempt(str(output), content, crash=crash)


def write(output, claim):
    """Write a claim, or its bytes, as an output's lock."""
    output.mkdir(exist_ok=True)
    (output / LOCK).write_bytes(claim if isinstance(claim, bytes) else claim.to_bytes())
    return claim


def dead():
    """Return the claim of a process of this system that has ended."""
    return dataclasses.replace(new_claim("dead", every=5), born="0", at="50% of 3.0 GB")


def far(**facts):
    """Return a claim of another machine."""
    return Claim(**{"token": "far", "host": "elsewhere", "pid": 7, "boot": "b", "beat": 1, "every": 0.05} | facts)


def old(**facts):
    """Return the bytes of a lock of version 0.1.0: of a process of this host that has ended, but for what is given."""
    return json.dumps({"token": "old", "host": socket.gethostname(), "pid": os.getpid(), "born": "0"} | facts).encode()


def claim_of(output):
    return read_claim((output / LOCK).read_bytes())


def stage(output, size=1000):
    """Leave what a killed run had staged."""
    folder = output / "_staging/0123456789abcdef/rows"
    folder.mkdir(parents=True)
    (folder / "0.parquet").write_bytes(b"x" * size)
