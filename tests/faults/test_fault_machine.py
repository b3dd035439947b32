"""Machines that are not as a developer's: no home, nothing to write to, proxies, no network."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.every_job import find_prism
from tests.faults.fault_harness import ROOT, digests_of, end, environment, start

pytestmark = pytest.mark.slow
USER = 12345  # that no machine has an entry for
# reading is allowed, for the interpreter may lie in the home of whoever runs the tests
AS_USER = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
AS_USER += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
HOMELESS = ["env", "-u", "HOME", "-u", "XDG_CACHE_HOME", "-u", "NUMBA_CACHE_DIR", "PYTHONDONTWRITEBYTECODE=1"]
NO_TEMPORARY = (
    "for place in /tmp /var/tmp /usr/tmp; do "
    "[ ! -d $place ] || { mount --bind $place $place && mount -o remount,bind,ro $place; }; done; "
)


def works(*words):
    with contextlib.suppress(OSError):
        return subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0
    return False


needs_user = pytest.mark.skipif(not works(*AS_USER), reason="another user is needed: setpriv, and root")
needs_network = pytest.mark.skipif(not works("unshare", "-n"), reason="a network of its own is needed: unshare -n")
needs_mounts = pytest.mark.skipif(not works("unshare", "-m"), reason="mounts of its own are needed: unshare -m")


@pytest.fixture(scope="module")
def installed():
    """The package, owned by root, which nobody else can write; and a folder of the user, outside of /tmp."""
    place = Path("/run/molino-tests")
    shutil.rmtree(place, ignore_errors=True)
    try:
        for room in ("molino", "jobs", "schemas", "training", "transforms", "sweeps"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / room, place / "package" / room, symlinks=True, ignore=ignored)
        (place / "user").mkdir()
        os.chown(place / "user", USER, USER)
        yield place
    except OSError as error:
        pytest.skip(f"nothing can be installed in /run: {error}")
    finally:
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def user(installed):
    """Return what runs `molino` as a user without home or entry, in a folder of his, which is his only one."""
    folder = installed / "user"

    def run(*arguments, cwd=folder, before="", temporary=""):
        words = [*AS_USER, *HOMELESS, f"TMPDIR={temporary}", f"PYTHONPATH={installed}/package"]
        words += [sys.executable, "-P", "-m", "molino", *map(str, arguments)]
        if before:
            words = ["unshare", "-m", "bash", "-c", f'{before}cd {cwd}; exec "$@"', "bash", *words]
        known = environment()
        return end(subprocess.Popen(words, cwd=cwd, env=known, stdout=subprocess.PIPE, stderr=subprocess.PIPE))

    yield run
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture(scope="module")
def readable(sample, installed):
    """The payroll where every user can read it."""
    return shutil.copy(sample, installed / "sep.txt")


@needs_user
def test_a_user_without_home_or_entry(user, readable, undisturbed, installed):
    ended = user("names", "--input", readable, "--output", "out", "--quiet")
    assert ended.code == 0, ended.err
    assert digests_of(installed / "user/out") == digests_of(undisturbed)
    assert {path.name for path in (installed / "user").iterdir()} == {"out"}


@needs_user
def test_loops_are_compiled_for_such_a_user(user, installed):
    pytest.importorskip("numba")
    (installed / "user/temporary").mkdir()
    os.chown(installed / "user/temporary", USER, USER)
    sweep = installed / "package/sweeps/demo.yaml"
    words = ["shapes", "--sweep", sweep, "--rows", 2000, "--output", "out", "--quiet"]
    ended = user(*words, temporary=installed / "user/temporary")
    assert ended.code == 0, ended.err
    assert list((installed / f"user/temporary/molino-{USER}/numba").rglob("*.nbi"))
    assert {path.name for path in (installed / "user").iterdir()} == {"out", "temporary"}
    assert not list((installed / "package").rglob("__pycache__"))


@needs_user
@needs_mounts
def test_without_a_temporary_folder_one_line_says_so(user, readable):
    given = ["--input", readable]
    for words in (["names", *given, "--output", "/run/molino-tests/user/out"], ["plan", "names", *given]):
        ended = user(*words, cwd="/", before=NO_TEMPORARY, temporary="/nowhere")
        assert ended.code == 1
        assert ended.err.startswith("molino: cannot write temporary files: "), ended.err
        assert ended.err.count("\n") == 1


@needs_user
@needs_mounts
def test_loops_are_compiled_where_nothing_keeps_them(user, installed):
    """The current folder takes the temporary files, as Python's tempfile has it."""
    pytest.importorskip("numba")
    words = ["shapes", "--sweep", installed / "package/sweeps/demo.yaml", "--rows", 2000, "--output", "out", "--quiet"]
    ended = user(*words, before=NO_TEMPORARY, temporary="/nowhere")
    assert ended.code == 0, ended.err
    assert {path.name for path in (installed / "user").iterdir()} == {"out"}


def test_a_temporary_folder_whose_path_is_too_long_for_a_socket(sample, undisturbed, tmp_path):
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    given = ["--input", sample, "--output", tmp_path / "out"]
    ended = end(start("names", *given, env=environment(TMPDIR=str(folder))))
    assert ended.code == 0, ended.err
    assert digests_of(tmp_path / "out") == digests_of(undisturbed)
    assert list(folder.iterdir()) == []


@pytest.fixture
def proxied(request):
    """The environment of a user behind a proxy that does not answer; a list of who called it."""
    callers = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if request.param == "dead":
            server.close()
        else:

            def accept():
                with contextlib.suppress(OSError):
                    while True:
                        callers.append(server.accept())

            threading.Thread(target=accept, daemon=True).start()
        names = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
        known = {name: f"http://127.0.0.1:{port}" for lower in names for name in (lower, lower.upper())}
        bare = {name: value for name, value in environment().items() if not name.lower().endswith("_proxy")}
        yield bare | known, callers
        for connection, _ in callers:
            connection.close()


@pytest.mark.parametrize(
    ("proxied", "mode"),
    [("dead", "threads"), ("black hole", "threads"), ("black hole", "processes"), ("black hole", "prism")],
    indirect=["proxied"],
)
def test_loopback_goes_through_no_proxy(mode, proxied, sample, undisturbed, tmp_path):
    env, callers = proxied
    how = ["--workers", 2, "--worker-mode", mode]
    if mode == "prism":
        if not find_prism():
            pytest.skip("there is no prism; see molino doctor --runner PrismRunner")
        how = ["--runner", "PrismRunner", "--prism_location", find_prism()]
    given = ["--input", sample, "--output", tmp_path / "out", "--quiet"]
    ended = end(start("names", *given, *how, env=env), 60)
    assert ended.code == 0, ended.err
    assert digests_of(tmp_path / "out") == digests_of(undisturbed)
    assert callers == []


def without_network(prepare, *arguments):
    words = ["unshare", "-n", "bash", "-c", f'{prepare} exec "$@"', "bash", sys.executable, "-m", "molino"]
    words += map(str, arguments)
    return end(subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE), 60)


@needs_network
@pytest.mark.parametrize(
    "how", [["--workers", 2], ["--workers", 1, "--worker-mode", "processes"], ["--runner", "PrismRunner"]], ids=str
)
def test_without_loopback_one_line_says_so(how, sample, tmp_path):
    if "PrismRunner" in how:
        if not find_prism():
            pytest.skip("there is no prism; see molino doctor --runner PrismRunner")
        how = [*how, "--prism_location", find_prism()]
    ended = without_network("", "names", "--input", sample, "--output", tmp_path / "out", "--quiet", *how)
    assert ended.code == 1
    assert ended.err.startswith("molino: workers call their runner over the loopback interface, which is down here")
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "out/_manifest.json").exists()


@needs_network
@pytest.mark.parametrize(
    ("prepare", "workers"), [("", 1), ("ip link set lo up && ip addr del 127.0.0.1/8 dev lo &&", 2)], ids=["none", "v6"]
)
def test_one_thread_needs_no_network_and_two_no_version_4(prepare, workers, sample, undisturbed, tmp_path):
    if prepare and not (shutil.which("ip") and socket.has_dualstack_ipv6()):
        pytest.skip("ip and IPv6 are needed")
    given = ["--input", sample, "--output", tmp_path / "out", "--workers", workers]
    ended = without_network(prepare, "names", *given, "--quiet")
    assert ended.code == 0, ended.err
    assert digests_of(tmp_path / "out") == digests_of(undisturbed)


def test_64_open_files_are_enough(sample, undisturbed, tmp_path):
    given = ["--input", sample, "--output", tmp_path / "out", "--workers", 2, "--quiet"]
    words = ["bash", "-c", 'ulimit -n 64; exec "$@"', "bash", sys.executable, "-m", "molino", "names"]
    words += map(str, given)
    ended = end(subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    assert ended.code == 0, ended.err
    assert digests_of(tmp_path / "out") == digests_of(undisturbed)
