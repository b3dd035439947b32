import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from molino.training import words  # noqa: E402
from molino.training.grow import GrowthOptions  # noqa: E402
from molino.training.tokens import Texts, lists_of  # noqa: E402

NO_PIECES = (np.zeros(0, np.int32), np.zeros(0, np.int64), 0)


def make_recipe(dim=4, epochs=3, batch=8, seed=1, rate=0.005):
    how = {"dim": dim, "epochs": epochs, "batch": batch, "seed": seed, "rate": rate}
    texts = {"split": "train", "measure": "validation", "unsupervised": False, "validation": 0.0}
    return GrowthOptions(**texts, **how, normalization=False, vocabulary=100, min_count=1, buckets=1)


RECIPE = make_recipe()


def make_texts(titles, labels=None):
    """Return titles, given as lists of rows."""
    return Texts(
        rows=lists_of(np.array([row for title in titles for row in title], np.int32), [len(title) for title in titles]),
        labels=np.array(labels if labels is not None else [0] * len(titles), np.int32),
    )


def plain_adam(value, gradients, rate):
    first = second = 0.0
    for number, gradient in enumerate(gradients, 1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        value = value - rate * (first / (1 - 0.9**number)) / (np.sqrt(second / (1 - 0.999**number)) + 1e-7)
    return value


def test_rows_are_updated_as_by_adam_where_they_are_used():
    rows = words.Rows(5, 3, seed=0)
    before = rows.values.numpy()
    gradients = np.random.default_rng(0).standard_normal((4, 2, 3)).astype(np.float32)
    for number, gradient in enumerate(gradients, 1):
        rows.update(tf.constant([3, 1]), tf.constant(gradient), tf.constant(0.1), tf.constant(float(number)))
    found = rows.values.numpy()
    for place, row in enumerate([3, 1]):
        # the constant under the root stands elsewhere in the fused formula
        np.testing.assert_allclose(found[row], plain_adam(before[row], gradients[:, place], 0.1), atol=1e-4)
    np.testing.assert_array_equal(found[[0, 2, 4]], before[[0, 2, 4]])


def test_a_vector_is_its_own_and_the_mean_of_its_pieces():
    places, ends = np.array([2, 0, 1], np.int32), np.array([2, 2, 3], np.int64)  # the second word has none
    made = words.Words(5, (places, ends, 3), RECIPE)
    own, pieces = made.own.values.numpy(), made.pieces.values.numpy()
    wanted = own.copy()
    wanted[0] += (pieces[2] + pieces[0]) / 2
    wanted[2] += pieces[1]
    np.testing.assert_allclose(made.table(), wanted, atol=1e-6)
    used = made.gather(tf.constant([4, 2, 0]))
    np.testing.assert_allclose(made.join(used), wanted[[4, 2, 0]], atol=1e-6)


def test_titles_are_combined_by_the_root_of_their_tokens():
    table = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    found = words.combine(table, np.array([1, 2, 2, 0]), np.array([0, 0, 0, 1]), 2).numpy()
    np.testing.assert_allclose(found, [(table[1] + 2 * table[2]) / np.sqrt(3), table[0]], atol=1e-6)


def test_a_step_changes_only_the_rows_of_its_batch():
    texts = make_texts([[0, 1], [1, 3]], [0, 1])
    places, ends = np.array([0, 1, 0, 1], np.int32), np.array([1, 2, 3, 4], np.int64)
    made = words.Words(6, (places, ends, 2), RECIPE)
    model = words.ByCategory(made, RECIPE, texts, 2)
    before, pieces = made.own.values.numpy(), made.pieces.values.numpy()
    model.step(np.array([0, 2], np.int32), np.array([0, 0], np.int32), np.array([1], np.int32))
    changed = (made.own.values.numpy() != before).any(1)
    assert changed.tolist() == [True, False, True, False, False, False]
    assert (made.pieces.values.numpy() != pieces).any(1).tolist() == [True, False]


def test_every_title_comes_once_an_epoch():
    texts = make_texts([[n] * (n % 3 + 1) for n in range(30)], range(30))
    model = words.ByCategory(words.Words(30, NO_PIECES, RECIPE), RECIPE, texts, 30)
    orders = []
    for epoch in (0, 1):
        batches = list(model.batches(epoch))
        assert len(batches) == model.steps == 4
        for rows, segments, labels in batches:
            assert rows.tolist() == [label for label in labels.tolist() for _ in range(label % 3 + 1)]
            assert segments.tolist() == [n for n, label in enumerate(labels) for _ in range(label % 3 + 1)]
        orders.append([label for batch in batches for label in batch[2].tolist()])
        assert sorted(orders[-1]) == list(range(30))
    assert orders[0] != orders[1]


def test_categories_are_learnt_and_measured():
    numbers = np.random.default_rng(0)
    labels = numbers.integers(0, 3, 600)
    labels[labels == 2] = numbers.integers(0, 3, (labels == 2).sum())  # one is rarer than the others
    titles = [[*numbers.integers(4 * label, 4 * label + 4, 2), *numbers.integers(12, 20, 2)] for label in labels]
    recipe = make_recipe(dim=8, epochs=4, batch=16, seed=1, rate=0.02)
    model = words.ByCategory(words.Words(20, NO_PIECES, recipe), recipe, make_texts(titles, labels), 3)
    told = []
    history = words.train_vectors(model, make_texts(titles[:100], labels[:100]), lambda *args: told.append(args))
    assert [entry["loss"] for entry in history] == sorted((entry["loss"] for entry in history), reverse=True)
    assert history[-1]["validation_balanced_accuracy"] == history[-1]["validation_accuracy"] == 1
    assert told[-1][:2] == (4 * 38, 4 * 38)


def test_balanced_accuracy_is_the_mean_recall_of_the_categories_there():
    texts = make_texts([[0], [0], [0], [1]], [0, 0, 2, 1])
    model = words.ByCategory(words.Words(2, NO_PIECES, RECIPE), RECIPE, texts, 5)
    model.words.own.values.assign([[1, 0, 0, 0], [0, 1, 0, 0]])
    model.head.set_weights([np.eye(4, 5), np.zeros(5)])  # rows are told by their number
    found = model.evaluate(texts)
    assert found["accuracy"] == pytest.approx(3 / 4)
    assert found["balanced_accuracy"] == pytest.approx((1 + 1 + 0) / 3)
    assert found["low"] == found["high"] == found["balanced_accuracy"]  # all of a category are right, or none


def test_words_that_stand_together_come_to_be_alike():
    numbers = np.random.default_rng(0)
    titles = [numbers.permutation(20)[:4] + 20 * numbers.integers(0, 2) for _ in range(800)]
    recipe = make_recipe(dim=8, epochs=6, batch=16, seed=1, rate=0.02)
    model = words.ByNeighbours(words.Words(40, NO_PIECES, recipe), recipe, make_texts(titles))
    history = words.train_vectors(model, make_texts(titles[:50]), lambda *_: None)
    assert history[-1]["validation_loss"] < history[0]["validation_loss"]
    table = model.words.table()
    alike = (unit := table / np.linalg.norm(table, axis=1, keepdims=True)) @ unit.T
    same = np.arange(40)[:, None] // 20 == np.arange(40) // 20
    assert alike[same].mean() > alike[~same].mean() + 0.5


def test_a_word_is_taken_out_of_each_title_that_has_another():
    titles = [[1, 2, 3], [4], [5, 6], [7, 7]]
    recipe = make_recipe(dim=2, epochs=1, batch=2, seed=0)
    model = words.ByNeighbours(words.Words(8, NO_PIECES, recipe), recipe, make_texts(titles))
    seen = []
    for rows, segments, taken, drawn in model.batches(0):
        assert len(set(drawn.tolist())) == len(drawn)
        assert set(drawn.tolist()) <= {1, 2, 3, 4, 5, 6, 7}
        for title, out in enumerate(taken.tolist()):
            seen.append(sorted([*rows[segments == title].tolist(), out]))
    assert sorted(seen) == [[1, 2, 3], [5, 6], [7, 7]]


def test_buckets_that_were_not_trained_get_the_mean_of_the_others():
    table = np.arange(12, dtype=np.float32).reshape(6, 2)
    found = words.fill_unseen(table.copy(), np.array([1, 1, 1, 2, 0, 1]), 3)
    np.testing.assert_array_equal(found, [*table[:4], (table[3] + table[5]) / 2, table[5]])
    found = words.fill_unseen(table.copy(), np.array([1, 1, 1, 1, 0, 0]), 4)
    np.testing.assert_array_equal(found[4:], [(table[2] + table[3]) / 2] * 2)


def test_the_same_seed_gives_the_same_bytes():
    numbers = np.random.default_rng(0)
    titles, labels = [numbers.integers(0, 50, 5) for _ in range(200)], numbers.integers(0, 4, 200)

    def grown(seed):
        recipe = make_recipe(dim=8, epochs=2, batch=32, seed=seed)
        model = words.ByCategory(words.Words(50, NO_PIECES, recipe), recipe, make_texts(titles, labels), 4)
        words.train_vectors(model, make_texts([]), lambda *_: None)
        return model.words.table().tobytes()

    assert grown(1) == grown(1)
    assert grown(1) != grown(2)
