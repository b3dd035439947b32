import contextlib

import pytest

pytestmark = pytest.mark.slow  # Keras takes seconds to load


def variables(*values):
    import keras

    return [keras.Variable([float(value)] * 3) for value in values]


def test_a_state_comes_back(tmp_path):
    from molino.training.checkpoint import checkpoints, to_numpy

    output = str(tmp_path / "out")
    with contextlib.suppress(KeyboardInterrupt), checkpoints(output, {"a": 1}) as kept:
        assert kept.restore("all", variables(0, 0)) == {}
        kept.save("all", variables(1, 2), variables(1), {"history": [1]})
        kept.save("all", variables(3, 4), None, {"history": [1, 2]})
        raise KeyboardInterrupt
    with checkpoints(output, {"a": 1}) as kept:
        found, best = variables(0, 0), variables(0)
        assert kept.restore("all", found) == {"history": [1, 2]}
        kept.restore_best("all", best)
        assert [to_numpy(each).tolist() for each in found] == [[3.0] * 3, [4.0] * 3]
        assert to_numpy(best[0]).tolist() == [1.0] * 3
    assert list(tmp_path.iterdir()) == []


def test_other_options_begin_anew(tmp_path):
    from molino.training.checkpoint import checkpoints

    output = str(tmp_path / "out")
    with contextlib.suppress(KeyboardInterrupt), checkpoints(output, {"a": 1}) as kept:
        kept.save("all", variables(1), None, {"history": [1]})
        raise KeyboardInterrupt
    (tmp_path / "out.mine.checkpoint").mkdir()
    with checkpoints(output, {"a": 2}) as kept:
        assert kept.restore("all", variables(0)) == {}
    # what a training left for the same output goes too, and nothing else
    assert [path.name for path in tmp_path.iterdir()] == ["out.mine.checkpoint"]


def test_one_at_a_time(tmp_path):
    from molino.training.checkpoint import checkpoints
    from molino.training.command import TakenError

    output = str(tmp_path / "out")
    with checkpoints(output, {}), pytest.raises(TakenError, match="another process trains"), checkpoints(output, {}):
        pass
