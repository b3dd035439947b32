"""A key is named in what is sent, and read where it is used."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from molino.transforms.errors import DataError
from molino.transforms.files import secret_key
from molino.transforms.files.secret_key import find_key

ROOT = Path(__file__).parents[3]
KEY = b"0123456789abcdef-a-secret"
READ = "import pickle, sys; print(pickle.loads(bytes.fromhex(sys.argv[1])).read())"


def read_elsewhere(key, **environment):
    """Read a key in a process that gets it pickled, as a worker does."""
    command = [sys.executable, "-W", "ignore", "-c", READ, pickle.dumps(key).hex()]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_a_file_is_read_by_each_process(tmp_path):
    (tmp_path / "key").write_bytes(b" " + KEY + b"\n")
    key = find_key(str(tmp_path / "key"), "K")
    assert key.read() == KEY
    assert KEY not in pickle.dumps(key)
    assert KEY.decode() not in repr(key)
    assert read_elsewhere(key).stdout.strip() == repr(KEY)


def test_a_variable_is_read_by_each_process(monkeypatch):
    monkeypatch.setenv("K", KEY.decode())
    key = find_key("", "K")
    assert KEY not in pickle.dumps(key)
    assert read_elsewhere(key, K=KEY.decode()).stdout.strip() == repr(KEY)
    assert "the variable K of a worker is not the one" in read_elsewhere(key).stderr


def test_another_key_is_no_key(tmp_path, monkeypatch):
    (tmp_path / "key").write_bytes(KEY)
    key = find_key(str(tmp_path / "key"), "K")
    (tmp_path / "key").write_bytes(KEY[::-1])
    assert key.read() == KEY  # as the run began
    monkeypatch.setattr(secret_key, "_known", {})
    with pytest.raises(DataError, match="is not the one that the run was planned with") as raised:
        key.read()
    assert KEY[::-1].decode() not in str(raised.value)


@pytest.mark.parametrize("text", [b"", b"   \n", b"fifteen-bytes--"])
def test_a_short_key_is_none(text, tmp_path):
    (tmp_path / "key").write_bytes(text)
    assert find_key(str(tmp_path / "key"), "K") is None
