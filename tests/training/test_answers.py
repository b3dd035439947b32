import numpy as np

from molino.training.answers import Answers, merge, take_top


def test_take_top_is_that_of_a_sort():
    logits = np.random.default_rng(0).normal(size=(50, 9)).astype(np.float32)
    top, chances = take_top(logits, 4)
    order = np.argsort(-logits, 1)[:, :4]
    np.testing.assert_array_equal(top, order)
    whole = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(chances, np.take_along_axis(whole, order, 1), rtol=1e-5)
    top, chances = take_top(np.log(np.array([[0.25, 0.5, 0.25]])), 2)  # of equals the smaller label
    assert (top.tolist(), chances.round(6).tolist()) == ([[1, 0]], [[0.5, 0.25]])


def test_merge_takes_each_language_from_its_own():
    def answers(value):
        return Answers(
            ids=np.arange(3),
            labels=np.zeros(3, np.int32),
            truth=np.zeros(3, np.int32),
            top=np.full((3, 2), value, np.int32),
            scores=np.full((3, 2), value, np.float32),
            probabilities=None,
            languages=np.array(["es", "pt", None], object),
            loss=0.0,
        )

    merged = merge({None: answers(0), "es": answers(1), "pt": answers(2)})
    assert merged.top[:, 0].tolist() == [1, 2, 0]
    assert merged.scores[:, 0].tolist() == [1, 2, 0]
    assert merged.probabilities is None
