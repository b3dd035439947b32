import os
import time

import pytest

from molino.training import command


def test_progress_is_a_line_now_and_then(capsys, monkeypatch):
    clock = iter([0.0, 5.0, 10.0, 12.0, 21.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with command.Progress(quiet=False) as progress:
        for done, text in [(0, "reading"), (1, 2.5), (2, 2.25), (3, 2.0)]:
            progress.show(done, 4, text)
    assert capsys.readouterr().err.splitlines() == [
        "molino:  25% training, loss 2.5000, 10 s",
        "molino:  75% training, loss 2.0000, 21 s",
    ]


def test_progress_of_a_part_is_a_part_of_all(capsys, monkeypatch):
    clock = iter([0.0, 20.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with command.Progress(quiet=False) as progress:
        progress.part(1, 4)
        progress.show(1, 2, "training")
    assert capsys.readouterr().err == "molino:  38% training, 20 s\n"


def test_a_draft_takes_the_output_s_place_and_what_a_kill_left_goes(tmp_path):
    output = tmp_path / "out"
    for left in ("out.draft", "out.draft.replaced"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "old").touch()
    # killed after the earlier output was put aside: it comes back
    with pytest.raises(FileNotFoundError), command.drafted(str(output), overwrite=True) as work:
        os.listdir(work)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["old", "out"]
    with command.drafted(str(output), overwrite=True) as work:
        os.mkdir(work)
        with (
            pytest.raises(command.TakenError, match="another process writes"),
            command.drafted(str(output), overwrite=True),
        ):
            pass
    assert [path.name for path in tmp_path.rglob("*")] == ["out"]


def test_of_two_that_write_to_one_output_the_second_does_not_replace_the_first(tmp_path):
    output = tmp_path / "out"
    draft = command.drafted(str(output), overwrite=False)
    os.mkdir(draft.__enter__())
    (output / "theirs").mkdir(parents=True)
    with pytest.raises(command.TakenError, match="another process has written"):
        draft.__exit__(None, None, None)
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "theirs"]


@pytest.mark.parametrize("name", ["numpy", "nonsense"])
def test_a_backend_that_cannot_train_is_named(monkeypatch, name):
    monkeypatch.setenv("KERAS_BACKEND", name)
    with pytest.raises(command.TrainingError, match=f"KERAS_BACKEND is {name}; what can train is tensorflow, jax"):
        command.load_keras()
