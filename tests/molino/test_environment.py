"""What is set in the environment: exceptions of proxies, as those who read them will see them, and threads."""

import os
import subprocess
import sys
import urllib.request

import pytest

from molino import environment, machine

LOCAL = "localhost,127.0.0.1,::1"
NAMES = ("no_proxy", "NO_PROXY", "no_grpc_proxy")


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    for name in [*os.environ]:
        if name.lower().endswith("_proxy") or name in environment.THREADS:
            monkeypatch.delenv(name)
    monkeypatch.setattr(os, "environ", os.environ.copy())  # with what is set here it goes


def lists():
    return {name: os.environ[name] for name in NAMES if name in os.environ}


def test_where_no_proxy_is_named_nothing_is_set():
    environment.keep_loopback_direct()
    os.environ["https_proxy"] = ""
    environment.keep_loopback_direct()
    assert lists() == {}


@pytest.mark.parametrize("proxy", ["http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"])
def test_any_proxy(proxy):
    os.environ[proxy] = "http://proxy:3128"
    environment.keep_loopback_direct()
    environment.keep_loopback_direct()  # as in a process that this one starts
    assert lists() == {"no_proxy": LOCAL}


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({"no_proxy": "a.mx, .b"}, {"no_proxy": f"a.mx,.b,{LOCAL}"}),
        ({"NO_PROXY": "a.mx"}, {"no_proxy": f"a.mx,{LOCAL}", "NO_PROXY": f"a.mx,{LOCAL}"}),
        ({"no_proxy": "a", "NO_PROXY": "b"}, {"no_proxy": f"a,{LOCAL}", "NO_PROXY": f"b,{LOCAL}"}),
        ({"no_proxy": "", "NO_PROXY": "b"}, {"no_proxy": LOCAL, "NO_PROXY": f"b,{LOCAL}"}),
        ({"no_grpc_proxy": "g"}, {"no_proxy": LOCAL, "no_grpc_proxy": f"g,{LOCAL}"}),
        ({"no_proxy": "::1,localhost"}, {"no_proxy": "::1,localhost,127.0.0.1"}),
        ({"no_proxy": "*"}, {"no_proxy": "*", "no_grpc_proxy": LOCAL}),
        ({"NO_PROXY": "*"}, {"no_proxy": "*", "NO_PROXY": "*", "no_grpc_proxy": LOCAL}),
        ({"no_proxy": "*", "no_grpc_proxy": "g"}, {"no_proxy": "*", "no_grpc_proxy": f"g,{LOCAL}"}),
    ],
)
def test_what_the_user_excepts_stays_excepted(given, made):
    os.environ.update({"http_proxy": "http://proxy:3128", **given})
    environment.keep_loopback_direct()
    assert lists() == made
    for host in ("localhost", "127.0.0.1"):
        assert urllib.request.proxy_bypass_environment(host)
    asked = {name: value for name, value in given.items() if value and name != "no_grpc_proxy"}
    for host in asked.get("no_proxy", "" if "no_proxy" in given else asked.get("NO_PROXY", "")).split(","):
        assert not host or urllib.request.proxy_bypass_environment(host.strip().lstrip("."))


def test_libraries_have_as_many_threads_as_cpus_may_be_used(monkeypatch):
    monkeypatch.setattr(machine, "cpu_share", lambda: machine.Share(64, 64))
    environment.limit_threads()
    assert not set(environment.THREADS) & set(os.environ)
    monkeypatch.setattr(machine, "cpu_share", lambda: machine.Share(2, 64, "cgroup quota"))
    os.environ["OMP_NUM_THREADS"] = "8"
    environment.limit_threads()
    assert [os.environ[name] for name in environment.THREADS] == ["8", "2", "2"]


def test_arrow_has_no_more_threads_than_that():
    program = "from molino import machine, environment; machine.cpu_share = lambda: machine.Share(1, 64, 'quota'); "
    program += "environment.prepare(); import pyarrow; print(pyarrow.cpu_count())"
    done = subprocess.run([sys.executable, "-c", program], env=os.environ, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
