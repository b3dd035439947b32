import pytest

pytestmark = pytest.mark.slow  # Keras takes seconds to load


def variables(*values):
    import keras

    return [keras.Variable([float(value)] * 3) for value in values]


def test_a_state_comes_back(tmp_path):
    from molino.training.checkpoint import BEST, Checkpoints
    from molino.transforms.parquet.units import kept_paths

    folder = str(tmp_path / "units")
    kept = Checkpoints(folder)
    assert kept.restore("all", variables(0, 0)) == {}
    kept.save("all", variables(1, 2), variables(1), {"history": [1]})
    kept.save("all", variables(3, 4), None, {"history": [1, 2]})
    found, best = variables(0, 0), variables(0)
    kept = Checkpoints(folder)
    assert kept.restore("all", found) == {"history": [1, 2]}
    kept.restore("all", best, BEST)
    assert [each.numpy().tolist() for each in found] == [[3.0] * 3, [4.0] * 3]
    assert best[0].numpy().tolist() == [1.0] * 3
    # a run that fails keeps them for the next attempt
    assert kept_paths(folder) == {str(path) for path in (tmp_path / "units").iterdir()}
