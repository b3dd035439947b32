"""Pipes as input: all of what comes is read, once, and is its own identity."""

import gzip
import hashlib
import json
import os
import threading

import pytest

from molino.jobs.run.call import call_job
from molino.jobs.run.inputs import entries_of, find_inputs
from molino.jobs.run.pipes import is_pipe
from molino.transforms.errors import OptionError
from molino.transforms.files.list_files import labels_of
from molino.transforms.names.sample import sample_names


@pytest.fixture
def pipe(tmp_path):
    """Return what makes a named pipe through which bytes come."""

    def make(name, data):
        os.mkfifo(path := tmp_path / name)
        threading.Thread(target=path.write_bytes, args=(data,)).start()
        return str(path)

    return make


def test_the_content_of_a_pipe_is_its_name_and_identity(tmp_path, pipe):
    data = os.urandom(3 << 20)
    digest = hashlib.sha256(data).hexdigest()
    (tmp_path / "file").write_bytes(b"x")
    inputs = find_inputs([pipe("one", data), str(tmp_path / "file"), pipe("two", b"")])
    files = [file for listing in inputs for file in listing.files]
    nothing = hashlib.sha256().hexdigest()
    assert labels_of(files) == [f"pipe-{digest[:8]}", "file", f"pipe-{nothing[:8]}"]
    with open(files[0].path, "rb") as held:
        assert held.read() == data
    entries = entries_of(inputs)
    assert entries[0] == {"path": f"pipe-{digest[:8]}", "bytes": len(data), "sha256": digest}
    assert entries == entries_of(find_inputs([pipe("again", data), str(tmp_path / "file"), pipe("empty", b"")]))


def test_standard_input_is_one_dash_and_no_terminal(tmp_path, monkeypatch):
    assert is_pipe("-")
    assert not is_pipe(str(tmp_path / "none"))
    read, write = os.pipe()
    os.write(write, b"A|B\n")
    os.close(write)
    monkeypatch.setattr("builtins.open", lambda path, *rest, kept=open, **more: kept(path or read, *rest, **more))
    [listing] = find_inputs(["-", "-"])
    assert (labels_of(listing.files), listing.bytes) == (["stdin"], 4)
    monkeypatch.setattr("os.isatty", lambda _: True)
    with pytest.raises(OptionError, match="standard input is a terminal"):
        find_inputs(["-"])


def test_a_run_on_pipes_gives_the_rows_of_the_file(tmp_path, pipe):
    sample_names(str(tmp_path / "in.txt"), rows=2000, seed=3)
    packed = gzip.compress((tmp_path / "in.txt").read_bytes())

    def run(path, output):
        call_job("names", {"input": path, "output": str(tmp_path / output), "quiet": True})
        return json.loads((tmp_path / output / "_manifest.json").read_text())

    whole, piped = run(str(tmp_path / "in.txt"), "whole"), run(pipe("p", packed), "piped")
    assert piped["counters"] == whole["counters"]
    tables = ("apellidos", "hombres", "mujeres")
    assert [piped["datasets"][name]["digest"] for name in tables] == [
        whole["datasets"][name]["digest"] for name in tables
    ]
    assert run(pipe("q", packed), "piped") == piped  # nothing was to do


def test_a_pipe_is_refused_where_workers_are_elsewhere(tmp_path):
    with pytest.raises(
        OptionError, match="workers elsewhere cannot read a pipe; write its content to a file that Flink"
    ):
        call_job("names", {"input": "-", "output": str(tmp_path), "runner": "FlinkRunner", "flink_master": "h:8081"})
