import hashlib

from molino.training.grow import describe_input
from tests.training.made_run import write_run


def test_a_model_says_what_it_was_grown_on(tmp_path):
    (tmp_path / "t.csv").write_text("title\nMesa\n")
    assert describe_input(str(tmp_path / "t.csv"), "train") == {"sha256": hashlib.sha256(b"title\nMesa\n").hexdigest()}
    write_run(tmp_path / "run")
    sha256 = (tmp_path / "run/_SUCCESS").read_text().strip()
    assert describe_input(str(tmp_path / "run"), "train") == {
        "sha256": sha256,
        "split": "train",
        "seed": None,
        "test": None,
    }
