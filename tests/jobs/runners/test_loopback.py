"""Whether this machine can call itself is known before workers are started."""

import socket

import pytest

from molino.jobs.runners import loopback, pipeline
from molino.transforms.errors import DataError


def test_it_is_up():
    loopback.check_loopback()


@pytest.mark.parametrize("only", ["127.0.0.1", "::1"])
def test_one_address_is_enough(only, monkeypatch):
    whole = socket.create_connection
    asked = []

    def connect(address, *rest):
        asked.append(address[0])
        if address[0] != only:
            raise OSError(101, "Network is unreachable")
        return whole(address, *rest)

    monkeypatch.setattr(socket, "create_connection", connect)
    if only == "::1" and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    loopback.check_loopback()
    assert asked[-1] == only


def test_only_what_calls_is_refused(monkeypatch):
    def connect(*_):
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", connect)
    for mode, workers in (("threads", 2), ("processes", 1), ("processes", 2)):
        with pytest.raises(DataError, match=r"is down here \(Network is unreachable\): ip link set lo up, or .*"):
            pipeline.worker_environment(mode, workers)
    assert pipeline.worker_environment("threads", 1) is None
