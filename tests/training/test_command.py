import time

from training import command


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
