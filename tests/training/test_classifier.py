import numpy as np
import pyarrow as pa
import pytest

pytestmark = pytest.mark.slow  # Keras takes seconds to load


def recipe(**more):
    from molino.training.classifier import Recipe

    return Recipe(**({"architecture": "linear", "epochs": 2, "batch": 8, "rate": 0.01, "seed": 3} | more))


@pytest.mark.parametrize(
    ("name", "units", "count"),
    [
        ("linear", [], 5 * 7 + 7),
        ("mlp-512", [512, 512], 5 * 512 + 512 + 512 * 512 + 512 + 512 * 7 + 7),
        ("mlp-2048", [2048, 2048], 5 * 2048 + 2048 + 2048 * 2048 + 2048 + 2049 * 7 + 7),
    ],
)
def test_architectures_are_the_published_ones(name, units, count):
    import keras

    from molino.training.classifier import build_model

    model = build_model(recipe(architecture=name), {"es": 2, "en": 3}, 7)
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert [layer.units for layer in dense] == [*units, 7]
    assert [layer.activation.__name__ for layer in dense] == ["relu"] * len(units) + ["linear"]
    assert model.count_params() == count
    assert [each.name for each in model.inputs] == ["es", "en", *(["language"] if name == "mlp-2048" else [])]


def test_the_same_seed_begins_with_the_same_weights():
    from molino.training.classifier import build_model

    one, other = (build_model(recipe(architecture="mlp-512"), {"es": 3}, 4) for _ in range(2))
    different = build_model(recipe(architecture="mlp-512", seed=4), {"es": 3}, 4)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one.get_weights()[0], different.get_weights()[0])


def test_the_loss_adds_the_prior_to_the_logits():
    from molino.training.classifier import AdjustedCrossentropy

    logits = np.array([[0.5, 1.0, -1.0], [2.0, 0.0, 0.0]], np.float32)
    prior = np.log(np.array([0.7, 0.2, 0.1], np.float32))
    labels = np.array([2, 0])
    moved = logits + prior
    wanted = np.mean(np.log(np.exp(moved).sum(1)) - moved[[0, 1], labels])
    assert float(AdjustedCrossentropy(prior)(labels, logits)) == pytest.approx(wanted, rel=1e-5)


def test_tokens_become_their_sum_by_the_root_of_their_number():
    import keras

    from molino.training.classifier import sum_vectors

    table = np.array([[1, 2], [3, 4], [5, 6], [7, 8]], np.float32)
    given = keras.Input((3,), dtype="int32")
    model = keras.Model(given, sum_vectors(given, table, "vectors"))
    ids = np.array([[0, 3, -1], [2, -1, -1], [-1, -1, -1]], np.int32)
    wanted = [(table[0] + table[3]) / np.sqrt(2), table[2], [0, 0]]
    np.testing.assert_allclose(np.asarray(model(ids)), wanted, rtol=1e-6)


def test_rows_without_a_label_or_of_another_language_weigh_nothing():
    from molino.training.source import weigh

    batch = {"label": np.array([0, -1, 2, 1]), "language": pa.array(["es", "es", None, "pt"])}
    assert weigh(batch, None).tolist() == [1, 0, 1, 1]
    assert weigh(batch, "es").tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize(("schedule", "end"), [("linear", 0.0), ("cosine", 0.0), ("constant", 0.01)])
def test_the_rate_falls_as_asked(schedule, end):
    rate = recipe(schedule=schedule).make_schedule(10)
    assert float(rate(0)) == pytest.approx(0.01)
    assert float(rate(20)) == pytest.approx(end, abs=1e-9)
