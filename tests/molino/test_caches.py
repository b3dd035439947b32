"""Where a user's cache is, with and without a home, and that nobody else has put anything there."""

import os
import stat
import subprocess
import sys

import pytest

from molino import caches


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch, tmp_path):
    for name in ("MOLINO_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))


@pytest.fixture
def homeless(monkeypatch):
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as of a uid without an entry


def test_the_order_of_places(monkeypatch, tmp_path):
    home, common, own = tmp_path / "home", tmp_path / "common", tmp_path / "own"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    assert caches.cache_folder("numba") == f"{home}/.cache/molino/numba"
    monkeypatch.setenv("XDG_CACHE_HOME", str(common))
    assert caches.cache_folder() == f"{common}/molino"
    monkeypatch.setenv("MOLINO_CACHE", str(own))
    assert caches.cache_folder("a", "b") == f"{own}/a/b"
    assert sorted(tmp_path.iterdir()) == [home]
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("home", ["/", "{tmp}/was/never/made", "~"])
def test_what_is_no_home(home, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", home.format(tmp=tmp_path))
    assert caches.in_home(".aws") == ""
    assert caches.cache_folder() == f"{tmp_path}/molino-{os.geteuid()}"


def test_without_a_home_it_is_of_this_user_alone(homeless, tmp_path):
    folder = caches.cache_folder("numba")
    root = tmp_path / f"molino-{os.geteuid()}"
    assert folder == f"{root}/numba"
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert caches.cache_folder("numba") == folder


@pytest.mark.parametrize("planted", ["open", "link", "file"])
def test_what_somebody_else_may_have_put_there_is_not_used(planted, homeless, monkeypatch, tmp_path):
    root = tmp_path / f"molino-{os.geteuid()}"
    if planted == "open":
        root.mkdir()
        root.chmod(0o777)
    elif planted == "link":
        (tmp_path / "theirs").mkdir(mode=0o700)
        root.symlink_to(tmp_path / "theirs")
    else:
        root.write_text("")
    found = caches.cache_folder()
    assert found is None or not found.startswith(str(tmp_path))


def test_a_tilde_that_no_shell_has_read(homeless, monkeypatch, tmp_path):
    for name in ("XDG_CACHE_HOME", "MOLINO_CACHE"):
        monkeypatch.setenv(name, "~/cache")
        assert caches.cache_folder() == f"{tmp_path}/molino-{os.geteuid()}"
    monkeypatch.setattr(os.path, "expanduser", lambda path: str(tmp_path))
    assert caches.cache_folder() == f"{tmp_path}/cache"


def test_a_place_that_cannot_be_written_is_passed_over(homeless, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/cache")  # where not even root makes a folder
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).startswith("/proc"))
    assert caches.cache_folder() == f"{tmp_path}/molino-{os.geteuid()}"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert caches.cache_folder() is None


def test_every_tilde_is_ended_by_the_start_of_a_command(tmp_path):
    program = "import os; from molino.environment import prepare; os.path.expanduser = lambda path: path; "
    program += "prepare(); print(os.environ['HOME'])"
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "/\n"
