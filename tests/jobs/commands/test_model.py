"""The model command: what it says of a model, and whom it calls."""

import os
import subprocess
import sys

import numpy as np
import pytest

from molino.jobs import cli
from molino.training.nnlm_export import export_nnlm
from molino.transforms.errors import DataError
from molino.transforms.models import embed
from molino.transforms.models.embed import Model

TABLE = Model(
    name="m",
    location="models/m.zip",
    path="/cache/x",
    digest="ab" * 32,
    bytes=12_345_678,
    dim=128,
    kind="table",
    strip_punctuation=True,
    vocabulary=976_640,
    buckets=25_000,
)
GENERIC = Model(
    name="m",
    location="m",
    path="m",
    digest="cd" * 32,
    bytes=1,
    dim=5,
    kind="generic",
    reason="it has no table",
    suspects=("ReadFile",),
)


@pytest.fixture
def planned(monkeypatch):
    """Have every model planned as the one in the list; return the list of calls."""
    calls = []

    def plan(locations, **options):
        calls.append((*locations.values(), options))
        if isinstance(plan.answer, Exception):
            raise plan.answer
        return [plan.answer]

    monkeypatch.setattr(embed, "plan_models", plan)
    plan.calls = calls
    return plan


def test_inspect_a_table(planned, capsys):
    planned.answer = TABLE
    assert cli.main(["model", "inspect", "models/m.zip", "--model-sha256", "ab" * 32, "--trust-model"]) == 0
    assert planned.calls == [("models/m.zip", {"sha256": {"models/m.zip": "ab" * 32}, "trust": True})]
    assert (
        capsys.readouterr().out
        == f"""\
       model  models/m.zip
        size  12.3 MB
  dimensions  128
  vocabulary  976,640 tokens
     buckets  25,000 for other tokens
 punctuation  removed
empty tokens  dropped
        path  fast: compiled, the vectors are the model's own
      sha256  {"ab" * 32}
"""
    )


def test_inspect_another(planned, capsys):
    planned.answer = GENERIC
    assert cli.main(["model", "inspect", "m"]) == 0
    out = capsys.readouterr().out
    assert "path  generic, by TensorFlow: it has no table" in out
    assert "trusted  its graph can do more than compute: ReadFile" in out
    assert "vocabulary" not in out


def test_a_model_that_cannot_be_had(planned, capsys):
    planned.answer = DataError("there is no model m; give another")
    assert cli.main(["model", "inspect", "m"]) == 1
    assert capsys.readouterr().err == "molino: there is no model m; give another\n"


def test_a_digest_that_is_none(tmp_path, capsys):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(SystemExit, match="2"):
        cli.main(["model", "inspect", str(tmp_path), "--model-sha256", "x"])
    assert "must be 64 hexadecimal digits, not 'x'; see molino model --help" in capsys.readouterr().err


def test_train_is_passed_on(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["model", "train", "--spam"])
    assert stopped.value.code == 2
    assert "see molino model train --help" in capsys.readouterr().err


@pytest.mark.slow
def test_the_whole_command(tmp_path, hub):
    """In a process of its own, with TensorFlow's: nothing but the answer is printed."""
    table = np.ones((5, 4), np.float32)
    export_nnlm(str(tmp_path / "m"), ["hola", "mundo"], table, buckets=3, normalization=True)
    command = [sys.executable, "-m", "molino", "model", "inspect", str(tmp_path / "m")]
    environment = {**os.environ, "MOLINO_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stderr == ""
    assert "vocabulary  2 tokens\n     buckets  3 for other tokens\n punctuation  removed\n" in done.stdout
